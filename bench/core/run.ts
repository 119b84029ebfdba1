/**
 * Runs in a process of its own: nanoseconds that each of the core's operations takes. Prints one line of JSON: `Timed[]`.
 *
 *   run.ts ROUNDS MILLISECONDS [without OPERATION...]
 */
import { operations, type Times } from "./operations.js";

export interface Timed {
  readonly name: string;
  /** ns an operation, one for each round. */
  readonly samples: readonly number[];
}

const [rounds, ms] = process.argv.slice(2, 4).map(Number) as [number, number];
const without = process.argv.slice(5);
const WARM_UP = 5_000;

const chosen = operations
  .filter(({ name }) => !without.includes(name))
  .map(({ name, make }) => {
    const run = make();
    run(WARM_UP);
    // As many as fill the time, by what a fifth of the warm-up takes once V8 has compiled it.
    const once = nanoseconds(run, WARM_UP / 5);
    return { name, run, times: Math.max(100, Math.round((ms * 1e6) / once)), samples: [] as number[] };
  });
for (let round = 0; round < rounds; round++) {
  for (const { run, times, samples } of chosen) samples.push(nanoseconds(run, times));
}
process.stdout.write(JSON.stringify(chosen.map(({ name, samples }): Timed => ({ name, samples }))) + "\n");

function nanoseconds(run: Times, times: number): number {
  const begun = process.hrtime.bigint();
  run(times);
  return Number(process.hrtime.bigint() - begun) / times;
}
