/**
 * Runs in a child process, which the guard starts with the flags that make V8 repeatable: bytes that each operation allocates, as one line of JSON.
 *
 *   node --expose-gc --single-threaded --max-semi-space-size=64 --min-semi-space-size=64 --import tsx allocations.ts
 */
import { GCProfiler } from "node:v8";
import { operations } from "../../../bench/core/operations.js";

const ROUNDS = 7;
const WARM_UP = 8_000;
/** Bytes of one round: far below the young generation, so that no collection comes between the two readings. */
const ROOM = 12 * 2 ** 20;

const results: Record<string, number> = {};
for (const operation of operations) results[operation.name] = allocated(operation.make());
process.stdout.write(JSON.stringify(results) + "\n");

/** The least of several rounds: what is more is V8 compiling, or a table that grows once. */
function allocated(run: (times: number) => void): number {
  run(WARM_UP);
  let times = 1_000;
  let least = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = bytesOf(run, times) / times;
    least = Math.min(least, bytes);
    times = Math.max(500, Math.min(20_000, Math.floor(ROOM / Math.max(least, 1))));
  }
  return least;
}

function bytesOf(run: (times: number) => void, times: number): number {
  for (;;) {
    globalThis.gc!();
    const profiler = new GCProfiler();
    profiler.start();
    const before = memory();
    run(times);
    const after = memory();
    const collections = profiler.stop()?.statistics.length ?? 0;
    if (collections === 0) return after - before;
  }
}

/** Heap, and what lies outside it (typed arrays, Buffers). */
function memory(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
