import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { describe, it } from "node:test";
import { HmacSha256, MAX_MESSAGE } from "../../../src/core/wire/hmacSha256.js";
import { hex, Random } from "./bytes.js";

const code = (key: Uint8Array, message: Uint8Array) => {
  const hmac = new HmacSha256();
  const out = Buffer.alloc(32);
  hmac.setKey(key);
  hmac.code(message, out);
  return out.toString("hex");
};

describe("HmacSha256", () => {
  it("the examples of RFC 4231", () => {
    assert.equal(
      code(Buffer.alloc(20, 0x0b), Buffer.from("Hi There")),
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    );
    assert.equal(
      code(Buffer.from("Jefe"), Buffer.from("what do ya want for nothing?")),
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    );
    assert.equal(
      code(hex("0102030405060708090a0b0c0d0e0f10111213141516171819"), Buffer.alloc(50, 0xcd)),
      "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    );
  });

  it("is node:crypto's, for keys and messages of any size, one behind the other", () => {
    const random = new Random(71);
    const bytes = (size: number) => Buffer.from(Array.from({ length: size }, () => random.below(256)));
    const hmac = new HmacSha256();
    const out = Buffer.alloc(40, 1);
    for (let size = 0; size <= 64; size++) {
      const key = bytes(size);
      hmac.setKey(key);
      for (let length = 0; length <= MAX_MESSAGE; length++) {
        const message = bytes(length);
        hmac.code(message, out);
        assert.deepEqual(out.subarray(0, 32), createHmac("sha256", key).update(message).digest());
      }
    }
    assert.deepEqual(out.subarray(32), Buffer.alloc(8, 1));
  });

  it("takes no larger key or message: such calls would be a bug", () => {
    const hmac = new HmacSha256();
    assert.throws(() => hmac.setKey(Buffer.alloc(65)), /key of 65 bytes/);
    assert.throws(() => hmac.code(Buffer.alloc(56), Buffer.alloc(32)), /message of 56 bytes/);
  });
});
