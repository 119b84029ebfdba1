/** What speaks against a TCP flow, or for it, in words for the log and flags for the kernel. */
import { FLOW_BY_HELLO, FLOW_CLIMBED, FLOW_FAST, FLOW_OPENED, FLOW_RELEASED, Reason } from "../abi.generated.js";
import type { LearnedEntry, LearnedFor } from "./learned.js";
import type { ClientPacket, Why } from "./voice.js";

/** Flags of a flow that this engine allowed by its first bytes. */
export function judgedFlags(fast: boolean): number {
  return FLOW_BY_HELLO | FLOW_CLIMBED | (fast ? FLOW_FAST : 0);
}

/** Flags of a flow of whose first bytes a part went on undecided. */
export function releasedFlags(fast: boolean): number {
  return FLOW_OPENED | FLOW_CLIMBED | FLOW_RELEASED | (fast ? FLOW_FAST : 0);
}

/** undefined: the address is learned, and its time is not over. */
export function refuseAddress(learned: LearnedEntry | undefined, now: number): Why | undefined {
  if (!learned) return { reason: Reason.UNLEARNED };
  if (learned.expires <= now) return { reason: Reason.EXPIRED, name: learned.name, rule: learned.rule };
  return undefined;
}

export function refusePort(packet: ClientPacket, learned: LearnedEntry | undefined): Why | undefined {
  if (!learned || packet.policy.portAllowed(learned.ports, packet.ip.proto, packet.dport)) return undefined;
  return { reason: Reason.PORT, name: learned.name, rule: learned.rule };
}

export function byAddress(learned: LearnedFor | undefined): Why {
  return { reason: Reason.ALLOW_ADDRESS, name: learned?.name, rule: learned?.rule };
}

export function mismatch(learned: LearnedFor | undefined): string | undefined {
  return learned && `address was learned for ${learned.name}`;
}
