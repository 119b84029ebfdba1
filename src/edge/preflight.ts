/**
 * Everything that can be wrong, asked before the first change: the rules, the machine, the other instances. All problems are told at
 * once, one line each.
 */
import { existsSync, readFileSync } from "node:fs";
import type { Addr } from "../core/net/address.js";
import { parseAddr } from "../core/net/address.js";
import type { Compiled } from "../core/policy/compile.js";
import { compilePolicies } from "../core/policy/compile.js";
import { withResolvers } from "../core/policy/parse.js";
import type { PolicySpec } from "../core/policy/types.js";
import type { Native } from "../native/types.js";
import type { AttachMode } from "./attachments.js";
import { bpffsProblem } from "./bpffs.js";
import { UsageError, describe } from "./errors.js";
import { conflicts, formatQueues, listInstances, networkNamespace, runsAlready } from "./instances.js";
import { flowtableProblem, flowtableWarning, flowtables, shares } from "./flowtables.js";
import type { Link } from "./interfaces.js";
import { Interfaces } from "./interfaces.js";
import type { GatewayOptions } from "./options.js";
import { iptablesScript, objectPath } from "./paths.js";
import { policyHash, readPolicy, type Identity } from "./policySource.js";
import { privilegeProblem } from "./privileges.js";
import { defaultResolvers } from "./resolvers.js";
import { checkTables } from "./tables.js";

/** What a start needs, all of it checked. */
export interface Plan {
  readonly options: GatewayOptions;
  readonly spec: PolicySpec;
  readonly compiled: Compiled;
  /** Same text = same policy. */
  readonly policyHash: string;
  readonly warnings: readonly string[];
  readonly lan: readonly Link[];
  readonly eface: Link;
  readonly attachMode: AttachMode;
}

/** The one policy of a gateway. */
export function policyIdentity({ name }: GatewayOptions): Identity {
  return { id: 1, name };
}

/** UsageError: what is wrong. Changes nothing. `native` is loaded only when the rest is fine: an addon that was not built is said so. */
export async function preflight(options: GatewayOptions, loadNative: () => Promise<Native>): Promise<Plan> {
  const parsed = readPolicy(options, policyIdentity(options));
  const problems = [...(parsed.ok ? [] : parsed.errors), ...contradictions(options)];
  const interfaces = new Interfaces();
  try {
    const links = await interfaces.links();
    problems.push(...interfaceProblems(options, links));
    if (!parsed.ok || problems.length > 0) throw new UsageError(problems);

    const spec = withResolvers(parsed.spec, await localResolvers(interfaces));
    const compiled = compile(spec);
    problems.push(...checkTables(compiled.tables, options.sizes.cidrs), ...machineProblems(options));
    if (problems.length > 0) throw new UsageError(problems);

    const native = await loadNative();
    const features = native.probe();
    problems.push(...featureProblems(features, options.attach));
    if (problems.length > 0) throw new UsageError(problems);

    const byName = (name: string) => links.find((link) => link.name === name) as Link;
    return {
      options,
      spec,
      compiled,
      policyHash: policyHash(spec),
      warnings: [...parsed.warnings, ...machineWarnings(options, features.tcx)],
      lan: options.lan.map(byName),
      eface: byName(options.eface),
      attachMode: options.attach !== "auto" ? options.attach : features.tcx === "no" ? "clsact" : "tcx",
    };
  } finally {
    interfaces.close();
  }
}

const needed = [
  ["bpf", "eBPF programs on TC (CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF)"],
  ["ringbuf", "the eBPF ring buffer (5.8 and later)"],
  ["lpmTrie", "the eBPF LPM trie (4.11 and later)"],
  ["fibLookup", "bpf_fib_lookup (4.18 and later)"],
  ["nfqueue", "NFQUEUE (CONFIG_NETFILTER_NETLINK_QUEUE)"],
] as const;

/** What the kernel lacks, one line each. A feature that could not be told is tried: the start will say. */
export function featureProblems(features: ReturnType<Native["probe"]>, attach: GatewayOptions["attach"]): string[] {
  // Without eBPF all that is of eBPF is missing, too: one line says it.
  const asked = features.bpf === "no" ? needed.filter(([name]) => name === "bpf" || name === "nfqueue") : needed;
  const out = asked.flatMap(([feature, what]) => (features[feature] === "no" ? [`this kernel lacks ${what}`] : []));
  if (attach === "tcx" && features.tcx === "no") out.push("--attach tcx: this kernel lacks TCX links (6.6 and later)");
  return out;
}

/** The queue's owner, as the kernel tells it in /proc/net/netfilter/nfnetlink_queue. undefined: nobody. */
export function queueOwner(queue: number, text: string): string | undefined {
  for (const line of text.split("\n")) {
    const [number, portId] = line.trim().split(/\s+/);
    if (number === undefined || number === "" || Number(number) !== queue) continue;
    // The port id is the pid for the first netlink socket of a process, by custom.
    let comm = "";
    try {
      comm = readFileSync(`/proc/${portId}/comm`, "utf8").trim();
    } catch {
      return `another process (netlink port ${portId})`;
    }
    return `another process (pid ${portId}, ${comm})`;
  }
  return undefined;
}

