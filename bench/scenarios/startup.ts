/** (k) How long `l7egg run` takes until everything is governed, also after it was killed, and what it holds then. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { callControl } from "../../src/control/client.js";
import type { ReloadReport } from "../../src/edge/reloadReport.js";
import { prefix } from "../../test/lab/cleanup.js";
import { byAddress, manyNames, names } from "../harness/workload.js";
import { noRow, row, type RowHead } from "../harness/results.js";
import type { Context, Row, Scenario, Workload } from "../harness/types.js";
import { mapMiB, rssMiB, settled } from "../growth/memory.js";
import { buildLab, closeLab, server, type BenchLab } from "../lab.js";
import { ask, percentileOf, pulse, startAnswer, startDns } from "../load.js";
import { makeFolder } from "../systems/program.js";
import { commaLists, startGateway, type Gateway } from "../systems/l7egg/start.js";

export const startup: Scenario = {
  letter: "k",
  name: "startup",
  title: "Start-up and reload of l7egg run",
  how:
    'From the start of the process to its line "ready", as its own log dates it: Node, policy, maps, programs, iptables, queues. Take-over: the same after ' +
    "kill -9, with what the killed one left in force until the new one has its place. Rules come from the command line. Reload: from the command on the control " +
    "socket until the changed policy file is in force, and what an established connection sees of it, beside a round trip each millisecond.",
  needs: "none",
  seconds: { full: 300, quick: 18 },
  measure,
};

const noTime = "the scenario's time was over";

interface Case {
  readonly of: "names" | "CIDRs";
  readonly count: number;
  readonly workload: Workload;
}

async function measure(context: Context): Promise<Row[]> {
  const { quick, deadline } = context;
  const rounds = quick ? 1 : Math.min(context.rounds, 3);
  const counts = (all: readonly number[]) => (quick ? all.slice(0, 2) : all);
  const cases: Case[] = [
    ...counts([0, 1_000, 100_000]).map((count) => ({ of: "CIDRs", count, workload: byAddress(count) }) as const),
    ...counts([1, 1_000, 100_000, 1_000_000]).map(
      (count) => ({ of: "names", count, workload: manyNames(count - 1) }) as const,
    ),
  ];
  const lab = buildLab("startup");
  try {
    const rows: Row[] = [];
    for (const one of cases) rows.push(...(await starts(lab, one, one.count > 100_000 ? 1 : rounds, context)));
    for (const count of counts([1, 1_000, 100_000])) {
      const point = amount(count, "learned names");
      context.progress(`take-over with ${point}`);
      const late = performance.now() > deadline;
      const of = head("take-over after kill -9", point, count);
      rows.push(late ? noRow(of, noTime) : row(of, await takeOver(lab, count, rounds)));
    }
    for (const one of cases) {
      if (one.count === 0 || one.count === 1_000) continue;
      rows.push(...(await reloads(lab, one, one.count > 100_000 ? 1 : rounds, context)));
    }
    return rows;
  } finally {
    closeLab(lab);
  }
}

async function starts(lab: BenchLab, { of, count, workload }: Case, rounds: number, context: Context): Promise<Row[]> {
  const point = amount(count, of);
  const took: number[] = [];
  const [rss, maps]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds && performance.now() < context.deadline; round++) {
    context.progress(`start with ${point}`);
    const started = await start(lab, [
      ...commaLists("--cidr", workload.cidrs),
      ...commaLists("--domain", workload.domains),
    ]);
    await settled(started.gateway.daemon.pid);
    took.push(started.ms);
    rss.push(rssMiB(started.gateway.daemon.pid));
    maps.push(mapMiB(started.gateway.instance));
    await started.gateway.stop();
  }
  if (took.length === 0) return [noRow(head("start", point, count), noTime)];
  const memory = { unit: "MiB" } as const;
  return [
    row(head("start", point, count), took),
    row({ ...head("resident memory of the process after the start", point, count), ...memory }, rss),
    row({ ...head("memory of the eBPF maps after the start", point, count), ...memory }, maps),
  ];
}

/** The same policy and one rule more, in turns; the lists are in a file of their own, one a line. */
async function reloads(lab: BenchLab, { of, count, workload }: Case, rounds: number, context: Context): Promise<Row[]> {
  const point = amount(count, of);
  const metric = "reload of the policy";
  if (performance.now() > context.deadline) return [noRow(head(metric, point, count), noTime)];
  context.progress(`reload with ${point}`);
  const { folder, remove } = makeFolder("reload");
  const file = join(folder, "policy.yaml");
  const write = (more: number) => {
    const list = [...workload.cidrs, server.allowed.v4, server.allowed.v6];
    writeFileSync(join(folder, "networks.txt"), [...new Set(list)].join("\n"));
    writeFileSync(join(folder, "names.txt"), [...workload.domains, ...Array.from({ length: more }, () => "one.more.example")].join("\n")); // prettier-ignore
    writeFileSync(file, `resolver: [${server.resolver.v4}, "${server.resolver.v6}"]\ncidr-file: networks.txt\ndomain-file: names.txt\n`); // prettier-ignore
  };
  const answer = await startAnswer(lab.server);
  const took: number[] = [];
  const slowest: number[] = [];
  try {
    write(0);
    const gateway = await startGateway(lab, [`--policy=${file}`]);
    await settled(gateway.daemon.pid);
    const path = `/run/l7egg/${gateway.instance}/control.sock`;
    for (let round = 0; round < rounds; round++) {
      write((round + 1) % 2);
      const beats = pulse(lab, server.first.v4, names.one, count > 100_000 ? 8_000 : 3_000);
      await sleep(200);
      const report = (await callControl({ path, method: "reload", timeoutMs: 60_000 })) as ReloadReport;
      took.push(report.ms);
      const got = await beats;
      if (!got.established || got.lost + got.retransmitted > 0) {
        throw new Error(`an established connection lost ${got.lost} and sent ${got.retransmitted} again`);
      }
      slowest.push(percentileOf(got.latency, 100));
    }
    await gateway.stop();
  } finally {
    await answer.stop();
    remove();
  }
  return [
    row(head(metric, point, count), took),
    row(
      { ...head("slowest round trip of an established connection beside a reload", point, count), unit: "µs" },
      slowest,
    ),
  ];
}

