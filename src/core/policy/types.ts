/**
 * Policy: what a person wrote (`PolicySpec`), what the kernel gets (`KernelTables`), and what the engine asks (`Policy`).
 */
import type { Addr } from "../net/address.js";

export type Verify = "dns" | "sni" | "both";
export type RejectMode = "rst" | "drop";
export type QuicMode = "inspect" | "deny";
export type DnsDeny = "drop" | "refused" | "nxdomain";

export interface PortRange {
  /** IP protocol number; 0 = any. */
  readonly proto: number;
  /** Inclusive, 0–65535. */
  readonly low: number;
  readonly high: number;
}

/** A CIDR as written, checked: no host bits. `length` counts from the family's own width. */
export interface Cidr {
  readonly addr: Addr;
  readonly length: number;
}

export type NamePattern =
  | { readonly kind: "exact"; readonly name: string }
  /** `*.x.io`: one or more labels below, not the apex. `name` is "x.io". */
  | { readonly kind: "below"; readonly name: string }
  /** `.x.io`: apex and below. `name` is "x.io". */
  | { readonly kind: "apexAndBelow"; readonly name: string }
  /** `suffix:ome.com`: any name that ends so, as characters. */
  | { readonly kind: "suffix"; readonly name: string };

export type RuleSpec =
  | { readonly kind: "cidr"; readonly action: "allow" | "deny"; readonly cidr: Cidr; readonly text: string }
  | { readonly kind: "name"; readonly pattern: NamePattern; readonly text: string };

export interface PolicySpec {
  readonly id: number;
  readonly name: string;
  readonly verify: Verify;
  readonly reject: RejectMode;
  readonly dnsDeny: DnsDeny;
  /** UDP on a name port: is the name in its Initials judged, or is it denied (verify sni and both). */
  readonly quic: QuicMode;
  readonly rules: readonly RuleSpec[];
  /** Where allow rules let through; empty = everywhere. */
  readonly ports: readonly PortRange[];
  /** Where a name on the wire belongs. */
  readonly namePorts: readonly PortRange[];
  /** Addresses whose port 53 is filtered by name and learned from. */
  readonly resolvers: readonly Addr[];
}

/** A rule as it is shown: its number is what maps, events and logs carry; 0 is "no rule". */
export interface Rule {
  readonly id: number;
  /** As the person wrote it, e.g. `--domain *.x.io`. */
  readonly text: string;
}

/** Contents of the maps, ready to be written; `port_sets` numbers are local to one policy set. */
export interface KernelTables {
  readonly portSets: readonly (readonly KernelPortRange[])[];
  /** portSets[i] has the number portSetBase + i; the empty set 0 has 0. */
  readonly portSetBase: number;
  /** Of each policy in the order of compareCidrs, no prefix twice. */
  readonly cidrs: readonly KernelCidr[];
  readonly policies: readonly KernelPolicy[];
}
export interface KernelPortRange extends PortRange {
  readonly verdict: "allow" | "deny" | "inspect";
  /** 0: the rule of the entry that refers to the set, so that 100,000 CIDRs limited to one port share one set. */
  readonly rule: number;
}
export interface KernelCidr {
  readonly policy: number;
  readonly addr: Addr;
  readonly length: number;
  readonly verdict: "allow" | "deny" | "ports";
  readonly strict: boolean;
  readonly rule: number;
  readonly ports: number;
}
export interface KernelPolicy {
  readonly id: number;
  readonly verify: Verify;
  readonly quic: QuicMode;
  readonly namePorts: number;
  /** `Numbers.namesPortSet`, if there is one. */
  readonly namesPortSet?: { readonly number: number; readonly ranges: readonly KernelPortRange[] };
}

export type AddressDecision =
  /** A CIDR rule decides. */
  | { readonly kind: "allow" | "deny"; readonly rule: number; readonly reason: number }
  /** A trusted resolver's port 53. */
  | { readonly kind: "dns" }
  /** No CIDR rule speaks of it: names decide. */
  | { readonly kind: "names" };

export interface NameDecision {
  readonly rule: number;
  /** Port set in KernelTables, 0 = everywhere. */
  readonly ports: number;
}

/** One compiled policy. Pure; every method answers in well under a microsecond, also with a million names. */
export interface Policy {
  readonly id: number;
  readonly spec: PolicySpec;
  /** `name` in normal form. undefined: no rule allows it. The answer is valid until the next question. */
  matchName(name: string): NameDecision | undefined;
  /** The same answer as the kernel's CIDR tables give. */
  decideAddress(addr: Addr, proto: number, port: number): AddressDecision;
  /** Does the rule's port set let (proto, port) through? */
  portAllowed(ports: number, proto: number, port: number): boolean;
  isNamePort(proto: number, port: number): boolean;
  isResolver(addr: Addr): boolean;
  ruleText(rule: number): string;
  /** The pattern of a name rule; undefined: no name rule of this policy has that number. */
  patternOf(rule: number): NamePattern | undefined;
  /** A rule that allows every name that the pattern matches; undefined: there is none, though several together may. */
  covers(pattern: NamePattern): NameDecision | undefined;
}
