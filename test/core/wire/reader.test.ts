import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Reader } from "../../../src/core/wire/reader.js";
import { hex } from "./bytes.js";

describe("Reader", () => {
  it("reads big-endian numbers and bytes, and counts", () => {
    const r = new Reader(hex("01 0203 040506 ff080910 aabb"));
    assert.deepEqual([r.u8(), r.u16(), r.u24(), r.u32()], [1, 0x0203, 0x040506, 0xff080910]);
    assert.equal(r.offset, 10);
    assert.equal(r.remaining, 2);
    assert.deepEqual([...r.bytes(2)], [0xaa, 0xbb]);
    assert.equal(r.expectEmpty(), true);
  });

  it("fails for good at its end, and stays where it was", () => {
    const r = new Reader(hex("010203"));
    r.u8();
    assert.equal(r.u24(), 0);
    assert.equal(r.failed, true);
    assert.equal(r.short, false);
    assert.equal(r.u8(), 0);
    assert.equal(r.bytes(1).length, 0);
    assert.equal(r.offset, 1);
  });

  it("is short, not failed, where bytes are declared and haven't come", () => {
    const r = new Reader(hex("0102"), 0, 4);
    assert.equal(r.u32(), 0);
    assert.deepEqual([r.short, r.failed], [true, false]);
    const beyond = new Reader(hex("0102"), 0, 4);
    assert.equal(beyond.skip(5), false);
    assert.deepEqual([beyond.short, beyond.failed], [false, true]);
  });

  it("confines a child to its declared length", () => {
    const r = new Reader(hex("0102030405"));
    const child = r.sub(2);
    assert.equal(r.offset, 2);
    assert.equal(child.u16(), 0x0102);
    assert.equal(child.u8(), 0);
    assert.equal(child.failed, true);
    assert.equal(r.failed, false);
    assert.equal(r.u8(), 3);
  });

  it("refuses a child beyond its end", () => {
    const r = new Reader(hex("0102"));
    assert.equal(r.sub(3).failed, true);
    assert.equal(r.failed, true);
  });

  it("gives a short child where its bytes haven't come", () => {
    const r = new Reader(hex("0102"), 0, 9);
    const child = r.sub(4);
    assert.equal(child.u32(), 0);
    assert.deepEqual([child.short, child.failed], [true, false]);
  });

  it("fails on trailing bytes", () => {
    const r = new Reader(hex("0102"));
    r.u8();
    assert.equal(r.expectEmpty(), false);
    assert.equal(r.failed, true);
  });
});
