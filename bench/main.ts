/** `npm run bench`: l7egg, plain forwarding and the peers, measured side by side in one run. See docs/benchmarks.md. */
import { LabKeeper } from "./harness/labs.js";
import { readOptions, type BenchOptions } from "./harness/options.js";
import type { Results, SystemInfo } from "./harness/results.js";
import { runScenarios } from "./harness/run.js";
import type { System } from "./harness/types.js";
import { buildLoad } from "./load.js";
import { writeResults } from "./report/files.js";
import { describeMachine, renderMachine } from "./report/machine.js";
import { renderTables } from "./report/table.js";
import { scenarios } from "./scenarios/index.js";
import { systems } from "./systems/index.js";

/** What stands in the place of a system where only the load generators are measured. */
const generators: SystemInfo = {
  name: "direct",
  title: "load generators alone",
  fair: "Client and server with one cable between them: more than this no system can reach.",
  version: "bench/load",
};

process.exitCode = await main(process.argv.slice(2));

/** 0: measured; 1: a scenario failed as a whole; 2: bad arguments, or not root. */
async function main(words: readonly string[]): Promise<number> {
  const asked = readOptions(words, { scenarios, systems });
  switch (asked.kind) {
    case "help":
      return say(asked.text, 0);
    case "list":
      return say(listing(), 0);
    case "invalid":
      return say(`bench: ${asked.line}\n`, 2);
    case "run":
      if (process.getuid?.() !== 0) return say("bench: this needs root: network namespaces, eBPF, netfilter\n", 2);
      return measure(asked.options, words);
  }
}

async function measure(options: BenchOptions, words: readonly string[]): Promise<number> {
  const machine = describeMachine();
  process.stdout.write(`${renderMachine(machine)}\n`);
  buildLoad();
  const begun = performance.now();
  const seconds = () => (performance.now() - begun) / 1_000;
  const progress = (text: string) => process.stderr.write(`${seconds().toFixed(0).padStart(4)} s  ${text}\n`);
  const chosen = systems.filter(({ name }) => name === "plain" || options.systems.includes(name));
  const wanted = scenarios.filter(({ name }) => options.scenarios.includes(name));
  const labs = new LabKeeper();
  const findings = await runScenarios(wanted, chosen, labs, options, progress);
  await labs.release();
  const results: Results = {
    version: 1,
    date: new Date().toISOString(),
    command: ["npm run bench --", ...words].join(" "),
    machine,
    quick: options.quick,
    rounds: options.rounds,
    seconds: seconds(),
    systems: [...chosen.map(infoOf), ...(wanted.some(({ needs }) => needs === "network") ? [generators] : [])],
    ...findings,
  };
  process.stdout.write(`${renderTables(results)}\n`);
  for (const file of writeResults(results, options.out)) process.stdout.write(`written: ${file}\n`);
  return findings.scenarios.some(({ error }) => error !== undefined) ? 1 : 0;
}

function infoOf(system: System): SystemInfo {
  const { name, title, fair, gap } = system;
  return { name, title, fair: gap === undefined ? fair : `${fair} Gap: it ${gap}.`, version: system.version() };
}

function listing(): string {
  const lines = ["scenarios (--scenario takes the letter or the name):"];
  for (const { letter, name, title } of scenarios) lines.push(`  ${letter}  ${name.padEnd(14)} ${title}`);
  lines.push("systems:");
  for (const { name, title } of systems) lines.push(`     ${name.padEnd(14)} ${title}`);
  return lines.join("\n") + "\n";
}

function say(text: string, code: number): number {
  (code === 0 ? process.stdout : process.stderr).write(text);
  return code;
}
