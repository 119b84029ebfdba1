/**
 * Runs in the router's namespace: each path of the classifier under BPF_PROG_TEST_RUN, for CIDR and flow tables of growing size.
 * Prints one line of JSON: `Measured[]`.
 *
 *   run.ts INSTANCE OBJECT_OF_EMPTY_PROGRAM ROUNDS REPEAT CIDRS,... FLOWS,...
 */
import { parseAddr, type Addr } from "../../src/core/net/address.js";
import { native } from "../../src/native/index.js";
import type { BpfProgram } from "../../src/native/types.js";
import { opensslHello } from "../core/inputs.js";
import { dotted, manyCidrs, manyCidrs6 } from "../cidrs.js";
import { server } from "../lab.js";
import { median } from "../stats.js";
import { TCP } from "./frames.js";
import { TestDatapath, flowNumber, type Expected } from "./testDatapath.js";

export interface Measured {
  readonly metric: string;
  /** What grows, and how much of it there is. */
  readonly of: "CIDRs" | "flows";
  readonly count: number;
  /** ns a packet, one for each round; [] with a note. */
  readonly samples: readonly number[];
  readonly note?: string;
}

const [instance, emptyPath, roundsText, repeatText, cidrText, flowText] = process.argv.slice(2);
const rounds = Number(roundsText);
const repeat = Number(repeatText);
const different = 32;
const name = "www.bench.example";
const port = { empty: 1_024, amid: 1_025, first: 1_026, hello: 1_027, flow: 1_028 };
/** TEST-NET-1: denied by a rule. 8.8.4.0/24: nobody has learned it. */
const denied = range("192.0.2.");
const unlearned = range("8.8.4.");
const learned = { v4: parseAddr(server.first.v4)!, v6: parseAddr(server.first.v6)! };
const toThisBox = parseAddr("10.77.0.1")!;

const empty = native.loadObject({ path: emptyPath! }).program("empty");
const results: Measured[] = [];
let stored = 0;
const counts = cidrText!.split(",").map(Number);
for (const count of counts) {
  const datapath = build(count);
  try {
    byCidr(datapath, count);
    if (count === counts.at(-1)) for (const flows of flowText!.split(",").map(Number)) byFlows(datapath, flows);
  } finally {
    datapath.close();
  }
}
process.stdout.write(JSON.stringify(results) + "\n");

function build(count: number): TestDatapath {
  const [v4, v6] = [manyCidrs(count), manyCidrs6(count)];
  const datapath = new TestDatapath(`${instance}-${count}`, {
    cidr: [...v4.map(({ address, prefix }) => `${dotted(address)}/${prefix}`), ...v6],
    denyCidr: ["192.0.2.0/24"],
    domain: [name],
    resolver: [server.resolver.v4],
  });
  datapath.learn(name, learned.v4);
  datapath.learn(name, learned.v6);
  return datapath;
}

/** The paths that ask the CIDR tables; `count` CIDRs of each family are in them. */
function byCidr(datapath: TestDatapath, count: number): void {
  const some = <T>(list: readonly T[]) => list.filter((_, i) => i % Math.ceil(list.length / different) === 0);
  const inside4 = some(manyCidrs(count)).map(({ address }) => parseAddr(dotted(address))!);
  const inside6 = some(manyCidrs6(count)).map((cidr) => parseAddr(cidr.replace(/\/\d+$/, ""))!);
  const paths: Path[] = [path("empty TC program", [learned.v4], "none", { sport: port.empty, flags: TCP.ack })];
  // No flow is stored for a packet amid a connection whose SYN was not seen: the flow is looked for, then the CIDR table answers, each time.
  const amid = { sport: port.amid, flags: TCP.ack };
  const first = { sport: port.first, flags: TCP.syn };
  if (count > 0) {
    paths.push(
      path("packet that a CIDR decides, IPv4", inside4, "allow", amid),
      path("packet that a CIDR decides, IPv6", inside6, "allow", amid),
      path("first packet of a connection to a CIDR: table, route, new flow", inside4, "allow", first),
    );
  }
  paths.push(
    path("packet denied by a CIDR: table, route, event", denied, "deny", amid),
    path("SYN to an address that was not learned, denied: CIDRs, names, route, event", unlearned, "deny", first),
    path("SYN to a learned address: CIDRs, names, route", [learned.v4], "pending", first),
    path("packet to this box: CIDRs, names, route", [toThisBox], "none", first),
  );
  measure(datapath, paths, "CIDRs", count);
  if (count === counts.at(-1)) kernelHello(datapath, count);
}

