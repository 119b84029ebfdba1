import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BufferPool } from "../../../src/core/flow/bufferPool.js";
import { CryptoStream } from "../../../src/core/flow/cryptoStream.js";
import { InitialFrames, readInitialFrames } from "../../../src/core/wire/quicFrames.js";
import { frame, quicHello, scattered } from "../../quic.js";
import { codeOf, Random, valueOf } from "../wire/bytes.js";

const make = (maxBytes = 16_384, maxSegments = 64) => new CryptoStream({ maxBytes, maxSegments });
const into = new InitialFrames();
const add = (stream: CryptoStream, ...frames: Uint8Array[]) => {
  const content = Buffer.concat(frames);
  return stream.add(content, valueOf(readInitialFrames(content, into)));
};
const hello = quicHello({ name: "www.Example.com", more: 1200 });

describe("CryptoStream", () => {
  it("reads a hello that comes as it should", () => {
    const stream = make();
    assert.equal(stream.read().kind, "needMore");
    assert.equal(add(stream, frame.crypto(0, hello.subarray(0, 1100))), "ok");
    assert.equal(stream.read().kind, "needMore");
    assert.equal(add(stream, frame.padding(20), frame.crypto(1100, hello.subarray(1100)), frame.ping()), "ok");
    assert.deepEqual(valueOf(stream.read()), {
      serverName: "www.example.com",
      noNameWhy: undefined,
      ech: false,
      earlyData: false,
      tls13: true,
      quic: true,
      sessionId: 0,
      length: hello.length,
    });
    assert.equal(stream.bufferedBytes, hello.length);
    assert.deepEqual(Buffer.from(stream.contiguous()), hello);
  });

  it("reads it out of any pieces, in any order, over any packets, with agreeing overlaps", () => {
    const random = new Random(41);
    for (let i = 0; i < 300; i++) {
      const stream = make();
      const frames = scattered(hello, random, 1 + random.below(40), random.below(6));
      while (frames.length > 0) {
        assert.equal(stream.bufferedBytes === hello.length || stream.read().kind === "needMore", true);
        const added = add(stream, frame.padding(1), ...frames.splice(0, 1 + random.below(12)));
        assert.ok(added === "ok" || added === "duplicate", added);
      }
      assert.equal(valueOf(stream.read()).serverName, "www.example.com");
    }
  });

  it("says whether a packet brought something new", () => {
    const stream = make();
    assert.equal(add(stream, frame.ping()), "duplicate");
    assert.equal(add(stream, frame.crypto(0, Buffer.alloc(0))), "duplicate");
    assert.equal(add(stream, frame.crypto(0, hello.subarray(0, 50))), "ok");
    assert.equal(
      add(stream, frame.crypto(0, hello.subarray(0, 50)), frame.crypto(10, hello.subarray(10, 20))),
      "duplicate",
    );
    assert.equal(add(stream, frame.crypto(0, hello.subarray(0, 50)), frame.crypto(50, hello.subarray(50, 60))), "ok");
  });

  it("compares what comes later with all that it has read", () => {
    const stream = make();
    add(stream, frame.crypto(0, hello));
    valueOf(stream.read());
    assert.equal(add(stream, frame.crypto(0, hello)), "duplicate");
    const other = quicHello({ name: "www.Evil.ex.com", more: 1200 });
    assert.equal(other.length, hello.length);
    assert.equal(add(stream, frame.crypto(0, other)), "overlap-conflict");
  });

  it("overlap-conflict: behind a gap, too", () => {
    const stream = make();
    add(stream, frame.crypto(100, Buffer.from("abc")));
    assert.equal(add(stream, frame.crypto(99, Buffer.from("_aXc"))), "overlap-conflict");
  });

  it("too-large: beyond its bound, however far", () => {
    assert.equal(add(make(100), frame.crypto(0, Buffer.alloc(101))), "too-large");
    assert.equal(add(make(100), frame.crypto(0, Buffer.alloc(100))), "ok");
    // Modulo 2^32 these would be its first bytes.
    for (const offset of [100, 2 ** 31, 2 ** 32, 2 ** 32 - 1, 2n ** 53n, 2n ** 62n - 2_000n]) {
      const stream = make(100);
      assert.equal(add(stream, frame.crypto(offset, Buffer.from("a"))), "too-large", `${offset}`);
      assert.equal(stream.bufferedBytes, 0);
    }
    assert.equal(codeOf(readAll(make(500), hello.subarray(0, 500))), "too-large");
  });

  it("too-many: more pieces behind a gap than it keeps", () => {
    const stream = make(16_384, 4);
    for (let i = 0; i < 4; i++) assert.equal(add(stream, frame.crypto(10 + 2 * i, Buffer.from("a"))), "ok");
    assert.equal(add(stream, frame.crypto(18, Buffer.from("a"))), "too-many");
  });

  it("waits while something is there that it hasn't read", () => {
    const stream = make();
    add(stream, frame.crypto(0, hello), frame.crypto(hello.length + 1, Buffer.from("?")));
    assert.equal(stream.read().kind, "needMore");
  });

  it("gives its buffer back, and reads another stream after that", () => {
    const pool = new BufferPool(4096, 1);
    const stream = new CryptoStream({ maxBytes: 16_384, maxSegments: 4, pool });
    for (const name of ["a.example", "b.example"]) {
      add(stream, frame.crypto(0, quicHello({ name })));
      assert.deepEqual([valueOf(stream.read()).serverName, pool.free], [name, 0]);
      stream.release();
      assert.deepEqual([stream.read().kind, stream.bufferedBytes, pool.free], ["needMore", 0, 1]);
    }
  });
});

function readAll(stream: CryptoStream, bytes: Uint8Array) {
  add(stream, frame.crypto(0, bytes));
  return stream.read();
}
