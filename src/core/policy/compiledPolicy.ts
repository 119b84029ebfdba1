/**
 * One compiled policy: the answers that the engine needs, each in well under a microsecond.
 */
import { Reason } from "../abi.generated.js";
import type { Addr } from "../net/address.js";
import { AddressTable } from "./addressTable.js";
import { NameIndex, type NameMemory } from "./nameIndex.js";
import { rangeMatches } from "./ports.js";
import type { Writable } from "../writable.js";
import type {
  AddressDecision,
  KernelCidr,
  KernelPortRange,
  NameDecision,
  NamePattern,
  Policy,
  PolicySpec,
} from "./types.js";

export interface CompiledParts {
  readonly spec: PolicySpec;
  /** Id of spec.rules[0]. */
  readonly firstRule: number;
  /** Sorted by compareCidrs. */
  readonly entries: readonly KernelCidr[];
  readonly names: NameIndex;
  /** Of all policies. */
  readonly portSets: readonly (readonly KernelPortRange[])[];
  /** `KernelTables.portSetBase` */
  readonly portSetBase: number;
  readonly ports: number;
  /** What is in it. */
  readonly portRanges: readonly KernelPortRange[];
  readonly namePorts: number;
}

/** As it goes from thread to thread: the index of names is shared, the rest is copied. */
export type PlainPolicy = Omit<CompiledParts, "names"> & { readonly names: NameMemory };

export class CompiledPolicy implements Policy {
  readonly id: number;
  readonly spec: PolicySpec;
  /** Port set of `--port`; 0: everywhere. */
  readonly ports: number;
  /** Port set of `--name-port`; 0: a name belongs nowhere. */
  readonly namePorts: number;
  readonly #parts: CompiledParts;
  readonly #addresses: AddressTable;
  readonly #resolvers: ReadonlySet<Addr>;
  readonly #decision: Writable<NameDecision> = { rule: 0, ports: 0 };

  constructor(parts: CompiledParts) {
    this.id = parts.spec.id;
    this.spec = parts.spec;
    this.ports = parts.ports;
    this.namePorts = parts.namePorts;
    this.#parts = parts;
    this.#addresses = new AddressTable(parts.entries);
    this.#resolvers = new Set(parts.spec.resolvers);
  }

  matchName(name: string): NameDecision | undefined {
    const rule = this.#parts.names.match(name);
    if (rule === 0) return undefined;
    this.#decision.rule = rule;
    this.#decision.ports = this.ports;
    return this.#decision;
  }

  decideAddress(addr: Addr, proto: number, port: number): AddressDecision {
    const entry = this.#addresses.find(addr);
    if (!entry) return NAMES;
    if (entry.verdict !== "ports") return decided(entry.verdict, entry.rule);
    for (const range of this.portSet(entry.ports)) {
      if (!rangeMatches(range, proto, port)) continue;
      if (range.verdict === "inspect") return DNS;
      return decided(range.verdict, range.rule === 0 ? entry.rule : range.rule);
    }
    return entry.strict ? { kind: "deny", rule: entry.rule, reason: Reason.PORT } : NAMES;
  }

  portAllowed(ports: number, proto: number, port: number): boolean {
    return ports === 0 || this.#inSet(ports, proto, port);
  }

  isNamePort(proto: number, port: number): boolean {
    return this.#inSet(this.namePorts, proto, port);
  }

  isResolver(addr: Addr): boolean {
    return this.#resolvers.has(addr);
  }

  /** "no rule" for 0 and for another policy's rule. */
  ruleText(rule: number): string {
    return this.spec.rules[rule - this.#parts.firstRule]?.text ?? "no rule";
  }

  patternOf(rule: number): NamePattern | undefined {
    return this.#parts.names.patternOf(rule);
  }

  covers(pattern: NamePattern): NameDecision | undefined {
    const { names } = this.#parts;
    const { kind, name } = pattern;
    // `*` is in no pattern, so what matches such a name matches by the characters behind it.
    const rule = kind === "exact" ? names.match(name) : names.match(kind === "suffix" ? `*${name}` : `*.${name}`);
    if (rule === 0 || (kind === "apexAndBelow" && names.match(name) === 0)) return undefined;
    return { rule, ports: this.ports };
  }

  /** Plain data, for another thread: `fromPlain` makes the same policy of it. `rules` are left out: what they are called is for people. */
  toPlain(): PlainPolicy {
    const { spec, names, ...rest } = this.#parts;
    return { ...rest, spec: { ...spec, rules: [] }, names: names.memory };
  }

  static fromPlain({ names, ...rest }: PlainPolicy, rules: PolicySpec["rules"] = []): CompiledPolicy {
    return new CompiledPolicy({ ...rest, spec: { ...rest.spec, rules }, names: NameIndex.of(names) });
  }

  get firstRule(): number {
    return this.#parts.firstRule;
  }

  /** Every name rule that matches, most specific first. For people, not for packets. */
  matchingRules(name: string): number[] {
    return this.#parts.names.matchAll(name);
  }

  /** The kernel's entry that decides about this address. For people, not for packets. */
  entryFor(addr: Addr): KernelCidr | undefined {
    return this.#addresses.find(addr);
  }

  portSet(ports: number): readonly KernelPortRange[] {
    if (ports === this.ports && ports !== 0) return this.#parts.portRanges;
    return this.#parts.portSets[ports === 0 ? 0 : ports - this.#parts.portSetBase] ?? [];
  }

  #inSet(ports: number, proto: number, port: number): boolean {
    for (const range of this.portSet(ports)) if (rangeMatches(range, proto, port)) return true;
    return false;
  }
}

const NAMES: AddressDecision = Object.freeze({ kind: "names" });
const DNS: AddressDecision = Object.freeze({ kind: "dns" });

function decided(kind: "allow" | "deny", rule: number): AddressDecision {
  return { kind, rule, reason: kind === "allow" ? Reason.ALLOW_CIDR : Reason.DENY_CIDR };
}
