/**
 * The judge: packets and times go in, commands come out. No clock, no socket, no timer.
 *
 * Every packet event gets exactly one verdict command: at once, or (a held packet) later, at the latest when its flow is denied,
 * times out, or `shutdown` comes.
 */
import { Reason } from "../abi.generated.js";
import type { Addr } from "../net/address.js";
import type { Policy } from "../policy/types.js";
import { transportChecksumOk } from "../wire/checksum.js";
import { parseIcmp } from "../wire/icmp.js";
import { emptyIp, readIp, type IpPacket } from "../wire/ip.js";
import type { Invalid } from "../wire/result.js";
import { emptyTcp, readTcp } from "../wire/tcp.js";
import { emptyUdp, readUdp, type UdpDatagram } from "../wire/udp.js";
import { AddressDecisions } from "./addressDecisions.js";
import type { AskedLookup } from "./asked.js";
import type { CommandList } from "./commandList.js";
import type { LearnCommand } from "./commands.js";
import { DnsDatagrams } from "./dnsDatagrams.js";
import { DnsStreams } from "./dnsStreams.js";
import type { ClientId, Event, PacketEvent, PoliciesEvent, RestoredEvent } from "./events.js";
import type { FlowLookup, TcpPacket } from "./flowState.js";
import { sayKernelDecision } from "./kernelDecisions.js";
import { LearnedTable, isProven, type LearnedEntry, type LearnedNames } from "./learned.js";
import type { EngineLimits } from "./limits.js";
import { NameJudge } from "./nameJudge.js";
import { PolicyChange } from "./policyChange.js";
import { isInspectedQuic, QuicFlows } from "./quicFlows.js";
import type { QuicStats } from "./quicTable.js";
import { ParsedPacket } from "./parsedPacket.js";
import { TcpFlows, type TcpStats } from "./tcpFlows.js";
import {
  DNS_PORT,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  MARK_ALLOW,
  Voice,
  type ClientPacket,
} from "./voice.js";

/** Housekeeping: how often, how many learned names a time, and how long an expired one is kept for the log's sake. */
const HOUSEKEEPING_MS = 1_000;
const HOUSEKEEPING_BUDGET = 4_096;
const EXPIRED_GRACE_MS = 60_000;

export interface EngineConfig {
  readonly policies: readonly Policy[];
  readonly limits: EngineLimits;
  /** Read what eBPF has cached for a TCP flow; called at most once for a packet. */
  readonly lookupFlow: FlowLookup;
  /** Read which question eBPF let pass; called for an answer that matches none of the engine's own. */
  readonly lookupAsked: AskedLookup;
  /** Random bytes that no client knows: the key of hash tables, so that nobody can choose what collides. They change no answer. */
  readonly hashSeed: Uint8Array;
  /**
   * What clients learned, if another engine keeps it and judges DNS: then DNS of trusted resolvers is dropped here (`internal`), for it was
   * sent to the wrong queue. Default: a table of this engine's own.
   */
  readonly learned?: LearnedNames;
}

/** Sizes and losses of the engine's tables; every number has its limit in `EngineLimits`. */
export interface EngineStats extends TcpStats, QuicStats {
  readonly outstandingQueries: number;
  /** Answers, so far, to questions that eBPF had let pass by itself, which it could not confirm. */
  readonly answersToKernel: number;
  readonly dnsStreams: number;
  readonly learned: number;
  readonly learnedEvicted: number;
  readonly recentDenials: number;
}

export class Engine {
  readonly #policies: Map<number, Policy>;
  readonly #learned: LearnedNames;
  readonly #voice: Voice;
  readonly #addresses: AddressDecisions;
  readonly #tcp: TcpFlows;
  readonly #quic: QuicFlows;
  readonly #datagrams: DnsDatagrams;
  readonly #streams: DnsStreams;
  readonly #resolvers: Set<Addr>;
  readonly #judgesDns: boolean;
  readonly #change = new PolicyChange();
  /** What each packet fills anew: its headers, and the packet with them, TCP or not. */
  readonly #ip = emptyIp();
  readonly #tcpHeader = emptyTcp();
  readonly #udpHeader = emptyUdp();
  readonly #plain = new ParsedPacket(this.#ip, undefined);
  readonly #tcpPacket = new ParsedPacket(this.#ip, this.#tcpHeader);
  #nextHousekeeping = 0;

