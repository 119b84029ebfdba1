/**
 * Why a name or an address is allowed or not: the same decisions in the same order as the kernel and the engine take them,
 * with everything that led to them. Pure: what clients learned comes in as a view.
 */
import { Reason, reasonName } from "../abi.generated.js";
import { formatAddr, type Addr } from "../net/address.js";
import { formatCidr } from "./cidr.js";
import type { CompiledPolicy } from "./compiledPolicy.js";
import { connectToAddress, connectToName, type Answer, type LearnedState } from "./explainConnection.js";
import type { LearnedName, LearnedView } from "./learnedView.js";
import { formatRange, PROTO_TCP, PROTO_UDP, protocolName } from "./ports.js";
import type { Question } from "./question.js";
import type { Verify } from "./types.js";

/** Plain data, ready for JSON. */
export interface Explanation {
  readonly question: {
    readonly text: string;
    readonly kind: "name" | "address";
    /** Normal form of the name, RFC 5952 text of the address. */
    readonly subject: string;
    /** The port asked for; null: none, the outcomes assume 443. */
    readonly port: number | null;
  };
  /** One for each policy. */
  readonly policies: readonly PolicyExplanation[];
}

export interface PolicyExplanation {
  readonly policy: number;
  readonly name: string;
  readonly verify: Verify;
  /** Port limit of the allow rules; empty: everywhere. */
  readonly ports: readonly string[];
  /** The entry of the kernel's CIDR tables that contains the address; null: none, or the question is a name. */
  readonly network: NetworkExplanation | null;
  /** Every name rule that matches the name asked for, most specific first: the first one counts. */
  readonly nameRules: readonly RuleRef[];
  /** Longest time left first; at most 100. */
  readonly learned: readonly LearnedExplanation[];
  /** How many learned entries there are in all. */
  readonly learnedTotal: number;
  readonly outcomes: readonly Outcome[];
}

export interface RuleRef {
  readonly id: number;
  readonly text: string;
}

export interface NetworkExplanation {
  readonly cidr: string;
  readonly verdict: "allow" | "deny" | "ports";
  readonly rule: RuleRef;
  /** What its ranges say, in order, if `verdict` is "ports". */
  readonly ranges: readonly string[];
  /** true: what no range speaks of is denied; false: it is left to the names. */
  readonly strict: boolean;
}

export interface LearnedExplanation {
  readonly client: string;
  readonly name: string;
  readonly address: string;
  readonly chain: readonly string[];
  readonly rule: RuleRef;
  /** Whole seconds, rounded down; negative: its time is over. */
  readonly secondsLeft: number;
  /** A CIDR rule decides about this address before any name: its verdict and rule. */
  readonly overruledBy: { readonly verdict: "allow" | "deny"; readonly rule: RuleRef } | null;
}

export interface Outcome {
  /** "query": a DNS query for the name, at a trusted resolver. */
  readonly what: "query" | "connection";
  /** null: the same for every protocol and port, or a query. */
  readonly proto: "tcp" | "udp" | null;
  readonly port: number | null;
  /** "inspect": the first bytes decide, as `because` says. */
  readonly verdict: "allow" | "deny" | "inspect";
  /** The reason's name, the same as in counters and logs. */
  readonly reason: string;
  readonly reasonCode: number;
  readonly stage: "cidr" | "resolver" | "name" | "learned";
  readonly rule: RuleRef;
  readonly because: string;
}

const MAX_LEARNED = 100;
const ASSUMED_PORT = 443;

export function explain(policies: readonly CompiledPolicy[], learned: LearnedView, question: Question): Explanation {
  const subject = question.kind === "name" ? question.name : formatAddr(question.address);
  return {
    question: { text: question.text, kind: question.kind, subject, port: question.port ?? null },
    policies: policies.map((policy) => explainPolicy(policy, learned, question)),
  };
}

