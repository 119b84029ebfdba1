/** The file that a run leaves behind, and rows from samples. */
import { median } from "../stats.js";
import type { Machine } from "../report/machine.js";
import type { Distribution, Row } from "./types.js";

/** bench/results/<date>-<cpu>.json */
export interface Results {
  /** Of this format. */
  readonly version: 1;
  /** ISO 8601, UTC. */
  readonly date: string;
  /** The command line that makes it again. */
  readonly command: string;
  readonly machine: Machine;
  readonly quick: boolean;
  readonly rounds: number;
  readonly seconds: number;
  readonly systems: readonly SystemInfo[];
  readonly scenarios: readonly ScenarioInfo[];
  readonly rows: readonly Row[];
}

export interface SystemInfo {
  readonly name: string;
  readonly title: string;
  readonly fair: string;
  readonly version: string;
}

export interface ScenarioInfo {
  readonly letter: string;
  readonly name: string;
  readonly title: string;
  readonly how: string;
  readonly seconds: number;
  /** It failed as a whole; its rows are missing. */
  readonly error?: string;
}

/** What a row says of itself, without what is computed from its samples. */
export type RowHead = Pick<Row, "scenario" | "metric" | "point" | "system" | "unit" | "better"> & {
  readonly x?: number;
};

export interface RowExtras {
  readonly latency?: Distribution;
  readonly cpuUsPerUnit?: number;
  readonly peakRssKiB?: number;
  readonly note?: string;
}

export function row(head: RowHead, samples: readonly number[], extras: RowExtras = {}): Row {
  const some = samples.length > 0;
  return {
    ...head,
    samples,
    median: some ? median(samples) : null,
    spread: some ? [Math.min(...samples), Math.max(...samples)] : null,
    ...extras,
  };
}

/** No figure, and why. */
export function noRow(head: RowHead, note: string): Row {
  return row(head, [], { note });
}
