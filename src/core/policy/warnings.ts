/**
 * What is legal but may not be what was meant. Each line says what happens, so that a person can decide.
 */
import { atMost } from "./checked.js";
import { forEachNested, formatCidr, sortCidrs } from "./cidr.js";
import { NameIndex } from "./nameIndex.js";
import type { Cidr, NamePattern, PolicySpec, RuleSpec } from "./types.js";

type CidrRuleSpec = Extract<RuleSpec, { kind: "cidr" }>;

/** Lines of one kind. */
const MAX_LINES = 20;

export function policyWarnings(spec: PolicySpec): string[] {
  const lists = [onlyDenies(spec), openSuffixes(spec), wholeFamilies(spec), nestedCidrs(spec), coveredNames(spec)];
  return lists.flatMap((lines) => atMost(lines, MAX_LINES, "warnings like these"));
}

function onlyDenies(spec: PolicySpec): string[] {
  const allows = spec.rules.some((rule) => rule.kind === "name" || rule.action === "allow");
  return allows ? [] : ["nothing is allowed: all rules are --deny-cidr"];
}

function openSuffixes(spec: PolicySpec): string[] {
  const out: string[] = [];
  for (const rule of spec.rules) {
    if (rule.kind !== "name" || rule.pattern.kind === "exact") continue;
    const { kind, name } = rule.pattern;
    if (kind === "suffix" && !name.startsWith(".")) {
      out.push(
        `${rule.text}: the suffix doesn't begin with a dot, so it also lets h${name} and www.r${name} through; ` +
          `--domain .${name} means ${name} and what is below it`,
      );
    } else if (!name.replace(/^\./, "").includes(".")) {
      out.push(`${rule.text}: lets every name below the top-level domain ${name.replace(/^\./, "")} through`);
    }
  }
  return out;
}

function wholeFamilies(spec: PolicySpec): string[] {
  const out: string[] = [];
  for (const rule of spec.rules) {
    if (rule.kind !== "cidr" || rule.cidr.length !== 0) continue;
    const family = rule.cidr.addr.length === 4 ? "IPv4" : "IPv6";
    const what = rule.action === "allow" ? "is let through" : "is denied";
    out.push(`${rule.text}: every ${family} address outside a narrower rule ${what} without a look at names`);
  }
  return out;
}

function nestedCidrs(spec: PolicySpec): string[] {
  const out: string[] = [];
  const cidrs: (Cidr & { readonly rule: CidrRuleSpec })[] = [];
  for (const rule of spec.rules) {
    if (rule.kind === "cidr") cidrs.push({ addr: rule.cidr.addr, length: rule.cidr.length, rule });
  }
  forEachNested(sortCidrs(cidrs), (inner, outer) => {
    if (!outer || outer.rule.action === inner.rule.action) return;
    const stays = inner.rule.action === "allow" ? "allowed" : "denied";
    out.push(
      `${outer.rule.text} contains ${inner.rule.text}: the longer prefix wins, ${formatCidr(inner)} stays ${stays}`,
    );
  });
  return out;
}

/** A rule that another one makes superfluous: harmless, but removing the wide one later would surprise. */
function coveredNames(spec: PolicySpec): string[] {
  const names = spec.rules.filter((rule) => rule.kind === "name");
  const wild = names.filter((rule) => rule.pattern.kind !== "exact");
  if (wild.length === 0) return [];
  const index = new NameIndex(wild.map((rule, i) => ({ pattern: rule.pattern, rule: i + 1 })));
  const out: string[] = [];
  for (const rule of names) {
    const other = index
      .matchAll(probe(rule.pattern))
      .map((i) => wild[i - 1] as RuleSpec)
      .find((candidate) => candidate !== rule);
    if (other) out.push(`${rule.text}: already covered by ${other.text}`);
  }
  return out;
}

/**
 * A name that stands for all that the pattern matches: `*` is in no pattern, so whatever matches the probe matches by the
 * characters behind it. The apex stands for `.x.io`: what is wide enough for it and isn't exact takes what is below, too,
 * except the suffix that equals neither.
 */
function probe(pattern: NamePattern): string {
  switch (pattern.kind) {
    case "exact":
    case "apexAndBelow":
      return pattern.name;
    case "below":
      return `*.${pattern.name}`;
    case "suffix":
      return `*${pattern.name}`;
  }
}
