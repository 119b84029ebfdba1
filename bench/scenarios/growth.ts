/** (i) What growing numbers of flows, learned names and clients cost in memory and time. */
import { join } from "node:path";
import { noRow, row } from "../harness/results.js";
import type { Context, Row, Scenario } from "../harness/types.js";
import { entriesOf } from "../growth/memory.js";
import { Subject } from "../growth/subject.js";
import { hostSwarm, swarm } from "../growth/swarm.js";
import { names } from "../harness/workload.js";
import { buildLab, closeLab, server, type BenchLab } from "../lab.js";
import { ask, buildFolder, failures, hello, ready, startAnswer, startDns } from "../load.js";

export const growth: Scenario = {
  letter: "i",
  name: "growth",
  title: "Growth: memory and time of l7egg run",
  how:
    "One gateway for each curve. Flows: one UDP packet each to an allowed network. Names: one DNS query each, every name on an address of its own. Clients: " +
    "one DNS query each from a MAC address of its own. Memory of the process is its resident set, that of the maps what the kernel has allocated.",
  needs: "none",
  seconds: { full: 400, quick: 25 },
  measure,
};

/** Questions that one run of the asker asks. */
const CHUNK = 50_000;
/** Public addresses that nobody connects to. */
const many = { first4: "8.0.0.1", first6: "2a00::1", count: 1_048_576 };
const none = (error: unknown): Row =>
  noRow(
    {
      scenario: "growth",
      metric: "memory of the process",
      point: "",
      system: "l7egg run",
      unit: "MiB",
      better: "lower",
    },
    error instanceof Error ? error.message.split("\n")[0]! : String(error),
  );

/** The longest comes last: what the time doesn't suffice for is its end. */
async function measure(context: Context): Promise<Row[]> {
  const rows: Row[] = [];
  for (const part of [both, flows, clients, learnedNames]) {
    const lab = buildLab("growth");
    try {
      await part(lab, context, rows);
    } catch (error) {
      rows.push(none(error));
    } finally {
      closeLab(lab);
    }
  }
  return rows;
}

function steps({ quick }: Context, all: readonly number[]): { readonly total: number; readonly added: number }[] {
  const some = quick ? all.slice(0, 2) : all;
  return some.map((total, i) => ({ total, added: total - (some[i - 1] ?? 0) }));
}

async function flows(lab: BenchLab, context: Context, rows: Row[]): Promise<void> {
  const subject = await Subject.start(lab, "flows", [`--cidr=${server.net}`, "--max-flows=1048576"]);
  for (const { total, added } of steps(context, [1_000, 10_000, 100_000, 1_000_000])) {
    context.progress(`${total.toLocaleString("en")} flows`);
    if (performance.now() > context.deadline) rows.push(subject.late(total));
    else {
      const grow = async () => {
        await swarm(lab, { kind: "flows", first: total - added, count: added, rate: 0, address: server.base });
        const stored = entriesOf(subject.instance, "flows4");
        return stored < total ? `${stored.toLocaleString("en")} are in the table: it is an LRU` : undefined;
      };
      rows.push(...(await subject.step(total, added, grow)));
    }
  }
  await subject.stop();
}

async function learnedNames(lab: BenchLab, context: Context, rows: Row[]): Promise<void> {
  const words = ["53", many.first4, many.first6, String(many.count), server.resolver.v4];
  await ready(lab.server.start([join(buildFolder, "dns"), ...words]));
  const subject = await Subject.start(lab, "learned names", [`--domain=${names.pattern}`, "--max-names=1048576"]);
  for (const { total, added } of steps(context, [1_000, 10_000, 100_000, 1_000_000])) {
    context.progress(`${total.toLocaleString("en")} learned names`);
    if (performance.now() > context.deadline) rows.push(subject.late(total));
    else rows.push(...(await subject.step(total, added, () => learn(lab, subject, total, added))));
  }
  await subject.stop();
}

/** `added` names that were never asked for before. */
async function learn(lab: BenchLab, subject: Subject, total: number, added: number): Promise<string | undefined> {
  for (let done = 0; done < added; done += CHUNK) {
    const name = `host-%.c${total}x${done}.bench.example`;
    const count = Math.min(CHUNK, added - done);
    const got = await ask(lab, { resolver: server.resolver.v4, name, family: "v4", count, window: 64 });
    if (got.answered < count) throw new Error(`${got.answered} of ${count} names were answered`);
  }
  const { learned } = await subject.status();
  return learned.total < total ? `${learned.total.toLocaleString("en")} are known` : undefined;
}

async function clients(lab: BenchLab, context: Context, rows: Row[]): Promise<void> {
  await hostSwarm(lab);
  await startDns(lab.server);
  const subject = await Subject.start(lab, "clients", [`--domain=${names.pattern}`]);
  const [address, name] = [server.resolver.v4, names.allowed];
  for (const { total, added } of steps(context, [100, 1_000, 10_000])) {
    context.progress(`${total.toLocaleString("en")} clients`);
    if (performance.now() > context.deadline) rows.push(subject.late(total));
    else {
      const grow = async () => {
        await swarm(lab, { kind: "clients", first: total - added, count: added, rate: 2_000, address, name });
        await new Promise((resolve) => setTimeout(resolve, 300));
        const { learned } = await subject.status();
        return learned.total < total ? `${learned.total.toLocaleString("en")} have learned their name` : undefined;
      };
      // The clients keep a pace, so what they take together says nothing.
      const step = await subject.step(total, added, grow);
      rows.push(...step.filter(({ metric }) => !metric.startsWith("time")));
    }
  }
  await subject.stop();
}

/** The figure of the table in docs/benchmarks.md: both at once, judged by name. */
async function both(lab: BenchLab, context: Context, rows: Row[]): Promise<void> {
  const count = context.quick ? 1_000 : 100_000;
  const text = count.toLocaleString("en");
  const metric = "memory of the process, names and connections judged by name";
  const head = { scenario: "growth", metric, system: "l7egg run", unit: "MiB", better: "lower" } as const;
  await Promise.all([startAnswer(lab.server), startDns(lab.server)]);
  const subject = await Subject.start(lab, "flows", [`--domain=${names.pattern}`]);
  rows.push(row({ ...head, point: "0 names and flows", x: 0 }, [await subject.memory()]));
  context.progress(`${text} names and ${text} flows`);
  const [measured] = await subject.step(count, count, async () => {
    await learn(lab, subject, count, count);
    const each = Math.min(CHUNK, count);
    const connect = {
      address: server.base,
      name: `host-%.c${count}x0.bench.example`,
      names: each,
      concurrency: 64,
      ms: context.quick ? 150 : 2_000,
    };
    let failed = 0;
    while (entriesOf(subject.instance, "flows4") < count && performance.now() < context.deadline) {
      failed += failures(await hello(lab, connect));
    }
    const stored = entriesOf(subject.instance, "flows4");
    const lost = failed > 0 ? `, ${failed} connections failed` : "";
    return `${stored.toLocaleString("en")} flows in the table${lost}`;
  });
  const { samples, note } = measured!;
  rows.push(row({ ...head, point: `${text} names and flows`, x: count }, samples, note === undefined ? {} : { note }));
  await subject.stop();
}
