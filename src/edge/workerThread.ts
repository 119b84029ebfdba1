/** One worker as the main thread sees it: begun, asked, told, ended. Restarts are the business of queueWorkers.ts. */
import { Worker } from "node:worker_threads";
import type { PlainPolicy } from "../core/policy/compiledPolicy.js";
import { describe } from "./errors.js";
import { threadEntry } from "./threadEntry.js";
import type { FromWorker, News, ToWorker, WorkerSetup, WorkerStats } from "./workerMessages.js";

const entry = threadEntry("queueWorker");

/** How long an answer is waited for: a worker that is busy with packets has others to think of. */
const answerMs = 1_000;
/** How long a stop may take before the thread is ended by force: its queue closes then, and what it held is dropped. */
const stopMs = 3_000;

/** How long a worker may take to make itself ready for another policy. */
const prepareMs = 10_000;

type Answer = Extract<FromWorker, { type: "stats" | "stopped" | "prepared" | "switched" }>;

export interface WorkerEvents {
  readonly news: (news: News) => void;
  /** It ended and was not told to. */
  readonly died: (cause: string) => void;
}

/** The queue could not be bound. */
export class WorkerRefused extends Error {
  readonly code: string | undefined;

  constructor(message: string, code: string | undefined) {
    super(message);
    this.name = "WorkerRefused";
    this.code = code;
  }
}

export class WorkerThread {
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  /** One question of each kind at a time. */
  readonly #asked = new Map<Answer["type"], (answer: Answer | undefined) => void>();
  #stats: Promise<WorkerStats | undefined> | undefined;
  #closing = false;
  #hasEnded = false;
  #cause = "it ended";
  /** As of its last answer. */
  last: WorkerStats | undefined;

  /** Resolves when the queue is bound. Rejects if it can't be (WorkerRefused), or if the thread ends before. */
  static async start(setup: WorkerSetup, events: WorkerEvents): Promise<WorkerThread> {
    let ready: () => void = () => undefined;
    let refuse: (error: Error) => void = () => undefined;
    const started = new Promise<void>((resolve, reject) => {
      ready = resolve;
      refuse = reject;
    });
    let isReady = false;
    const thread = new WorkerThread(setup, {
      news: events.news,
      died: (cause) => (isReady ? events.died(cause) : refuse(new Error(cause))),
      ready: () => {
        isReady = true;
        ready();
      },
      refused: refuse,
    });
    await started;
    return thread;
  }

  private constructor(
    setup: WorkerSetup,
    events: WorkerEvents & { readonly ready: () => void; readonly refused: (error: Error) => void },
  ) {
    const worker = new Worker(entry, { workerData: setup, name: `queue ${setup.queue}` });
    this.#worker = worker;
    worker.on("message", (message: FromWorker) => {
      switch (message.type) {
        case "ready":
          return events.ready();
        case "refused":
          return events.refused(new WorkerRefused(message.message, message.code));
        case "news":
          this.#tell({ type: "taken" });
          return events.news(message);
        case "stats":
        case "stopped":
          this.last = message.stats;
          return this.#asked.get(message.type)?.(message);
        case "prepared":
        case "switched":
          return this.#asked.get(message.type)?.(message);
      }
    });
    worker.on("error", (error) => (this.#cause = describe(error)));
    this.#exited = new Promise((resolve) => {
      worker.on("exit", () => {
        this.#hasEnded = true;
        for (const answer of this.#asked.values()) answer(undefined);
        resolve();
        if (!this.#closing) events.died(this.#cause);
      });
    });
  }

  send(message: Extract<ToWorker, { type: "interfaces" | "settled" }>): void {
    this.#tell(message);
  }

  /** undefined: no answer in time; `last` has what was true before. */
  stats(): Promise<WorkerStats | undefined> {
    this.#stats ??= this.#ask("stats", { type: "stats" }, answerMs)
      .then(statsOf)
      .finally(() => (this.#stats = undefined));
    return this.#stats;
  }

  /** It has these policies ready. false: not in time, or it has ended. */
  async prepare(policies: readonly PlainPolicy[]): Promise<boolean> {
    return (await this.#ask("prepared", { type: "prepare", policies }, prepareMs)) !== undefined;
  }

  /** What it has prepared is in force. false: not in time, or it has ended. */
  async switch(change: Omit<Extract<ToWorker, { type: "switch" }>, "type">): Promise<boolean> {
    return (await this.#ask("switched", { type: "switch", ...change }, stopMs)) !== undefined;
  }

  /** Its held packets have got their verdicts when this resolves. Rejects: it did not answer in time. */
  async stop(): Promise<void> {
    this.#closing = true;
    if (this.#hasEnded) return;
    const stopped = await this.#ask("stopped", { type: "stop" }, stopMs);
    if (!stopped && !this.#isEnded()) throw new Error("it did not stop in time");
  }

  /** By force, as if it had died: `died` says so. */
  async end(): Promise<void> {
    this.#cause = "it did not take the new policy";
    await this.#worker.terminate();
  }

  /** The queue is closed and the thread has ended when this resolves. Rejects: it had to be ended by force. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#hasEnded) return;
    this.#tell({ type: "close" });
    const inTime = await Promise.race([this.#exited.then(() => true), after(stopMs)]);
    if (inTime) return;
    await this.#worker.terminate();
    throw new Error("it had to be ended by force");
  }

  /** A call, so that the compiler doesn't believe the answer beyond an await. */
  #isEnded(): boolean {
    return this.#hasEnded;
  }

  #tell(message: ToWorker): void {
    if (!this.#hasEnded) this.#worker.postMessage(message);
  }

  /** undefined: no answer in time. */
  #ask(answer: Answer["type"], question: ToWorker, ms: number): Promise<Answer | undefined> {
    if (this.#hasEnded) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const timer = setTimeout(() => done(undefined), ms);
      const done = (given: Answer | undefined) => {
        clearTimeout(timer);
        this.#asked.delete(answer);
        resolve(given);
      };
      this.#asked.set(answer, done);
      this.#tell(question);
    });
  }
}

function statsOf(answer: Answer | undefined): WorkerStats | undefined {
  return answer && "stats" in answer ? answer.stats : undefined;
}

function after(ms: number): Promise<false> {
  return new Promise((resolve) => setTimeout(() => resolve(false), ms).unref());
}
