/** What is read off a process is what the kernel says of it. */
import assert from "node:assert/strict";
import test from "node:test";
import { cpuUs, rssMiB, settled } from "../../../bench/growth/memory.js";

test("resident memory is about what Node says of itself, and grows with what is held", () => {
  const before = rssMiB(process.pid);
  assert.ok(Math.abs(before - process.memoryUsage().rss / 2 ** 20) < 10, `${before} MiB`);
  const held = Buffer.alloc(64 << 20, 1);
  const after = rssMiB(process.pid);
  assert.ok(after - before > 60, `${before} MiB, then ${after} MiB`);
  assert.equal(held[held.length - 1], 1);
});

test("processor time grows with work, by no more than there was time for", () => {
  const [begun, before] = [performance.now(), cpuUs(process.pid)];
  let sum = 0;
  while (cpuUs(process.pid) - before < 20_000) for (let i = 0; i < 1e5; i++) sum += i % 7;
  const wall = (performance.now() - begun) * 1e3;
  const used = cpuUs(process.pid) - before;
  assert.ok(used >= 20_000 && sum > 0);
  // V8's helper threads may have worked beside us.
  assert.ok(used <= wall * 8, `${used} µs in ${wall} µs`);
});

test("a process that is gone is an error, not a figure", async () => {
  assert.throws(() => rssMiB(2 ** 22 + 1), /ENOENT/);
  await assert.rejects(settled(2 ** 22 + 1), /ENOENT/);
});
