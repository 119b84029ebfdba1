/**
 * A thread for each queue but the first, which stays with the main thread: so do DNS, the tables of learned names, the journal, the log and the
 * control socket. What the threads share is in the kernel's maps (workerMessages.ts has what they say to each other besides).
 *
 * A worker that dies leaves its queue without a listener: the kernel drops what is for it (fail mode open: lets it pass) until the next one
 * has bound it. Too many deaths, and the process gives up like one that was killed: closed, with all that is decided still going on.
 */
import type { Engine } from "../core/engine/engine.js";
import { Reason } from "../core/abi.generated.js";
import type { DecisionCommand, LearnCommand } from "../core/engine/commands.js";
import { mismatch } from "../core/engine/addressWhy.js";
import type { PlainPolicy } from "../core/policy/compiledPolicy.js";
import type { GovernedInterface } from "./clients.js";
import { monotonicMs } from "./clock.js";
import { UsageError, describe } from "./errors.js";
import { unknownName } from "./kernelNames.js";
import type { Log } from "./log.js";
import { ReasonCounters, type ReasonCounts } from "./reasonCounters.js";
import type { News, Told, WorkerSetup, WorkerStats } from "./workerMessages.js";
import { WorkerRefused, WorkerThread } from "./workerThread.js";

export const restartLimits = {
  /** Restarts of all workers together … */
  most: 5,
  /** … in so many milliseconds; one more, and the process gives up. */
  within: 600_000,
} as const;

/** What all workers begin with. */
export type SharedSetup = Omit<WorkerSetup, "queue" | "interfaces" | "reasons">;

export interface QueueWorkersOptions {
  /** NFQUEUE numbers. */
  readonly queues: readonly number[];
  readonly setup: SharedSetup;
  readonly interfaces: ReadonlyMap<number, GovernedInterface>;
  /** The main thread's, for names that a worker doesn't know. */
  readonly engine: Pick<Engine, "learnedAt">;
  readonly log: Pick<Log, "decision" | "beyond" | "error">;
  /** A name that came on the wire (verify sni). */
  readonly learned: (command: LearnCommand) => void;
  /** Too many workers died. Must end the process, as a crash does. */
  readonly gaveUp: (error: Error) => void;
}

export interface WorkerStatus {
  readonly queue: number;
  /** silent: it did not answer in time, the numbers are older. dead: between a death and the next start. */
  readonly state: "running" | "silent" | "dead";
  readonly restarts: number;
  readonly stats: WorkerStats | undefined;
}

interface Slot {
  readonly queue: number;
  readonly reasons: SharedArrayBuffer;
  thread: WorkerThread | undefined;
  /** What `thread` judges by. */
  setup: SharedSetup | undefined;
  /** Has taken what `prepare` brought. */
  prepared: WorkerThread | undefined;
  last: WorkerStats | undefined;
  restarts: number;
  /** A start that is under way. */
  starting: Promise<void>;
}

export class QueueWorkers {
  readonly #options: QueueWorkersOptions;
  readonly #slots: Slot[];
  #setup: SharedSetup;
  #deaths: number[] = [];
  #stopping = false;
  /** Decisions and names that workers could not tell. */
  lost = 0;

