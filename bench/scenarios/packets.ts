/** (b) Small packets of a flow that is decided. */
import { compare, type Sample } from "../harness/compare.js";
import { byAddressOnly } from "../harness/fits.js";
import type { Context, Row, Scenario, Station } from "../harness/types.js";
import { byAddress, families, familyTitle } from "../harness/workload.js";
import { server, type Family } from "../lab.js";
import { flood, type FloodResult } from "../load.js";

const name = "packets";
/** Packets a second that no machine can send: what arrives then is what the way carries. */
const tooMany = 3_000_000;
/** Under this the search for a rate without loss ends: some packets a second more or less mean nothing. */
const steps = 7;
const cidrs = 100_000;

export const packets: Scenario = {
  letter: "b",
  name,
  title: "Small packets of a decided flow",
  how:
    "64-byte UDP frames of one flow to an allowed address, one buffer each, 100,000 networks in the policy. Overload: the client sends what it " +
    "can, counted is what arrives. Without loss: the highest rate (bisected, 2 % apart) of which every packet arrives.",
  needs: "network",
  seconds: { full: 300, quick: 7 },
  measure: async (context) => {
    const rows: Row[] = [];
    for (const family of context.quick ? (["v4"] as const) : families) rows.push(...(await overload(context, family)));
    if (!context.quick) rows.push(...(await withoutLoss(context, rows)));
    return rows;
  },
};

function overload(context: Context, family: Family): Promise<Row[]> {
  return compare(context, {
    head: {
      scenario: name,
      metric: "received under overload",
      point: familyTitle[family],
      unit: "packets/s",
      better: "higher",
    },
    workload: byAddress(cidrs),
    fits: byAddressOnly(context.systems),
    warmUp: (station) => send(station, 50_000, 100, family),
    measure: async (station) => sampleOf(await send(station, tooMany, context.quick ? 500 : 1_000, family)),
  });
}

function withoutLoss(context: Context, seen: readonly Row[]): Promise<Row[]> {
  return compare(context, {
    head: { scenario: name, metric: "without loss", point: "IPv4", unit: "packets/s", better: "higher" },
    workload: byAddress(cidrs),
    fits: byAddressOnly(context.systems),
    warmUp: (station) => send(station, 50_000, 100, "v4"),
    measure: async (station) => {
      const most = seen.find(({ system }) => system === station.system.name)?.median ?? tooMany;
      const value = await bisect(most * 0.3, most * 1.2, async (rate) => {
        const got = await send(station, rate, 400, "v4");
        return got.received + got.sinkDropped >= got.sent && got.sent / got.seconds > rate * 0.98;
      });
      return { value };
    },
  });
}

/** The highest rate between these that passes; 0 if not even the lowest does. */
export async function bisect(low: number, high: number, passes: (rate: number) => Promise<boolean>): Promise<number> {
  if (!(await passes(low))) return 0;
  for (let step = 0; step < steps && high - low > low * 0.02; step++) {
    const middle = Math.round((low + high) / 2);
    if (await passes(middle)) low = middle;
    else high = middle;
  }
  return Math.round(low);
}

function send({ lab, services }: Station, rate: number, ms: number, family: Family): Promise<FloodResult> {
  return flood(lab, services.sink, Math.round(rate), ms, server.first[family]);
}

function sampleOf(got: FloodResult): Sample {
  const arrived = got.received + got.sinkDropped;
  if (arrived === 0) throw new Error(`none of ${got.sent} packets arrived`);
  return { value: arrived / got.seconds, units: arrived };
}
