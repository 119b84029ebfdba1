/**
 * What the main thread and the thread of a queue say to each other. Nothing here is a bottleneck: verdicts never wait for a message, and what a
 * worker has to tell is bounded (outbox.ts).
 */
import type { DecisionCommand, LearnCommand } from "../core/engine/commands.js";
import type { EngineStats } from "../core/engine/engine.js";
import type { ClientId } from "../core/engine/events.js";
import type { EngineLimits } from "../core/engine/limits.js";
import type { PlainPolicy } from "../core/policy/compiledPolicy.js";
import type { QueueStats } from "../native/types.js";
import type { GovernedInterface } from "./clients.js";
import type { LiveMaps } from "./kernelMaps.js";
import type { FailMode, MarkBits } from "./options.js";
import type { RunnerStats } from "./runner.js";

/** All that a worker begins with: copied, but for the maps and the counters. */
export interface WorkerSetup {
  /** NFQUEUE number. */
  readonly queue: number;
  readonly policies: readonly PlainPolicy[];
  readonly limits: EngineLimits;
  /** Descriptors of this process. */
  readonly maps: Readonly<Record<keyof LiveMaps, number>>;
  readonly flowReader: number;
  readonly hashSeed: Uint8Array;
  readonly generation: number;
  /** `l7_config.previous` */
  readonly previous: number;
  readonly interfaces: readonly GovernedInterface[];
  readonly mark: MarkBits;
  readonly failMode: FailMode;
  /** Counters by reason (reasonCounters.ts): the worker writes, the main thread reads. */
  readonly reasons: SharedArrayBuffer;
}

export type ToWorker =
  | { readonly type: "interfaces"; readonly interfaces: readonly GovernedInterface[] }
  /** Policies that will be in force. Answer: `prepared`. */
  | { readonly type: "prepare"; readonly policies: readonly PlainPolicy[] }
  /** They are. Answer: `switched`. */
  | { readonly type: "switch"; readonly generation: number; readonly previous: number; readonly firstRule: number }
  /** `SettledEvent` */
  | { readonly type: "settled" }
  /** One `news` was taken. */
  | { readonly type: "taken" }
  | { readonly type: "stats" }
  /** Every held packet gets its verdict; what still arrives is dropped (fail mode open: passes). Answer: `stopped`. */
  | { readonly type: "stop" }
  /** Close the queue and end. */
  | { readonly type: "close" };

export type FromWorker =
  /** The queue is bound. */
  | { readonly type: "ready" }
  /** It can't be; `code` of the system error. */
  | { readonly type: "refused"; readonly code: string | undefined; readonly message: string }
  | News
  | { readonly type: "prepared" | "switched" }
  | { readonly type: "stats"; readonly stats: WorkerStats }
  | { readonly type: "stopped"; readonly stats: WorkerStats };

/** What happened since the last one. */
export interface News {
  readonly type: "news";
  readonly decisions: readonly Told[];
  /** Decisions beyond the log's limit. */
  readonly beyond: number;
  /** Confirmed names (verify sni): the main thread owns the tables of learned names. */
  readonly learned: readonly LearnCommand[];
  /** Internal errors. */
  readonly failures: readonly string[];
  /** Of all three: what found no room, for the main thread was behind. */
  readonly lost: number;
}

export interface Told {
  readonly decision: DecisionCommand;
  /** Who asked, if the decision lacks a name that only the main thread knows. */
  readonly by: ClientId | undefined;
}

export interface WorkerStats {
  readonly engine: EngineStats;
  readonly runner: Omit<RunnerStats, "reasons"> & { readonly mapFull: number };
  readonly queue: QueueStats;
}
