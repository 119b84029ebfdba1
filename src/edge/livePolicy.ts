/** The policy that is in force: what a start or a reload brought. */
import type { Numbers } from "../core/policy/compile.js";
import type { CompiledPolicy } from "../core/policy/compiledPolicy.js";
import { formatCidr } from "../core/policy/cidr.js";
import type { PolicySpec } from "../core/policy/types.js";
import { MAX_PORT_SETS } from "../core/abi.generated.js";

export interface LivePolicy extends Numbers {
  readonly spec: PolicySpec;
  readonly policy: CompiledPolicy;
  readonly hash: string;
  /** When it came into force. */
  readonly since: Date;
  /** `cidrKeys` of its spec. */
  readonly cidrs: string;
}

/** Two sets of ports that limit all names: the one in force, and room for another. */
const namesPortSets = 2 * MAX_PORT_SETS;

/** The text of a rule in the log; "": not of this policy. */
export function ruleText(live: LivePolicy, rule: number): string {
  return live.spec.rules[rule - live.firstRule]?.text ?? "";
}

/** The first policy of a gateway that can change it. */
export function firstNumbers(firstRule: number): Numbers {
  return { firstRule, portSetBase: 0, namesPortSet: namesPortSets };
}

/** Of the policy after this one: no number of this one means anything else then. */
export function nextNumbers(live: LivePolicy): Numbers {
  const next = live.firstRule + live.spec.rules.length;
  return { firstRule: next < 2 ** 31 ? next : 1, portSetBase: live.portSetBase === 0 ? MAX_PORT_SETS : 0 };
}

/** The rules about networks, a line each: one string goes from thread to thread more cheaply than a list. */
export function cidrKeys(spec: PolicySpec): string {
  const keys: string[] = [];
  for (const rule of spec.rules) if (rule.kind === "cidr") keys.push(`${rule.action} ${formatCidr(rule.cidr)}`);
  return keys.join("\n");
}

/** The number of what limits all names after `live`: the same if it is the same, so that learned names can stay as they are. */
export function nextNamesPortSet(live: { readonly namesPortSet?: number | undefined }, isSame: boolean): number {
  if (isSame) return live.namesPortSet ?? namesPortSets;
  return live.namesPortSet === namesPortSets ? namesPortSets + 1 : namesPortSets;
}
