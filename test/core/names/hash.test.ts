import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { NameHasher } from "../../../src/core/names/hash.js";

interface Vector {
  seed: string;
  name: string;
  hash: string;
}
// Made with another implementation: `printf %s NAME | openssl mac -macopt hexkey:SEED -macopt size:16 -in - SIPHASH`.
const vectors = JSON.parse(readFileSync(new URL("../../vectors/name-hash.json", import.meta.url), "utf8")) as Vector[];

test("the table of vectors shared with the kernel", () => {
  assert.ok(vectors.length >= 30);
  for (const { seed, name, hash } of vectors) {
    const got = Buffer.from(new NameHasher(Buffer.from(seed, "hex")).hash(name)).toString("hex");
    assert.equal(got, hash, `${JSON.stringify(name)} with ${seed}`);
  }
});

test("the first two vectors of the SipHash reference (vectors_sip128)", () => {
  const hasher = new NameHasher(Buffer.from("000102030405060708090a0b0c0d0e0f", "hex"));
  assert.equal(Buffer.from(hasher.hash("")).toString("hex"), "a3817f04ba25a8e66df67214c7550293");
  assert.equal(Buffer.from(hasher.hash("\0")).toString("hex"), "da87c1d86b99af44347659119b22fc45");
});

test("a hasher keeps no state between names, and writes only its 16 bytes", () => {
  const hasher = new NameHasher(new Uint8Array(16).fill(7));
  const once = hasher.hash("www.example.com");
  hasher.hash("other.example.com");
  const out = new Uint8Array(24).fill(0xaa);
  hasher.hashInto("www.example.com", out, 4);
  assert.deepEqual(out.subarray(4, 20), once);
  assert.deepEqual([...out.subarray(0, 4), ...out.subarray(20)], Array(8).fill(0xaa));
});

test("a seed of another length is refused", () => {
  assert.throws(() => new NameHasher(new Uint8Array(8)), RangeError);
});
