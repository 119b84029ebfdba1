/** Packets that eBPF decided without asking: the engine only says so. */
import { Reason } from "../abi.generated.js";
import type { Policy } from "../policy/types.js";
import { parseIp, type IpPacket } from "../wire/ip.js";
import { parseTcp } from "../wire/tcp.js";
import type { CommandList } from "./commandList.js";
import type { KernelDecisionEvent } from "./events.js";
import type { LearnedNames } from "./learned.js";
import { DNS_PORT, IPPROTO_TCP, IPPROTO_UDP, type Voice } from "./voice.js";

/** eBPF decided by itself: say it, and tell the client if it was denied. `policy`: the event's; undefined: there is none any more. */
export function sayKernelDecision(
  event: KernelDecisionEvent,
  policy: Policy | undefined,
  learned: LearnedNames,
  voice: Voice,
  out: CommandList,
): void {
  const parsed = parseIp(event.bytes, event.wireLength);
  if (parsed.kind !== "done") {
    out.decision(event.verdict, event.reason, true, event.policy, event.rule).detail = "unreadable header";
    return;
  }
  const ip = parsed.value;
  const port = destinationPort(event.bytes, ip);
  const known = learned.latest(event.policy, event.client, ip.dst);
  // The commonest mistake of a first set-up: the clients ask somebody else.
  const detail =
    event.reason === Reason.UNLEARNED && port === DNS_PORT ? "not a trusted resolver (--resolver)" : undefined;
  const why = { reason: event.reason, rule: event.rule, name: event.name ?? known?.name, detail };
  voice.inKernel(event.verdict, { policy: event.policy, ip, dport: port }, why, out);
  if (event.verdict === "allow" || !policy || ip.fragment === "later") return;
  const tcp = ip.proto === IPPROTO_TCP ? parseTcp(event.bytes, ip) : undefined;
  if (tcp && tcp.kind !== "done") return;
  voice.reject({ policy, ip, tcp: tcp?.value, bytes: event.bytes }, out);
}

/** Destination port of a TCP or UDP header, 0 elsewhere. */
function destinationPort(bytes: Uint8Array, ip: IpPacket): number {
  if (ip.proto !== IPPROTO_TCP && ip.proto !== IPPROTO_UDP) return 0;
  if (ip.fragment === "later" || bytes.length < ip.payloadOffset + 4) return 0;
  return ((bytes[ip.payloadOffset + 2] as number) << 8) | (bytes[ip.payloadOffset + 3] as number);
}
