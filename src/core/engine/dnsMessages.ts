/**
 * What a DNS message means to a firewall: may this question be asked, and what did its answer teach. Transport doesn't matter here.
 */
import { Reason } from "../abi.generated.js";
import type { Addr } from "../net/address.js";
import type { Policy } from "../policy/types.js";
import { AnswerChain, buildDnsDenial, DnsReading, isLearnable, readDns, type DnsMessage } from "../wire/dns.js";
import type { CommandList } from "./commandList.js";
import type { ClientId } from "./events.js";
import type { LearnedNames } from "./learned.js";
import type { EngineLimits } from "./limits.js";
import { isSpecialAddress } from "./rebind.js";
import type { Why } from "./voice.js";

const CLASS_IN = 1;
const TYPE_OPT = 41;
const RCODE_REFUSED = 5;
const RCODE_NXDOMAIN = 3;
/** RFC 8914 section 4.18: "Prohibited": this client may not ask. */
const EDE_PROHIBITED = 18;

/** Filled and read for one message after the other. */
const MESSAGE = new DnsReading();
const CHAIN = new AnswerChain();

/** An allowed question that waits for its answer. */
export interface Query {
  readonly policy: Policy;
  readonly client: ClientId;
  /** Address of the client as it stands in its packets, for the log. */
  readonly source: Addr;
  readonly resolver: Addr;
  /**
   * Interface by which the question left; 0: for this box. The answer must come in there: else a client could answer itself, or a friend of
   * its behind another interface could, in the resolver's name.
   */
  readonly ifindex: number;
  /** It left by eface: the only questions that eBPF may let pass by itself. */
  readonly forwarded: boolean;
  readonly id: number;
  readonly name: string;
  readonly type: number;
  readonly rule: number;
  readonly ports: number;
  /** The question as it was sent: an answer must repeat it byte for byte (0x20 case too). */
  readonly questionBytes: Uint8Array;
}

/** The query as the policies in force have it; undefined: the name is not allowed any more. */
export function underPolicies(query: Query, policies: ReadonlyMap<number, Policy>): Query | undefined {
  const policy = policies.get(query.policy.id);
  if (policy === query.policy) return query;
  const rule = policy?.matchName(query.name);
  if (!policy || !rule) return undefined;
  const { client, source, resolver, ifindex, forwarded, id, name, type, questionBytes } = query;
  return { policy, client, source, resolver, ifindex, forwarded, id, name, type, questionBytes, ...rule };
}

export type QueryJudgement =
  | {
      readonly kind: "allow";
      readonly message: DnsReading;
      readonly name: string;
      readonly rule: number;
      readonly ports: number;
    }
  | { readonly kind: "deny"; readonly why: Why; readonly message: DnsMessage | undefined };

/**
 * May `policy`'s clients send this message to a trusted resolver? One plain question for an allowed name, nothing else. The message is valid until the next
 * one is judged.
 */
export function judgeQuery(policy: Policy, bytes: Uint8Array, offset: number, end: number): QueryJudgement {
  const message = MESSAGE;
  const invalid = readDns(bytes, offset, end, message);
  if (invalid) {
    const detail = `${invalid.code} at byte ${invalid.offset}`;
    return { kind: "deny", why: { reason: Reason.DNS_MALFORMED, detail }, message: undefined };
  }
  const question = message.questions[0];
  const odd = oddQuery(message);
  if (odd !== undefined || !question) {
    return { kind: "deny", why: { reason: Reason.DNS_MALFORMED, detail: odd ?? "no question" }, message: undefined };
  }
  const rule = policy.matchName(question.name);
  if (!rule) {
    return { kind: "deny", why: { reason: Reason.DNS_NAME, name: question.name || "." }, message };
  }
  return { kind: "allow", message, name: question.name, rule: rule.rule, ports: rule.ports };
}

/** The answer a denied client gets at once; undefined where the policy says to keep silent. */
export function denialFor(policy: Policy, message: DnsMessage | undefined, query: Uint8Array): Uint8Array | undefined {
  const { dnsDeny } = policy.spec;
  if (!message || dnsDeny === "drop") return undefined;
  const rcode = dnsDeny === "refused" ? RCODE_REFUSED : RCODE_NXDOMAIN;
  return buildDnsDenial(message, query, rcode, EDE_PROHIBITED, "l7egg: name is in no rule");
}

export type AnswerJudgement =
  /** Release it; what it taught is in `out` already. `repeated`: all that it says was known, but for the time. */
  | { readonly kind: "release"; readonly why: Why; readonly repeated: boolean }
  | { readonly kind: "drop"; readonly why: Why };

