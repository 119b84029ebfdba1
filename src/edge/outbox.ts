/**
 * What a worker tells the main thread, in batches. Bounded: so many batches may be on their way, so much may wait for the next one, and of
 * decisions no more are told in a second than the log would write. A main thread that is behind costs log lines, never a verdict.
 */
import type { DecisionCommand, LearnCommand } from "../core/engine/commands.js";
import type { ClientId } from "../core/engine/events.js";
import type { News, Told } from "./workerMessages.js";

export const outboxLimits = {
  /** Of each kind in one batch. */
  batch: 128,
  /** Batches that the main thread has not yet taken. */
  onTheWay: 8,
  /** As many as the log writes (log.ts). */
  decisionsPerSecond: 1_000,
  /** Milliseconds that a batch waits for more: each costs the main thread a wake-up. */
  wait: 20,
  /** The same if it says only how many decisions were beyond the limit. */
  waitBeyond: 1_000,
} as const;

interface Batch {
  readonly decisions: Told[];
  readonly learned: LearnCommand[];
  readonly failures: string[];
  beyond: number;
  lost: number;
}

export class Outbox {
  readonly #post: (news: News) => void;
  #next = emptyBatch();
  #onTheWay = 0;
  #second = 0;
  #inSecond = 0;
  #timer: NodeJS.Timeout | undefined;
  #beyondTimer: NodeJS.Timeout | undefined;

  constructor(post: (news: News) => void) {
    this.#post = post;
  }

  /** Keeps a copy. `by`: who asked, if the main thread must put in a name. */
  decision(decision: DecisionCommand, by: ClientId | undefined): void {
    const second = Math.floor(Date.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#inSecond = 0;
    }
    if (this.#inSecond < outboxLimits.decisionsPerSecond) {
      this.#inSecond++;
      this.#add("decisions", { decision: { ...decision }, by });
    } else {
      this.#next.beyond++;
      this.#beyondTimer ??= setTimeout(() => this.flush(), outboxLimits.waitBeyond);
    }
  }

  /** Keeps a copy. */
  learned(command: LearnCommand): void {
    this.#add("learned", { ...command });
  }

  failure(message: string): void {
    this.#add("failures", message);
  }

  /** The main thread has taken one batch. */
  taken(): void {
    this.#onTheWay--;
    if (!isEmpty(this.#next)) this.#wait();
  }

  /** Send what is there, if there is room on the way. */
  flush(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#beyondTimer);
    this.#timer = undefined;
    this.#beyondTimer = undefined;
    if (isEmpty(this.#next) || this.#onTheWay >= outboxLimits.onTheWay) return;
    this.#onTheWay++;
    const batch = this.#next;
    this.#next = emptyBatch();
    this.#post({ type: "news", ...batch });
  }

  #add<Kind extends "decisions" | "learned" | "failures">(kind: Kind, item: Batch[Kind][number]): void {
    if (this.#next[kind].length >= outboxLimits.batch) this.flush();
    const list = this.#next[kind] as Batch[Kind][number][];
    if (list.length < outboxLimits.batch) list.push(item);
    else this.#next.lost++;
    this.#wait();
  }

  #wait(): void {
    this.#timer ??= setTimeout(() => this.flush(), outboxLimits.wait);
  }
}

function emptyBatch(): Batch {
  return { decisions: [], learned: [], failures: [], beyond: 0, lost: 0 };
}

function isEmpty(batch: Batch): boolean {
  return batch.decisions.length + batch.learned.length + batch.failures.length + batch.beyond + batch.lost === 0;
}
