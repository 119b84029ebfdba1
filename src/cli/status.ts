/** `l7egg status` */
import { callControl } from "../control/client.js";
import { ControlError } from "../control/protocol.js";
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

/** One question to the instance's gateway; UsageError if none runs, with what there is instead. */
export async function ask(name: string, method: "status" | "explain", params: unknown): Promise<unknown> {
  const { socket } = instancePaths(name, defaults.pinDir);
  try {
    return await callControl({ path: socket, method, params });
  } catch (error) {
    if (!(error instanceof ControlError) || error.code !== "unreachable") throw error;
    if (error.message.includes("EACCES")) throw new UsageError(`${socket}: only root and the group l7egg may ask`);
    throw new UsageError(notRunning(name));
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
    `governed: ${whom} -> ${status.eface}; verify ${status.verify}, fail mode ${status.failMode}, mark mask ${status.markMask}`,
    `rules (${status.rules.length}): ${status.rules.slice(0, 10).join("; ")}${status.rules.length > 10 ? "; ..." : ""}`,
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
        `  ${formatQueues({ first: queue.queue, last: queue.queue })}: ${queue.depth} waiting, ${queue.packets} packets, ${queue.verdicts} verdicts; ` +
        `dropped by the kernel ${queue.queueDropped} (full) and ${queue.userDropped} (socket), ${queue.overruns} overruns, ${queue.verdictErrors} verdict errors` +
        workerText(queue),
    ),
    ...(status.queues.length > 1 ? [allQueues(status.queues)] : []),
    "counters:",
    ...status.counters.map((one) => `  ${one.reason.padEnd(18)} ${String(one.packets).padStart(12)} packets`),
    `DNS questions: left to the kernel ${status.questions.allowed} times, ${status.engine.answersToKernel} of their answers came up`,
    ...losses(status),
    `learned names: ${status.learned.total} of ${status.sizes.names}, ${status.engine.learnedEvicted} forgotten for lack of room`,
    ...status.learned.entries.map(
      (one) =>
        `  ${one.client}  ${one.chain.length > 1 ? one.chain.join(" -> ") : one.name} = ${one.address}  ` +
        `${one.secondsLeft > 0 ? `${one.secondsLeft} s left` : "expired"}  (${one.rule})`,
    ),
  ];
  const hidden = status.learned.total - status.learned.entries.length;
  if (hidden > 0) out.push(`  ... and ${hidden} more (--learned N)`);
  return out;
}

function workerText(queue: QueueStatus): string {
  if (queue.thread !== "worker") return "";
  const restarts = queue.restarts === 0 ? "" : `, ${queue.restarts} restarts`;
  return `; worker ${queue.state}${restarts}`;
}

function allQueues(queues: readonly QueueStatus[]): string {
  const sum = (of: (queue: QueueStatus) => number) => queues.reduce((total, queue) => total + of(queue), 0);
  const lost = sum((queue) => queue.queueDropped + queue.userDropped);
  return `  all: ${sum((queue) => Math.max(queue.depth, 0))} waiting, ${sum((queue) => queue.packets)} packets, ${sum((queue) => queue.verdicts)} verdicts; dropped by the kernel ${lost}`;
}

/** What was lost, if anything was: nothing to say is the rule. */
function losses(status: GatewayStatus): string[] {
  const { engine, runner, journal, log } = status;
  const all: readonly (readonly [number, string])[] = [
    [engine.pendingEvicted, "undecided flows denied for lack of room"],
    [runner.mapFull, "entries that found no room in the kernel's maps"],
    [status.questions.full, "DNS questions that found no room in the kernel's map"],
    [runner.exceptions, "internal errors"],
    [runner.overdue, "packets held for too long"],
    [status.workersLost, "lines and names of workers that the main thread was too busy to take"],
    [runner.sendErrors, "resets and refusals that could not be sent"],
    [journal.lost, "learned names that a restart won't know"],
    [log.suppressed, "decisions beyond the log's 1,000 a second"],
    [log.dropped, "log lines that nobody read"],
  ];
  const some = all.filter(([count]) => count > 0);
  return some.length === 0 ? [] : ["losses:", ...some.map(([count, what]) => `  ${count} ${what}`)];
}
