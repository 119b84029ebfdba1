/**
 * What addresses decide, without a look at what a packet carries: the CIDR rules, and for UDP and ICMP echo the address that a client learned. (TCP is
 * decided by its first bytes: tcpFlows.ts.)
 */
import { FLOW_FINAL, Reason } from "../abi.generated.js";
import type { Policy } from "../policy/types.js";
import { quotedPacket } from "../wire/icmp.js";
import type { IpPacket } from "../wire/ip.js";
import type { CommandList } from "./commandList.js";
import type { ClientId } from "./events.js";
import type { FlowLookup } from "./flowState.js";
import { putFlow } from "./flowCommands.js";
import type { LearnedNames } from "./learned.js";
import { IPPROTO_UDP, MARK_ALLOW, type ClientPacket, type Voice, type Why } from "./voice.js";

export class AddressDecisions {
  readonly #learned: LearnedNames;
  readonly #voice: Voice;
  readonly #lookupFlow: FlowLookup;

  constructor(learned: LearnedNames, voice: Voice, lookupFlow: FlowLookup) {
    this.#learned = learned;
    this.#voice = voice;
    this.#lookupFlow = lookupFlow;
  }

  /** UDP and ICMP echo: no name is looked for in them, the learned address decides. */
  byAddress(packet: ClientPacket, now: number, out: CommandList): void {
    const { policy, client, ip, dport } = packet;
    const isEcho = ip.proto !== IPPROTO_UDP;
    const port = isEcho ? 0 : dport;
    if (this.byCidr(packet, port, now, out)) return;
    const why = this.#addressWhy(policy, client, ip, port, isEcho, now);
    const verdict = why.reason === Reason.ALLOW_ADDRESS ? "allow" : "deny";
    putFlow(packet, why, verdict, verdict === "allow" ? FLOW_FINAL : 0, 0, 0, out);
    if (verdict === "deny") return this.#voice.deny(packet, why, now, out);
    this.#voice.accept(packet.id, MARK_ALLOW, out);
    this.#voice.allowed(packet, why, out);
  }

  #addressWhy(policy: Policy, client: ClientId, ip: IpPacket, port: number, isEcho: boolean, now: number): Why {
    const { verify } = policy.spec;
    const belongsToName = !isEcho && policy.isNamePort(ip.proto, port);
    if (verify === "sni") return { reason: belongsToName ? Reason.QUIC : Reason.NO_NAME };
    const learned = this.#learned.latest(policy.id, client, ip.dst);
    if (!learned) return { reason: Reason.UNLEARNED };
    const { name, rule } = learned;
    if (learned.expires <= now) return { reason: Reason.EXPIRED, name, rule };
    if (!policy.portAllowed(learned.ports, ip.proto, port)) return { reason: Reason.PORT, name, rule };
    if (verify === "both" && belongsToName) return { reason: Reason.QUIC, name, rule };
    return { reason: Reason.ALLOW_ADDRESS, name, rule };
  }

  /**
   * An ICMP error to the server of an allowed flow, about one of its packets (path MTU discovery). conntrack knows the flows that pass it; those that
   * skip netfilter only eBPF knows.
   */
  concernsAllowedFlow(bytes: Uint8Array, ip: IpPacket, policy: Policy): boolean {
    const quoted = quotedPacket(bytes, ip);
    if (!quoted || quoted.src !== ip.dst) return false;
    const { src: dst, dst: src, proto, sport: dport, dport: sport } = quoted;
    const flow = this.#lookupFlow({ policy: policy.id, src, dst, proto, sport, dport });
    return flow?.verdict === "allow" && !flow.outdated;
  }

  /** Protocols that no name ever allows: a CIDR rule may. */
  cidrOr(packet: ClientPacket, why: Why, now: number, out: CommandList): void {
    if (this.byCidr(packet, 0, now, out)) return;
    putFlow(packet, why, "deny", 0, 0, 0, out);
    this.#voice.deny(packet, why, now, out);
  }

  /**
   * The CIDR rules' word, the same as the kernel's. It is asked here only for what the kernel could not read: packets that came in fragments.
   * true: a verdict was given.
   */
  byCidr(packet: ClientPacket, port: number, now: number, out: CommandList): boolean {
    const decision = packet.policy.decideAddress(packet.ip.dst, packet.ip.proto, port);
    if (decision.kind === "allow") {
      out.count(decision.reason, packet.bytes.length);
      this.#voice.accept(packet.id, MARK_ALLOW, out);
      return true;
    }
    if (decision.kind === "deny") {
      this.#voice.deny(packet, { reason: decision.reason, rule: decision.rule }, now, out);
      return true;
    }
    return false;
  }
}
