/** DNS over UDP: queries filtered by name and remembered, answers matched and learned from before they are released. */
import { Reason } from "../abi.generated.js";
import { udpReplyFor } from "../wire/build.js";
import type { IpPacket } from "../wire/ip.js";
import { parseQuestion } from "../wire/dns.js";
import { DnsType } from "../wire/dnsMessage.js";
import { emptyUdp, readUdp, type UdpDatagram } from "../wire/udp.js";
import type { Policy } from "../policy/types.js";
import type { AskedKey, AskedLookup } from "./asked.js";
import type { CommandList } from "./commandList.js";
import { denialFor, judgeAnswer, judgeQuery, underPolicies, type Query } from "./dnsMessages.js";
import type { PacketEvent } from "./events.js";
import type { LearnedNames } from "./learned.js";
import type { EngineLimits } from "./limits.js";
import { Queries } from "./queries.js";
import { DNS_PORT, MARK_ALLOW, type ClientPacket, type Voice } from "./voice.js";

const DNS_HEADER = 12;

export class DnsDatagrams {
  readonly #limits: EngineLimits;
  readonly #learned: LearnedNames;
  readonly #voice: Voice;
  readonly #policies: ReadonlyMap<number, Policy>;
  readonly #lookupAsked: AskedLookup;
  readonly #queries: Queries;
  answersToKernel = 0;
  /** Of the answer at hand. */
  readonly #udp = emptyUdp();

  constructor(
    limits: EngineLimits,
    learned: LearnedNames,
    voice: Voice,
    policies: ReadonlyMap<number, Policy>,
    lookupAsked: AskedLookup,
    hashSeed: Uint8Array,
  ) {
    this.#policies = policies;
    this.#lookupAsked = lookupAsked;
    this.#limits = limits;
    this.#learned = learned;
    this.#voice = voice;
    this.#queries = new Queries(limits, hashSeed);
  }

  get outstanding(): number {
    return this.#queries.size;
  }

  /** A client's datagram to port 53 of a trusted resolver. `forwarded`: from a LAN, and it leaves by eface. */
  query(packet: ClientPacket, udp: UdpDatagram, forwarded: boolean, now: number, out: CommandList): void {
    const { ip, bytes, policy, client } = packet;
    const judgement = judgeQuery(policy, bytes, udp.payloadOffset, udp.payloadEnd);
    if (judgement.kind === "deny") {
      this.#voice.drop(packet.id, out);
      this.#voice.denied(packet, judgement.why, now, out);
      const denial = denialFor(policy, judgement.message, bytes.subarray(udp.payloadOffset, udp.payloadEnd));
      if (denial) out.push({ type: "send", bytes: udpReplyFor(ip, udp, denial) });
      return;
    }
    const { message, name, rule, ports } = judgement;
    const query = this.#queries.ask(ip.src, udp.sport, ip.dst, message.id, now);
    query.policy = policy;
    query.client = client;
    query.ifindex = packet.ifindexOut;
    query.forwarded = forwarded;
    query.name = name;
    query.type = message.questions[0]?.type ?? 0;
    query.rule = rule;
    query.ports = ports;
    query.setQuestion(message);
    out.count(Reason.ALLOW_QUERY, bytes.length);
    this.#voice.accept(packet.id, packet.toThisBox ? undefined : MARK_ALLOW, out);
  }

