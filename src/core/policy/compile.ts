/**
 * From specs to what the kernel gets and what the engine asks. Both are built from the same entries and port sets, so they
 * can't disagree.
 */
import { formatAddr } from "../net/address.js";
import { CompiledPolicy } from "./compiledPolicy.js";
import { NameIndex, type IndexedName } from "./nameIndex.js";
import { PortSets } from "./portSets.js";
import { pushDown, type CidrRule, type Entry } from "./pushDown.js";
import type { KernelCidr, KernelPortRange, KernelTables, PolicySpec, PortRange, Rule, RuleSpec } from "./types.js";

export interface Compiled {
  readonly policies: CompiledPolicy[];
  readonly tables: KernelTables;
  /** rules[i].id is i + 1; ids run on over all policies, in the order of the specs. */
  readonly rules: Rule[];
}

/** Throws PolicyError (one line) if a policy needs more port ranges or port sets than the kernel's tables have. */
export function compilePolicies(specs: readonly PolicySpec[]): Compiled {
  const portSets = new PortSets();
  const rules: Rule[] = [];
  const compiled = specs.map((spec) => {
    const firstRule = rules.length + 1;
    const cidrRules: CidrRule[] = [];
    const names: IndexedName[] = [];
    for (const one of spec.rules) {
      const rule = rules.length + 1;
      rules.push({ id: rule, text: one.text });
      if (one.kind === "name") names.push({ pattern: one.pattern, rule });
      else cidrRules.push(cidrRule(one, spec, rule));
    }
    const entries = compileCidrs(spec, firstRule, cidrRules, portSets);
    const policy = new CompiledPolicy({
      spec,
      firstRule,
      entries,
      names: new NameIndex(names),
      portSets: portSets.sets,
      ports: portSets.intern(allowed(spec.ports), "--port"),
      namePorts: portSets.intern(allowed(spec.namePorts), "--name-port"),
    });
    return { policy, entries };
  });
  return {
    policies: compiled.map(({ policy }) => policy),
    rules,
    tables: {
      portSets: portSets.sets,
      cidrs: compiled.flatMap(({ entries }) => entries),
      policies: compiled.map(({ policy }) => ({
        id: policy.id,
        verify: policy.spec.verify,
        quic: policy.spec.quic,
        namePorts: policy.namePorts,
      })),
    },
  };
}

function compileCidrs(
  spec: PolicySpec,
  firstRule: number,
  rules: readonly CidrRule[],
  portSets: PortSets,
): KernelCidr[] {
  const textOf = (entry: Entry) =>
    entry.ranges[0]?.verdict === "inspect"
      ? `--resolver ${formatAddr(entry.addr)}`
      : (spec.rules[entry.rule - firstRule] as RuleSpec).text;
  return pushDown(rules, spec.resolvers).map((entry) => {
    const { addr, length, verdict, strict, rule, ranges } = entry;
    const ports = ranges.length === 0 ? 0 : portSets.intern(ranges, textOf(entry));
    return { policy: spec.id, addr, length, verdict, strict, rule, ports };
  });
}

// Written out: an object spread costs several times as much, and there may be 100,000 of them.
function cidrRule({ cidr, action }: Extract<RuleSpec, { kind: "cidr" }>, spec: PolicySpec, rule: number): CidrRule {
  return { addr: cidr.addr, length: cidr.length, action, ports: action === "allow" ? spec.ports : [], rule };
}

/** A set that is only asked "in or not in". */
function allowed(ranges: readonly PortRange[]): KernelPortRange[] {
  return ranges.map((range) => ({ ...range, verdict: "allow", rule: 0 }));
}
