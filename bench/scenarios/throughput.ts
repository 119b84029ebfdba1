/** (a) What an allowed TCP flow gets. */
import { compare } from "../harness/compare.js";
import { byAddressOnly, decidesNames } from "../harness/fits.js";
import { target } from "../harness/stations.js";
import type { Context, Row, Scenario, Station } from "../harness/types.js";
import { byAddress, byName, families, familyTitle, names } from "../harness/workload.js";
import { server, type Family } from "../lab.js";
import { bulk, iperf, type BulkResult } from "../load.js";

const name = "throughput";
const flowsTitle = (flows: number) => `${flows} flow${flows === 1 ? "" : "s"}`;

export const throughput: Scenario = {
  letter: "a",
  name,
  title: "Throughput of allowed TCP flows",
  how:
    "iperf3 from the client to the server, with so many networks in the policy beside the server's; and bulk data behind a TLS hello with an " +
    "allowed name, which proxies carry too. Bits a second that arrived.",
  needs: "network",
  seconds: { full: 500, quick: 14 },
  measure: async (context) => {
    const rows: Row[] = [];
    for (const cidrs of context.quick ? [100_000] : [0, 1_000, 100_000]) {
      for (const flows of [1, 16]) rows.push(...(await byIperf(context, cidrs, flows, "v4")));
      if (cidrs === 100_000 && !context.quick) rows.push(...(await byIperf(context, cidrs, 1, "v6")));
      if (cidrs !== 100_000) await context.labs.release([byName.key]);
    }
    if (!context.quick) {
      for (const family of families) {
        for (const flows of family === "v4" ? [1, 16] : [16]) rows.push(...(await byBulk(context, flows, family)));
      }
    }
    return rows;
  },
};

function byIperf(context: Context, cidrs: number, flows: number, family: Family): Promise<Row[]> {
  const point = `${cidrs.toLocaleString("en")} CIDRs, ${flowsTitle(flows)}, ${familyTitle[family]}`;
  return compare(context, {
    head: { scenario: name, metric: "iperf3", point, unit: "bit/s", better: "higher" },
    workload: byAddress(cidrs),
    fits: byAddressOnly(context.systems),
    // The check of the station has sent its packets; a TCP flow needs no more.
    warmUp: () => Promise.resolve(),
    measure: async ({ lab }) => ({ value: await iperf(lab, context.quick ? 1 : 2, flows, server.first[family]) }),
  });
}

function byBulk(context: Context, flows: number, family: Family): Promise<Row[]> {
  const point = `allowed by name, ${flowsTitle(flows)}, ${familyTitle[family]}`;
  return compare(context, {
    head: { scenario: name, metric: "behind a TLS hello", point, unit: "bit/s", better: "higher" },
    workload: byName,
    fits: decidesNames,
    warmUp: (station) => send(station, flows, family, 400),
    measure: async (station) => {
      const got = await send(station, flows, family, 1_500);
      if (got.failed > 0) throw new Error(`${got.failed} of ${got.flows} flows failed`);
      return { value: (8 * got.bytes) / got.seconds };
    },
  });
}

function send(station: Station, flows: number, family: Family, ms: number): Promise<BulkResult> {
  return bulk(station.lab, target(station, family), names.allowed, flows, ms);
}