function contradictions(options: GatewayOptions): string[] {
  const out: string[] = [];
  if (options.lan.includes(options.eface))
    out.push(`${options.eface} is --lan and --eface: traffic can't leave where it comes in`);
  const seen = new Set<string>();
  for (const name of options.lan) {
    if (seen.has(name)) out.push(`--lan ${name} is given twice`);
    seen.add(name);
  }
  if (options.masquerade && options.lan.length === 0) out.push("--masquerade is for a --lan; there is none");
  if (options.masquerade && !options.iptables) out.push("--masquerade and --no-iptables contradict each other");
  return out;
}

function interfaceProblems(options: GatewayOptions, links: readonly Link[]): string[] {
  const out: string[] = [];
  const there = links.map((link) => link.name).join(", ");
  const asked: [string, string][] = [
    ...options.lan.map((name): [string, string] => ["--lan", name]),
    ["--eface", options.eface],
    ["--iface", options.iface],
  ];
  const told = new Set<string>();
  for (const [flag, name] of asked) {
    if (told.has(name)) continue;
    const link = links.find((one) => one.name === name);
    if (!link) out.push(`${flag} ${name}: no such interface; there are ${there}`);
    else if (link.loopback && flag !== "--iface") out.push(`${flag} ${name}: the loopback interface leads nowhere`);
    else continue;
    told.add(name);
  }
  return out;
}

/** Whose port 53 is trusted if the policy names nobody. */
export async function localResolvers(interfaces: Interfaces): Promise<Addr[]> {
  return defaultResolvers(await interfaces.addresses()).map((text) => parseAddr(text) as Addr);
}

function compile(spec: PolicySpec): Compiled {
  try {
    return compilePolicies([spec]);
  } catch (error) {
    if (error instanceof Error && error.name === "PolicyError") throw new UsageError(error.message);
    throw error;
  }
}

function machineProblems(options: GatewayOptions): string[] {
  const powerless = privilegeProblem("it loads eBPF programs and takes packets from the kernel");
  if (powerless !== undefined) return [powerless];
  const out: string[] = [];
  if (!existsSync(objectPath)) out.push(`${objectPath} is missing: build it with scripts/setup.sh`);
  if (!hasProgram("flock")) out.push("flock is missing (Debian, Ubuntu: apt-get install util-linux)");
  if (options.iptables) {
    const missing = ["iptables", "ip6tables"].filter((name) => !hasProgram(name));
    if (missing.length > 0) {
      out.push(
        `${missing.join(" and ")} missing (Debian, Ubuntu: apt-get install iptables), or give --no-iptables and set the rules yourself`,
      );
    }
    if (!existsSync(iptablesScript)) out.push(`${iptablesScript} is missing`);
  }
  const pins = bpffsProblem(options.pinDir);
  if (pins !== undefined) out.push(pins);
  if (out.length > 0) return out;

  const governed = [...options.lan, options.eface];
  const unseen = flowtables().filter((table) => table.hardware && shares(table, governed));
  out.push(...unseen.map(flowtableProblem));

  const alive = listInstances().filter((instance) => instance.alive);
  const same = alive.find((instance) => instance.record.name === options.name);
  if (same) return [runsAlready(options.name, same.record)];
  out.push(...conflicts(options, networkNamespace(), alive));
  return out.some((line) => line.startsWith("--queue")) ? out : [...out, ...queueProblems(options)];
}

function queueProblems(options: GatewayOptions): string[] {
  let text: string;
  try {
    text = readFileSync("/proc/net/netfilter/nfnetlink_queue", "utf8");
  } catch {
    // The module is not loaded yet: no queue is taken.
    return [];
  }
  const out: string[] = [];
  for (let queue = options.queues.first; queue <= options.queues.last; queue++) {
    const owner = queueOwner(queue, text);
    if (owner !== undefined) out.push(`--queue ${formatQueues(options.queues)}: queue ${queue} is taken by ${owner}`);
  }
  return out;
}

function machineWarnings(options: GatewayOptions, tcx: string): string[] {
  const out: string[] = [];
  if (options.failMode === "open") {
    out.push(
      "--fail-mode open: whatever can't be judged in time passes; a gateway that is stopped, killed or overrun is an open door",
    );
  }
  if (tcx === "no" && options.attach === "auto") {
    out.push("this kernel has no TCX links (6.6 and later): clsact filters instead, which any `tc filter del` removes");
  }
  if (options.lan.length > 0 && forwarding("ipv4/ip_forward") === "0") {
    out.push("this machine forwards no IPv4 (sysctl net.ipv4.ip_forward=1 makes it a router)");
  }
  const governed = [...options.lan, options.eface];
  const tables = flowtables().filter((table) => !table.hardware && shares(table, governed));
  out.push(...tables.map(flowtableWarning));
  return out;
}

function forwarding(path: string): string {
  try {
    return readFileSync(`/proc/sys/net/${path}`, "utf8").trim();
  } catch {
    return "";
  }
}

/** Is `name` in the PATH? */
export function hasProgram(name: string): boolean {
  return (process.env["PATH"] ?? "").split(":").some((folder) => folder !== "" && existsSync(`${folder}/${name}`));
}

/** The addon, or one line that says how to get it. */
export async function loadAddon(): Promise<Native> {
  try {
    const { native } = await import("../native/index.js");
    native.possibleCpus();
    return native;
  } catch (error) {
    throw new UsageError(`the native addon can't be loaded (build it with scripts/setup.sh): ${describe(error)}`);
  }
}
