/** One point of a scenario, measured on all systems in turns. */
import { interleave, median } from "../stats.js";
import { firstLine } from "./labs.js";
import { busyUs, peakRssKiB, resetPeak } from "./machine.js";
import { noRow, row, type RowHead } from "./results.js";
import type { Context, Distribution, Row, Station, System, Workload } from "./types.js";

/** One measurement of one system. */
export interface Sample {
  readonly value: number;
  /** Connections, packets or queries that were done, to share the processor time among. */
  readonly units?: number;
  readonly latency?: Distribution;
  /** What must be known to read the value: "3 failed". */
  readonly note?: string;
}

export interface Point {
  readonly head: Omit<RowHead, "system">;
  readonly workload: Workload;
  /** Those that it makes sense for; the others get a line with the reason. */
  readonly fits: (system: System) => true | string;
  readonly measure: (station: Station, round: number) => Promise<Sample>;
  /** Run before the first round, unmeasured: what is compiled at run time, learned or allocated lazily. Default: one measurement. */
  readonly warmUp?: (station: Station) => Promise<unknown>;
  /** Run before each measurement, unmeasured: what the other systems' turns let expire. Default: nothing. */
  readonly leadIn?: (station: Station) => Promise<unknown>;
  readonly rounds?: number;
}

type Outcome = { readonly sample: Sample; readonly cpuUs: number } | { readonly failed: string } | undefined;

/** A line for each system, in their order. Never rejects because of a system: what goes wrong stands in its line. */
export async function compare(context: Context, point: Point): Promise<Row[]> {
  const { head, workload, measure } = point;
  context.progress(`${head.metric}, ${head.point}`);
  const reasons = new Map<System, string>();
  const stations = new Map<System, Station>();
  const asked = context.systems.map(async (system) => {
    const fits = point.fits(system);
    const got = fits === true ? await context.labs.get(system, workload) : { why: fits };
    if ("why" in got) reasons.set(system, got.why);
    else stations.set(system, got);
  });
  await Promise.all(asked);

  const failed = new Map<System, string>();
  for (const [system, station] of stations) {
    resetPeak(station.running.pids());
    try {
      await (point.warmUp ?? ((one: Station) => measure(one, 0)))(station);
    } catch (error) {
      failed.set(system, firstLine(error));
    }
  }
  const order = context.systems.filter((system) => stations.has(system));
  const rounds = point.rounds ?? context.rounds;
  const outcomes = await interleave(order, rounds, async (system, round): Promise<Outcome> => {
    if (failed.has(system) || (round > 0 && performance.now() > context.deadline)) return undefined;
    const station = stations.get(system)!;
    try {
      await point.leadIn?.(station);
      const before = busyUs();
      const sample = await measure(station, round);
      return { sample, cpuUs: busyUs() - before };
    } catch (error) {
      failed.set(system, firstLine(error));
      return { failed: firstLine(error) };
    }
  });
  return context.systems.map((system) => {
    const own = { ...head, system: system.name };
    const reason = reasons.get(system) ?? failed.get(system);
    if (reason !== undefined) return noRow(own, reason);
    return rowOf(own, outcomes.get(system)!, rounds, stations.get(system)!);
  });
}

function rowOf(head: RowHead, outcomes: readonly Outcome[], rounds: number, station: Station): Row {
  const done = outcomes.flatMap((one) => (one && "sample" in one ? [one] : []));
  const notes = done.flatMap(({ sample }) => sample.note ?? []).slice(0, 1);
  if (done.length < rounds) notes.push(`${done.length} of ${rounds} rounds: the time was over`);
  const costs = done.flatMap(({ sample, cpuUs }) => (sample.units ? [cpuUs / sample.units] : []));
  const latency = medianOf(done.flatMap(({ sample }) => (sample.latency?.length ? [sample.latency] : [])));
  const peak = peakRssKiB(station.running.pids());
  return row(
    head,
    done.map(({ sample }) => sample.value),
    {
      ...(latency.length > 0 ? { latency } : {}),
      ...(costs.length > 0 ? { cpuUsPerUnit: median(costs) } : {}),
      ...(peak > 0 ? { peakRssKiB: peak } : {}),
      ...(notes.length > 0 ? { note: notes.join("; ") } : {}),
    },
  );
}

/** Of each percentile the median. */
export function medianOf(distributions: readonly Distribution[]): Distribution {
  const [first] = distributions;
  if (!first) return [];
  return first.map(([percentile], at) => [percentile, median(distributions.map((one) => one[at]?.[1] ?? NaN))]);
}