  /** Resolves when every queue is bound. UsageError: one is taken. Then none of the threads is left. */
  static async start(options: QueueWorkersOptions): Promise<QueueWorkers> {
    const workers = new QueueWorkers(options);
    try {
      await Promise.all(workers.#slots.map((slot) => workers.#start(slot)));
      return workers;
    } catch (error) {
      await workers.close().catch(() => undefined);
      if (error instanceof WorkerRefused && (error.code === "EBUSY" || error.code === "EPERM")) {
        throw new UsageError(`--queue: a queue has just been taken by another process: ${error.message}`);
      }
      throw error;
    }
  }

  private constructor(options: QueueWorkersOptions) {
    this.#options = options;
    this.#setup = options.setup;
    this.#slots = options.queues.map((queue) => ({
      queue,
      reasons: new SharedArrayBuffer(ReasonCounters.size),
      thread: undefined,
      setup: undefined,
      prepared: undefined,
      last: undefined,
      restarts: 0,
      starting: Promise.resolve(),
    }));
  }

  /** The interfaces have changed: packets of one that a worker doesn't know yet are dropped. */
  setInterfaces(): void {
    const interfaces = [...this.#options.interfaces.values()];
    for (const { thread } of this.#slots) thread?.send({ type: "interfaces", interfaces });
  }

  /** Every worker has these policies ready, and judges by the old ones still. Rejects: one hasn't. */
  async prepare(policies: readonly PlainPolicy[]): Promise<void> {
    await this.#each(async (slot) => {
      const { queue, thread } = slot;
      slot.prepared = thread;
      if (thread && !(await thread.prepare(policies)))
        throw new Error(`the worker of queue ${queue} did not take the new policy`);
    });
  }

  /**
   * What was prepared is in force. The first part of it is done when this returns: a worker that starts from now on begins with the new policies. When it
   * resolves, no worker judges by the old ones: what didn't answer is ended, and its queue closed until the next one has started.
   */
  async switch(change: {
    generation: number;
    previous: number;
    firstRule: number;
    policies: readonly PlainPolicy[];
  }): Promise<void> {
    const { firstRule, ...rest } = change;
    const { generation, previous } = rest;
    const before = this.#setup;
    this.#setup = { ...before, ...rest };
    await this.#each(async (slot) => {
      const { thread } = slot;
      if (!thread || slot.setup !== before) return;
      if (slot.prepared === thread && (await thread.switch({ generation, previous, firstRule })))
        slot.setup = this.#setup;
      else await thread.end();
    });
  }

  /** `SettledEvent` */
  settled(): void {
    for (const { thread } of this.#slots) thread?.send({ type: "settled" });
  }

  async #each(step: (slot: Slot) => Promise<void>): Promise<void> {
    await Promise.all(
      this.#slots.map(async (slot) => {
        await slot.starting.catch(() => undefined);
        await step(slot);
      }),
    );
  }

  status(): Promise<WorkerStatus[]> {
    return Promise.all(
      this.#slots.map(async (slot) => {
        const now = await slot.thread?.stats();
        if (now) slot.last = now;
        const state = slot.thread ? (now ? "running" : "silent") : "dead";
        return { queue: slot.queue, state, restarts: slot.restarts, stats: slot.last };
      }),
    );
  }

  /** Of each worker, also what those before it counted that died. */
  reasons(): ReasonCounts[] {
    return this.#slots.map((slot) => new ReasonCounters(slot.reasons).counted());
  }

  /** Every held packet has its verdict when this resolves. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#all((thread) => thread.stop());
  }

  /** The queues are closed and the threads ended when this resolves. */
  async close(): Promise<void> {
    this.#stopping = true;
    await this.#all((thread) => thread.close());
  }

  /** Rejects with the first failure, after trying all. */
  async #all(step: (thread: WorkerThread) => Promise<void>): Promise<void> {
    const results = await Promise.allSettled(
      this.#slots.map(async (slot) => {
        await slot.starting.catch(() => undefined);
        if (slot.thread) await step(slot.thread);
      }),
    );
    const failed = results.findIndex((result) => result.status === "rejected");
    if (failed < 0) return;
    const { reason: cause } = results[failed] as { readonly reason: unknown };
    throw new Error(`the worker of queue ${this.#slots[failed]?.queue}`, { cause });
  }

  #start(slot: Slot): Promise<void> {
    const { interfaces } = this.#options;
    const { queue, reasons } = slot;
    const begin = async (): Promise<void> => {
      const setup = this.#setup;
      const thread = await WorkerThread.start(
        {
          ...setup,
          queue,
          reasons,
          interfaces: [...interfaces.values()],
        },
        { news: (news) => this.#news(news), died: (cause) => this.#died(slot, cause) },
      );
      // So may the policy have: it would judge by the old one.
      if (setup !== this.#setup) {
        await thread.close();
        return begin();
      }
      slot.thread = thread;
      slot.setup = setup;
      // They may have changed while it began.
      thread.send({ type: "interfaces", interfaces: [...interfaces.values()] });
    };
    slot.starting = begin();
    return slot.starting;
  }

  #died(slot: Slot, cause: string): void {
    slot.last = slot.thread?.last ?? slot.last;
    slot.thread = undefined;
    if (this.#stopping) return;
    const now = monotonicMs();
    this.#deaths = [...this.#deaths.filter((at) => at > now - restartLimits.within), now];
    const { queue } = slot;
    const died = `the worker of queue ${queue} died: ${cause}`;
    if (this.#deaths.length > restartLimits.most) {
      const often = `${died}; it is the ${this.#deaths.length}th in ${restartLimits.within / 60_000} minutes`;
      return this.#options.gaveUp(new Error(often));
    }
    const meanwhile = this.#options.setup.failMode === "open" ? "passes" : "is dropped";
    this.#options.log.error(
      { queue, restart: this.#deaths.length },
      `${died}; what climbs there ${meanwhile} until the next one is ready (restart ${this.#deaths.length} of ${restartLimits.most})`,
    );
    slot.restarts++;
    this.#start(slot).catch((error: unknown) => this.#died(slot, describe(error)));
  }

  #news(news: News): void {
    const { log, learned } = this.#options;
    for (const told of news.decisions) log.decision(this.#completed(told));
    if (news.beyond > 0) log.beyond(news.beyond);
    for (const command of news.learned) learned(command);
    for (const failure of news.failures) log.error({}, failure);
    this.lost += news.lost;
  }

  #completed({ decision, by }: Told): DecisionCommand {
    if (by === undefined || decision.address === undefined) return decision;
    const learned = this.#options.engine.learnedAt(decision.policy, by, decision.address);
    if (decision.reason === Reason.NAME_IP_MISMATCH) return { ...decision, detail: mismatch(learned) };
    return decision.name === unknownName ? { ...decision, name: learned?.name } : decision;
  }
}
