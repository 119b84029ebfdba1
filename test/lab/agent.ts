/**
 * The lab's hands inside a namespace: a child process that opens sockets there, controlled over Node's message channel.
 * Real programs (curl, openssl, dig, ssh) do what they can do; this does what they can't: a thousand connections at once,
 * connections held open, raw packets, servers that answer on purpose wrongly.
 */
import { fileURLToPath } from "node:url";
import { type Namespace } from "./namespace.js";
import { until, type Daemon } from "./process.js";
import type { Methods } from "./agent/main.js";

type Method = keyof Methods;
type Args<M extends Method> = Parameters<Methods[M]>[0];
type Result<M extends Method> = Awaited<ReturnType<Methods[M]>>;

interface Reply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

export class Agent {
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #next = 1;
  #ready = false;

  private constructor(readonly daemon: Daemon) {
    daemon.child.on("message", (message: Reply | "ready") => {
      if (message === "ready") {
        this.#ready = true;
        return;
      }
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error !== undefined) waiting?.reject(new Error(message.error));
      else waiting?.resolve(message.result);
    });
    void daemon.exited.then(() => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`the agent ended: ${daemon.stderr.slice(-2000)}`));
    });
  }

  static async start(where: Namespace): Promise<Agent> {
    const main = fileURLToPath(new URL("./agent/main.ts", import.meta.url));
    const agent = new Agent(where.start([process.execPath, "--import", "tsx", main], {}, "ipc"));
    await until(
      () => `agent in ${where.label}: ${agent.daemon.stderr.slice(-2000)}`,
      () => agent.#ready || (agent.daemon.ended && "ended"),
      15_000,
    );
    if (!agent.#ready) throw new Error(`agent in ${where.label}: ${agent.daemon.stderr.slice(-2000)}`);
    return agent;
  }

  /** Call one of the functions in `agent/`. Rejects with its exception's text. */
  call<M extends Method>(method: M, args: Args<M>): Promise<Result<M>> {
    const id = this.#next++;
    return new Promise<Result<M>>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.daemon.child.send({ id, method, args });
    });
  }
}
