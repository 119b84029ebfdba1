/** What a running gateway says of itself: plain data, ready for JSON. */
import { reasonName } from "../core/abi.generated.js";
import type { EngineStats } from "../core/engine/engine.js";
import { formatAddr } from "../core/net/address.js";
import type { Explanation } from "../core/policy/explain.js";
import { explain } from "../core/policy/explain.js";
import type { Question } from "../core/policy/question.js";
import type { Attachment } from "./attachments.js";
import { clientText, withAddresses } from "./clientText.js";
import { monotonicMs } from "./clock.js";
import type { FastPathState } from "./fastPath.js";
import type { Gateway } from "./gateway.js";
import { rulesStatus } from "./iptables.js";
import { Interfaces } from "./interfaces.js";
import { ruleText } from "./livePolicy.js";
import type { JournalStats } from "./journal.js";
import type { LogStats } from "./log.js";
import type { Sizes } from "./options.js";
import { formatMask } from "./options.js";
import { addUp, queueStatus, type QueueStatus } from "./queueStatus.js";
import { addCounts } from "./reasonCounters.js";

export interface GatewayStatus {
  readonly instance: string;
  readonly pid: number;
  /** ISO 8601. */
  readonly started: string;
  readonly lan: readonly string[];
  readonly iface: string;
  readonly eface: string;
  readonly verify: string;
  /** inspect, deny: QUIC on a name port (verify sni and both). */
  readonly quic: string;
  readonly failMode: string;
  readonly markMask: string;
  readonly resolvers: readonly string[];
  readonly rules: readonly string[];
  /** Where it comes from (`null`: the command line), SHA-256 of what it says, and since when it is in force (ISO 8601). */
  readonly policy: { readonly file: string | null; readonly hash: string; readonly since: string };
  readonly attached: readonly Attachment[];
  readonly attachMode: string;
  /** Whether forwarded flows skip netfilter, and why not. */
  readonly fastPath: FastPathState;
  /** `null`: started with --no-iptables. */
  readonly iptables: string | null;
  readonly queues: readonly QueueStatus[];
  /** Lines of workers' decisions, and confirmed names, that the main thread was too busy to take. */
  readonly workersLost: number;
  readonly learned: { readonly total: number; readonly entries: readonly LearnedStatus[] };
  /** Kernel's and user space's together; reasons that never happened are left out. */
  readonly counters: readonly CounterStatus[];
  /** Room in the maps. */
  readonly sizes: Sizes;
  readonly generation: number;
  readonly adoptedFlows: boolean;
  readonly engine: EngineStats;
  readonly runner: {
    readonly packets: number;
    readonly held: number;
    readonly exceptions: number;
    readonly overdue: number;
    readonly duplicateVerdicts: number;
    readonly sendErrors: number;
    readonly mapFull: number;
  };
  /** DNS questions that the kernel may let pass by itself: how often one was allowed to, and how often there was no room. */
  readonly questions: { readonly allowed: number; readonly full: number };
  readonly journal: JournalStats;
  readonly log: LogStats;
}

export interface LearnedStatus {
  readonly client: string;
  /** Of a client that is a MAC address: what the neighbour table has for it, as `client` of the log. */
  readonly clientAddresses: readonly string[];
  readonly name: string;
  readonly address: string;
  readonly rule: string;
  /** From the name asked for to the owner of the address. */
  readonly chain: readonly string[];
  /** Seconds left, rounded down; negative: expired. */
  readonly secondsLeft: number;
}

export interface CounterStatus {
  readonly reason: string;
  readonly packets: number;
  readonly bytes: number;
}