  constructor(config: EngineConfig) {
    const { limits } = config;
    this.#policies = new Map(config.policies.map((policy) => [policy.id, policy]));
    this.#resolvers = new Set(config.policies.flatMap((policy) => policy.spec.resolvers));
    this.#learned = config.learned ?? new LearnedTable(limits.learned);
    this.#judgesDns = config.learned === undefined;
    this.#voice = new Voice(limits);
    this.#addresses = new AddressDecisions(this.#learned, this.#voice, config.lookupFlow);
    const names = new NameJudge(limits, this.#learned);
    const { lookupFlow, hashSeed } = config;
    this.#tcp = new TcpFlows(limits, this.#learned, names, this.#voice, lookupFlow, this.#change, hashSeed);
    this.#quic = new QuicFlows(limits, this.#learned, names, this.#voice, lookupFlow, this.#change);
    this.#datagrams = new DnsDatagrams(
      limits,
      this.#learned,
      this.#voice,
      this.#policies,
      config.lookupAsked,
      config.hashSeed,
    );
    this.#streams = new DnsStreams(limits, this.#learned, this.#voice, this.#policies);
  }

  /** Append to `out` what `event` asks for. `now`: milliseconds of CLOCK_MONOTONIC, never going back. */
  handle(event: Event, now: number, out: CommandList): void {
    switch (event.type) {
      case "packet":
        return this.#packet(event, now, out);
      case "kernelDecision":
        return sayKernelDecision(event, this.#policies.get(event.policy), this.#learned, this.#voice, out);
      case "restored":
        return this.#restored(event, now, out);
      case "policies":
        return this.#changePolicies(event, out);
      case "settled":
        return this.#change.settle();
      case "tick":
        return this.#tick(now, out);
      case "shutdown":
        this.#tcp.shutdown(out);
        this.#quic.shutdown(now, out);
        this.#streams.shutdown(out);
        return;
    }
  }

  /** When to give the next tick event. */
  nextDeadline(): number {
    return Math.min(
      this.#nextHousekeeping,
      this.#tcp.nextDeadline() ?? Infinity,
      this.#quic.nextDeadline() ?? Infinity,
    );
  }

  stats(): EngineStats {
    return {
      ...this.#tcp.stats(),
      ...this.#quic.stats(),
      outstandingQueries: this.#datagrams.outstanding,
      answersToKernel: this.#datagrams.answersToKernel,
      dnsStreams: this.#streams.size,
      learned: this.#learned.size,
      learnedEvicted: this.#learned.evicted,
      recentDenials: this.#voice.recentDenials,
    };
  }

  learned(): Iterable<LearnedEntry> {
    return this.#learned.entries();
  }

  /** A command for each learned name, by which the kernel knows it as it is here. */
  learnedCommands(): Iterable<LearnCommand> {
    return this.#learned.commands();
  }

  /** The name that holds this address longest for this client. */
  learnedAt(policy: number, client: ClientId, address: Addr): LearnedEntry | undefined {
    return this.#learned.latest(policy, client, address);
  }

  #packet(event: PacketEvent, now: number, out: CommandList): void {
    const ip = this.#ip;
    const invalid = readIp(event.bytes, event.wireLength, ip);
    if (invalid) return this.#voice.malformed(event.id, event.policy ?? 0, `IP header: ${invalid.code}`, out);
    if (event.policy === undefined) return this.#towardsClient(event, ip, now, out);
    const policy = this.#policies.get(event.policy);
    if (!policy || event.client === undefined) {
      return this.#voice.malformed(event.id, event.policy, "no such policy", out);
    }
    this.#fromClient(event, ip, policy, event.client, now, out);
  }

