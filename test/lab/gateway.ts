/** The gateway as a process on the lab's router (or in any namespace), with its own log as the witness. */
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { atExit, prefix } from "./cleanup.js";
import { type Lab } from "./lab.js";
import { type Namespace } from "./namespace.js";
import { craftedResolver, resolver } from "./plan.js";
import { until, type Daemon, type Output, type RunOptions } from "./process.js";

/** One line of the log. */
export interface Decision {
  readonly time: string;
  readonly verdict: "allow" | "deny";
  readonly reason: string;
  readonly client?: string;
  readonly name?: string;
  readonly address?: string;
  readonly port?: number;
  readonly proto?: string;
  readonly rule?: string;
  readonly detail?: string;
}

export interface GatewayOptions {
  /** Where it runs; default: the lab's router. */
  readonly where?: Namespace;
  /** Default ["lan0"]; [] governs the namespace's own egress. */
  readonly lan?: readonly string[];
  /** Default "wan0". */
  readonly eface?: string;
  /** Default: eface. */
  readonly iface?: string;
  /** Trusted resolvers; default: the lab's and the crafted one, both families. [] gives no --resolver. */
  readonly resolvers?: readonly string[];
  /** Policy and everything else: `["--domain", "www.allowed.example"]`. */
  readonly flags?: readonly string[];
  /** Instance; default: unique. Give it again to restart what was killed. */
  readonly name?: string;
  /** Run it in the namespace's own view of the files (its resolv.conf); it then mounts a bpffs of its own. Default false. */
  readonly ownView?: boolean;
  /** Options for Node itself. */
  readonly node?: readonly string[];
  /** Default "json"; "pretty" can't be asked for decisions. */
  readonly logFormat?: "json" | "pretty";
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

const root = fileURLToPath(new URL("../../", import.meta.url));
let serial = 0;

/** A name that no other instance on this machine has; swept up after a crash. */
export function instanceName(): string {
  return `${prefix}${serial++}`;
}

/** `l7egg` as it would be typed, without arguments: built if that is newer than the source, else from the source. */
export function program(): string[] {
  return entry("main");
}

/** The same for `l7egg-cli`. */
export function originalProgram(): string[] {
  return entry("original");
}

function entry(name: string): string[] {
  const built = join(root, "dist/cli", `${name}.js`);
  // The compiler writes only files that changed; this one, each time.
  const stamp = join(root, "dist/.tsbuildinfo");
  const isFresh = existsSync(built) && existsSync(stamp) && statSync(stamp).mtimeMs >= newest(join(root, "src"));
  if (isFresh) return [process.execPath, built];
  const tsx = join(root, "node_modules/tsx/dist/esm/index.mjs");
  return [process.execPath, "--import", tsx, join(root, "src/cli", `${name}.ts`)];
}

export class Gateway {
  /** All decisions so far, oldest first. */
  readonly decisions: Decision[] = [];

  private constructor(
    readonly daemon: Daemon,
    readonly where: Namespace,
    readonly name: string,
    /** As started, for a restart with the same. */
    readonly options: GatewayOptions,
  ) {
    daemon.onLine((line) => {
      if (!line.startsWith("{")) return;
      const fields = JSON.parse(line) as Partial<Decision>;
      if (fields.verdict !== undefined) this.decisions.push(fields as Decision);
    });
  }

  /** Start it and wait until it governs. Throws with all it said if it ends before. */
  static async start(lab: Lab, options: GatewayOptions = {}): Promise<Gateway> {
    const name = options.name ?? instanceName();
    const where = options.where ?? lab.router;
    const eface = options.eface ?? "wan0";
    const resolvers = options.resolvers ?? [resolver.v4, resolver.v6, craftedResolver.v4, craftedResolver.v6];
    const [node, ...script] = program();
    const argv = [node as string, ...(options.node ?? []), ...script];
    argv.push("run", "--name", name, "--log-format", options.logFormat ?? "json");
    for (const lan of options.lan ?? ["lan0"]) argv.push("--lan", lan);
    argv.push("--iface", options.iface ?? eface, "--eface", eface);
    for (const address of resolvers) argv.push("--resolver", address);
    // Registered before the process, so that it runs after the process was killed.
    atExit(() => removeLeftovers(name));
    const command = [...argv, ...(options.flags ?? [])];
    const daemon = options.ownView ? where.start(command, options) : where.startBare(command, options);
    const gateway = new Gateway(daemon, where, name, { ...options, name });
    await until(
      () => `the gateway: ${daemon.stdout}${daemon.stderr}`,
      async () => (daemon.ended ? "ended" : answers(gateway.socket)),
      20_000,
    );
    if (daemon.ended) throw new Error(`the gateway ended: ${daemon.stdout}${daemon.stderr}`);
    return gateway;
  }

  get socket(): string {
    return `/run/l7egg/${this.name}/control.sock`;
  }

  /** Wait for a decision with all these fields among those after the first `since` (default 0). Throws with what was decided instead. */
  async decision(match: Partial<Decision>, since = 0, timeoutMs = 3_000): Promise<Decision> {
    return until(
      () => {
        const seen = this.decisions.slice(since).map((d) => JSON.stringify(d));
        return `a decision ${JSON.stringify(match)}; seen:\n  ${seen.slice(-20).join("\n  ")}\n${this.daemon.stderr.slice(-1500)}`;
      },
      () => this.decisions.slice(since).find((decision) => matches(decision, match)),
      timeoutMs,
    );
  }

  /** Do it, and wait for the decision that it must cause. Returns what `act` returned. */
  async expect<T>(match: Partial<Decision>, act: () => Promise<T>): Promise<T> {
    const since = this.decisions.length;
    const result = await act();
    await this.decision(match, since);
    return result;
  }

  /** Another verb of the program, about this instance: `status`, `explain`, `clean`. */
  command(verb: string, args: readonly string[] = [], options?: RunOptions): Promise<Output> {
    return this.where.runBare([...program(), verb, "--name", this.name, ...args], options);
  }

  /** Until forwarded flows skip netfilter, or (false) don't. Throws with what keeps them from it. */
  async fastPath(on: boolean, timeoutMs = 12_000): Promise<void> {
    let why = "";
    await until(
      () => `the fast path to be ${on ? "on" : "off"}: ${why}`,
      async () => {
        const { fastPath } = JSON.parse((await this.command("status", ["--json"])).stdout) as {
          fastPath: { on: boolean; why: string[] };
        };
        why = fastPath.why.join("; ");
        return fastPath.on === on;
      },
      timeoutMs,
    );
  }

  /** SIGTERM; the exit code (it must be 0). */
  async stop(): Promise<number | null> {
    return (await this.daemon.stop(8_000)).code;
  }

  async kill9(): Promise<void> {
    this.daemon.signal("SIGKILL");
    await this.daemon.exited;
  }
}

/** What a gateway that was killed leaves on the machine; its namespaces take the rest with them. */
function removeLeftovers(name: string): void {
  for (const folder of ["/sys/fs/bpf/l7egg", "/run/l7egg"])
    rmSync(join(folder, name), { recursive: true, force: true });
}

function matches(decision: Decision, match: Partial<Decision>): boolean {
  return Object.entries(match).every(([key, value]) => decision[key as keyof Decision] === value);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

function newest(folder: string): number {
  let latest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    latest = Math.max(latest, entry.isDirectory() ? newest(path) : statSync(path).mtimeMs);
  }
  return latest;
}
