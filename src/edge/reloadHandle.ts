/** The thread of one reload (reloadThread.ts), as the main thread sees it. */
import { Worker } from "node:worker_threads";
import type { KernelCidr, RuleSpec } from "../core/policy/types.js";
import { UsageError, describe } from "./errors.js";
import type { FromReload, ReloadSetup, ToReload } from "./reloadMessages.js";
import { threadEntry } from "./threadEntry.js";

/** What it brought, put together. */
export type Prepared = Extract<FromReload, { type: "policy" }> & {
  readonly rules: readonly RuleSpec[];
  readonly entries: readonly KernelCidr[];
};

export class ReloadHandle {
  readonly #worker: Worker;
  readonly #rules: RuleSpec[] = [];
  readonly #entries: KernelCidr[] = [];
  #done: (message: FromReload) => void = () => undefined;
  #fail: (error: Error) => void = () => undefined;
  #next: Promise<FromReload>;

  constructor(setup: ReloadSetup) {
    this.#worker = new Worker(threadEntry("reloadThread"), { workerData: setup, name: "reload" });
    this.#next = this.#await();
    this.#worker.on("message", (message: FromReload) => this.#on(message));
    this.#worker.on("error", (error) => this.#fail(new Error(`the policy could not be read: ${describe(error)}`)));
    this.#worker.on("exit", () => this.#fail(new Error("the policy could not be read: its thread has ended")));
  }

  async prepared(): Promise<Prepared> {
    const message = await this.#next;
    if (message.type === "bad") throw new UsageError(message.lines);
    if (message.type !== "policy") throw new Error(`a message ${message.type} where a policy belongs`);
    return { ...message, rules: this.#rules, entries: this.#entries };
  }

  /** Never rejects: the policy is in force, and flows that were not looked at are judged anew. */
  async settled(): Promise<{ readonly kept: number; readonly left: number }> {
    this.#next = this.#await();
    this.#tell({ type: "settle" });
    const message = await this.#next.catch(() => undefined);
    return message?.type === "settled" ? message : { kept: 0, left: 0 };
  }

  end(): void {
    void this.#worker.terminate();
  }

  #on(message: FromReload): void {
    switch (message.type) {
      case "rules":
        for (const rule of message.rules) this.#rules.push(rule);
        return this.#tell({ type: "taken" });
      case "entries":
        for (const entry of message.entries) this.#entries.push(entry);
        return this.#tell({ type: "taken" });
      default:
        return this.#done(message);
    }
  }

  #tell(message: ToReload): void {
    this.#worker.postMessage(message);
  }

  #await(): Promise<FromReload> {
    const next = new Promise<FromReload>((resolve, reject) => {
      this.#done = resolve;
      this.#fail = reject;
    });
    // Whoever asks for it hears of it.
    next.catch(() => undefined);
    return next;
  }
}
