/** (c) New TLS connections, and how long each takes while many are under way. */
import { compare, type Point, type Sample } from "../harness/compare.js";
import { decidesNames, readsSni } from "../harness/fits.js";
import { row } from "../harness/results.js";
import { resolveNames, target } from "../harness/stations.js";
import type { Context, Row, Scenario, Station, System } from "../harness/types.js";
import { byName, familyTitle, names } from "../harness/workload.js";
import { interleave } from "../stats.js";
import { server, type Family } from "../lab.js";
import { endToEnd } from "./endToEnd.js";
import { failures, hello, percentileOf, type HelloOptions, type HelloResult } from "../load.js";

const name = "connections";
/** Bytes of a split hello in its first segment: the name comes in the second. */
export const splitAt = 60;
/** So many that none comes twice. */
const endless = 1_000_000_000;

export const connections: Scenario = {
  letter: "c",
  name,
  title: "New TLS connections",
  how:
    "Handshake, ClientHello, first byte of the answer, close: so many clients at a time, no cryptography. 1,024 names in turns, asked for " +
    "beforehand by this client, on 64 addresses. Split: the hello comes in two segments, the name in the second. Names never seen: a new name " +
    "with each connection, which nobody has asked for. Latency is from connect() to the first byte. " +
    "End to end: h2load and nginx, full handshakes.",
  needs: "network",
  seconds: { full: 900, quick: 26 },
  measure: async (context) => {
    const { quick } = context;
    const rows: Row[] = [];
    for (const clients of quick ? [64] : [1, 16, 64, 256]) rows.push(...(await known(context, clients, "v4", 0)));
    if (!quick) rows.push(...(await known(context, 64, "v6", 0)));
    for (const clients of quick ? [64] : [1, 16, 64, 256]) rows.push(...(await known(context, clients, "v4", splitAt)));
    rows.push(...(await neverSeen(context)));
    if (!quick) {
      rows.push(...(await endToEnd(context, name)));
      await context.labs.release([byName.key]);
    }
    rows.push(...(await ceiling(context)));
    return rows;
  },
};

function known(context: Context, clients: number, family: Family, split: number): Promise<Row[]> {
  const way = split > 0 ? "split hello" : "whole hello";
  return connect(context, clients, `${way}, ${clientsTitle(clients)}, ${familyTitle[family]}`, decidesNames, {
    warmUp: async (station) => {
      if (!station.system.tlsOnly) await resolveNames(station);
      await open(station, clients, family, context.quick ? 100 : 300, { split });
    },
    measure: (station) => open(station, clients, family, context.quick ? 350 : 1_000, { split }),
  });
}

/** Every name is new, and nobody has asked for it: TypeScript, or the proxy, judges each. */
function neverSeen(context: Context): Promise<Row[]> {
  const fits = (system: System) =>
    system.ways.includes("both") ? "denies a name that nobody has asked for, as it must" : readsSni(system);
  let from = Math.floor(Math.random() * endless);
  const measure = (station: Station) => {
    from = (from + 1_000_000) % endless;
    return open(station, 64, "v4", context.quick ? 350 : 1_000, { names: endless, from });
  };
  return connect(context, 64, "names never seen, 64 clients, IPv4", fits, { measure });
}

function connect(
  context: Context,
  clients: number,
  point: string,
  fits: Point["fits"],
  how: Pick<Point, "measure" | "warmUp">,
): Promise<Row[]> {
  const head = {
    scenario: name,
    metric: "connections",
    point,
    x: clients,
    unit: "connections/s",
    better: "higher",
  } as const;
  return compare(context, { head, workload: byName, fits, ...how });
}

async function open(
  station: Station,
  concurrency: number,
  family: Family,
  ms: number,
  more: Pick<HelloOptions, "split" | "names" | "from">,
): Promise<Sample> {
  const address = target(station, family);
  const options = { address, name: names.allowed, names: names.count, concurrency, ms, ...more };
  return sampleOf(await hello(station.lab, options));
}

/** Client and server with nothing between them: more than this no system can reach. */
async function ceiling(context: Context): Promise<Row[]> {
  const { lab } = await context.labs.direct();
  const head = {
    scenario: name,
    metric: "connections",
    unit: "connections/s",
    better: "higher",
    system: "direct",
  } as const;
  const rows: Row[] = [];
  for (const [way, split] of [
    ["whole hello", 0],
    ["split hello", splitAt],
  ] as const) {
    const options = { address: server.first.v4, name: names.allowed, names: names.count, concurrency: 64, split };
    context.progress(`the generators' own ceiling, ${way}`);
    const ms = context.quick ? 350 : 1_000;
    const results = (await interleave([lab], context.rounds, () => hello(lab, { ...options, ms }))).get(lab)!;
    const samples = results.map((one) => one.answered / one.seconds);
    rows.push(row({ ...head, point: `${way}, 64 clients, IPv4`, x: 64 }, samples, { latency: results[0]!.latency }));
  }
  return rows;
}

function sampleOf(got: HelloResult): Sample {
  const failed = failures(got);
  if (got.answered === 0) {
    throw new Error(
      `no connection was answered within ${Math.round(got.seconds * 1_000)} ms, ${failed} ended otherwise`,
    );
  }
  const note = failed > 0 ? `${failed} of ${failed + got.answered} connections failed (${reasonsOf(got)})` : undefined;
  return {
    value: got.answered / got.seconds,
    units: got.answered,
    latency: got.latency,
    ...(note === undefined ? {} : { note }),
  };
}

function reasonsOf(got: HelloResult): string {
  const { refused, reset, closed, timeout, other } = got;
  const reasons = Object.entries({ refused, reset, closed, timeout, other }).filter(([, count]) => count > 0);
  return (
    reasons.map(([reason, count]) => `${reason} ${count}`).join(", ") +
    `, slowest answer ${Math.round(percentileOf(got.latency, 100) / 1_000)} ms`
  );
}

function clientsTitle(clients: number): string {
  return `${clients} client${clients === 1 ? "" : "s"}`;
}
