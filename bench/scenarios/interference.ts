/** (j) What a flood of new flows does to an established one. */
import { compare } from "../harness/compare.js";
import { decidesNames } from "../harness/fits.js";
import { resolveNames, target } from "../harness/stations.js";
import type { Context, Row, Scenario, Station } from "../harness/types.js";
import { byName, names } from "../harness/workload.js";
import { hello, percentileOf, pulse, type PulseResult } from "../load.js";

const name = "interference";

export const interference: Scenario = {
  letter: "j",
  name,
  title: "An established flow beside a flood of new ones",
  how:
    "One allowed TLS connection sends a byte a millisecond and gets it back, alone and while 64 clients open allowed connections as fast as they " +
    "can. The figure is the round trip (p99); what was retransmitted or lost stands in the note.",
  needs: "network",
  seconds: { full: 180, quick: 10 },
  measure: async (context) => [
    ...(context.quick ? [] : await beat(context, "alone", () => Promise.resolve())),
    ...(await beat(context, "beside 64 clients that connect", (station, ms) => crowd(station, ms))),
  ],
};

function beat(
  context: Context,
  point: string,
  beside: (station: Station, ms: number) => Promise<unknown>,
): Promise<Row[]> {
  const ms = context.quick ? 500 : 1_500;
  return compare(context, {
    head: { scenario: name, metric: "round trip, p99", point, unit: "µs", better: "lower" },
    workload: byName,
    fits: decidesNames,
    warmUp: async (station) => {
      if (!station.system.tlsOnly) await resolveNames(station);
      await pulse(station.lab, target(station, "v4"), names.one, 100);
    },
    measure: async (station) => {
      const flood = beside(station, ms + 100);
      // The crowd stands first, then the flow is established: beside it, it has to hold out.
      const got = await pulse(station.lab, target(station, "v4"), names.one, ms).finally(() =>
        flood.catch(() => undefined),
      );
      await flood;
      if (!got.established) throw new Error("the flow could not be established");
      const note = lossOf(got);
      return { value: percentileOf(got.latency, 99), latency: got.latency, ...(note === undefined ? {} : { note }) };
    },
  });
}

function crowd(station: Station, ms: number): Promise<unknown> {
  const address = target(station, "v4");
  return hello(station.lab, { address, name: names.allowed, names: names.count, concurrency: 64, ms });
}

function lossOf({ beats, lost, retransmitted }: PulseResult): string | undefined {
  return lost + retransmitted === 0
    ? undefined
    : `of ${beats} bytes ${retransmitted} retransmitted, ${lost} over a second late`;
}