/** Learn from the answer to `query`. Its `learn` commands go to `out` before the caller releases the packet. */
export function judgeAnswer(
  query: Query,
  bytes: Uint8Array,
  offset: number,
  end: number,
  learned: LearnedNames,
  limits: EngineLimits,
  now: number,
  out: CommandList,
): AnswerJudgement {
  const message = MESSAGE;
  const invalid = readDns(bytes, offset, end, message);
  if (invalid) {
    const detail = `${invalid.code} at byte ${invalid.offset}`;
    return { kind: "drop", why: { reason: Reason.DNS_MALFORMED, name: query.name, detail } };
  }
  if (!answers(message, query)) {
    return {
      kind: "drop",
      why: { reason: Reason.DNS_UNSOLICITED, name: query.name, detail: "answers another question" },
    };
  }
  // A cut answer teaches nothing: the client asks again over TCP (RFC 2181 section 9).
  if (message.truncated || message.rcode !== 0) {
    const why = { reason: Reason.ALLOW_ANSWER, name: query.name, detail: emptyDetail(message) };
    return { kind: "release", why, repeated: false };
  }
  const chain = CHAIN;
  chain.follow(message);
  let taught = 0;
  let rebinds = 0;
  let known = 0;
  let offChain = 0;
  let isFull = false;
  for (const record of message.records) {
    if (!isLearnable(record)) continue;
    const { address } = record;
    const depth = chain.depthOf(record);
    if (address === undefined || depth < 0) {
      if (chain.isOff(record, depth)) offChain++;
      continue;
    }
    if (isFull) continue;
    if (taught >= limits.addressesPerAnswer) {
      isFull = true;
      out.count(Reason.OVERLOAD, 0);
      continue;
    }
    if (isSpecialAddress(address) && query.policy.decideAddress(address, 0, 0).kind !== "allow") {
      rebinds++;
      out.count(Reason.DNS_REBIND, 0);
      continue;
    }
    taught++;
    const { client, name, rule, ports } = query;
    const policy = query.policy.id;
    const expires = now + Math.min(chain.ttlOf(record, depth) * 1000, limits.maxTtlMs) + limits.ttlGraceMs;
    if (learned.knows(policy, client, address, name, rule, ports, expires)) {
      known++;
      continue;
    }
    const names = chain.names.slice(0, depth + 1);
    if (learned.learn({ policy, client, address, name, chain: names, rule, ports, expires }, out)) known++;
  }
  for (let i = 0; i < offChain; i++) out.count(Reason.DNS_CHAIN, 0);
  const detail = answerDetail(taught, rebinds, offChain);
  const why = { reason: Reason.ALLOW_ANSWER, name: query.name, rule: query.rule, detail };
  return { kind: "release", why, repeated: taught > 0 && known === taught };
}

/** Why a message is not one plain question; undefined if it is. */
function oddQuery(message: DnsMessage): string | undefined {
  if (message.response) return "a response where a query belongs";
  if (message.opcode !== 0) return `opcode ${message.opcode}`;
  if (message.questions.length !== 1) return `${message.questions.length} questions`;
  if (message.questions[0]?.class !== CLASS_IN) return `class ${message.questions[0]?.class}`;
  for (const { section, type } of message.records) {
    if (section !== "additional" || type !== TYPE_OPT) return `a record of type ${type} in a query`;
  }
  return undefined;
}

function answers(message: DnsReading, query: Query): boolean {
  return (
    message.response &&
    message.opcode === 0 &&
    message.id === query.id &&
    message.questions.length === 1 &&
    message.isQuestion(query.questionBytes)
  );
}

function emptyDetail(message: DnsMessage): string {
  return message.truncated ? "truncated" : `rcode ${message.rcode}`;
}

function answerDetail(taught: number, rebinds: number, offChain: number): string {
  // Nearly every answer.
  if (rebinds === 0 && offChain === 0) return (LEARNED[taught] ??= learnedText(taught));
  const parts = [learnedText(taught)];
  if (rebinds > 0) parts.push(`${rebinds} private or special, not learned`);
  if (offChain > 0) parts.push(`${offChain} off the chain, not learned`);
  return parts.join(", ");
}

/** By number; `EngineLimits.addressesPerAnswer` at most. */
const LEARNED: string[] = [];

function learnedText(taught: number): string {
  return `${taught} address${taught === 1 ? "" : "es"} learned`;
}
