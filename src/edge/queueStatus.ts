/** What status says of the queues, each with its thread. */
import { readFileSync } from "node:fs";
import type { Queue, QueueStats } from "../native/types.js";
import type { WorkerStatus } from "./queueWorkers.js";

export interface QueueStatus extends QueueStats {
  readonly queue: number;
  /** Packets that wait in the kernel now; -1: could not tell. */
  readonly depth: number;
  /** Who reads it. */
  readonly thread: "main" | "worker";
  /** silent: its worker did not answer in time, the numbers are older. dead: it has no listener now. */
  readonly state: WorkerStatus["state"];
  /** How often its worker died and was started again. The numbers are those of the one that runs. */
  readonly restarts: number;
  /** Packets that wait for the rest of their hello. */
  readonly held: number;
}

/** `held`: by the main thread. */
export function queueStatus(main: Queue, held: number, workers: readonly WorkerStatus[]): QueueStatus[] {
  const depths = queueDepths();
  const depth = (queue: number) => depths.get(queue) ?? -1;
  const { queue } = main;
  return [
    { queue, depth: depth(queue), thread: "main", state: "running", restarts: 0, held, ...main.stats() },
    ...workers.map((one): QueueStatus => {
      const { queue, state, restarts, stats } = one;
      const numbers = { held: stats?.runner.held ?? 0, ...(stats?.queue ?? noPackets) };
      return { queue, depth: depth(queue), thread: "worker", state, restarts, ...numbers };
    }),
  ];
}

/** Field by field. */
export function addUp<T extends Readonly<Record<keyof T, number>>>(all: readonly [T, ...T[]]): T {
  const [first, ...others] = all;
  const out = { ...first } as Record<string, number>;
  for (const one of others) {
    for (const [field, value] of Object.entries<number>(one)) out[field] = (out[field] ?? 0) + value;
  }
  return out as T;
}

/** Of a worker that has not answered yet. */
const noPackets: QueueStats = {
  packets: 0,
  verdicts: 0,
  batches: 0,
  gathered: 0,
  overruns: 0,
  verdictErrors: 0,
  queueDropped: 0,
  userDropped: 0,
  malformed: 0,
};

/** Packets that wait in each queue (/proc/net/netfilter/nfnetlink_queue, third column). */
function queueDepths(): Map<number, number> {
  try {
    const lines = readFileSync("/proc/net/netfilter/nfnetlink_queue", "utf8").split("\n");
    return new Map(
      lines.flatMap((line): [number, number][] => {
        const columns = line.trim().split(/\s+/).map(Number);
        return columns.length < 3 ? [] : [[columns[0] as number, columns[2] as number]];
      }),
    );
  } catch {
    return new Map();
  }
}
