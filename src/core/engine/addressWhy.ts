/** What speaks against a flow, or for it, by what is learned of its address. */
import { Reason } from "../abi.generated.js";
import type { LearnedEntry, LearnedFor } from "./learned.js";
import type { ClientPacket, Why } from "./voice.js";

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
