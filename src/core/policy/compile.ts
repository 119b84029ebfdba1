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

/** What rules and port sets are called where several versions of a policy meet: no number stands for two things. */
export interface Numbers {
  /** Of the first rule, from 1 on. */
  readonly firstRule: number;
  /** Port sets are numbered from behind this. */
  readonly portSetBase: number;
  /** What limits all names has this number, also in the version after if it is the same then: learned names refer to it. undefined: as the others. */
  readonly namesPortSet?: number;
}

export interface Compiled {
  readonly policies: CompiledPolicy[];
  readonly tables: KernelTables;
  /** rules[i].id is i + firstRule; ids run on over all policies, in the order of the specs. */
  readonly rules: Rule[];
}

/** Throws PolicyError (one line) if a policy needs more port ranges or port sets than the kernel's tables have. */
export function compilePolicies(
  specs: readonly PolicySpec[],
  { firstRule: first, portSetBase, namesPortSet }: Numbers = { firstRule: 1, portSetBase: 0 },
): Compiled {
  const portSets = new PortSets(portSetBase);
  const rules: Rule[] = [];
  const compiled = specs.map((spec) => {
    const firstRule = first + rules.length;
    const cidrRules: CidrRule[] = [];
    const names: IndexedName[] = [];
    for (const one of spec.rules) {
      const rule = first + rules.length;
      rules.push({ id: rule, text: one.text });
      if (one.kind === "name") names.push({ pattern: one.pattern, rule });
      else cidrRules.push(cidrRule(one, spec, rule));
    }
    const entries = compileCidrs(spec, firstRule, cidrRules, portSets);
    const ports = allowed(spec.ports);
    const policy = new CompiledPolicy({
      spec,
      firstRule,
      entries,
      names: new NameIndex(names),
      portSets: portSets.sets,
      portSetBase,
      ports: spec.ports.length > 0 && namesPortSet !== undefined ? namesPortSet : portSets.intern(ports, "--port"),
      portRanges: ports,
      namePorts: portSets.intern(allowed(spec.namePorts), "--name-port"),
    });
    return { policy, entries };
  });
  return {
    policies: compiled.map(({ policy }) => policy),
    rules,
    tables: {
      portSets: portSets.sets,
      portSetBase,
      cidrs: compiled.flatMap(({ entries }) => entries),
      policies: compiled.map(({ policy }) => ({
        id: policy.id,
        verify: policy.spec.verify,
        quic: policy.spec.quic,
        namePorts: policy.namePorts,
        ...(policy.ports === namesPortSet
          ? { namesPortSet: { number: policy.ports, ranges: policy.portSet(policy.ports) } }
          : {}),
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