  /** A datagram from port 53 on its way to a client. `trusted`: it comes from a trusted resolver of some policy. */
  answer(event: PacketEvent, ip: IpPacket, trusted: boolean, now: number, out: CommandList): void {
    // What an ordinary flow brings back is not ours to judge, and teaches nothing.
    if (!trusted) return this.#voice.accept(event.id, undefined, out);
    const udp = this.#udp;
    if (readUdp(event.bytes, ip, udp)) {
      return this.#voice.discard(event.id, Reason.DNS_MALFORMED, event.bytes.length, out);
    }
    const { payloadOffset, payloadEnd } = udp;
    if (payloadEnd - payloadOffset < 2) {
      return this.#voice.discard(event.id, Reason.DNS_MALFORMED, event.bytes.length, out);
    }
    const id = ((event.bytes[payloadOffset] as number) << 8) | (event.bytes[payloadOffset + 1] as number);
    const known = this.#queries.get(ip.dst, udp.dport, ip.src, id, now);
    let query: Query | undefined = known && underPolicies(known, this.#policies);
    let asked: AskedKey | undefined;
    if (event.hook === "forward" && !(query && isAnswerTo(query, event, payloadOffset, payloadEnd))) {
      // An old question of the same id may still stand here, while eBPF has let the one that is answered pass.
      const own: AskedKey = { source: ip.dst, port: udp.dport, resolver: ip.src, id, ifindex: event.ifindexIn };
      const found = this.#askedInKernel(own, now);
      if (found) {
        query = found;
        asked = own;
      }
    }
    if (!query || query.ifindex !== event.ifindexIn)
      return this.#voice.discard(event.id, Reason.DNS_UNSOLICITED, event.bytes.length, out);
    const judged = judgeAnswer(query, event.bytes, payloadOffset, payloadEnd, this.#learned, this.#limits, now, out);
    if (judged.kind === "drop") {
      // The query stays: the real answer may still come (RFC 5452 section 9.1).
      this.#voice.drop(event.id, out);
      return answerDecision("deny", query, ip.proto, judged.why, out);
    }
    if (asked) {
      this.answersToKernel++;
      out.push({ type: "answered", key: asked });
    }
    this.#voice.accept(event.id, undefined, out);
    answerDecision("allow", query, ip.proto, judged.why, out);
    if (judged.repeated && query.forwarded && (query.type === DnsType.A || query.type === DnsType.AAAA)) {
      const command = out.allowQuestion(query.policy.id, query.client, query.resolver);
      command.name = query.name;
      command.questionType = query.type;
      command.rule = query.rule;
      command.ports = query.ports;
      command.expires = now + this.#limits.questionMs;
    }
    if (known && !asked) this.#queries.end(known);
  }

  expire(now: number): void {
    this.#queries.expire(now);
  }

  /** The question that eBPF let pass, judged once more: it only ever repeats what was allowed here. */
  #askedInKernel(key: AskedKey, now: number): Query | undefined {
    const asked = this.#lookupAsked(key);
    if (!asked || now - asked.askedAt >= this.#limits.queryMs) return undefined;
    const policy = this.#policies.get(asked.policy);
    const question = parseQuestion(asked.question);
    const rule = question && policy?.matchName(question.name);
    if (!policy || !rule) return undefined;
    return {
      policy,
      client: asked.client,
      source: key.source,
      resolver: key.resolver,
      ifindex: key.ifindex,
      forwarded: true,
      id: key.id,
      name: question.name,
      type: question.type,
      rule: rule.rule,
      ports: rule.ports,
      questionBytes: asked.question,
    };
  }
}

/** The one line of an allowed query, written when its answer is there. */
export function answerDecision(
  verdict: "allow" | "deny",
  query: Query,
  proto: number,
  why: { reason: number; name?: string | undefined; detail?: string | undefined },
  out: CommandList,
): void {
  const command = out.decision(verdict, why.reason, false, query.policy.id, query.rule);
  command.by = query.client;
  command.client = query.source;
  command.address = query.resolver;
  command.port = DNS_PORT;
  command.proto = proto;
  command.name = why.name;
  command.detail = why.detail;
}

/** Same interface, same question, byte for byte; `judgeAnswer` looks at the rest. */
function isAnswerTo({ ifindex, questionBytes }: Query, event: PacketEvent, offset: number, end: number): boolean {
  const at = offset + DNS_HEADER;
  if (ifindex !== event.ifindexIn || at + questionBytes.length > end) return false;
  for (let i = 0; i < questionBytes.length; i++) if (event.bytes[at + i] !== questionBytes[i]) return false;
  return true;
}
