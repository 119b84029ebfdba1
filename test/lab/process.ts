/** Programs inside a namespace: run to the end with a time limit, or keep running and be stopped by pid. */
import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { atExit, tryKill } from "./cleanup.js";

/** Bytes kept of each output stream; the rest is read and thrown away. */
const outputLimit = 8 << 20;

export interface Output {
  /** Exit code; null if a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** The time limit was over and it was killed. */
  readonly timedOut: boolean;
  readonly ms: number;
}

export interface RunOptions {
  /** Milliseconds, default 10,000. Its whole process group is killed then. */
  readonly timeoutMs?: number;
  /** Given to it on stdin; else stdin is empty. */
  readonly input?: string | Uint8Array;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Run `argv` to its end. Never throws for what the program does; rejects only if it can't be started. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Output> {
  const begun = performance.now();
  const daemon = start(argv, options, "pipe");
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    daemon.signal("SIGKILL");
  }, options.timeoutMs ?? 10_000);
  daemon.child.stdin?.on("error", () => undefined);
  daemon.child.stdin?.end(options.input ?? "");
  const { code, signal } = await daemon.exited;
  clearTimeout(timer);
  return { code, signal, stdout: daemon.stdout, stderr: daemon.stderr, timedOut, ms: performance.now() - begun };
}

/** Start a program that stays. It dies with this process. `stdin` "ipc" opens Node's message channel instead. */
export function start(
  argv: readonly string[],
  options: RunOptions = {},
  stdin: "ignore" | "pipe" | "ipc" = "ignore",
): Daemon {
  const stdio: StdioOptions = stdin === "ipc" ? ["ignore", "pipe", "pipe", "ipc"] : [stdin, "pipe", "pipe"];
  const [command, ...args] = argv;
  const child = spawn(command as string, args, {
    stdio,
    // So that bytes cross the message channel as bytes.
    serialization: "advanced",
    cwd: options.cwd,
    env: { ...process.env, ...options.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` },
    // Its own process group: Ctrl-C reaches only us, and we can end it with all its children.
    detached: true,
  });
  return new Daemon(child, argv.join(" "));
}

export class Daemon {
  stdout = "";
  stderr = "";
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #ended = false;
  readonly #listeners = new Set<(line: string) => void>();
  #partial = "";

  constructor(
    readonly child: ChildProcess,
    readonly what: string,
  ) {
    const forget = atExit(() => {
      if (!this.#ended) this.signal("SIGKILL");
    });
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      if (this.stdout.length < outputLimit) this.stdout += text;
      this.#lines(text);
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      if (this.stderr.length < outputLimit) this.stderr += text;
    });
    this.exited = new Promise((resolve, reject) => {
      child.once("error", (error) => reject(new Error(`cannot start: ${what}`, { cause: error })));
      child.once("close", (code, signal) => resolve({ code, signal }));
    });
    this.exited
      .catch(() => undefined)
      .finally(() => {
        this.#ended = true;
        forget();
      });
  }

  get pid(): number {
    return this.child.pid as number;
  }

  get ended(): boolean {
    return this.#ended || this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Called with every further line of stdout. Returns the function that ends it. */
  onLine(listener: (line: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** To it and its children. */
  signal(signal: NodeJS.Signals): void {
    if (this.child.pid !== undefined) tryKill(-this.child.pid, signal);
  }

  /** SIGTERM, and SIGKILL when `graceMs` (default 3,000) are over. */
  async stop(graceMs = 3_000): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), graceMs);
    const end = await this.exited;
    clearTimeout(timer);
    return end;
  }

  #lines(text: string): void {
    if (this.#listeners.size === 0) return;
    const lines = (this.#partial + text).split("\n");
    this.#partial = lines.pop() as string;
    for (const line of lines) for (const listener of this.#listeners) listener(line);
  }
}

/** Ask every `everyMs` until `ready` says something other than undefined or false. Throws with `what` when `timeoutMs` are over. */
export async function until<T>(
  what: string | (() => string),
  ready: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 5_000,
  everyMs = 15,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const value = await ready();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > end)
      throw new Error(`not within ${timeoutMs} ms: ${typeof what === "string" ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
