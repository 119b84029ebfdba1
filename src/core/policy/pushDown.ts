/**
 * From CIDR rules that contain each other to entries that stand alone. The kernel answers with the longest prefix
 * and nothing else, so what the wider rules say of other ports must be in the narrow entry, too.
 *
 * What a policy means: the rules that contain the address speak in turn, the longest prefix first; of equal prefixes deny before
 * allow. A denial and an allow without ports speak of everything, an allow with ports only of those. If a port-limited allow was
 * asked and no allow spoke, the answer is denied for its port, whatever the wider rules deny: it is the same verdict with the more
 * helpful reason, and the many entries under one denial share one port set.
 */
import type { Addr } from "../net/address.js";
import { compareCidrs, forEachNested, sortCidrs } from "./cidr.js";
import { PROTO_TCP, PROTO_UDP, rangeContains } from "./ports.js";
import type { Cidr, KernelPortRange, PortRange } from "./types.js";

export interface CidrRule extends Cidr {
  readonly action: "allow" | "deny";
  /** Where an allow lets through; empty: everywhere. Not for a denial. */
  readonly ports: readonly PortRange[];
  readonly rule: number;
}

/** All that is said of a prefix: `KernelCidr` before its ranges are a number in `port_sets`. */
export interface Said {
  readonly verdict: "allow" | "deny" | "ports";
  readonly strict: boolean;
  readonly rule: number;
  /** First match decides; `rule` 0 stands for the entry's own. */
  readonly ranges: readonly KernelPortRange[];
}

export interface Entry extends Cidr, Said {}

const EVERYTHING: PortRange = { proto: 0, low: 0, high: 65535 };
const DNS: readonly KernelPortRange[] = [PROTO_UDP, PROTO_TCP].map((proto) => ({
  proto,
  low: 53,
  high: 53,
  verdict: "inspect",
  rule: 0,
}));

/** What is written at one prefix. */
interface Written extends Cidr {
  resolver: boolean;
  readonly rules: CidrRule[];
  said?: Said;
}

/** Sorted by compareCidrs, one entry a prefix. O(n log n). */
export function pushDown(rules: readonly CidrRule[], resolvers: readonly Addr[]): Entry[] {
  const out: Entry[] = [];
  // Rules that share their ports share their ranges: one array for 100,000 of them.
  const shared = new Map<readonly PortRange[], readonly KernelPortRange[]>();
  const own = (ports: readonly PortRange[]) => {
    const ranges = shared.get(ports) ?? ports.map((range) => ({ ...range, verdict: "allow" as const, rule: 0 }));
    shared.set(ports, ranges);
    return ranges;
  };
  forEachNested(groupByPrefix(rules, resolvers), (written, outer) => {
    let said = outer?.said;
    // Backwards: each rule stands in front of what is said already.
    for (let i = written.rules.length - 1; i >= 0; i--) said = inFront(written.rules[i] as CidrRule, said, own);
    if (written.resolver || !said) said = resolverInFront(said);
    written.said = said;
    const { verdict, strict, rule, ranges } = said;
    out.push({ addr: written.addr, length: written.length, verdict, strict, rule, ranges });
  });
  return out;
}

function groupByPrefix(rules: readonly CidrRule[], resolvers: readonly Addr[]): Written[] {
  const written: Written[] = [
    ...rules.map((rule) => ({ addr: rule.addr, length: rule.length, resolver: false, rules: [rule] })),
    ...resolvers.map((addr) => ({ addr, length: addr.length * 8, resolver: true, rules: [] })),
  ];
  const out: Written[] = [];
  for (const one of sortCidrs(written)) {
    const last = out[out.length - 1];
    if (!last || compareCidrs(last, one) !== 0) {
      out.push(one);
      continue;
    }
    last.resolver ||= one.resolver;
    last.rules.push(...one.rules);
  }
  for (const one of out) if (one.rules.length > 1) one.rules.sort(denyFirst);
  return out;
}

function denyFirst(a: CidrRule, b: CidrRule): number {
  if (a.action !== b.action) return a.action === "deny" ? -1 : 1;
  return a.rule - b.rule;
}

function inFront(
  rule: CidrRule,
  outer: Said | undefined,
  own: (ports: readonly PortRange[]) => readonly KernelPortRange[],
): Said {
  if (rule.action === "deny" || rule.ports.length === 0) {
    return { verdict: rule.action, strict: false, rule: rule.rule, ranges: [] };
  }
  let ranges = own(rule.ports);
  for (const range of outer ? asRanges(outer) : []) {
    if (range.verdict === "deny") break;
    if (!ranges.some((earlier) => rangeContains(earlier, range))) ranges = [...ranges, range];
  }
  return { verdict: "ports", strict: true, rule: rule.rule, ranges };
}

/** An address that no rule contains stays with the names, except for its port 53. */
function resolverInFront(outer: Said | undefined): Said {
  if (!outer) return { verdict: "ports", strict: false, rule: 0, ranges: DNS };
  // The outer rule becomes this entry's own, so that all resolvers share the sets whose ranges say rule 0.
  const said = asRanges(outer).map((range) => (range.rule === outer.rule ? { ...range, rule: 0 } : range));
  return { verdict: "ports", strict: outer.strict, rule: outer.rule, ranges: [...DNS, ...said] };
}

/** What is said, as ranges that carry their rule. Only resolvers have "inspect", and nothing is inside a single address. */
function asRanges(said: Said): KernelPortRange[] {
  if (said.verdict !== "ports") return [{ ...EVERYTHING, verdict: said.verdict, rule: said.rule }];
  return said.ranges.map((range) => (range.rule === 0 ? { ...range, rule: said.rule } : range));
}
