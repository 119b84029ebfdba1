/** The load programs of bench/load, run inside a lab. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import type { Namespace } from "../test/lab/namespace.js";
import type { Daemon } from "../test/lab/process.js";
import { until } from "../test/lab/process.js";
import { server, type BenchLab } from "./lab.js";

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
  readonly p50us: number;
  readonly p99us: number;
}

export interface HelloOptions {
  /** First of the addresses that are connected to. */
  readonly address: string;
  /** May hold one % for a number. */
  readonly name: string;
  readonly concurrency: number;
  readonly ms: number;
}

/** New TLS connections from the client, for a while. */
export async function hello(lab: BenchLab, options: HelloOptions): Promise<HelloResult> {
  const { address, name, concurrency, ms } = options;
  const argv = [
    join(buildFolder, "hello"),
    address,
    "443",
    name,
    String(concurrency),
    String(ms),
    String(server.count),
  ];
  return JSON.parse(await lab.client.must(argv, { timeoutMs: ms + 10_000 })) as HelloResult;
}

/** What answers them. */
export async function startAnswer(ns: Namespace): Promise<Daemon> {
  return ready(ns.start([join(buildFolder, "answer"), "443", "2"]));
}

/** Bits a second of one TCP stream from the client, as the server received them. */
export async function iperf(lab: BenchLab, seconds: number): Promise<number> {
  const argv = ["iperf3", "-J", "-c", server.base, "-t", String(seconds), "-O", "0.3", "--connect-timeout", "2000"];
  const text = await lab.client.must(argv, { timeoutMs: seconds * 1_000 + 10_000 });
  const report = JSON.parse(text) as { error?: string; end?: { sum_received?: { bits_per_second: number } } };
  if (report.error !== undefined || !report.end?.sum_received) throw new Error(`iperf3: ${report.error ?? text}`);
  return report.end.sum_received.bits_per_second;
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
export async function flood(lab: BenchLab, sink: Daemon, rate: number, ms: number): Promise<FloodResult> {
  stamp = (stamp + 1) >>> 0;
  const mine = stamp;
  const lines: SinkLine[] = [];
  const forget = sink.onLine((line) => {
    const said = JSON.parse(line) as SinkLine;
    if (said.stamp === mine) lines.push(said);
  });
  const argv = [join(buildFolder, "flood"), server.base, "9000", String(rate), String(ms), String(mine)];
  const out = JSON.parse(await lab.client.must(argv, { timeoutMs: ms + 10_000 })) as { sent: number; seconds: number };
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
