import assert from "node:assert/strict";
import test from "node:test";
import { interleave, median, short, spread } from "../../bench/stats.js";

test("median: the middle, or the mean of the two in the middle; the order of the input doesn't matter", () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([7]), 7);
  assert.ok(Number.isNaN(median([])));
});

test("median leaves its input as it is", () => {
  const values = [3, 1, 2];
  median(values);
  assert.deepEqual(values, [3, 1, 2]);
});

test("interleave: each system once a round, every second round backwards", async () => {
  const order: string[] = [];
  const results = await interleave(["a", "b", "c"], 3, async (system, round) => {
    order.push(`${system}${round}`);
    return round;
  });
  assert.deepEqual(order, ["a0", "b0", "c0", "c1", "b1", "a1", "a2", "b2", "c2"]);
  assert.deepEqual(results.get("b"), [0, 1, 2]);
});

test("short and spread: three digits that count", () => {
  assert.deepEqual([0, 12, 999, 1_000, 12_345, 1.5e6, 2.05e10].map(short), [
    "0",
    "12",
    "999",
    "1 k",
    "12.3 k",
    "1.50 M",
    "20.5 G",
  ]);
  assert.equal(short(NaN), "–");
  assert.equal(spread([3_100, 1_000, 2_050]), "2.05 k (1 k–3.10 k)");
  assert.equal(spread([5]), "5");
});
