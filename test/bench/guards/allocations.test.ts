/** The core's hot paths allocate no more than they must: bytes, not times, so that no loaded machine can fail it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { operations } from "../../../bench/core/operations.js";
import { allocationBounds, most } from "./bounds.js";

/** V8 compiles and collects in the thread that runs, and has room enough not to collect at all. */
const flags = ["--expose-gc", "--single-threaded", "--min-semi-space-size=64", "--max-semi-space-size=64"];

test("bytes allocated by one operation", async (t) => {
  const script = fileURLToPath(new URL("allocations.ts", import.meta.url));
  const child = spawnSync(process.execPath, [...flags, "--import", "tsx", script], { encoding: "utf8" });
  assert.equal(child.status, 0, child.stderr);
  const measured = JSON.parse(child.stdout) as Record<string, number>;

  await t.test("every operation has a bound, every bound an operation", () => {
    const names = operations.map(({ name }) => name);
    assert.deepEqual(allocationBounds.map(({ name }) => name).sort(), [...names].sort());
    assert.deepEqual(Object.keys(measured).sort(), [...names].sort());
  });
  for (const bound of allocationBounds) {
    await t.test(`${bound.name}: at most ${most(bound)}`, () => {
      const bytes = measured[bound.name]!;
      assert.ok(bytes <= most(bound), `${Math.round(bytes)} bytes; ${bound.measured} are known: ${bound.why}`);
      // Far below: either somebody made it better (then the bound follows), or it is not measured any more.
      assert.ok(bytes >= bound.measured / 2, `only ${Math.round(bytes)} bytes: set its bound anew`);
    });
  }
});
