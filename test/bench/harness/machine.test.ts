import assert from "node:assert/strict";
import test from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { busyUs, peakRssKiB, resetPeak } from "../../../bench/harness/machine.js";
import { until } from "../../lab/process.js";

test("busy: user, nice, system, irq and softirq of all CPUs; not idle, iowait, stolen or a guest's (counted as user already)", () => {
  const stat = "cpu  100 20 300 99999 8888 4 50 7777 60 6\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 5\n";
  assert.equal(busyUs(stat), (100 + 20 + 300 + 4 + 50) * 10_000);
});

test("busy time grows while something is busy", () => {
  const before = busyUs();
  const end = performance.now() + 60;
  while (performance.now() < end);
  assert.ok(busyUs() - before >= 30_000);
});

test("the peak of a process is what it has used, and starts anew", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  let block: Buffer | undefined = Buffer.alloc(128 << 20, 1);
  const high = peakRssKiB([process.pid]);
  assert.ok(high > block.length >> 10, `${high} KiB`);
  block = undefined;
  collect();
  // The memory behind a buffer goes back a moment later.
  await until("the memory to be given back", () => process.memoryUsage().rss >> 10 < high - (64 << 10));
  // The kernel counts by the CPU and adds up now and then: some pages more or less.
  assert.ok(peakRssKiB([process.pid]) > high - 2_048);
  resetPeak([process.pid]);
  const anew = peakRssKiB([process.pid]);
  assert.ok(anew > 0 && anew < high - (32 << 10), `${anew} KiB after ${high} KiB`);
});

test("a process that is gone has no peak", () => {
  const gone = 4_194_304; // above the kernel's largest process id
  resetPeak([gone]);
  assert.equal(peakRssKiB([gone]), 0);
});
