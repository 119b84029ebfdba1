/** The rules of the gateway: scripts/iptables-setup.sh, which a person may also call by hand. */
import { spawn } from "node:child_process";
import { PROTO_UDP } from "../core/policy/ports.js";
import type { PolicySpec } from "../core/policy/types.js";
import { UsageError } from "./errors.js";
import { formatQueues } from "./instances.js";
import { formatMask } from "./options.js";
import type { FailMode, MarkBits, QueueRange } from "./options.js";
import { iptablesScript } from "./paths.js";

export interface RulesOptions {
  readonly name: string;
  readonly lan: readonly string[];
  readonly iface: string;
  readonly eface: string;
  readonly queues: QueueRange;
  readonly mark: MarkBits;
  readonly failMode: FailMode;
  readonly masquerade: boolean;
  readonly pinDir: string;
  /** Forwarded flows may skip netfilter (fastPath.ts). Default: no. */
  readonly fast?: boolean;
  /** `quicPorts` of the policy. */
  readonly quicPorts: readonly string[];
}

const DNS_PORT = 53;

/** Where the name in a QUIC Initial decides, as iptables writes ports. DNS has rules of its own. */
export function quicPorts({ verify, quic, namePorts }: PolicySpec): string[] {
  if (verify === "dns" || quic === "deny") return [];
  const ranges = namePorts.filter(({ proto }) => proto === PROTO_UDP || proto === 0);
  return ranges
    .flatMap(({ low, high }) => [
      { low, high: Math.min(high, DNS_PORT - 1) },
      { low: Math.max(low, DNS_PORT + 1), high },
    ])
    .filter(({ low, high }) => low <= high)
    .map(({ low, high }) => (low === high ? `${low}` : `${low}:${high}`));
}

/** Sets the rules in place of those of an earlier run; each table changes in one step. Returns the script's remarks. */
export async function rulesUp(options: RulesOptions): Promise<string[]> {
  const { stderr } = await script([
    "up",
    ...options.lan.flatMap((name) => ["--lan", name]),
    ...["--eface", options.eface, "--iface", options.iface],
    ...["--queues", formatQueues(options.queues), "--mark-mask", formatMask(options.mark.mask)],
    ...["--mode", "nfqueue", "--fail-mode", options.failMode],
    ...["--name", options.name, "--pin-dir", options.pinDir],
    ...(options.masquerade ? ["--masquerade"] : []),
    ...(options.quicPorts.length > 0 ? ["--quic-ports", options.quicPorts.join()] : []),
    ...(options.fast ? ["--fast"] : []),
    ...(options.lan.length > 0 ? ["--answers"] : []),
  ]);
  return stderr;
}

/** Fine if there are none. */
export async function rulesDown(name: string): Promise<void> {
  await script(["down", "--name", name]);
}

export type RulesState = "up" | "partly up" | "not up";

export async function rulesStatus(name: string): Promise<{ state: RulesState; lines: string[] }> {
  const { code, stdout } = await run(["status", "--name", name]);
  const last = stdout.at(-1) ?? "";
  const state = code === 0 ? "up" : last.endsWith("partly up") ? "partly up" : "not up";
  return { state, lines: stdout };
}

interface Result {
  readonly code: number | null;
  readonly stdout: string[];
  readonly stderr: string[];
}

/** UsageError with the script's own line if it refuses (exit code 2). */
async function script(args: readonly string[]): Promise<Result> {
  const result = await run(args);
  if (result.code === 0) return result;
  if (result.code === 2) throw new UsageError(result.stderr);
  throw new Error(`iptables-setup.sh ${args[0]} failed (${result.code}): ${result.stderr.join("; ")}`);
}

function run(args: readonly string[]): Promise<Result> {
  return new Promise((resolve, reject) => {
    // In a process group of its own: a Ctrl-C on the terminal is for us; we take the rules down in order.
    const child = spawn(iptablesScript, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", (error) => reject(new Error(`${iptablesScript} can't be run`, { cause: error })));
    child.on("close", (code) => resolve({ code, stdout: lines(stdout), stderr: lines(stderr) }));
  });
}

function lines(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}