/** The hello that the kernel judges itself, again and again: until the server acknowledges it each one is judged. */
function kernelHello(datapath: TestDatapath, count: number): void {
  const hello = { sport: port.hello, flags: TCP.ack | TCP.push, seq: 1_000, payload: opensslHello(name) };
  datapath.openFlow(learned.v4, port.hello, hello.seq);
  measure(datapath, [path("ClientHello judged in the kernel", [learned.v4], "allow", hello)], "CIDRs", count);
}

/** Packets of flows that are stored, `count` of them in the table. */
function byFlows(datapath: TestDatapath, count: number): void {
  for (; stored < count; stored++) datapath.allowFlow(stored);
  // The newest: an LRU table may have given up the oldest.
  const newest = Array.from({ length: different }, (_, i) => flowNumber(count - 1 - i * 7));
  const hot = newest.map(({ dst, sport }) => datapath.frame({ dst, sport, flags: TCP.ack }));
  const back = newest.map((flow) => datapath.reply(flow));
  const floor = path("empty TC program", [learned.v4], "none", { sport: port.empty, flags: TCP.ack });
  const all: Path[] = [
    floor,
    { metric: "packet of a known flow", expected: "allow", frames: hot },
    { metric: "the same at the way out: marked by then", expected: "allow", frames: hot, program: datapath.gate },
    { metric: "reply of a known flow", expected: "none", frames: back, program: datapath.watch },
  ];
  measure(datapath, all, "flows", count);
  cold(datapath, count);
}

/** One packet of each of many flows, a system call and other flows between: what memory costs when nothing is in the cache. */
function cold(datapath: TestDatapath, count: number): void {
  const step = Math.max(1, Math.floor(count / 10_000));
  const frames: Buffer[] = [];
  for (let i = count - 1; i >= 0 && frames.length < 10_000; i -= step) {
    frames.push(datapath.frame({ ...flowNumber(i), flags: TCP.ack }));
  }
  const known = frames.filter((one) => datapath.ask(one) === "allow");
  const lost = frames.length - known.length;
  const note = lost > 0 ? { note: `${lost} of ${frames.length} flows had been given up by the LRU table` } : {};
  const once = (program: typeof empty, expected: Expected) => {
    let sum = 0;
    for (const one of known) sum += datapath.time(program, one, expected, 1);
    return sum / known.length;
  };
  const samples: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    samples[0].push(once(empty, "none"));
    samples[1].push(once(datapath.classify, "allow"));
  }
  results.push(
    { metric: "empty TC program, cold", of: "flows", count, samples: samples[0] },
    { metric: "packet of a known flow, cold", of: "flows", count, samples: samples[1], ...note },
  );
}

interface Path {
  readonly metric: string;
  readonly expected: Expected;
  /** Default: classify, or the empty one by the metric's name. */
  readonly program?: BpfProgram;
  readonly frames: readonly Buffer[] | ((datapath: TestDatapath) => Buffer[]);
}

function path(
  metric: string,
  to: readonly Addr[],
  expected: Expected,
  segment: { readonly sport: number; readonly flags: number; readonly seq?: number; readonly payload?: Buffer },
): Path {
  const frames = (datapath: TestDatapath) => to.map((dst) => datapath.frame({ dst, ...segment }));
  return { metric, expected, frames };
}

/** In turns; a sample is the median of the destinations of one round. */
function measure(datapath: TestDatapath, paths: readonly Path[], of: Measured["of"], count: number): void {
  const samples = paths.map((): number[] => []);
  const made = paths.map(({ frames }) => (typeof frames === "function" ? frames(datapath) : frames));
  for (let round = 0; round < rounds; round++) {
    paths.forEach((one, i) => {
      const program = one.program ?? (one.metric.startsWith("empty") ? empty : datapath.classify);
      const { expected } = one;
      const times = Math.ceil((repeat * different) / made[i]!.length);
      samples[i]!.push(median(made[i]!.map((data) => datapath.time(program, data, expected, times))));
    });
  }
  paths.forEach(({ metric }, i) => results.push({ metric, of, count, samples: samples[i]! }));
}

function range(start: string): Addr[] {
  return Array.from({ length: different }, (_, i) => parseAddr(start + String(i + 1))!);
}