  #fromClient(event: PacketEvent, ip: IpPacket, policy: Policy, client: ClientId, now: number, out: CommandList): void {
    const { bytes } = event;
    const packet = this.#plain;
    packet.begin(event, policy, client);
    // Netfilter's defragmentation stands before the queue; what still is a fragment was not put together.
    if (ip.fragment !== "no") return this.#voice.deny(packet, { reason: Reason.FRAGMENT }, now, out);
    // A copy that was cut can't be judged (docs/policy.md: largest packet).
    if (ip.cut) return this.#voice.deny(packet, { reason: Reason.MALFORMED, detail: "copy is cut" }, now, out);
    if (!event.checksumPending && !transportChecksumOk(bytes, ip)) {
      return this.#voice.discard(event.id, Reason.CHECKSUM, bytes.length, out);
    }
    switch (ip.proto) {
      case IPPROTO_TCP: {
        const tcp = this.#tcpHeader;
        const invalid = readTcp(bytes, ip, tcp);
        if (invalid) return this.#malformed(packet, "TCP", invalid, now, out);
        const isQuestion = tcp.dport === DNS_PORT && policy.isResolver(ip.dst);
        if (packet.toThisBox && !isQuestion) return this.#notEgress(event, ip, tcp.sport, now, out);
        const segment = this.#tcpPacket;
        segment.begin(event, policy, client);
        return this.#clientTcp(segment.setPorts(tcp.sport, tcp.dport), now, out);
      }
      case IPPROTO_UDP: {
        const udp = this.#udpHeader;
        const invalid = readUdp(bytes, ip, udp);
        if (invalid) return this.#malformed(packet, "UDP", invalid, now, out);
        const { sport, dport } = udp;
        packet.setPorts(sport, dport);
        if (dport === DNS_PORT && policy.isResolver(ip.dst)) {
          if (!this.#judgesDns) return this.#wrongQueue(packet, now, out);
          return this.#datagrams.query(packet, udp, event.hook === "forward", now, out);
        }
        if (packet.toThisBox) return this.#notEgress(event, ip, sport, now, out);
        return this.#clientUdp(packet, udp, event.merged, now, out);
      }
      case IPPROTO_ICMP:
      case IPPROTO_ICMPV6: {
        const icmp = parseIcmp(bytes, ip);
        if (icmp.kind === "invalid") return this.#malformed(packet, "ICMP", icmp, now, out);
        const { isEchoRequest, echoId, type } = icmp.value;
        if (!isEchoRequest) {
          if (this.#addresses.concernsAllowedFlow(bytes, ip, policy)) {
            out.count(Reason.ALLOW_REPLY, bytes.length);
            return this.#voice.accept(event.id, MARK_ALLOW, out);
          }
          const why = { reason: Reason.PROTOCOL, detail: `ICMP type ${type}` };
          return this.#addresses.cidrOr(packet, why, now, out);
        }
        return this.#addresses.byAddress(packet.setPorts(echoId ?? 0, echoId ?? 0), now, out);
      }
      default: {
        const why = { reason: Reason.PROTOCOL, detail: `IP protocol ${ip.proto}` };
        return this.#addresses.cidrOr(packet, why, now, out);
      }
    }
  }