function explainPolicy(policy: CompiledPolicy, view: LearnedView, question: Question): PolicyExplanation {
  const all = question.kind === "name" ? view.byName(question.name) : view.byAddress(question.address);
  const entries = [...all].filter((entry) => entry.policy === policy.id).sort((a, b) => b.expires - a.expires);
  const state: LearnedState = { all: entries, valid: entries.filter((entry) => entry.expires > view.now) };
  const rule = (id: number): RuleRef => ({ id, text: policy.ruleText(id) });
  return {
    policy: policy.id,
    name: policy.spec.name,
    verify: policy.spec.verify,
    ports: policy.spec.ports.map(formatRange),
    network: question.kind === "address" ? network(policy, question.address) : null,
    nameRules: question.kind === "name" ? policy.matchingRules(question.name).map(rule) : [],
    learned: entries.slice(0, MAX_LEARNED).map((entry) => learnedLine(policy, view, entry)),
    learnedTotal: entries.length,
    outcomes:
      question.kind === "name" ? nameOutcomes(policy, question, state) : addressOutcomes(policy, question, state),
  };
}

function network(policy: CompiledPolicy, addr: Addr): NetworkExplanation | null {
  const entry = policy.entryFor(addr);
  if (!entry) return null;
  return {
    cidr: formatCidr(entry),
    verdict: entry.verdict,
    rule: { id: entry.rule, text: policy.ruleText(entry.rule) },
    ranges: policy.portSet(entry.ports).map((range) => `${range.verdict} ${formatRange(range)}`),
    strict: entry.strict,
  };
}

function learnedLine(policy: CompiledPolicy, view: LearnedView, entry: LearnedName): LearnedExplanation {
  // Every protocol has its port set; what matters here is only whether a CIDR rule speaks at all.
  const cidr = policy.decideAddress(entry.address, PROTO_TCP, ASSUMED_PORT);
  return {
    client: view.clientText(entry.client),
    name: entry.name,
    address: formatAddr(entry.address),
    chain: [...entry.chain],
    rule: { id: entry.rule, text: policy.ruleText(entry.rule) },
    secondsLeft: Math.floor((entry.expires - view.now) / 1000),
    overruledBy:
      cidr.kind === "allow" || cidr.kind === "deny"
        ? { verdict: cidr.kind, rule: { id: cidr.rule, text: policy.ruleText(cidr.rule) } }
        : null,
  };
}

type NameQuestion = Extract<Question, { kind: "name" }>;
type AddressQuestion = Extract<Question, { kind: "address" }>;

function nameOutcomes(policy: CompiledPolicy, question: NameQuestion, state: LearnedState): Outcome[] {
  const rule = policy.matchName(question.name)?.rule ?? 0;
  const query: Answer =
    rule === 0
      ? { verdict: "deny", reason: Reason.DNS_NAME, stage: "name", rule, because: "no rule matches this name" }
      : { verdict: "allow", reason: Reason.ALLOW_QUERY, stage: "name", rule, because: "a rule matches this name" };
  return [
    outcome(policy, "query", null, null, query),
    ...connections(policy, question.port, (proto, port) => connectToName(policy, rule, state, proto, port)),
  ];
}

function addressOutcomes(policy: CompiledPolicy, question: AddressQuestion, state: LearnedState): Outcome[] {
  const { address, port } = question;
  return connections(policy, port, (proto, at) => connectToAddress(policy, address, state, proto, at));
}

/** TCP and UDP; one line if the port makes no difference. */
function connections(
  policy: CompiledPolicy,
  port: number | undefined,
  ask: (proto: number, port: number) => Answer,
): Outcome[] {
  const at = port ?? ASSUMED_PORT;
  const tcp = ask(PROTO_TCP, at);
  if (tcp.everywhere) return [outcome(policy, "connection", null, null, tcp)];
  return [tcp, ask(PROTO_UDP, at)].map((answer, i) =>
    outcome(policy, "connection", i === 0 ? PROTO_TCP : PROTO_UDP, at, answer),
  );
}

function outcome(
  policy: CompiledPolicy,
  what: Outcome["what"],
  proto: number | null,
  port: number | null,
  answer: Answer,
): Outcome {
  return {
    what,
    proto: proto === null ? null : (protocolName(proto) as "tcp" | "udp"),
    port,
    verdict: answer.verdict,
    reason: reasonName(answer.reason),
    reasonCode: answer.reason,
    stage: answer.stage,
    rule: { id: answer.rule, text: policy.ruleText(answer.rule) },
    because: answer.because,
  };
}
