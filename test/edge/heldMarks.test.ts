import assert from "node:assert/strict";
import { test } from "node:test";
import type { PacketId } from "../../src/core/engine/events.js";
import { HeldMarks } from "../../src/edge/heldMarks.js";
import { Random } from "../core/wire/bytes.js";

const id = (value: number) => value as PacketId;

test("each held packet has its mark until it is taken, and only once", () => {
  const held = new HeldMarks();
  held.set(id(0), 0xffff_ffff, 1);
  held.set(id(0xffff_ffff), 0, 2);
  assert.equal(held.size, 2);
  assert.deepEqual([held.take(id(1)), held.take(id(0)), held.take(id(0))], [-1, 0xffff_ffff, -1]);
  assert.deepEqual([held.take(id(0xffff_ffff)), held.size], [0, 0]);
});

test("one that is held again has the newer mark and time", () => {
  const held = new HeldMarks();
  held.set(id(5), 1, 10);
  held.set(id(5), 2, 20);
  assert.deepEqual([held.size, held.heldSince(19), held.heldSince(20)], [1, [], [5]]);
  assert.deepEqual([held.take(id(5)), held.take(id(5))], [2, -1]);
});

test("those held for long are named, the oldest first", () => {
  const held = new HeldMarks();
  for (const [packet, since] of [[300, 5], [7, 1], [44, 3.5], [45, 3.5], [9, 8]] as const) held.set(id(packet), 0, since); // prettier-ignore
  assert.deepEqual(held.heldSince(0.5), []);
  assert.deepEqual(held.heldSince(5), [7, 44, 45, 300]);
  assert.deepEqual(held.heldSince(Infinity), [7, 44, 45, 300, 9]);
  assert.equal(held.size, 5);
});

test("does what a Map would do, also with ids that want the same place, and when it grows", () => {
  const random = new Random(3);
  const held = new HeldMarks();
  const map = new Map<number, number>();
  for (let step = 0; step < 100_000; step++) {
    // First more and more, then fewer and fewer; every third id collides with others.
    const packet = random.below(3) === 0 ? 4_096 * random.below(500) : 0xffff_f000 + random.below(0x1000);
    if (random.below(100_000) > step) {
      const mark = random.below(2 ** 32);
      held.set(id(packet), mark, step);
      map.set(packet, mark);
    } else {
      assert.equal(held.take(id(packet)), map.get(packet) ?? -1, `step ${step}`);
      map.delete(packet);
    }
    assert.equal(held.size, map.size, `step ${step}`);
  }
  assert.deepEqual(
    held.heldSince(Infinity).sort((a, b) => a - b),
    [...map.keys()].sort((a, b) => a - b),
  );
});
