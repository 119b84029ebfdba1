/** `l7egg status` */
import { counted } from "../core/counted.js";
import { callControl } from "../control/client.js";
import { ControlError, type MethodName } from "../control/protocol.js";
import { withAddresses } from "../edge/clientText.js";
import { UsageError } from "../edge/errors.js";
import { formatQueues, listInstances } from "../edge/instances.js";
import { defaults } from "../edge/options.js";
import { instancePaths } from "../edge/paths.js";
import type { QueueStatus } from "../edge/queueStatus.js";
import type { GatewayStatus } from "../edge/status.js";
import { print } from "./output.js";

export async function status(options: { name: string; json?: boolean; learned: string }): Promise<number> {
  const learned = /^\d{1,6}$/.test(options.learned) ? Number(options.learned) : -1;
  if (learned < 0 || learned > 100_000)
    throw new UsageError(`--learned ${options.learned}: give a number from 0 to 100000`);
  const result = (await ask(options.name, "status", { learned })) as GatewayStatus;
  print(options.json ? [JSON.stringify(result, undefined, 2)] : formatStatus(result));
  return 0;
}

/** One question to the instance's gateway; ControlError `not-running` if none runs, with what there is instead. */
export async function ask(name: string, method: MethodName, params: unknown, timeoutMs?: number): Promise<unknown> {
  const { socket } = instancePaths(name, defaults.pinDir);
  try {
    return await callControl({ path: socket, method, params, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  } catch (error) {
    if (!(error instanceof ControlError) || error.code !== "unreachable") throw error;
    if (error.message.includes("EACCES")) throw new UsageError(`${socket}: only root and the group l7egg may ask`);
    throw new ControlError("not-running", notRunning(name));
  }
}

function notRunning(name: string): string {
  let all: ReturnType<typeof listInstances>;
  try {
    all = listInstances();
  } catch {
    // Only root may look.
    return `no gateway "${name}" is running`;
  }
  const dead = all.find((one) => one.record.name === name && !one.alive);
  if (dead) {
    return `instance "${name}" was killed and its traffic stays governed: start it again, or open the network with l7egg clean --name ${name}`;
  }
  const alive = all.filter((one) => one.alive).map((one) => one.record.name);
  const others = alive.length > 0 ? `; running: ${alive.join(", ")} (--name)` : "";
  return `no gateway "${name}" is running${others}`;
}

export function formatStatus(status: GatewayStatus): string[] {
  const whom = status.lan.length === 0 ? "this box's own egress" : `LAN ${status.lan.join(", ")}`;
  const out = [
    `instance ${status.instance}, pid ${status.pid}, since ${status.started}`,
    `governed: ${whom} -> ${status.eface}; verify ${status.verify}${status.quic === "deny" ? ", QUIC denied" : ""}, fail mode ${status.failMode}, mark mask ${status.markMask}`,
    `rules (${status.rules.length}): ${status.rules.slice(0, 10).join("; ")}${status.rules.length > 10 ? "; ..." : ""}`,
    `policy: ${status.policy.file ?? "of the command line"}, ${status.policy.hash.slice(0, 12)}, in force since ${status.policy.since}, generation ${status.generation}`,
    `resolvers: ${status.resolvers.join(", ")}`,
    `iptables rules: ${status.iptables ?? "left to somebody else (--no-iptables)"}`,
    `fast path: ${status.fastPath.on ? "on, forwarded flows skip netfilter" : `off: ${status.fastPath.why.join("; ")}`}`,
    `attached (${status.attachMode}):`,
    ...status.attached.map(
      (one) => `  ${one.program.padEnd(8)} ${one.point.padEnd(7)} of ${one.interfaceName} (${one.ifindex})`,
    ),
    "queues:",
    ...status.queues.map(
      (queue) =>
        `  ${formatQueues({ first: queue.queue, last: queue.queue })}: ${queue.depth} waiting, ${traffic(queue.packets, queue.verdicts)}; ` +
        `dropped by the kernel ${queue.queueDropped} (full) and ${queue.userDropped} (socket), ${counted(queue.overruns, "overrun")}, ${counted(queue.verdictErrors, "verdict error")}` +
        workerText(queue),
    ),
    ...(status.queues.length > 1 ? [allQueues(status.queues)] : []),
    "counters:",
    ...status.counters.map(
      (one) =>
        `  ${one.reason.padEnd(18)} ${String(one.packets).padStart(12)} ${one.packets === 1 ? "packet" : "packets"}`,
    ),
    `DNS questions: left to the kernel ${counted(status.questions.allowed, "time")}, ${status.engine.answersToKernel} of their answers came up`,
    ...losses(status),
    `learned names: ${status.learned.total} of ${status.sizes.names}, ${status.engine.learnedEvicted} forgotten for lack of room`,
    ...status.learned.entries.map(
      (one) =>
        `  ${withAddresses(one.client, one.clientAddresses)}  ${one.chain.length > 1 ? one.chain.join(" -> ") : one.name} = ${one.address}  ` +
        `${one.secondsLeft > 0 ? `${one.secondsLeft} s left` : "expired"}  (${one.rule})`,
    ),
  ];
  const hidden = status.learned.total - status.learned.entries.length;
  if (hidden > 0) out.push(`  ... and ${hidden} more (--learned N)`);
  return out;
}

function traffic(packets: number, verdicts: number): string {
  return `${counted(packets, "packet")}, ${counted(verdicts, "verdict")}`;
}

function workerText(queue: QueueStatus): string {
  if (queue.thread !== "worker") return "";
  const restarts = queue.restarts === 0 ? "" : `, ${counted(queue.restarts, "restart")}`;
  return `; worker ${queue.state}${restarts}`;
}

function allQueues(queues: readonly QueueStatus[]): string {
  const sum = (of: (queue: QueueStatus) => number) => queues.reduce((total, queue) => total + of(queue), 0);
  const lost = sum((queue) => queue.queueDropped + queue.userDropped);
  return `  all: ${sum((queue) => Math.max(queue.depth, 0))} waiting, ${traffic(
    sum((queue) => queue.packets),
    sum((queue) => queue.verdicts),
  )}; dropped by the kernel ${lost}`;
}

/** What was lost, if anything was: nothing to say is the rule. */
function losses(status: GatewayStatus): string[] {
  const { engine, runner, journal, log } = status;
  const all: readonly (readonly [count: number, one: string, what: string, many?: string])[] = [
    [engine.pendingEvicted, "undecided flow", "denied for lack of room"],
    [engine.quicEvicted, "flow of QUIC", "forgotten for lack of room", "flows of QUIC"],
    [runner.mapFull, "entry", "that found no room in the kernel's maps", "entries"],
    [status.questions.full, "DNS question", "that found no room in the kernel's map"],
    [runner.exceptions, "internal error", ""],
    [runner.overdue, "packet", "held for too long"],
    [status.workersLost, "line or name", "of workers that the main thread was too busy to take", "lines and names"],
    [runner.sendErrors, "reset or refusal", "that could not be sent", "resets and refusals"],
    [journal.lost, "learned name", "that a restart won't know"],
    [log.suppressed, "decision", "beyond the log's 1,000 a second"],
    [log.dropped, "log line", "that nobody read"],
  ];
  const some = all.filter(([count]) => count > 0);
  if (some.length === 0) return [];
  return ["losses:", ...some.map(([count, one, what, many]) => `  ${counted(count, one, many)} ${what}`.trimEnd())];
}
