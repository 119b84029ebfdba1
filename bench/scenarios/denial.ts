/** (f) How long a client waits until it knows that it may not. */
import { compare } from "../harness/compare.js";
import { passesDns, readsSni } from "../harness/fits.js";
import { resolverOf, target } from "../harness/stations.js";
import type { Context, Row, Scenario, System } from "../harness/types.js";
import { byName, names } from "../harness/workload.js";
import { server } from "../lab.js";
import { ask, hello, percentileOf } from "../load.js";

const name = "denial";
/** Who hears nothing for so long is not told at all. */
const patienceMs = 1_000;
const told = { scenario: name, unit: "µs", better: "lower" } as const;
/** "Not told" counts as this. */
const silenceUs = patienceMs * 1_000;

export const denial: Scenario = {
  letter: "f",
  name,
  title: "Time until a denial is felt",
  how:
    "One client: a denied name is asked for; a connection to an allowed address sends a denied name; a connection goes to an address that no rule " +
    `and no name allows. Until the answer, the reset, the end or the ICMP error. ${patienceMs / 1_000} s: the client is told nothing and waits for its own time-out.`,
  needs: "network",
  seconds: { full: 180, quick: 8 },
  measure: async (context) => [
    ...(await deniedQuestion(context)),
    ...(await deniedHello(context)),
    ...(await deniedAddress(context)),
  ],
};

const denies = (fits: (system: System) => true | string) => (system: System) =>
  system.ways.includes("open") ? "denies nothing" : fits(system);

function deniedQuestion(context: Context): Promise<Row[]> {
  const decidesDns = (system: System) =>
    system.ways.some((way) => way === "dns" || way === "both") ? passesDns(system) : "does not decide by DNS";
  return compare(context, {
    head: { ...told, metric: "denied", point: "name in a DNS question" },
    workload: byName,
    fits: denies(decidesDns),
    measure: async (station) => {
      const options = { resolver: resolverOf(station, "v4"), name: names.denied, family: "v4" } as const;
      // A dozen are enough: who doesn't answer costs a tenth of a second for each.
      const got = await ask(station.lab, { ...options, count: 12, window: 1, tries: 1, timeoutMs: patienceMs / 10 });
      if (got.answered > 0) throw new Error(`${got.answered} denied names got an address`);
      // Each lost one has waited for its time-out.
      if (got.refused === 0) return { value: silenceUs, note: "no answer" };
      return { value: percentileOf(got.denied, 50), latency: got.denied };
    },
  });
}

function deniedHello(context: Context): Promise<Row[]> {
  return compare(context, {
    head: { ...told, metric: "denied", point: "name in a ClientHello" },
    workload: byName,
    fits: denies(readsSni),
    measure: (station) => refusedConnections(context, station.lab, target(station, "v4"), names.denied, server.count),
  });
}

function deniedAddress(context: Context): Promise<Row[]> {
  const decidesAddress = (system: System) =>
    system.ways.some((way) => way === "dns" || way === "both") ? true : "decides by the name on the wire only";
  return compare(context, {
    head: { ...told, metric: "denied", point: "address" },
    workload: byName,
    fits: denies(decidesAddress),
    measure: ({ lab }) => refusedConnections(context, lab, server.neighbour.v4, names.one, 1),
  });
}

async function refusedConnections(
  context: Context,
  lab: Parameters<typeof hello>[0],
  address: string,
  sni: string,
  addresses: number,
): Promise<{ value: number; note?: string }> {
  const options = { address, name: sni, names: names.count, addresses, concurrency: 1, pauseUs: 500 };
  // Who is told nothing needs the time of one connection to know it.
  const got = await hello(lab, { ...options, ms: context.quick ? 250 : 1_000, timeoutMs: 200 });
  if (got.answered > 0) throw new Error(`${got.answered} denied connections were answered`);
  const ended = got.refused + got.reset + got.closed + got.other;
  if (ended <= got.timeout) return { value: silenceUs, note: "not told: the client waits" };
  return { value: percentileOf(got.denied, 50) };
}
