/** (e) DNS through the gateway. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { compare, type Sample } from "../harness/compare.js";
import { passesDns } from "../harness/fits.js";
import { resolverOf } from "../harness/stations.js";
import { CannotRun, type Context, type Row, type Scenario, type Station, type System } from "../harness/types.js";
import { byName, familyTitle, manyNames, names, shortName } from "../harness/workload.js";
import type { Family } from "../lab.js";
import { ask, percentileOf } from "../load.js";
import { makeFolder, which } from "../systems/program.js";
import { parseDnsperf } from "./dnsperf.js";

const name = "dns";
/** Different names in the questions, in turns. */
const asked = 4_096;

export const dns: Scenario = {
  letter: "e",
  name,
  title: "DNS through the gateway",
  how:
    "dnsperf on the client, allowed names only, 100 questions under way, to a server of ours that answers at once; with so many names in the " +
    "policy. Answered questions a second, after a third of a second that isn't measured, for what was allowed and learned a round ago is over by then; " +
    "and the time of one question when nothing else goes on.",
  needs: "network",
  seconds: { full: 330, quick: 9 },
  measure: async (context) => {
    if (which("dnsperf") === undefined)
      throw new CannotRun("dnsperf is not installed (Debian's package dnsperf brings it)");
    const { folder, remove } = makeFolder("dnsperf");
    try {
      const rows = await questionRate(context, folder, 0, "v4");
      if (!context.quick) rows.push(...(await questionRate(context, folder, 0, "v6")));
      rows.push(...(await answerTime(context)));
      for (const count of context.quick ? [] : [1_000, 1_000_000]) {
        rows.push(...(await questionRate(context, folder, count, "v4")));
        await context.labs.release([byName.key]);
      }
      return rows;
    } finally {
      remove();
    }
  },
};

/** `count`: names in the policy beside the pattern. */
function questionRate(context: Context, folder: string, count: number, family: Family): Promise<Row[]> {
  const file = join(folder, `${count}-${family}`);
  writeFileSync(file, questions(count, family));
  const title = count === 0 ? "1 name" : `${count.toLocaleString("en")} names`;
  return compare(context, {
    head: {
      scenario: name,
      metric: "questions",
      point: `${title} in the policy, ${familyTitle[family]}`,
      x: Math.max(1, count),
      unit: "queries/s",
      better: "higher",
    },
    workload: count === 0 ? byName : manyNames(count),
    fits: (system) => fits(system, context.systems),
    warmUp: (station) => run(station, file, family, 0.2),
    leadIn: (station) => run(station, file, family, context.quick ? 0.1 : 0.35),
    measure: (station) => run(station, file, family, context.quick ? 0.5 : 2),
  });
}

function fits(system: System, chosen: readonly System[]): true | string {
  const passes = passesDns(system);
  if (passes !== true || system.ways.includes("open")) return passes;
  if (!system.ways.some((way) => way === "dns" || way === "both"))
    return "does not decide by DNS: questions pass as ever";
  const last = chosen.filter((one) => one.family !== undefined && one.family === system.family && decides(one)).at(-1);
  return last === undefined || last === system ? true : `the same path as ${last.name}`;
}

function decides({ ways }: System): boolean {
  return ways.some((way) => way === "dns" || way === "both");
}

async function run(station: Station, file: string, family: Family, seconds: number): Promise<Sample> {
  const argv = [
    "dnsperf",
    "-s",
    resolverOf(station, family),
    "-d",
    file,
    "-l",
    String(seconds),
    "-q",
    "100",
    "-c",
    "8",
  ];
  // A question without an answer is lost after a second.
  const out = await station.lab.client.run([...argv, "-t", "1"], { timeoutMs: seconds * 1_000 + 10_000 });
  const got = parseDnsperf(out.stdout);
  if (!got) throw new Error(`dnsperf: ${(out.stderr || out.stdout).trim().split("\n").at(-1)!}`);
  const notes: string[] = [];
  if (got.lost > 0) notes.push(`${got.lost} of ${got.completed + got.lost} questions lost`);
  if (got.refused > 0) notes.push(`${got.refused} refused`);
  return {
    value: (got.completed - got.refused) / got.seconds,
    units: got.completed,
    ...(notes.length > 0 ? { note: notes.join(", ") } : {}),
  };
}

/** One question after the other: what each waits for. */
function answerTime(context: Context): Promise<Row[]> {
  return compare(context, {
    head: {
      scenario: name,
      metric: "time to an answer, p50",
      point: "one at a time, IPv4",
      unit: "µs",
      better: "lower",
    },
    workload: byName,
    fits: (system) => fits(system, context.systems),
    measure: async (station) => {
      const options = { resolver: resolverOf(station, "v4"), name: names.allowed, family: "v4", window: 1 } as const;
      const got = await ask(station.lab, { ...options, count: names.count * (context.quick ? 1 : 4) });
      if (got.answered === 0) throw new Error("no question was answered");
      const lost = got.lost + got.refused;
      return {
        value: percentileOf(got.latency, 50),
        latency: got.latency,
        ...(lost > 0 ? { note: `${lost} questions lost or refused` } : {}),
      };
    },
  });
}

/** Of the policy's own names, where it has many: spread over all of them. */
function questions(count: number, family: Family): string {
  const type = family === "v4" ? "A" : "AAAA";
  const lines: string[] = [];
  for (let i = 0; i < asked; i++) {
    const at = String(i % names.count).padStart(4, "0");
    const one = count === 0 ? names.allowed.replace("%", at) : shortName(Math.floor((i * count) / asked));
    lines.push(`${one} ${type}`);
  }
  return lines.join("\n") + "\n";
}
