/** An explanation as lines for people. */
import type {
  Explanation,
  LearnedExplanation,
  NetworkExplanation,
  Outcome,
  PolicyExplanation,
  RuleRef,
} from "./explain.js";

const SHOWN_LEARNED = 20;

export function formatExplanation(explanation: Explanation): string[] {
  const { question, policies } = explanation;
  const head = question.subject === question.text ? question.text : `${question.text} (${question.subject})`;
  if (policies.length === 0) return [head, "  no policy is loaded"];
  return [head, ...policies.flatMap((policy) => formatPolicy(policy, question.kind, question.port))];
}

function formatPolicy(policy: PolicyExplanation, kind: "name" | "address", port: number | null): string[] {
  const out = [`policy ${policy.name} (verify: ${policy.verify})`];
  out.push(...policy.outcomes.map((outcome) => `  ${formatOutcome(outcome)}`));
  if (port === null && policy.outcomes.some((outcome) => outcome.port !== null)) {
    out.push("  no port was asked for: 443 is assumed");
  }
  if (kind === "address") out.push(`  network: ${policy.network ? formatNetwork(policy.network) : "in no CIDR rule"}`);
  else out.push(`  name: ${formatNameRules(policy.nameRules)}`);
  if (policy.ports.length > 0) out.push(`  ports: allow rules let ${policy.ports.join(", ")} through`);
  out.push(`  learned: ${policy.learnedTotal === 0 ? "nothing" : policy.learnedTotal}`);
  const shown = policy.learned.slice(0, SHOWN_LEARNED);
  out.push(...shown.map((one) => `    ${formatLearned(one)}`));
  if (policy.learnedTotal > shown.length) out.push(`    … and ${policy.learnedTotal - shown.length} more`);
  return out;
}

function formatOutcome(outcome: Outcome): string {
  const what =
    outcome.what === "query" ? "DNS query" : outcome.proto === null ? "all ports" : `${outcome.proto}/${outcome.port}`;
  const rule = outcome.rule.id === 0 ? "" : ` [${formatRule(outcome.rule)}]`;
  return `${what}: ${outcome.verdict} (${outcome.reason}): ${outcome.because}${rule}`;
}

function formatNetwork(network: NetworkExplanation): string {
  const said = network.verdict === "ports" ? network.ranges.join(", ") : network.verdict;
  const rest =
    network.verdict !== "ports" ? "" : network.strict ? "; the rest is denied" : "; the rest is left to the names";
  const rule = network.rule.id === 0 ? "a trusted resolver" : formatRule(network.rule);
  return `${network.cidr}: ${said}${rest} [${rule}]`;
}

function formatNameRules(rules: readonly RuleRef[]): string {
  const [first, ...others] = rules;
  if (!first) return "no rule matches";
  const also = others.length === 0 ? "" : `; also matched by ${others.map((rule) => rule.text).join(", ")}`;
  return `${formatRule(first)}${also}`;
}

function formatLearned(one: LearnedExplanation): string {
  const time = one.secondsLeft < 0 ? `expired ${-one.secondsLeft} s ago` : `${one.secondsLeft} s left`;
  const chain = one.chain.length > 1 ? ` by ${one.chain.join(" → ")}` : "";
  const overruled = one.overruledBy
    ? `; but a CIDR rule decides: ${one.overruledBy.verdict} [${formatRule(one.overruledBy.rule)}]`
    : "";
  return `${one.client}: ${one.name} → ${one.address}${chain}, ${time} [${formatRule(one.rule)}]${overruled}`;
}

function formatRule(rule: RuleRef): string {
  return rule.id === 0 ? rule.text : `rule ${rule.id}: ${rule.text}`;
}
