/** A router with two interfaces and gateways on it: for tests of what a gateway sets up and takes down. No traffic. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import type { GatewayStatus } from "../../src/edge/status.js";
import { native } from "../../src/native/index.js";
import { prefix } from "../lab/cleanup.js";
import { program } from "../lab/gateway.js";
import { Namespace, connect } from "../lab/namespace.js";
import type { Daemon, Output } from "../lab/process.js";
import { until } from "../lab/process.js";

export interface Router {
  router: Namespace;
  other: Namespace;
  /** Instances of this group begin so. */
  name: string;
}

let serial = 0;

/** lan0, lan1 and wan0 lead to `other`. Whatever a failed test left behind is cleaned. */
export function withRouter(): Router {
  const made = {} as Router;
  before(() => {
    made.name = `${prefix}e${serial++}`;
    made.router = new Namespace("edge");
    made.other = new Namespace("edge-other");
    for (const name of ["lan0", "lan1", "wan0"]) addLink(made, name);
  });
  after(async () => {
    for (const name of [made.name, `${made.name}b`]) await cli(made, "clean", "--name", name, "--force");
    made.router.close();
    made.other.close();
  });
  return made;
}

export function addLink(at: Router, name: string): void {
  connect(at.router, name, at.other, name);
  at.router.ip([`link set ${name} up`]);
  at.other.ip([`link set ${name} up`]);
}

export function cli(at: Router, ...args: string[]): Promise<Output> {
  return at.router.runBare([...program(), ...args], { timeoutMs: 30_000 });
}

/** Options of a gateway that would start, with `more` behind them. */
export function options(at: Router, more: readonly string[] = []): string[] {
  return ["--name", at.name, "--lan", "lan0", "--eface", "wan0", "--domain", "x.io", "--log-format", "json", ...more];
}

/** Resolves when it is ready; throws with what it said if it ends before. */
export async function start(at: Router, args: readonly string[] = options(at)): Promise<Daemon> {
  const daemon = at.router.startBare([...program(), "run", ...args]);
  await until(
    () => `ready: ${daemon.stdout}${daemon.stderr}`,
    () => daemon.ended || daemon.stdout.includes('"msg":"ready"'),
    20_000,
  );
  if (daemon.ended) throw new Error(`the gateway ended: ${daemon.stdout}${daemon.stderr}`);
  return daemon;
}

export async function kill9(daemon: Daemon): Promise<void> {
  daemon.signal("SIGKILL");
  await daemon.exited;
}

export async function status(at: Router, name = at.name): Promise<GatewayStatus> {
  const out = await cli(at, "status", "--json", "--name", name);
  if (out.code !== 0) throw new Error(out.stderr);
  return JSON.parse(out.stdout) as GatewayStatus;
}

export function pins(name: string): string {
  return join("/sys/fs/bpf/l7egg", name);
}

/** Pinned links: name → id and program id. */
export function links(name: string): Map<string, { id: number; programId: number }> {
  const folder = join(pins(name), "links");
  return new Map(
    readdirSync(folder).map((file) => {
      const link = native.openPinnedLink(join(folder, file));
      const { id, programId } = link.info();
      link.close();
      return [file, { id, programId }];
    }),
  );
}

export function journalPath(name: string): string {
  return `/run/l7egg/${name}/learned.jsonl`;
}

export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}