/** `count` names are learned, the process is killed, the next start restores them from the journal and adopts the flows. */
async function takeOver(lab: BenchLab, count: number, rounds: number): Promise<number[]> {
  const dns = await startDns(lab.server);
  const took: number[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      const args = [`--domain=${names.pattern}`, `--name=${prefix}take${round}`];
      const killed = await start(lab, args);
      const asked = await ask(lab, { resolver: server.resolver.v4, name: names.allowed, family: "v4", count });
      if (asked.answered < count) throw new Error(`${asked.answered} of ${count} names were answered`);
      killed.gateway.daemon.signal("SIGKILL");
      await killed.gateway.daemon.exited;
      const next = await start(lab, args);
      const said = /took over from a run that was killed: (\d+) learned names?, flows kept/.exec(
        next.gateway.log(),
      )?.[1];
      if (Number(said) !== count) throw new Error(`${said ?? "no"} of ${count} learned names were taken over`);
      took.push(next.ms);
      await next.gateway.stop();
      await killed.gateway.stop();
    }
  } finally {
    await dns.stop();
  }
  return took;
}

/** Its log dates the line to the millisecond. */
async function start(
  lab: BenchLab,
  args: readonly string[],
): Promise<{ readonly gateway: Gateway; readonly ms: number }> {
  const begun = Date.now();
  const gateway = await startGateway(lab, ["--log-format=json", ...args]);
  const line = gateway.log().split("\n").find((text) => text.includes('"msg":"ready"')); // prettier-ignore
  if (line === undefined) throw new Error(`no line "ready" in the log: ${gateway.log().slice(0, 300)}`);
  return { gateway, ms: Date.parse((JSON.parse(line) as { time: string }).time) - begun };
}

function amount(count: number, of: string): string {
  return `${count.toLocaleString("en")} ${count === 1 ? of.replace(/s$/, "") : of}`;
}

function head(metric: string, point: string, x: number | undefined): RowHead {
  const fixed = { scenario: "startup", metric, point, system: "l7egg run", unit: "ms", better: "lower" } as const;
  return x === undefined ? fixed : { ...fixed, x };
}
