/** (h) What the core's parsers and decisions take, each by itself. */
import { join } from "node:path";
import { run } from "../../test/lab/process.js";
import { operations } from "../core/operations.js";
import type { Timed } from "../core/run.js";
import { row } from "../harness/results.js";
import type { Context, Row, Scenario } from "../harness/types.js";
import { root } from "../load.js";

export const core: Scenario = {
  letter: "h",
  name: "core",
  title: "Core, nanoseconds an operation",
  how:
    "One process, one operation at a time, in turns; no packet is queued and no map written. Each operation's answer is checked. The engine's lines hold " +
    "parsing, decision and all tables of user space, but not the queue and the maps.",
  needs: "none",
  seconds: { full: 60, quick: 10 },
  measure,
};

/** Building a policy of a million names takes longer than a quick run may. */
const leftOut = ["decide-name-1m", "decide-address-100k"];

async function measure(context: Context): Promise<Row[]> {
  const { quick, rounds, deadline } = context;
  const script = join(root, "bench/core/run.ts");
  const words = [rounds, quick ? 20 : 150, "without", ...(quick ? leftOut : [])].map(String);
  context.progress(`${operations.length} operations`);
  const timeoutMs = Math.max(deadline - performance.now(), 5_000);
  const out = await run([process.execPath, "--import", "tsx", script, ...words], { timeoutMs, cwd: root });
  if (out.timedOut) throw new Error(`took more than ${Math.round(timeoutMs / 1_000)} s`);
  if (out.code !== 0) throw new Error(`failed: ${/^\w*Error: .*$/m.exec(out.stderr)?.[0] ?? out.stderr}`);
  const timed = JSON.parse(out.stdout) as Timed[];
  return timed.map(rowOf);
}

function rowOf({ name, samples }: Timed): Row {
  const { what, among } = operations.find((operation) => operation.name === name)!;
  const point = among ? `${among.count.toLocaleString("en")} ${among.of}` : "warm";
  return row({ ...head(what, point), ...(among ? { x: among.count } : {}) }, samples);
}

function head(metric: string, point: string): Parameters<typeof row>[0] {
  return { scenario: "core", metric, point, system: "core", unit: "ns", better: "lower" };
}
