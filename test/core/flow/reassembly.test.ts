import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BufferPool } from "../../../src/core/flow/bufferPool.js";
import { StreamAssembler } from "../../../src/core/flow/reassembly.js";
import { seqAdd, seqDiff, seqIn } from "../../../src/core/flow/seq.js";
import { Random } from "../wire/bytes.js";

const make = (firstSeq = 1000, maxBytes = 100, maxSegments = 4) =>
  new StreamAssembler({ firstSeq, maxBytes, maxSegments });
const text = (assembler: StreamAssembler) => Buffer.from(assembler.contiguous()).toString();
const b = (value: string) => Buffer.from(value);

describe("sequence numbers", () => {
  it("wrap", () => {
    assert.equal(seqAdd(0xffffffff, 2), 1);
    assert.equal(seqDiff(1, 0xffffffff), 2);
    assert.equal(seqDiff(0xffffffff, 1), -2);
    assert.equal(seqIn(1, 0xfffffff0, 2), true);
    assert.equal(seqIn(2, 0xfffffff0, 2), false);
    assert.equal(seqIn(0xffffffef, 0xfffffff0, 2), false);
    assert.equal(seqIn(5, 5, 5), false);
  });
});

describe("StreamAssembler", () => {
  it("takes segments in order", () => {
    const s = make();
    assert.equal(s.add(1000, b("hel")), "ok");
    assert.equal(s.add(1003, b("lo")), "ok");
    assert.equal(text(s), "hello");
    assert.deepEqual([s.firstSeq, s.nextSeq, s.bufferedBytes], [1000, 1005, 5]);
  });

  it("gives exactly what is contiguous, from one segment and from a buffer that grew", () => {
    const one = make();
    one.add(1000, b("hello"));
    assert.equal(text(one), "hello");
    const grown = make();
    for (const [i, letter] of [..."hello!"].entries()) grown.add(1000 + i, b(letter));
    assert.equal(text(grown), "hello!");
  });

  it("keeps what comes out of order until the gap closes", () => {
    const s = make();
    assert.equal(s.add(1004, b("o")), "ok");
    assert.equal(s.add(1002, b("ll")), "ok");
    assert.deepEqual([text(s), s.bufferedBytes, s.pendingSegments, s.nextSeq], ["", 3, 2, 1000]);
    assert.equal(s.add(1000, b("he")), "ok");
    assert.deepEqual([text(s), s.bufferedBytes, s.pendingSegments, s.nextSeq], ["hello", 5, 0, 1005]);
  });

  it("takes its buffer from a pool and gives it back, grown out of it or not", () => {
    const pool = new BufferPool(8, 1);
    const small = new StreamAssembler({ firstSeq: 1000, maxBytes: 100, maxSegments: 4, pool });
    small.add(1000, b("hello"));
    assert.deepEqual([text(small), pool.free], ["hello", 0]);
    small.release();
    assert.deepEqual([text(small), pool.free], ["", 1]);
    const large = new StreamAssembler({ firstSeq: 1000, maxBytes: 100, maxSegments: 4, pool });
    large.add(1000, b("all is "));
    assert.equal(pool.free, 0, "the same buffer again");
    large.add(1007, b("well"));
    assert.deepEqual([text(large), pool.free], ["all is well", 1]);
    large.release();
    large.release();
    assert.deepEqual([pool.free, text(large)], [1, ""]);
    const tooLarge = new StreamAssembler({ firstSeq: 1000, maxBytes: 100, maxSegments: 4, pool });
    tooLarge.add(1000, b("nine bytes"));
    assert.deepEqual([text(tooLarge), pool.free], ["nine bytes", 1]);
    tooLarge.release();
    assert.equal(pool.free, 1);
  });

  it("copies what it keeps", () => {
    const s = make();
    const reused = b("lo");
    s.add(1003, reused);
    reused.fill(0);
    const head = b("hel");
    s.add(1000, head);
    head.fill(0);
    assert.equal(text(s), "hello");
  });

  it("crosses the end of the sequence space", () => {
    const s = make(0xfffffffe);
    assert.equal(s.add(1, b("lo")), "ok");
    assert.equal(s.add(0xfffffffe, b("hel")), "ok");
    assert.equal(text(s), "hello");
    assert.equal(s.nextSeq, 3);
  });

  it("takes overlaps that agree, and says when there is nothing new", () => {
    const s = make();
    s.add(1000, b("hello"));
    assert.equal(s.add(1000, b("hello")), "duplicate");
    assert.equal(s.add(1002, b("ll")), "duplicate");
    assert.equal(s.add(1003, b("lo world")), "ok");
    s.add(1020, b("xyz"));
    assert.equal(s.add(1020, b("xyz")), "duplicate");
    assert.equal(s.add(1019, b("wxyzA")), "ok");
    assert.equal(s.add(1011, b("--------wxyzA!")), "ok");
    assert.equal(text(s), "hello world--------wxyzA!");
  });

  it("refuses overlaps that disagree, with ordered bytes and with waiting ones, and keeps its state", () => {
    const s = make();
    s.add(1000, b("hello"));
    s.add(1010, b("xyz"));
    assert.equal(s.add(1000, b("hellO")), "overlap-conflict");
    assert.equal(s.add(1004, b("O12345")), "overlap-conflict");
    assert.equal(s.add(1005, b("12345xYz67")), "overlap-conflict");
    assert.equal(s.add(1012, b("Z6")), "overlap-conflict");
    assert.deepEqual([text(s), s.bufferedBytes, s.pendingSegments], ["hello", 8, 1]);
  });

  it("cuts off what stands before the first byte", () => {
    const s = make();
    assert.equal(s.add(998, b("..he")), "ok");
    assert.equal(text(s), "he");
    assert.equal(s.add(999, b(".")), "duplicate");
    assert.equal(s.add(998, b("..hE")), "overlap-conflict");
  });

  it("holds its size exactly", () => {
    const s = make(1000, 10);
    assert.equal(s.add(1000, Buffer.alloc(11)), "too-large");
    assert.equal(s.add(1009, b("ab")), "too-large");
    assert.equal(s.add(1010, b("a")), "outside");
    assert.equal(s.bufferedBytes, 0);
    assert.equal(s.add(1000, Buffer.alloc(10)), "ok");
    assert.equal(s.nextSeq, 1010);
  });

  it("refuses what lies outside the window on either side", () => {
    const s = make(1000, 10);
    assert.equal(s.add(1000 + 0x7fffffff, b("a")), "outside");
    assert.equal(s.add(1000 - 0x7fffffff, b("a")), "outside");
    assert.equal(s.add(988, b("a")), "outside");
    assert.equal(s.add(989, b("a")), "duplicate");
  });

  it("takes empty segments within the window", () => {
    const s = make(1000, 10);
    assert.equal(s.add(1000, b("")), "ok");
    assert.equal(s.add(1010, b("")), "ok");
    assert.equal(s.add(1011, b("")), "outside");
  });

  it("bounds the pieces behind gaps, but always takes what closes the first gap", () => {
    const s = make(1000, 100, 2);
    assert.equal(s.add(1010, b("k")), "ok");
    assert.equal(s.add(1020, b("u")), "ok");
    assert.equal(s.add(1030, b("x")), "too-many");
    assert.equal(s.add(1009, b("jklmnopqrstuv")), "too-many");
    assert.equal(s.bufferedBytes, 2);
    assert.equal(s.add(1000, b("abcdefghijklmnopqrstuv")), "ok");
    assert.equal(text(s), "abcdefghijklmnopqrstuv");
    assert.equal(s.pendingSegments, 0);
  });

  it("consumes from the front and goes on", () => {
    const s = make(1000, 10);
    s.add(1000, b("abcdef"));
    s.add(1008, b("ij"));
    s.consume(4);
    assert.deepEqual([text(s), s.firstSeq, s.nextSeq, s.bufferedBytes], ["ef", 1004, 1006, 4]);
    assert.equal(s.add(1006, b("gh")), "ok");
    assert.equal(text(s), "efghij");
    assert.equal(s.add(1010, b("klmn")), "ok");
    assert.equal(s.add(1014, b("o")), "outside");
    assert.equal(s.add(1002, b("..ef")), "duplicate");
    s.consume(10);
    assert.deepEqual([text(s), s.firstSeq], ["", 1014]);
    assert.throws(() => s.consume(1), RangeError);
    assert.throws(() => s.consume(-1), RangeError);
  });

  it("carries a long stream through a small window", () => {
    const s = make(0xfffff000, 1000);
    const random = new Random(4);
    let seq = 0xfffff000;
    let sent = 0;
    let read = 0;
    while (read < 100_000) {
      const chunk = Buffer.from(Array.from({ length: 1 + random.below(300) }, () => sent++ % 251));
      assert.equal(s.add(seq, chunk), "ok");
      seq = seqAdd(seq, chunk.length);
      const take = random.below(s.contiguous().length + 1);
      for (const byte of s.contiguous().subarray(0, take)) assert.equal(byte, read++ % 251);
      s.consume(take);
      if (s.bufferedBytes > 700) {
        for (const byte of s.contiguous()) assert.equal(byte, read++ % 251);
        s.consume(s.bufferedBytes);
      }
    }
  });

  it("gives the same stream for any order, split and repetition", () => {
    const random = new Random(5);
    for (let round = 0; round < 300; round++) {
      const bytes = Buffer.from(Array.from({ length: 1 + random.below(60) }, () => random.below(256)));
      const s = make(0xffffffe0, 64, 64);
      // Random pieces until all has come; each may overlap what was sent before.
      while (s.contiguous().length < bytes.length) {
        const start = random.below(bytes.length);
        const end = start + 1 + random.below(bytes.length - start);
        const result = s.add(seqAdd(0xffffffe0, start), bytes.subarray(start, end));
        assert.ok(result === "ok" || result === "duplicate", result);
        assert.ok(s.bufferedBytes <= bytes.length);
      }
      assert.deepEqual(Buffer.from(s.contiguous()), bytes);
      assert.equal(s.pendingSegments, 0);
    }
  });

  it("never accepts a byte that differs from one it holds", () => {
    const random = new Random(6);
    for (let round = 0; round < 2000; round++) {
      const s = make(0, 40, 40);
      const held = new Map<number, number>();
      for (let n = 0; n < 8; n++) {
        const start = random.below(20);
        const piece = Buffer.from(Array.from({ length: 1 + random.below(10) }, () => random.below(2)));
        const conflict = piece.some((byte, i) => held.has(start + i) && held.get(start + i) !== byte);
        const result = s.add(start, piece);
        assert.equal(result === "overlap-conflict", conflict);
        if (!conflict) piece.forEach((byte, i) => held.set(start + i, byte));
        assert.equal(s.bufferedBytes, held.size);
      }
      s.contiguous().forEach((byte, i) => assert.equal(byte, held.get(i)));
    }
  });
});
