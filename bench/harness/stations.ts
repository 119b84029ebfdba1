/** The servers of a lab, and the proof that a system does what it is measured for. */
import { ask, failures, flood, hello, startAnswer, startDns, startIperf, startSink } from "../load.js";
import { server, type BenchLab, type Family } from "../lab.js";
import { startTlsServer } from "./tlsServer.js";
import type { Services, Station, Workload } from "./types.js";
import { families, familyTitle, names } from "./workload.js";

export async function startServices(lab: BenchLab, realServer = false): Promise<Services> {
  const [sink] = await Promise.all([
    startSink(lab.server),
    realServer ? startTlsServer(lab) : startAnswer(lab.server),
    startDns(lab.server),
    startIperf(lab.server),
  ]);
  return { sink };
}

/** Where a client of this station connects to. */
export function target(station: Pick<Station, "running">, family: Family): string {
  return (station.running.connectTo ?? server.first)[family];
}

export function resolverOf(station: Pick<Station, "running">, family: Family): string {
  return (station.running.resolver ?? server.resolver)[family];
}

/** What every client does before it connects: it asks for the names. Throws if an answer is missing. */
export async function resolveNames(station: Station, count: number = names.count): Promise<void> {
  for (const family of families) {
    const got = await ask(station.lab, { resolver: resolverOf(station, "v4"), name: names.allowed, family, count });
    if (got.answered < count) {
      throw new Error(`${got.answered} of ${count} allowed names were answered (${familyTitle[family]})`);
    }
  }
}

/** As many names are enough for a check as there are addresses: a name server that is slow with a long policy may take its time. */
const few = server.count;

/** Allowed is what must be, all of it, and its neighbour is not. Throws with what was seen. */
export async function checkStation(station: Station, workload: Workload): Promise<void> {
  const { system } = station;
  if (workload.domains.length === 0) return checkAddresses(station);
  if (!system.tlsOnly) await resolveNames(station, few);
  for (const family of families) await allows(station, family);
  if (system.ways.includes("open")) return;
  if (system.ways.includes("dns") || system.ways.includes("both")) await deniesUnresolved(station);
  if (system.ways.includes("sni") || system.ways.includes("both")) await deniesName(station);
}

async function allows(station: Station, family: Family): Promise<void> {
  const address = target(station, family);
  const options = { address, name: names.allowed, names: few, concurrency: 4 };
  let got = await hello(station.lab, { ...options, ms: 250 });
  // The first connections through a program that has just started may be slow: it must work, not be fast.
  if (got.answered === 0) got = await hello(station.lab, { ...options, ms: 3_000, timeoutMs: 5_000 });
  if (got.answered > 0 && failures(got) === 0) return;
  throw new Error(`check: of the allowed (${familyTitle[family]}) ${got.answered} answered, ${failures(got)} not`);
}

async function deniesName(station: Station): Promise<void> {
  const address = target(station, "v4");
  const got = await hello(station.lab, { address, name: names.denied, names: names.count, concurrency: 4, ms: 250 });
  if (got.answered > 0) throw new Error(`check: ${got.answered} connections with a denied name were answered`);
}

async function deniesUnresolved(station: Station): Promise<void> {
  const { lab } = station;
  const got = await hello(lab, {
    address: server.neighbour.v4,
    addresses: 1,
    name: names.one,
    concurrency: 4,
    ms: 250,
  });
  if (got.answered > 0) throw new Error(`check: ${got.answered} connections to an address that no name led to`);
  const query = { resolver: resolverOf(station, "v4"), name: names.denied, family: "v4", count: 3 } as const;
  const asked = await ask(lab, { ...query, timeoutMs: 100, tries: 1 });
  if (asked.answered > 0) throw new Error(`check: ${asked.answered} denied names got an address`);
}

/** By UDP packets: that is what goes everywhere if it isn't stopped. */
async function checkAddresses({ system, lab, services }: Station): Promise<void> {
  for (const family of families) {
    const inside = await flood(lab, services.sink, 1_000, 100, server.first[family]);
    if (inside.received < inside.sent) {
      throw new Error(
        `check: ${inside.received} of ${inside.sent} packets to an allowed address (${familyTitle[family]})`,
      );
    }
    if (system.ways.includes("open")) continue;
    const outside = await flood(lab, services.sink, 1_000, 100, server.neighbour[family]);
    if (outside.received > 0) throw new Error(`check: ${outside.received} packets reached a denied address`);
  }
}
