import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { InitialFrames, MAX_CRYPTO_FRAMES, readInitialFrames } from "../../../src/core/wire/quicFrames.js";
import { frame, varint } from "../../quic.js";
import { codeOf, hex, mutate, Random, valueOf } from "./bytes.js";

const into = new InitialFrames();
const read = (...frames: Uint8Array[]) => readInitialFrames(Buffer.concat(frames), into);
const cryptoIn = (...frames: Uint8Array[]) => {
  const bytes = Buffer.concat(frames);
  const { crypto, count } = valueOf(readInitialFrames(bytes, into));
  return crypto.slice(0, count).map(({ offset, start, end }) => [offset, bytes.subarray(start, end).toString()]);
};
const text = (value: string) => Buffer.from(value);

describe("readInitialFrames", () => {
  it("finds the CRYPTO frames among PADDING, PING and ACK, in their order", () => {
    assert.deepEqual(
      cryptoIn(
        frame.padding(3),
        frame.crypto(5, text("world")),
        frame.ping(),
        frame.ack(7, 3, [[0, 0]]),
        frame.crypto(0, text("hello")),
        frame.ack(
          2 ** 40,
          2 ** 35,
          [
            [1, 2],
            [16_384, 70_000],
          ],
          true,
        ),
        frame.crypto(70_000, text("")),
        frame.crypto(2n ** 61n, text("!")),
        frame.padding(1000),
      ),
      [
        [5, "world"],
        [0, "hello"],
        [70_000, ""],
        [2 ** 61, "!"],
      ],
    );
    assert.deepEqual([into.ack, into.close], [true, false]);
  });

  it("takes numbers in more bytes than they need: only types must be short", () => {
    for (const size of [1, 2, 4, 8]) {
      assert.deepEqual(cryptoIn(hex("06"), varint(9, size), varint(2, size), text("ab")), [[9, "ab"]]);
    }
  });

  it("says what else is there", () => {
    valueOf(read(frame.close("bye")));
    assert.deepEqual([into.count, into.close, into.ack], [0, true, false]);
    valueOf(read(frame.ping()));
    assert.deepEqual([into.count, into.close, into.ack], [0, false, false]);
  });

  it("no-frames", () => assert.equal(codeOf(read()), "no-frames"));

  it("frame-type: all others, and any type in more than one byte", () => {
    for (let type = 0; type < 256; type++) {
      if ([0, 1, 2, 3, 6, 0x1c].includes(type)) continue;
      const result = read(frame.ping(), Buffer.from([type]), Buffer.alloc(40));
      assert.equal(codeOf(result), "frame-type", `type ${type}`);
      assert.equal(result.kind === "invalid" && result.offset, 1);
    }
    assert.equal(codeOf(read(varint(6, 2), varint(0), varint(1), text("a"))), "frame-type");
  });

  it("frame-length: any frame cut anywhere", () => {
    const whole = [
      frame.crypto(70_000, Buffer.alloc(100)),
      frame.ack(70, 3, [
        [0, 1],
        [4, 5],
      ]),
      frame.ack(70_000, 3, [[0, 1]], true),
      frame.close("because"),
    ];
    for (const bytes of whole) {
      for (let n = 1; n < bytes.length; n++) {
        const result = read(frame.padding(2), bytes.subarray(0, n));
        assert.equal(codeOf(result), "frame-length", `${n} of ${bytes.toString("hex")}`);
        assert.equal(result.kind === "invalid" && result.offset, 2);
      }
    }
  });

  it("frame-length: lengths and counts beyond everything", () => {
    for (const much of [varint(5), varint(2n ** 32n), varint(2n ** 62n - 1n)]) {
      assert.equal(codeOf(read(hex("0600"), much, text("abcd"))), "frame-length");
      assert.equal(codeOf(read(hex("1c0100"), much, text("abcd"))), "frame-length");
      assert.equal(
        codeOf(read(hex("02"), varint(2n ** 60n), hex("00"), much, hex("00"), Buffer.alloc(4))),
        "frame-length",
      );
    }
  });

  it("ack-range: below number 0, in the first range and in a further one", () => {
    assert.equal(codeOf(read(frame.ack(3, 4))), "ack-range");
    assert.equal(codeOf(read(frame.ack(9, 4, [[3, 1]]))), "ack-range");
    assert.equal(codeOf(read(frame.ack(9, 4, [[2, 2]]))), "ack-range");
    assert.equal(read(frame.ack(9, 4, [[2, 1]])).kind, "done");
    assert.equal(read(frame.ack(3, 3)).kind, "done");
  });

  it("crypto-offset: offset and length beyond 2^62 - 1 together", () => {
    assert.equal(codeOf(read(frame.crypto(2n ** 62n - 1n, text("a")))), "crypto-offset");
    assert.equal(codeOf(read(frame.crypto(2n ** 62n - 4n, text("abcd")))), "crypto-offset");
  });

  it("too-many-crypto-frames", () => {
    const many = Array.from({ length: MAX_CRYPTO_FRAMES }, (_, i) => frame.crypto(i, text("a")));
    assert.equal(cryptoIn(...many).length, MAX_CRYPTO_FRAMES);
    assert.equal(codeOf(read(...many, frame.crypto(0, text("a")))), "too-many-crypto-frames");
  });

  it("never throws, and gives no frame that lies outside", () => {
    const random = new Random(31);
    const seeds = [
      Buffer.concat([
        frame.crypto(0, Buffer.alloc(90, 6)),
        frame.ack(9, 1, [[2, 1]], true),
        frame.crypto(90, Buffer.alloc(9)),
      ]),
      Buffer.concat([frame.padding(4), frame.ack(70_000, 12), frame.close("enough"), frame.ping()]),
    ];
    let done = 0;
    for (let i = 0; i < 20_000; i++) {
      const bytes = mutate(seeds[i % 2]!, random);
      const result = readInitialFrames(bytes, into);
      if (result.kind === "invalid") assert.ok(result.offset >= 0 && result.offset <= bytes.length);
      if (result.kind !== "done") continue;
      done++;
      for (const { offset, start, end } of into.crypto.slice(0, into.count)) {
        assert.ok(offset >= 0 && start <= end && end <= bytes.length);
      }
    }
    assert.ok(done > 1_000 && done < 19_000, `${done} were still valid`);
  });
});
