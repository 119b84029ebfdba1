/**
 * How the engine speaks: every verdict, decision line and rejection is made here, so that they always go together.
 */
import { Reason } from "../abi.generated.js";
import { BoundedTable } from "../flow/table.js";
import type { Addr } from "../net/address.js";
import type { Policy } from "../policy/types.js";
import { icmpProhibitedFor, mayAnswerWithError, tcpResetFor } from "../wire/build.js";
import type { IpPacket } from "../wire/ip.js";
import { TcpFlag, type TcpSegment } from "../wire/tcp.js";
import type { Writable } from "../writable.js";
import type { CommandList } from "./commandList.js";
import type { DecisionCommand, FlowKey } from "./commands.js";
import type { ClientId, PacketId } from "./events.js";
import type { EngineLimits } from "./limits.js";

export const IPPROTO_ICMP = 1;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
export const IPPROTO_ICMPV6 = 58;
export const DNS_PORT = 53;

/** What goes into the mark's two bits (`enum l7_verdict`). */
export const MARK_PENDING = 2;
export const MARK_ALLOW = 3;

/**
 * A packet of a governed client, parsed as far as the network header. It, `ip` and `tcp` are filled anew by the next packet: whoever keeps something of
 * them copies it.
 */
export interface ClientPacket {
  readonly id: PacketId;
  readonly bytes: Uint8Array;
  readonly ip: IpPacket;
  readonly client: ClientId;
  readonly policy: Policy;
  /** 0 where the protocol has none. ICMP echo: the identifier in both. */
  readonly sport: number;
  readonly dport: number;
  readonly tcp: TcpSegment | undefined;
  /** It is for a resolver that isn't reached by eface: it never passes the gate, so it needs no mark. */
  readonly toThisBox: boolean;
  /** Interface that it leaves by; 0: none, it is for this box. */
  readonly ifindexOut: number;
}

export interface Why {
  readonly reason: number;
  readonly rule?: number | undefined;
  readonly name?: string | undefined;
  readonly detail?: string | undefined;
}

export class Voice {
  readonly #recent: BoundedTable<string, true>;

  constructor(limits: EngineLimits) {
    this.#recent = new BoundedTable({ max: limits.recentDenials, ttl: limits.recentDenialMs, full: "evict-oldest" });
  }

  get recentDenials(): number {
    return this.#recent.size;
  }

  /** `bytes`: what goes on instead of the packet. */
  accept(id: PacketId, mark: 2 | 3 | undefined, out: CommandList, bytes?: Uint8Array): void {
    out.verdict(id, "accept", mark, bytes);
  }

  drop(id: PacketId, out: CommandList): void {
    out.verdict(id, "drop", undefined, undefined);
  }

  /** Dropped and counted, but no decision about its flow: duplicates, decoys, packets that the receiver would discard. */
  discard(id: PacketId, reason: number, bytes: number, out: CommandList): void {
    this.drop(id, out);
    out.count(reason, bytes);
  }

  /** An allowed flow or query: one line. */
  allowed(packet: ClientPacket, why: Why, out: CommandList): void {
    this.#decision("allow", packet, why, out);
  }

  /** A denied packet: dropped, one line for its flow, told to the client if the policy says so. */
  deny(packet: ClientPacket, why: Why, now: number, out: CommandList): void {
    this.drop(packet.id, out);
    this.denied(packet, why, now, out);
    this.reject(packet, out);
  }

  /** One line for a denied flow; a retransmission of what was denied a moment ago is only counted. */
  denied(packet: ClientPacket, why: Why, now: number, out: CommandList): void {
    const key = flowId(packet) + String.fromCharCode(packet.ip.proto, why.reason);
    if (this.#recent.get(key, now)) {
      out.count(why.reason, packet.bytes.length);
      return;
    }
    this.#recent.set(key, true, now);
    this.#decision("deny", packet, why, out);
  }

  /** Tell the client: TCP reset, else ICMP administratively prohibited. Never in answer to a reset or an error. */
  reject(packet: Pick<ClientPacket, "policy" | "ip" | "tcp" | "bytes">, out: CommandList): void {
    if (packet.policy.spec.reject !== "rst") return;
    const { ip, tcp, bytes } = packet;
    if (!mayAnswerWithError(bytes, ip)) return;
    if (tcp) {
      if ((tcp.flags & TcpFlag.RST) === 0) out.push({ type: "send", bytes: tcpResetFor(bytes, ip, tcp) });
      return;
    }
    out.push({ type: "send", bytes: icmpProhibitedFor(bytes, ip) });
  }

  /** A decision that eBPF made; it has counted it. */
  inKernel(
    verdict: "allow" | "deny",
    packet: { policy: number; ip: IpPacket; dport: number },
    why: Why,
    out: CommandList,
  ): void {
    decision(verdict, true, packet.policy, packet.ip, packet.dport, why, out);
  }

  /** A packet that can't even be parsed. */
  malformed(id: PacketId, policy: number, detail: string, out: CommandList): void {
    this.drop(id, out);
    out.decision("deny", Reason.MALFORMED, false, policy, 0).detail = detail;
  }

  #decision(verdict: "allow" | "deny", packet: ClientPacket, why: Why, out: CommandList): void {
    decision(verdict, false, packet.policy.id, packet.ip, packet.dport, why, out).by = packet.client;
  }
}

function decision(
  verdict: "allow" | "deny",
  inKernel: boolean,
  policy: number,
  ip: IpPacket,
  dport: number,
  why: Why,
  out: CommandList,
): Writable<DecisionCommand> {
  const command = out.decision(verdict, why.reason, inKernel, policy, why.rule ?? 0);
  command.client = ip.src;
  command.address = ip.dst;
  command.port = dport;
  command.proto = ip.proto;
  command.name = why.name;
  command.detail = why.detail;
  return command;
}

/** Ports, policy and addresses of a client's packet as one Map key. */
export function flowId({ policy, sport, dport, ip }: ClientPacket): string {
  return flowIdOf(policy.id, sport, dport, ip.src, ip.dst);
}

export function flowIdOf(policy: number, sport: number, dport: number, src: Addr, dst: Addr): string {
  return String.fromCharCode(policy, sport, dport) + src + dst;
}

/** The 5-tuple of a client's packet. */
export function fillFlowKey(packet: ClientPacket, key: Writable<FlowKey>): void {
  const { ip } = packet;
  key.policy = packet.policy.id;
  key.src = ip.src;
  key.dst = ip.dst;
  key.proto = ip.proto;
  key.sport = packet.sport;
  key.dport = packet.dport;
}
