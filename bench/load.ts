/** The load programs of bench/load, run inside a lab. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { basename, join } from "node:path";
import type { Namespace } from "../test/lab/namespace.js";
import type { Daemon } from "../test/lab/process.js";
import { until } from "../test/lab/process.js";
import type { Distribution } from "./harness/types.js";
import { client, lanInterface, server, wanInterface, type BenchLab, type Family } from "./lab.js";

export const root = fileURLToPath(new URL("..", import.meta.url));
export const buildFolder = join(root, "build", "bench");

/** Compile what is not compiled yet. Throws with the compiler's words. */
export function buildLoad(): void {
  const made = spawnSync("make", ["-s", "-C", join(root, "bench")], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(`make -C bench failed:\n${made.stderr}${made.stdout}`);
}

export interface HelloResult {
  readonly answered: number;
  readonly refused: number;
  readonly reset: number;
  readonly closed: number;
  readonly timeout: number;
  readonly other: number;
  readonly seconds: number;
  /** µs from connect() to the first byte. */
  readonly latency: Distribution;
  /** µs until a connection that got no answer was given up, by whomever. */
  readonly denied: Distribution;
}

/** See bench/load/hello.c. */
export interface HelloOptions {
  /** First of the addresses that are connected to. */
  readonly address: string;
  /** May hold one % for a number. */
  readonly name: string;
  readonly concurrency: number;
  readonly ms: number;
  readonly addresses?: number;
  readonly names?: number;
  readonly from?: number;
  readonly split?: number;
  readonly pauseUs?: number;
  readonly timeoutMs?: number;
}

/** New TLS connections from the client, for a while. */
export async function hello(lab: BenchLab, options: HelloOptions): Promise<HelloResult> {
  const { address, name, concurrency, ms, addresses = server.count, names, from, split, pauseUs, timeoutMs } = options;
  const words = wordsOf({ addresses, names, from, split, pause: pauseUs, timeout: timeoutMs });
  return report(lab.client, "hello", [address, "443", name, String(concurrency), String(ms), ...words], ms);
}

/** Connections that did not end as they should. */
export function failures(result: HelloResult): number {
  return result.refused + result.reset + result.closed + result.timeout + result.other;
}

export function percentileOf(distribution: Distribution, percentile: number): number {
  return distribution.find(([at]) => at === percentile)?.[1] ?? NaN;
}

/** What answers `hello`, `bulk` and `pulse`. */
export async function startAnswer(ns: Namespace): Promise<Daemon> {
  return ready(ns.start([join(buildFolder, "answer"), "443", "2"]));
}

export interface BulkResult {
  readonly flows: number;
  readonly failed: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly retransmitted: number;
}

/** Throughput of TLS connections, so that proxies which look at a name can be measured too. */
export async function bulk(
  lab: BenchLab,
  address: string,
  name: string,
  flows: number,
  ms: number,
): Promise<BulkResult> {
  const words = wordsOf({ addresses: server.count });
  return report(lab.client, "bulk", [address, "443", name, String(flows), String(ms), ...words], ms);
}

export interface PulseResult {
  readonly established: boolean;
  readonly beats: number;
  readonly lost: number;
  readonly retransmitted: number;
  readonly seconds: number;
  readonly latency: Distribution;
}

/** Round trips of one established connection. */
export async function pulse(lab: BenchLab, address: string, name: string, ms: number): Promise<PulseResult> {
  return report(lab.client, "pulse", [address, "443", name, String(ms)], ms);
}

/** The lab's name server, on every address of the server. */
export async function startDns(ns: Namespace): Promise<Daemon> {
  const { first, count, resolver } = server;
  const words = ["53", first.v4, first.v6, String(count), resolver.v4, resolver.v6];
  return ready(ns.start([join(buildFolder, "dns"), ...words]));
}

export interface AskResult {
  readonly answered: number;
  readonly refused: number;
  readonly lost: number;
  readonly seconds: number;
  readonly latency: Distribution;
  readonly denied: Distribution;
}

/** See bench/load/ask.c. */
export interface AskOptions {
  readonly resolver: string;
  /** May hold one % for a number. */
  readonly name: string;
  readonly family: Family;
  readonly count: number;
  readonly window?: number;
  readonly timeoutMs?: number;
  readonly tries?: number;
}

/** The client asks for `count` names. */
export async function ask(lab: BenchLab, options: AskOptions): Promise<AskResult> {
  const { resolver, name, family, count, window, timeoutMs, tries } = options;
  const words = wordsOf({ window, timeout: timeoutMs, tries });
  const type = family === "v4" ? "1" : "28";
  return report(lab.client, "ask", [resolver, name, type, String(count), ...words], 20_000);
}

/** Bits a second of TCP streams from the client, as the server received them. iperf3 knows whole seconds only: half a one would never end. */
export async function iperf(lab: BenchLab, seconds: number, flows = 1, address: string = server.base): Promise<number> {
  const argv = [
    "iperf3",
    "-J",
    "-c",
    address,
    "-t",
    String(Math.max(1, Math.round(seconds))),
    "-O",
    "0.3",
    "-P",
    String(flows),
  ];
  const text = await output(lab.client, [...argv, "--connect-timeout", "2000"], seconds * 1_000);
  const said = JSON.parse(text) as { error?: string; end?: { sum_received?: { bits_per_second: number } } };
  if (said.error !== undefined || !said.end?.sum_received) throw new Error(`iperf3: ${said.error ?? text}`);
  return said.end.sum_received.bits_per_second;
}

export async function startIperf(ns: Namespace): Promise<Daemon> {
  const daemon = ns.start(["iperf3", "-s", "--forceflush"]);
  await until(
    () => `iperf3 -s: ${daemon.stderr}`,
    () => daemon.stdout.includes("listening") || daemon.ended,
  );
  if (daemon.ended) throw new Error(`iperf3 -s ended: ${daemon.stderr}`);
  return daemon;
}

export interface FloodResult {
  readonly sent: number;
  readonly received: number;
  /** Of those that did arrive, what the sink's own socket had no room for. */
  readonly sinkDropped: number;
  readonly seconds: number;
}

let stamp = process.pid * 1_000;

/** 64-byte frames at `rate` packets a second from the client to a sink in the server. */
export async function flood(
  lab: BenchLab,
  sink: Daemon,
  rate: number,
  ms: number,
  address: string = server.base,
): Promise<FloodResult> {
  stamp = (stamp + 1) >>> 0;
  const mine = stamp;
  const lines: SinkLine[] = [];
  const forget = sink.onLine((line) => {
    const said = JSON.parse(line) as SinkLine;
    if (said.stamp === mine) lines.push(said);
  });
  const argv = [address, "9000", String(rate), String(ms), String(mine)];
  const out = await report<{ sent: number; seconds: number }>(lab.client, "flood", argv, ms);
  // The sink tells what it has 100 ms after the last packet; a queue that is still full empties meanwhile.
  await new Promise((resolve) => setTimeout(resolve, 350));
  forget();
  return {
    sent: out.sent,
    received: lines.reduce((sum, line) => sum + line.packets, 0),
    sinkDropped: lines.reduce((sum, line) => sum + line.dropped, 0),
    seconds: out.seconds,
  };
}

interface SinkLine {
  readonly stamp: number;
  readonly packets: number;
  readonly dropped: number;
}

export async function startSink(ns: Namespace): Promise<Daemon> {
  return ready(ns.start([join(buildFolder, "sink"), "9000"]));
}

export interface InjectResult {
  readonly sent: number;
  readonly received: number;
  /** Of `received`, what came within `seconds`; the rest were still on their way then. */
  readonly delivered: number;
  readonly seconds: number;
}

/** 64-byte frames at `rate` packets a second into the router and out again, from and to nobody: see bench/load/inject.c. On processor 0. */
export async function inject(lab: BenchLab, rate: number, ms: number): Promise<InjectResult> {
  stamp = (stamp + 1) >>> 0;
  const way = [lanInterface, client.v4, server.base, "9000", wanInterface];
  const argv = [join(buildFolder, "inject"), join(buildFolder, "inject.bpf.o"), ...way];
  const out = await output(lab.router, ["taskset", "-c", "0", ...argv, ...[rate, ms, stamp].map(String)], ms);
  return JSON.parse(out) as InjectResult;
}

/** Until it has printed "ready". */
export async function ready(daemon: Daemon, timeoutMs = 5_000): Promise<Daemon> {
  await until(
    () => `${daemon.what}: ${daemon.stderr}`,
    () => daemon.stdout.includes("ready") || daemon.ended,
    timeoutMs,
  );
  if (daemon.ended) throw new Error(`${daemon.what} ended: ${daemon.stderr}`);
  return daemon;
}

/** Run a load program to its end; what it printed. */
async function report<T>(ns: Namespace, program: string, argv: readonly string[], ms: number): Promise<T> {
  return JSON.parse(await output(ns, [join(buildFolder, program), ...argv], ms)) as T;
}

/** What a program that takes `ms` prints. Ten seconds after its time it is killed, and that throws, as an exit code does. */
async function output(ns: Namespace, argv: readonly string[], ms: number): Promise<string> {
  const out = await ns.run(argv, { timeoutMs: ms + 10_000 });
  const program = basename(argv[0]!);
  if (out.timedOut) throw new Error(`${program}: not done within ${(ms + 10_000) / 1_000} s`);
  // iperf3 says in its report what was wrong.
  if (out.code !== 0 && !out.stdout.includes('"error"')) {
    throw new Error(`${program}: ${out.stderr.trim() || `exit ${out.code ?? out.signal}`}`);
  }
  return out.stdout;
}

function wordsOf(values: Readonly<Record<string, number | undefined>>): string[] {
  return Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`]));
}
