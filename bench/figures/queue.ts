/** Figure 3: every packet through user space and accepted there: our addon against npm `nfqueue`, small UDP packets. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Daemon } from "../../test/lab/process.js";
import { buildLab, closeLab, lanInterface, wanInterface, type BenchLab } from "../lab.js";
import { inject, ready, root, type InjectResult } from "../load.js";
import type { BenchOptions } from "../options.js";
import type { FigureResult, Row } from "../report/datapath.js";
import { interleave, median, short, spread } from "../stats.js";
import { installNfqueue } from "../systems/npm-nfqueue/install.js";

type SystemName = "plain" | "addon" | "nfqueue";

interface System {
  readonly name: SystemName;
  readonly lab: BenchLab;
  readonly listener: Daemon | undefined;
}

/** Packets a second offered; the last is more than any machine can send. */
const rates = [50_000, 100_000, 200_000, 300_000, 400_000, 500_000, 600_000, 100_000_000] as const;
const promised = 200_000;

interface Measured {
  readonly rate: number;
  readonly results: ReadonlyMap<System, readonly InjectResult[]>;
}

export async function queue(options: BenchOptions): Promise<FigureResult> {
  const missing = installNfqueue();
  const names: SystemName[] = ["plain", "addon", ...(missing === undefined ? (["nfqueue"] as const) : [])];
  const systems: System[] = [];
  try {
    for (const name of names) systems.push(await build(name));
    const [rounds, ms] = options.quick ? [2, 300] : [5, 400];
    // The first packets warm up what is compiled at run time.
    for (const { lab } of systems) await inject(lab, 100_000, 1_000);
    // All rates in each round: low ones and high ones see the same machine.
    const points = rates.flatMap((rate) => systems.map((system) => ({ rate, system })));
    const samples = await interleave(points, rounds, ({ rate, system }) => inject(system.lab, rate, ms));
    const measured = rates.map((rate) => ({
      rate,
      results: new Map(
        [...samples].filter(([point]) => point.rate === rate).map(([{ system }, list]) => [system, list]),
      ),
    }));
    const said = new Map<SystemName, unknown>();
    for (const { name, listener } of systems) if (listener) said.set(name, await finish(listener));
    return {
      title: "Every packet through NFQUEUE, accepted in JavaScript",
      how:
        "64-byte UDP of 64 flows, each packet one skb, made by the kernel's XDP test run at the router's LAN interface, counted and ended at " +
        "its WAN interface: nothing but the router is measured. Packets come in on one processor, user space has the others. No connection tracking. Offered at " +
        `${rates.slice(0, -1).map(short).join(", ")}/s and as fast as it goes, ${rounds} rounds of ${ms} ms in turns. ` +
        "Capacity: the best rate of delivery at any of them (median of its rounds).",
      rows: rowsOf(measured, systems, missing),
      raw: { measured: rawOf(measured), listeners: Object.fromEntries(said), missing },
    };
  } finally {
    for (const { lab } of systems) closeLab(lab);
  }
}

async function build(name: SystemName): Promise<System> {
  const lab = buildLab(name);
  if (name === "plain") return { name, lab, listener: undefined };
  const rule = ["-A", "FORWARD", "-i", lanInterface, "-o", wanInterface, "-j", "NFQUEUE", "--queue-num", "0"];
  await lab.router.must(["iptables", "-w", "-t", "mangle", ...rule]);
  const program =
    name === "addon"
      ? ["--import", "tsx", join(root, "bench/queue/addon.ts")]
      : [join(root, "bench/queue/npm-nfqueue.cjs")];
  // The generator has processor 0 for itself (see `inject`), as an interrupt of a network card would.
  const last = availableParallelism() - 1;
  const place = last > 0 ? ["taskset", "-c", `1-${last}`] : [];
  const listener = lab.router.startBare([...place, process.execPath, ...program], { cwd: root });
  await ready(listener, 15_000);
  return { name, lab, listener };
}

async function finish(listener: Daemon): Promise<unknown> {
  await listener.stop();
  const last = listener.stdout.trim().split("\n").at(-1)!;
  if (last === "ready") throw new Error(`${listener.what} gave no statistics: ${listener.stderr}`);
  return JSON.parse(last);
}

function rowsOf(measured: readonly Measured[], systems: readonly System[], missing: string | undefined): Row[] {
  const best = (name: SystemName) => capacity(measured, systems, name);
  const [plain, addon] = [best("plain"), best("addon")];
  const nfqueue = missing === undefined ? best("nfqueue") : undefined;
  const ratio = nfqueue && median(addon.delivered) / median(nfqueue.delivered);
  return [
    {
      what: "capacity through the addon",
      measured: `${spread(addon.delivered)} packets/s`,
      against: nfqueue ? `npm nfqueue: ${spread(nfqueue.delivered)} packets/s` : missing!,
      target: "≥ 4 × npm nfqueue",
      ...(ratio === undefined ? {} : { ratio, reached: ratio >= 4 }),
    },
    lossRow(measured, systems),
    ...(nfqueue
      ? [{ what: "npm nfqueue at the same offer", measured: lossText(at(measured, systems, "nfqueue", promised)) }]
      : []),
    {
      what: "plain forwarding, nothing queued",
      measured: `${spread(plain.delivered)} packets/s`,
      against: "what this lab can offer and count",
    },
  ];
}

/** No packet lost, in no round; and it must really have been offered. */
function lossRow(measured: readonly Measured[], systems: readonly System[]): Row {
  const results = at(measured, systems, "addon", promised);
  const offered = median(results.map((one) => one.sent / one.seconds));
  const lost = results.reduce((sum, one) => sum + one.sent - one.received, 0);
  const enough = offered >= promised * 0.98;
  return {
    what: `lost by the addon at ${short(promised)} packets/s`,
    measured: lossText(results),
    against: enough ? "" : "the sender could not offer more on these CPUs",
    target: "none lost",
    reached: enough && lost === 0,
  };
}

function lossText(results: readonly InjectResult[]): string {
  const sent = results.reduce((sum, one) => sum + one.sent, 0);
  const lost = results.reduce((sum, one) => sum + one.sent - one.received, 0);
  const offered = median(results.map((one) => one.sent / one.seconds));
  return `${lost} of ${sent} lost (${((100 * lost) / sent).toFixed(1)} %), offered ${short(offered)}/s`;
}

function capacity(
  measured: readonly Measured[],
  systems: readonly System[],
  name: SystemName,
): { delivered: number[] } {
  const all = measured.map(({ rate }) => ({
    delivered: at(measured, systems, name, rate).map((one) => one.delivered / one.seconds),
  }));
  return all.reduce((a, b) => (median(b.delivered) > median(a.delivered) ? b : a));
}

function at(
  measured: readonly Measured[],
  systems: readonly System[],
  name: SystemName,
  rate: number,
): readonly InjectResult[] {
  const system = systems.find((one) => one.name === name)!;
  return measured.find((one) => one.rate === rate)!.results.get(system)!;
}

function rawOf(measured: readonly Measured[]): unknown {
  return measured.map(({ rate, results }) => ({
    rate,
    ...Object.fromEntries([...results].map(([system, values]) => [system.name, values])),
  }));
}