/** `learned`: most entries listed, the newest ones. */
export async function gatewayStatus(gateway: Gateway, logStats: LogStats, learned: number): Promise<GatewayStatus> {
  const { plan, datapath, engine, runner, queue, journal, maps, flows, questions, workers } = gateway.parts;
  const { options } = plan;
  const { spec, hash, since } = gateway.policy;
  const { reasons, ...run } = runner.stats();
  const threads = await workers.status();
  const all = threads.flatMap((one) => one.stats ?? []);
  return {
    instance: options.name,
    pid: process.pid,
    started: new Date(gateway.started).toISOString(),
    lan: options.lan,
    iface: options.iface,
    eface: options.eface,
    verify: spec.verify,
    quic: spec.quic,
    failMode: options.failMode,
    markMask: formatMask(options.mark.mask),
    resolvers: spec.resolvers.map(formatAddr),
    rules: spec.rules.map((rule) => rule.text),
    policy: { file: options.policyFile ?? null, hash, since: since.toISOString() },
    attached: datapath.attachments.list(),
    attachMode: plan.attachMode,
    sizes: options.sizes,
    fastPath: gateway.parts.fastPath.state,
    iptables: options.iptables ? (await rulesStatus(options.name)).state : null,
    queues: queueStatus(queue, run.held, threads),
    workersLost: workers.lost,
    learned: await learnedStatus(gateway, learned),
    counters: mergeCounters(datapath.counters(), addCounts([reasons, ...workers.reasons()])),
    generation: datapath.generation,
    adoptedFlows: datapath.adoptedFlows,
    engine: addUp([engine.stats(), ...all.map((one) => one.engine)]),
    runner: addUp([{ ...run, mapFull: maps.full + flows.full }, ...all.map((one) => one.runner)]),
    questions: { allowed: questions.allowed, full: questions.full },
    journal: journal.stats(),
    log: logStats,
  };
}

export async function gatewayExplain(gateway: Gateway, question: Question): Promise<Explanation> {
  const { engine, interfaces } = gateway.parts;
  const addressesOf = await clientAddresses();
  const filter = (wanted: (entry: { name: string; address: string }) => boolean) =>
    [...engine.learned()].filter(wanted);
  const view = {
    now: monotonicMs(),
    byAddress: (address: string) => filter((entry) => entry.address === address),
    byName: (name: string) => filter((entry) => entry.name === name),
    clientText: (client: string) => withAddresses(clientText(client, interfaces), addressesOf(client)),
  };
  return explain([gateway.policy.policy], view, question);
}

/** Kernel's counters and ours, by reason. */
export function mergeCounters(
  kernel: ReadonlyMap<number, { readonly packets: number; readonly bytes: number }>,
  user: Readonly<Record<number, { readonly packets: number; readonly bytes: number }>>,
): CounterStatus[] {
  const codes = new Set([...kernel.keys(), ...Object.keys(user).map(Number)]);
  return [...codes]
    .sort((a, b) => a - b)
    .map((code) => ({
      reason: reasonName(code),
      packets: (kernel.get(code)?.packets ?? 0) + (user[code]?.packets ?? 0),
      bytes: (kernel.get(code)?.bytes ?? 0) + (user[code]?.bytes ?? 0),
    }));
}

/** What the log calls a client that is a MAC address: asked for now, so that the packet path needn't know. */
async function clientAddresses(): Promise<(client: string) => string[]> {
  const interfaces = new Interfaces();
  try {
    const known = await interfaces.neighbours();
    return (client) => (known.get(client) ?? []).map(formatAddr);
  } catch {
    // Nothing else depends on it.
    return () => [];
  } finally {
    interfaces.close();
  }
}

async function learnedStatus(gateway: Gateway, limit: number): Promise<GatewayStatus["learned"]> {
  const { engine, interfaces } = gateway.parts;
  const now = monotonicMs();
  const all = [...engine.learned()];
  const addressesOf = await clientAddresses();
  const entries = (limit === 0 ? [] : all.slice(-limit)).map((entry) => ({
    client: clientText(entry.client, interfaces),
    clientAddresses: addressesOf(entry.client),
    name: entry.name,
    address: formatAddr(entry.address),
    rule: ruleText(gateway.policy, entry.rule),
    chain: entry.chain,
    secondsLeft: Math.floor((entry.expires - now) / 1000),
  }));
  return { total: all.length, entries };
}