  /** A client's packet that isn't on its way out: not ours to judge, but that a resolver which is a client, too, may answer another one. */
  #notEgress(event: PacketEvent, ip: IpPacket, sport: number, now: number, out: CommandList): void {
    if (sport === DNS_PORT) return this.#towardsClient(event, ip, now, out);
    this.#voice.accept(event.id, undefined, out);
  }

  /** The receiver would discard it, so it decides nothing and is not answered: it may be a decoy for the real packet. */
  #malformed(packet: ClientPacket, what: string, { code }: Invalid, now: number, out: CommandList): void {
    const detail = `${what}: ${code}`;
    this.#voice.drop(packet.id, out);
    this.#voice.denied(packet, { reason: Reason.MALFORMED, detail }, now, out);
  }

  #clientTcp(packet: TcpPacket, now: number, out: CommandList): void {
    const { policy, ip, dport } = packet;
    if (dport === DNS_PORT && policy.isResolver(ip.dst)) {
      if (!this.#judgesDns) return this.#wrongQueue(packet, now, out);
      return this.#streams.fromClient(packet, now, out);
    }
    if (this.#addresses.byCidr(packet, dport, now, out)) return;
    this.#tcp.packet(packet, now, out);
  }

  #clientUdp(packet: ClientPacket, udp: UdpDatagram, merged: boolean, now: number, out: CommandList): void {
    if (!isInspectedQuic(packet)) return this.#addresses.byAddress(packet, now, out);
    if (this.#addresses.byCidr(packet, packet.dport, now, out)) return;
    this.#quic.packet(packet, udp, merged, now, out);
  }

  /** DNS that another engine judges: nothing is known here of its question. */
  #wrongQueue(packet: ClientPacket, now: number, out: CommandList): void {
    this.#voice.drop(packet.id, out);
    this.#voice.denied(packet, { reason: Reason.INTERNAL, detail: "DNS belongs on the first queue" }, now, out);
  }

  /** Packets from port 53 towards a client. */
  #towardsClient(event: PacketEvent, ip: IpPacket, now: number, out: CommandList): void {
    const trusted = this.#resolvers.has(ip.src);
    if (!trusted) return this.#voice.accept(event.id, undefined, out);
    if (!this.#judgesDns) return this.#voice.discard(event.id, Reason.INTERNAL, event.bytes.length, out);
    if (ip.fragment !== "no" || ip.cut) return this.#voice.discard(event.id, Reason.FRAGMENT, event.bytes.length, out);
    if (!event.checksumPending && !transportChecksumOk(event.bytes, ip)) {
      return this.#voice.discard(event.id, Reason.CHECKSUM, event.bytes.length, out);
    }
    if (ip.proto === IPPROTO_UDP) return this.#datagrams.answer(event, ip, trusted, now, out);
    if (ip.proto !== IPPROTO_TCP) return this.#voice.accept(event.id, undefined, out);
    const tcp = this.#tcpHeader;
    if (readTcp(event.bytes, ip, tcp)) {
      return this.#voice.discard(event.id, Reason.MALFORMED, event.bytes.length, out);
    }
    this.#streams.toClient(event, ip, tcp, trusted, now, out);
  }

  #restored(event: RestoredEvent, now: number, out: CommandList): void {
    const policy = this.#policies.get(event.policy);
    // The policy may have changed since: only what it allows today comes back.
    const rule = policy && isProven(event, policy.spec.verify) ? policy.matchName(event.name) : undefined;
    if (!rule || event.expires <= now) return;
    const { policy: id, client, name, address, chain, expires } = event;
    this.#learned.learn({ policy: id, client, name, address, chain, expires, rule: rule.rule, ports: rule.ports }, out);
  }

  #changePolicies({ policies, firstRule }: PoliciesEvent, out: CommandList): void {
    const numbersBeginAnew = firstRule <= this.#change.firstRule;
    this.#change.begin(this.#policies, firstRule);
    this.#policies.clear();
    this.#resolvers.clear();
    for (const policy of policies) {
      this.#policies.set(policy.id, policy);
      for (const resolver of policy.spec.resolvers) this.#resolvers.add(resolver);
    }
    this.#learned.change((entry) => {
      const policy = this.#policies.get(entry.policy);
      return policy && isProven(entry, policy.spec.verify) ? policy.matchName(entry.name) : undefined;
    }, out);
    if (numbersBeginAnew) this.#tcp.forgetJudged();
  }

  #tick(now: number, out: CommandList): void {
    this.#tcp.expire(now, out);
    this.#quic.expire(now, out);
    if (now < this.#nextHousekeeping) return;
    this.#nextHousekeeping = now + HOUSEKEEPING_MS;
    this.#datagrams.expire(now);
    this.#streams.expire(now, out);
    this.#learned.expire(now, EXPIRED_GRACE_MS, HOUSEKEEPING_BUDGET, out);
  }
}
