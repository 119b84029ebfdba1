/**
 * What the parts of the harness agree on: a system is what stands between client and server, a scenario measures something, a row is one figure of one
 * system. See docs/benchmarks.md for how to add one.
 */
import type { Daemon } from "../../test/lab/process.js";
import type { BenchLab, Both } from "../lab.js";

/** What a system decides by. A scenario asks for one of these ways, a system says which it knows. */
export type Way = "open" | "cidr" | "dns" | "sni" | "both";

/** What a system is told to allow. Everything else must not pass. */
export interface Workload {
  /** Systems with the same key can be measured by several scenarios without a restart. */
  readonly key: string;
  /** Networks that may be reached whatever the name. */
  readonly cidrs: readonly string[];
  /** `*.bench.example` (below it), or a whole name. */
  readonly domains: readonly string[];
  /** A real TLS server (nginx) behind it instead of `answer`, default false. */
  readonly realServer?: boolean;
}

/** A system that works in a lab. */
export interface Running {
  /** Its processes now, for their memory; [] for a system that lives in the kernel only. */
  pids(): readonly number[];
  /** Where clients connect to instead of the server: the address of a proxy. */
  readonly connectTo?: Both;
  /** Whom clients ask for names instead of the server's resolver. */
  readonly resolver?: Both;
  /** What it has said, for an error message. */
  log?(): string;
  /** It takes back what it has set up. */
  stop(): Promise<void>;
}

export interface System {
  /** One word, as --system takes it: "l7egg-both", "nginx". */
  readonly name: string;
  /** As the tables name it. */
  readonly title: string;
  /** How it is set up, and why that is fair. */
  readonly fair: string;
  readonly ways: readonly Way[];
  /** Systems of one family differ only in how they decide by name: where addresses decide, the last that was chosen stands for all. */
  readonly family?: string;
  /** It passes on only TLS over TCP: no UDP, no DNS, no other port. */
  readonly tlsOnly?: boolean;
  /** What it does not look at, so that nobody takes its figure for more than it is. */
  readonly gap?: string;
  /** Its program and version, as the report states it. Never throws. */
  version(): string;
  /** Throws CannotRun if it can't be had here, any other error if it ought to work and doesn't. Stops with what it has started on an error. */
  start(lab: BenchLab, workload: Workload): Promise<Running>;
}

/** A peer that can't run here says why; its rows carry the reason. */
export class CannotRun extends Error {
  override readonly name = "CannotRun";
}

/** [percentile from 0 to 100, value in the row's unit], rising. */
export type Distribution = readonly (readonly [percentile: number, value: number])[];

/** One figure of one system: a line of a table, a point of a curve. */
export interface Row {
  /** Name of the scenario. */
  readonly scenario: string;
  /** What is measured: "throughput", "new connections". Rows with the same metric and point are compared with each other. */
  readonly metric: string;
  /** Under what: "100,000 CIDRs, 16 flows, IPv4". */
  readonly point: string;
  /** The point as a number, where points make a curve (flows, names, clients). */
  readonly x?: number;
  /** Name of the system, or of what stands in its place ("kernel test run"). */
  readonly system: string;
  /** "bit/s", "packets/s", "connections/s", "queries/s", "µs", "ns", "ms", "MiB". */
  readonly unit: string;
  readonly better: "higher" | "lower";
  /** One for each round, in their order (the last ones may be missing: the time was over); [] with a note: could not be measured. */
  readonly samples: readonly number[];
  /** Of the samples; null without any. */
  readonly median: number | null;
  /** Lowest and highest sample. */
  readonly spread: readonly [number, number] | null;
  /** In µs: of each percentile the median of the rounds. */
  readonly latency?: Distribution;
  /** Microseconds of processor time of the whole machine for each connection, packet or query (from /proc/stat), median of the rounds. */
  readonly cpuUsPerUnit?: number;
  /** Highest resident memory of the system's processes while this was measured. */
  readonly peakRssKiB?: number;
  /** Why there is no figure, or what must be known to read it ("12 connections failed"). */
  readonly note?: string;
}

export interface Scenario {
  /** The letter of the list in docs/benchmarks.md. */
  readonly letter: string;
  /** One word, as --scenario takes it. */
  readonly name: string;
  readonly title: string;
  /** How it is measured, in one or two sentences; stands above its table. */
  readonly how: string;
  /** "network": compares systems in labs. "none": measures l7egg itself; --system doesn't matter. */
  readonly needs: "network" | "none";
  /** Seconds it may take, set-up included, in a whole and in a quick run. `Context.deadline` comes from these. */
  readonly seconds: { readonly full: number; readonly quick: number };
  measure(context: Context): Promise<readonly Row[]>;
}

/** What a scenario works with. */
export interface Context {
  readonly quick: boolean;
  /** Rounds of each measurement, at least 1. */
  readonly rounds: number;
  /** Those that were chosen; plain forwarding is always the first. */
  readonly systems: readonly System[];
  readonly labs: Labs;
  /** performance.now() when it must be done: later rounds are given up, and a note says so. */
  readonly deadline: number;
  /** One line on stderr. */
  progress(text: string): void;
}

/** What runs in every server namespace: TLS answers on 443, DNS on 53, iperf3 on 5201, and the sink of UDP packets, which is asked what it got. */
export interface Services {
  readonly sink: Daemon;
}

/** A system in its lab, ready and checked. */
export interface Station {
  readonly system: System;
  readonly lab: BenchLab;
  readonly services: Services;
  readonly running: Running;
}

/** Keeps systems running between scenarios that ask for the same workload. */
export interface Labs {
  /** The station; or the reason why there is none, the same each time it is asked for. Never rejects. */
  get(system: System, workload: Workload): Promise<Station | { readonly why: string }>;
  /** Client and server with one cable between them: the ceiling of the load generators. */
  direct(): Promise<{ readonly lab: BenchLab; readonly services: Services }>;
  /** Stop all, except those with one of these keys. */
  release(keep?: readonly string[]): Promise<void>;
}
