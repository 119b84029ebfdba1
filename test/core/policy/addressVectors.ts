/**
 * Test vectors for "what do the CIDR rules say of this packet": tables as they go into the maps, and questions with the answer of
 * a reference that knows nothing of tries, push-down or port sets. The same for TypeScript and for eBPF.
 */
import { Reason } from "../../../src/core/abi.generated.js";
import { addrFromBytes, type Addr } from "../../../src/core/net/address.js";
import { addrAfter, contains, formatCidr, maskAddr } from "../../../src/core/policy/cidr.js";
import { compilePolicies, type Compiled } from "../../../src/core/policy/compile.js";
import type { CidrRule } from "../../../src/core/policy/pushDown.js";
import type { AddressDecision, Cidr, PolicySpec, PortRange } from "../../../src/core/policy/types.js";
import { Random, specOf } from "./random.js";

export interface AddressVector {
  readonly policy: number;
  readonly addr: Addr;
  readonly proto: number;
  /** 0 where the protocol has none. */
  readonly port: number;
  readonly expect: AddressDecision;
}

/** `count` policies (ids from 1) in one set of tables, with `perPolicy` questions each. The same seed gives the same vectors. */
export function addressVectors(
  seed: number,
  count = 4,
  perPolicy = 500,
): { readonly compiled: Compiled; readonly vectors: readonly AddressVector[] } {
  const random = new Random(seed);
  const specs = Array.from({ length: count }, (_, i) => randomSpec(random, i + 1));
  const compiled = compilePolicies(specs);
  const vectors: AddressVector[] = [];
  let firstRule = 1;
  for (const spec of specs) {
    const rules = cidrRulesOf(spec, firstRule);
    firstRule += spec.rules.length;
    const places = interestingAddresses(random, [...rules, ...spec.resolvers.map(asCidr)]);
    for (let i = 0; i < perPolicy; i++) {
      const isDns = spec.resolvers.length > 0 && random.chance(8);
      const addr = isDns ? random.pick(spec.resolvers) : random.chance(6) ? randomAddr(random) : random.pick(places);
      const proto = random.pick([6, 6, 6, 17, 17, 132, 1, 58, 47]);
      const port = [6, 17, 132].includes(proto) ? random.pick([22, 53, 79, 80, 81, 443, 444, 1000, 65535]) : 0;
      vectors.push({ policy: spec.id, addr, proto, port, expect: reference(rules, spec.resolvers, addr, proto, port) });
    }
  }
  return { compiled, vectors };
}

/** What the rules mean, as docs/policy.md says it: every rule is looked at. */
export function reference(
  rules: readonly CidrRule[],
  resolvers: readonly Addr[],
  addr: Addr,
  proto: number,
  port: number,
): AddressDecision {
  const hasPorts = [6, 17, 132].includes(proto);
  if ((proto === 6 || proto === 17) && port === 53 && resolvers.includes(addr)) return { kind: "dns" };
  const asked = rules
    .filter((rule) => contains(rule, asCidr(addr)))
    .sort(
      (a, b) => b.length - a.length || Number(b.action === "deny") - Number(a.action === "deny") || a.rule - b.rule,
    );
  let limited: CidrRule | undefined;
  for (const rule of asked) {
    if (rule.action === "deny") {
      if (limited) break;
      return { kind: "deny", rule: rule.rule, reason: Reason.DENY_CIDR };
    }
    const speaks = (range: PortRange) =>
      (range.proto === 0 || range.proto === proto) && (!hasPorts || (range.low <= port && port <= range.high));
    if (rule.ports.length === 0 || rule.ports.some(speaks)) {
      return { kind: "allow", rule: rule.rule, reason: Reason.ALLOW_CIDR };
    }
    limited ??= rule;
  }
  return limited ? { kind: "deny", rule: limited.rule, reason: Reason.PORT } : { kind: "names" };
}

/** Prefixes that contain each other often: few different bytes, every length. */
export function randomCidr(random: Random): Cidr {
  const addr = randomAddr(random);
  const length = random.int(addr.length * 8 + 1);
  return { addr: maskAddr(addr, length), length };
}

/** First, last, and one before and after of each network: where off-by-one shows. */
export function interestingAddresses(random: Random, cidrs: readonly Cidr[]): Addr[] {
  const out: Addr[] = [randomAddr(random)];
  for (const cidr of cidrs) {
    const after = addrAfter(cidr);
    out.push(cidr.addr, addrBefore(cidr.addr), after ?? cidr.addr, after ? addrBefore(after) : cidr.addr);
    const inside = randomAddr(random);
    if (inside.length === cidr.addr.length) {
      const whole = Math.ceil(cidr.length / 8);
      out.push((cidr.addr.slice(0, whole) + inside.slice(whole)) as Addr);
    }
  }
  return out;
}

export function cidrRulesOf(spec: PolicySpec, firstRule: number): CidrRule[] {
  return spec.rules.flatMap((rule, i) =>
    rule.kind === "cidr"
      ? [
          {
            ...rule.cidr,
            action: rule.action,
            ports: rule.action === "allow" ? spec.ports : [],
            rule: firstRule + i,
          },
        ]
      : [],
  );
}

function randomSpec(random: Random, id: number): PolicySpec {
  const networks = [...new Set(Array.from({ length: 1 + random.int(40) }, () => formatCidr(randomCidr(random))))];
  const flags = {
    cidr: [] as string[],
    denyCidr: [] as string[],
    domain: ["x.io"],
    resolver: [] as string[],
    port: [] as string[],
  };
  for (const network of networks) (random.chance(3) ? flags.denyCidr : flags.cidr).push(network);
  for (let i = random.int(4); i > 0; i--) {
    const addr = randomAddr(random);
    if (addr.charCodeAt(0) > 0 && addr.charCodeAt(0) < 224)
      flags.resolver.push(formatCidr(asCidr(addr)).split("/")[0] as string);
  }
  flags.resolver = [...new Set(flags.resolver)];
  if (random.chance(2))
    flags.port = random.pick([["tcp/443"], ["80", "tcp/443"], ["tcp", "icmp"], ["udp/53", "tcp/80-1000", "sctp/443"]]);
  return specOf(flags, id);
}

function randomAddr(random: Random): Addr {
  const width = random.chance(3) ? 16 : 4;
  const bytes = Uint8Array.from({ length: width }, () => random.pick([0, 1, 10, 127, 128, 192, 254, 255]));
  if (width === 16) bytes.fill(0, 4, 12);
  return addrFromBytes(bytes, 0, width);
}

function addrBefore(addr: Addr): Addr {
  const bytes = Buffer.from(addr, "latin1");
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = ((bytes[i] as number) + 255) & 255;
    if (bytes[i] !== 255) break;
  }
  return bytes.toString("latin1") as Addr;
}

function asCidr(addr: Addr): Cidr {
  return { addr, length: addr.length * 8 };
}
