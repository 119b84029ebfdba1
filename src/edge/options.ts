/**
 * What one gateway is asked to do: the command line, checked for form. Whether the interfaces exist, the queue is free and so on
 * is asked later, still before the first change (`preflight.ts`).
 */
import type { PolicyFlags } from "../core/policy/parse.js";

export type FailMode = "closed" | "open";
export type LogFormat = "pretty" | "json";

export interface QueueRange {
  /** NFQUEUE numbers, inclusive, 0–65535. */
  readonly first: number;
  readonly last: number;
}

export interface MarkBits {
  /** Two neighbouring bits of the packet mark. */
  readonly mask: number;
  /** Position of the lower one. */
  readonly shift: number;
}

export interface Sizes {
  /** CIDRs of each family; the maps are laid out from what the rules have of them. */
  readonly cidrs: number;
  /** Entries of names4, of names6 and of bindings each. */
  readonly names: number;
  /** Entries of flows4; flows6 has half as many. */
  readonly flows: number;
}

export interface GatewayOptions {
  /** Instance: folder under bpffs and /run/l7egg, suffix of the chains. */
  readonly name: string;
  /** Interfaces whose clients are governed; empty: this box's own egress. */
  readonly lan: readonly string[];
  /** Where DNS answers come in. */
  readonly iface: string;
  /** The governed way out. */
  readonly eface: string;
  readonly flags: PolicyFlags;
  /** The file with the whole policy, absolute; `flags` are empty then. undefined: the flags are the policy. */
  readonly policyFile?: string | undefined;
  readonly queues: QueueRange;
  readonly mark: MarkBits;
  readonly failMode: FailMode;
  readonly logFormat: LogFormat;
  readonly pinDir: string;
  readonly sizes: Sizes;
  readonly masquerade: boolean;
  /** false: somebody else sets the rules (`--no-iptables`). */
  readonly iptables: boolean;
  /** auto: forwarded flows skip netfilter where nobody else has rules; off: never. */
  readonly fastPath: "auto" | "off";
  /** How the programs are attached; `auto`: TCX where the kernel has it, else clsact. */
  readonly attach: "auto" | "tcx" | "clsact";
}

export const defaults = {
  name: "default",
  queues: { first: 0, last: 0 },
  mark: { mask: 0x30, shift: 4 },
  failMode: "closed",
  pinDir: "/sys/fs/bpf/l7egg",
  runDir: "/run/l7egg",
  sizes: { cidrs: 131_072, names: 262_144, flows: 524_288 },
} as const;

/** Most queues of one gateway: each but the first has a thread of its own. */
export const maxQueues = 64;

/**
 * 1–15 of a–z, 0–9 and `-`, not first: the name becomes part of a path in bpffs (no dots there) and of iptables chain names
 * (28 characters with their prefix).
 */
export function isInstanceName(name: string): boolean {
  return /^[a-z0-9][a-z0-9-]{0,14}$/.test(name);
}

/** undefined: not two neighbouring bits of 32. */
export function markBits(mask: number): MarkBits | undefined {
  if (!Number.isInteger(mask) || mask <= 0 || mask > 0xffffffff) return undefined;
  const shift = 31 - Math.clz32((mask & -mask) >>> 0);
  return shift <= 30 && mask === (3 << shift) >>> 0 ? { mask, shift } : undefined;
}

export function formatMask(mask: number): string {
  return `0x${mask.toString(16)}`;
}
