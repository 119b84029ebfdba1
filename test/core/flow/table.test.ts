import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BoundedTable } from "../../../src/core/flow/table.js";

type Gone = [string, number, string];

function make(options: { max?: number; ttl?: number; full?: "evict-oldest" | "refuse" } = {}) {
  const gone: Gone[] = [];
  const table = new BoundedTable<string, number>({
    max: options.max ?? 3,
    ttl: options.ttl,
    full: options.full ?? "evict-oldest",
    onEvict: (key, value, why) => void gone.push([key, value, why]),
  });
  return { table, gone };
}

describe("BoundedTable", () => {
  it("gets what was set, until exactly its time", () => {
    const { table } = make({ ttl: 100 });
    table.set("a", 1, 1000);
    assert.equal(table.get("a", 1099), 1);
    assert.equal(table.get("a", 1100), undefined);
    assert.equal(table.get("b", 1000), undefined);
    assert.equal(table.size, 1);
  });

  it("keeps without a time to live until it is deleted", () => {
    const { table, gone } = make();
    table.set("a", 1, 0);
    assert.equal(table.get("a", 1e15), 1);
    assert.equal(table.nextExpiry(), undefined);
    assert.equal(table.expire(1e15), 0);
    assert.equal(table.delete("a"), true);
    assert.equal(table.delete("a"), false);
    assert.deepEqual(gone, []);
  });

  it("evicts the oldest when full, and counts", () => {
    const { table, gone } = make({ max: 2 });
    for (const [i, key] of ["a", "b", "c"].entries()) assert.equal(table.set(key, i, 0), true);
    assert.deepEqual(gone, [["a", 0, "full"]]);
    assert.deepEqual(
      [...table.entries()],
      [
        ["b", 1],
        ["c", 2],
      ],
    );
    assert.equal(table.evicted, 1);
  });

  it("refuses when full, and counts; overwriting still works", () => {
    const { table, gone } = make({ max: 1, full: "refuse" });
    assert.equal(table.set("a", 1, 0), true);
    assert.equal(table.set("b", 2, 0), false);
    assert.equal(table.set("a", 3, 0), true);
    assert.equal(table.get("a", 0), 3);
    assert.equal(table.refused, 1);
    assert.deepEqual(gone, []);
  });

  it("makes room of what has expired before it refuses or evicts", () => {
    const { table, gone } = make({ max: 1, ttl: 10, full: "refuse" });
    table.set("a", 1, 0);
    assert.equal(table.set("b", 2, 9), false);
    assert.equal(table.set("b", 2, 10), true);
    assert.deepEqual(gone, [["a", 1, "expired"]]);
    assert.equal(table.evicted, 0);
  });

  it("touch and an overwriting set make an entry the newest, with a fresh time", () => {
    const { table, gone } = make({ max: 3, ttl: 10 });
    table.set("a", 1, 0);
    table.set("b", 2, 1);
    table.set("c", 3, 2);
    assert.equal(table.touch("a", 5), true);
    table.set("b", 20, 6);
    assert.equal(table.nextExpiry(), 12);
    assert.equal(table.expire(12), 1);
    assert.deepEqual(gone, [["c", 3, "expired"]]);
    assert.deepEqual(
      [...table.entries()],
      [
        ["a", 1],
        ["b", 20],
      ],
    );
    assert.equal(table.get("a", 14), 1);
    assert.equal(table.touch("a", 15), false);
    assert.equal(table.touch("z", 0), false);
  });

  it("tells of an expired entry that is set anew", () => {
    const { table, gone } = make({ ttl: 10 });
    table.set("a", 1, 0);
    table.set("a", 2, 10);
    assert.deepEqual(gone, [["a", 1, "expired"]]);
    assert.equal(table.get("a", 19), 2);
  });

  it("expires within a budget, the oldest first", () => {
    const { table, gone } = make({ max: 5, ttl: 10 });
    for (const [i, key] of ["a", "b", "c", "d"].entries()) table.set(key, i, i);
    assert.equal(table.expire(100, 3), 3);
    assert.deepEqual(
      gone.map(([key]) => key),
      ["a", "b", "c"],
    );
    assert.equal(table.expire(100), 1);
    assert.equal(table.nextExpiry(), undefined);
  });

  it("lets onEvict use the table", () => {
    const table: BoundedTable<string, number> = new BoundedTable<string, number>({
      max: 1,
      full: "evict-oldest",
      onEvict: (key, value) => void table.set(`${key}'`, value, 0),
    });
    table.set("a", 1, 0);
    // The evicted entry took the room again, so there is none for "b".
    assert.equal(table.set("b", 2, 0), false);
    assert.deepEqual([...table.entries()], [["a'", 1]]);
  });

  it("may be cleared, and may lose entries while it is walked", () => {
    const { table } = make({ max: 9 });
    for (const [i, key] of ["a", "b", "c"].entries()) table.set(key, i, 0);
    const seen: string[] = [];
    for (const [key] of table.entries()) {
      seen.push(key);
      table.delete(key);
    }
    assert.deepEqual(seen, ["a", "b", "c"]);
    assert.equal(table.size, 0);
    table.set("a", 1, 0);
    table.clear();
    assert.equal(table.size, 0);
    table.set("b", 1, 0);
    assert.deepEqual([...table.entries()], [["b", 1]]);
  });

  it("refuses a size below one", () => {
    assert.throws(() => make({ max: 0 }), RangeError);
    assert.throws(() => make({ max: NaN }), RangeError);
  });

  it("agrees with a slow model over many random steps", () => {
    const { table } = make({ max: 8, ttl: 20 });
    let model: { key: string; value: number; expires: number }[] = [];
    let state = 7;
    const random = (n: number) => (state = (state * 1103515245 + 12345) % 2147483648) % n;
    for (let now = 0; now < 5000; now++) {
      const key = String(random(12));
      const live = model.find((entry) => entry.key === key && entry.expires > now);
      switch (random(4)) {
        case 0: {
          model = model.filter((entry) => entry.key !== key);
          if (model.length === 8) model.shift();
          model.push({ key, value: now, expires: now + 20 });
          assert.equal(table.set(key, now, now), true);
          break;
        }
        case 1:
          assert.equal(table.touch(key, now), live !== undefined);
          if (live) model = [...model.filter((entry) => entry !== live), { ...live, expires: now + 20 }];
          break;
        case 2:
          assert.equal(
            table.delete(key),
            model.some((entry) => entry.key === key),
          );
          model = model.filter((entry) => entry.key !== key);
          break;
        default:
          assert.equal(table.get(key, now), live?.value);
      }
      assert.equal(table.nextExpiry(), model[0]?.expires);
      assert.equal(table.size, model.length);
    }
    assert.deepEqual(
      [...table.entries()],
      model.map(({ key, value }) => [key, value]),
    );
  });

  it("stays fast where a Map's own order would not: a full queue that moves on", () => {
    const table = new BoundedTable<number, number>({ max: 100_000, full: "evict-oldest" });
    // Quadratic behaviour would take minutes here, not a fraction of a second; the bound is not a measurement.
    for (let i = 0; i < 600_000; i++) table.set(i, i, 0);
    assert.equal(table.size, 100_000);
    assert.equal(table.evicted, 500_000);
    assert.equal(table.get(499_999, 0), undefined);
    assert.equal(table.get(500_000, 0), 500_000);
  });
});
