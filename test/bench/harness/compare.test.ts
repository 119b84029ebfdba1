/** The measuring itself, with systems that are functions: order, failures, deadlines. */
import assert from "node:assert/strict";
import test from "node:test";
import { compare, medianOf, type Point } from "../../../bench/harness/compare.js";
import type { Context, Labs, Station, System } from "../../../bench/harness/types.js";

const head = { scenario: "s", metric: "m", point: "p", unit: "things/s", better: "higher" } as const;
const workload = { key: "w", cidrs: [], domains: [] };

function system(name: string): System {
  return {
    name,
    title: name,
    fair: "",
    ways: ["open"],
    version: () => "",
    start: () => Promise.reject(new Error("not here")),
  };
}

function context(names: readonly string[], deadline = Infinity): Context {
  const labs: Labs = {
    get: async (one) =>
      one.name === "absent"
        ? { why: "not installed" }
        : ({ system: one, running: { pids: () => [process.pid], stop: async () => undefined } } as unknown as Station),
    direct: () => Promise.reject(new Error("not here")),
    release: async () => undefined,
  };
  return { quick: false, rounds: 3, systems: names.map(system), labs, deadline, progress: () => undefined };
}

function point(measure: Point["measure"], more: Partial<Point> = {}): Point {
  return { head, workload, fits: () => true, measure, warmUp: async () => undefined, ...more };
}

test("a row for each system, in their order: samples, median, spread, memory, processor time for each unit", async () => {
  const values = [30, 10, 20];
  const rows = await compare(
    context(["plain", "other"]),
    point(async (_, round) => ({ value: values[round]!, units: 10 })),
  );
  assert.deepEqual(
    rows.map(({ system: name }) => name),
    ["plain", "other"],
  );
  const [row] = rows;
  assert.deepEqual([row!.samples, row!.median, row!.spread], [[30, 10, 20], 20, [10, 30]]);
  assert.ok(row!.peakRssKiB! > 1_000 && row!.cpuUsPerUnit! >= 0 && row!.note === undefined);
});

test("who isn't there, doesn't fit or fails says why; the others are measured", async () => {
  const rows = await compare(
    context(["plain", "absent", "unfit", "failing", "cold"]),
    point(
      async ({ system: { name } }, round) => {
        if (name === "failing" && round === 1) throw new Error("3 of 4 failed\nand more");
        return { value: 1 };
      },
      {
        fits: ({ name }) => (name === "unfit" ? "carries TLS only" : true),
        warmUp: async ({ system: { name } }) => {
          if (name === "cold") throw new Error("nothing answered");
        },
      },
    ),
  );
  assert.deepEqual(
    rows.map(({ median, note }) => note ?? median),
    [1, "not installed", "carries TLS only", "3 of 4 failed", "nothing answered"],
  );
  assert.deepEqual(
    rows.map(({ samples }) => samples.length),
    [3, 0, 0, 0, 0],
  );
});

test("the lead-in comes before each measurement, and one that fails ends the system's rounds", async () => {
  const done: string[] = [];
  const rows = await compare(
    context(["plain", "other"]),
    point(
      async ({ system: { name } }, round) => {
        done.push(`${name} ${round}`);
        return { value: 1 };
      },
      {
        leadIn: async ({ system: { name } }) => {
          done.push(`${name} leads in`);
          if (name === "other") throw new Error("no lead");
        },
      },
    ),
  );
  const plain = done.filter((one) => one.startsWith("plain"));
  assert.deepEqual(
    plain,
    [0, 1, 2].flatMap((round) => ["plain leads in", `plain ${round}`]),
  );
  assert.deepEqual(
    done.filter((one) => one.startsWith("other")),
    ["other leads in"],
  );
  assert.deepEqual(
    rows.map(({ median, note }) => note ?? median),
    [1, "no lead"],
  );
});

test("past the deadline the first round is still measured, no other, and the note says so", async () => {
  const rows = await compare(
    context(["plain", "other"], 0),
    point(async () => ({ value: 5, note: "1 lost" })),
  );
  for (const row of rows) {
    assert.deepEqual(row.samples, [5]);
    assert.equal(row.note, "1 lost; 1 of 3 rounds: the time was over");
  }
});

test("latency: of each percentile the median of the rounds", () => {
  const rounds = [10, 30, 20].map((p50, n) => [[50, p50] as const, [99, 100 * (n + 1)] as const]);
  assert.deepEqual(medianOf(rounds), [
    [50, 20],
    [99, 200],
  ]);
  assert.deepEqual(medianOf([]), []);
});
