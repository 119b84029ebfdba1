import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { native } from "../../src/native/index.js";
import { compile } from "./place.js";

const path = compile("fixture");
const object = native.loadObject({ path });
const emit = object.program("emit");
const data = Buffer.alloc(64);

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 300 && !condition(); i++) await sleep(5);
  assert.ok(condition());
}

test("each record once, in order, whole; discarded ones are skipped; wrapped ones too", async (t) => {
  const seen: number[] = [];
  const ring = native.openRingBuffer(object.map("ring"), (record) => {
    assert.equal(record.length, 8);
    assert.equal(record.readUInt32LE(4), 64);
    seen.push(record.readUInt32LE());
  });
  t.after(() => ring.close());
  const expected: number[] = [];
  // 4096 bytes of 16 a record: more than seven times round.
  for (let mark = 1; mark <= 2000; mark++) {
    const value = mark % 5 === 0 ? 0 : mark;
    assert.equal(emit.testRun({ data, mark: value }).returnValue, 0, "room in the ring");
    if (value !== 0) expected.push(value);
    if (mark % 200 === 0) await until(() => seen.length === expected.length);
  }
  assert.deepEqual(seen, expected);
});

test("at most maxPerTurn in a turn: other work comes in between, and all arrive", async (t) => {
  let records = 0;
  const steps: number[] = [];
  const tick = (): void => {
    steps.push(records);
    if (records < 100 && steps.length < 10_000) setImmediate(tick);
  };
  const ring = native.openRingBuffer(object.map("ring"), () => records++, 10);
  t.after(() => ring.close());
  for (let i = 1; i <= 100; i++) emit.testRun({ data, mark: i });
  setImmediate(tick);
  await until(() => records === 100);
  const jumps = steps.map((count, i) => count - (steps[i - 1] ?? 0));
  assert.ok(Math.max(...jumps) <= 10, String(jumps));
});

test("what was written before it was opened is delivered; what was not read stays for the next reader", async (t) => {
  for (let i = 1; i <= 3; i++) emit.testRun({ data, mark: i });
  const seen: number[] = [];
  const first = native.openRingBuffer(
    object.map("ring"),
    (record) => {
      seen.push(record.readUInt32LE());
      first.close();
    },
    1,
  );
  t.after(() => first.close());
  await until(() => seen.length === 1);
  const second = native.openRingBuffer(object.map("ring"), (record) => seen.push(record.readUInt32LE()));
  t.after(() => second.close());
  await until(() => seen.length === 3);
  assert.deepEqual(seen, [1, 2, 3]);
});

test("a record whose handler throws doesn't take the others with it", async (t) => {
  const errors: unknown[] = [];
  const caught = (error: unknown): void => void errors.push(error);
  const others = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", caught);
  const seen: number[] = [];
  const ring = native.openRingBuffer(object.map("ring"), (record) => {
    const mark = record.readUInt32LE();
    if (mark === 2) throw new Error("on purpose");
    seen.push(mark);
  });
  t.after(() => ring.close());
  for (let i = 1; i <= 4; i++) emit.testRun({ data, mark: i });
  await until(() => seen.length === 3);
  assert.deepEqual(seen, [1, 3, 4]);
  await until(() => errors.length === 1);
  assert.match(String(errors[0]), /on purpose/);
  process.removeListener("uncaughtException", caught);
  for (const listener of others) process.on("uncaughtException", listener);
});

test("a handler that writes to its record harms nobody", async (t) => {
  const seen: number[] = [];
  const ring = native.openRingBuffer(object.map("ring"), (record) => {
    seen.push(record.readUInt32LE());
    record.fill(0xff);
  });
  t.after(() => ring.close());
  for (let i = 1; i <= 5; i++) emit.testRun({ data, mark: i });
  await until(() => seen.length === 5);
  assert.deepEqual(seen, [1, 2, 3, 4, 5]);
});

test("only ring buffers, only open ones, only functions", () => {
  assert.throws(() => native.openRingBuffer(object.map("hash"), () => {}), {
    code: "EINVAL",
    operation: "map ring buffer",
  });
  assert.throws(() => native.openRingBuffer({} as never, () => {}), /TypeError: map must be a BpfMap/);
  assert.throws(() => native.openRingBuffer(object.map("ring"), 1 as never), /TypeError: handler/);
  assert.throws(() => native.openRingBuffer(object.map("ring"), () => {}, 0), /RangeError: maxPerTurn/);
  const map = object.map("ring");
  map.close();
  assert.throws(() => native.openRingBuffer(map, () => {}), /BPF map is closed/);
});
