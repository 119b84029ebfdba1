/** `npm run bench:datapath`: the figures that issue and README promise, all in one run on one machine, side by side. See docs/performance.md. */
import { writeFileSync } from "node:fs";
import { classifier } from "./figures/classifier.js";
import { connections } from "./figures/connections.js";
import { queue } from "./figures/queue.js";
import { throughput } from "./figures/throughput.js";
import { buildLoad } from "./load.js";
import { readOptions, usage, type BenchOptions, type FigureName } from "./options.js";
import { renderFigure, type FigureResult } from "./report/datapath.js";
import { describeMachine, renderMachine } from "./report/machine.js";

const figures: Readonly<Record<FigureName, (options: BenchOptions) => Promise<FigureResult>>> = {
  throughput,
  classifier,
  queue,
  connections,
};

process.exitCode = await main();

/** 0: everything was measured, reached or not; 1: something could not be measured; 2: bad arguments, not root. */
async function main(): Promise<number> {
  let options: BenchOptions | undefined;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    return say(`bench: ${textOf(error)}\n\n${usage}`, 2);
  }
  if (!options) return say(usage, 0);
  if (process.getuid?.() !== 0) return say("bench: this needs root: network namespaces, eBPF, netfilter\n", 2);

  const machine = describeMachine();
  buildLoad();
  process.stdout.write(`${renderMachine(machine)}\n\n`);
  const begun = performance.now();
  const results: Record<string, FigureResult | { readonly error: string }> = {};
  let failed = false;
  for (const name of options.only) {
    process.stderr.write(`measuring: ${name}\n`);
    try {
      const result = await figures[name](options);
      results[name] = result;
      process.stdout.write(`${renderFigure(result)}\n\n`);
    } catch (error) {
      failed = true;
      results[name] = { error: textOf(error) };
      process.stdout.write(`${name}: NOT MEASURED: ${textOf(error)}\n\n`);
    }
  }
  const seconds = (performance.now() - begun) / 1_000;
  process.stdout.write(`${summary(results)}; ${seconds.toFixed(0)} s\n`);
  if (options.json !== undefined) {
    writeFileSync(options.json, JSON.stringify({ machine, seconds, results }, undefined, 2) + "\n");
  }
  return failed ? 1 : 0;
}

function summary(results: Readonly<Record<string, FigureResult | { readonly error: string }>>): string {
  let [reached, missed, unknown] = [0, 0, 0];
  for (const result of Object.values(results)) {
    if ("error" in result) unknown++;
    else {
      for (const row of result.rows.filter((one) => one.target !== undefined)) {
        if (row.reached === undefined) unknown++;
        else if (row.reached) reached++;
        else missed++;
      }
    }
  }
  return `${reached} reached, ${missed} missed${unknown > 0 ? `, ${unknown} not measured` : ""}`;
}

function say(text: string, code: number): number {
  (code === 0 ? process.stdout : process.stderr).write(text);
  return code;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
