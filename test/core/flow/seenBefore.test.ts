import assert from "node:assert/strict";
import test from "node:test";
import { SeenBefore } from "../../../src/core/flow/seenBefore.js";

test("the first time is new, the second is not, until its time is over; being asked doesn't prolong it", () => {
  const seen = new SeenBefore({ max: 16, ttl: 1_000 });
  assert.equal(seen.test(["a", "b"], 10), false);
  assert.equal(seen.test(["a", "b"], 1_009), true);
  assert.equal(seen.test(["a", "b"], 1_010), false);
  assert.equal(seen.test(["a", "b"], 1_011), true);
});

test("parts don't run into each other, and their order counts", () => {
  const seen = new SeenBefore({ max: 1_024, ttl: 1_000 });
  for (const parts of [["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], ["abc", ""], []]) assert.equal(seen.test(parts, 1), false, parts.join()); // prettier-ignore
});

test("a thousand that come in turns are known the second time, with sixteen thousand places: two in one don't push each other out", () => {
  const seen = new SeenBefore({ max: 16_384, ttl: 1e6 });
  const turn = (now: number) => Array.from({ length: 1_000 }, (_, i) => seen.test(["client", `host-${i}.example`], now)).filter(Boolean).length; // prettier-ignore
  assert.equal(turn(1), 0);
  assert.ok(turn(2) >= 990);
});

test("full: it stays as large as it is, the newest are known, and what is new is hardly ever taken for known", () => {
  const seen = new SeenBefore({ max: 1_024, ttl: 1e6 });
  let known = 0;
  for (let i = 0; i < 200_000; i++) {
    if (seen.test([`new-${i}`], i)) known++;
    assert.equal(seen.test([`new-${i}`], i), true);
  }
  // One in some millions is expected: 23 bits besides those of the place, two fingerprints each.
  assert.ok(known <= 3, `${known} of 200,000`);
});

test("the smallest has two places; none, and too many, are refused", () => {
  const seen = new SeenBefore({ max: 2, ttl: 100 });
  assert.deepEqual(["a", "b", "a", "c", "b"].map((one, now) => seen.test([one], now)), [false, false, true, false, true]); // prettier-ignore
  for (const max of [0, 1, 2 ** 24 + 1, NaN]) assert.throws(() => new SeenBefore({ max, ttl: 1 }), RangeError);
});
