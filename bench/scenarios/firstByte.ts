/** (d) What one connection waits for when nothing else goes on. */
import { compare } from "../harness/compare.js";
import { decidesNames } from "../harness/fits.js";
import { resolveNames, target } from "../harness/stations.js";
import type { Context, Row, Scenario } from "../harness/types.js";
import { byName, families, familyTitle, names } from "../harness/workload.js";
import type { Family } from "../lab.js";
import { failures, hello, percentileOf } from "../load.js";
import { splitAt } from "./connections.js";

const name = "firstbyte";

export const firstByte: Scenario = {
  letter: "d",
  name,
  title: "First byte of a TLS connection on an idle machine",
  how:
    "One connection after the other with a pause between them: from connect() to the first byte of the answer; the figure is the median (p50). " +
    "What a system adds is its figure less that of plain forwarding.",
  needs: "network",
  seconds: { full: 330, quick: 11 },
  measure: async (context) => {
    const rows: Row[] = [];
    for (const family of context.quick ? (["v4"] as const) : families) {
      for (const split of [0, splitAt]) rows.push(...(await one(context, family, split)));
    }
    return rows;
  },
};

function one(context: Context, family: Family, split: number): Promise<Row[]> {
  const point = `${split > 0 ? "split hello" : "whole hello"}, ${familyTitle[family]}`;
  return compare(context, {
    head: { scenario: name, metric: "time to first byte", point, unit: "µs", better: "lower" },
    workload: byName,
    fits: decidesNames,
    warmUp: async (station) => {
      if (!station.system.tlsOnly) await resolveNames(station);
    },
    measure: async (station) => {
      const address = target(station, family);
      const ms = context.quick ? 300 : 1_500;
      const options = { address, name: names.allowed, names: names.count, concurrency: 1, ms, split, pauseUs: 500 };
      const got = await hello(station.lab, options);
      if (got.answered === 0) throw new Error("no connection was answered");
      const failed = failures(got);
      return {
        value: percentileOf(got.latency, 50),
        latency: got.latency,
        ...(failed > 0 ? { note: `${failed} of ${failed + got.answered} connections failed` } : {}),
      };
    },
  });
}
