/**
 * From the flags of the command line to a checked `PolicySpec`. Strict: whatever is ambiguous, contradictory or without
 * effect by mistake is an error, and all errors are told at once, one line each.
 */
import { PORT_RANGES } from "../abi.generated.js";
import { formatAddr, type Addr } from "../net/address.js";
import { atMost, bad, good, show, type Checked } from "./checked.js";
import { formatCidr, parseAddress, parseCidr } from "./cidr.js";
import type { PolicyFlags } from "./flags.js";
import { parseCn, parseDomain, patternKey } from "./namePattern.js";
import { DEFAULT_NAME_PORTS, formatRange, mergePorts, parseNamePort, parsePort } from "./ports.js";
import type {
  Cidr,
  DnsDeny,
  NamePattern,
  PolicySpec,
  PortRange,
  QuicMode,
  RejectMode,
  RuleSpec,
  Verify,
} from "./types.js";
import { policyWarnings } from "./warnings.js";

export type { PolicyFlags } from "./flags.js";

export type ParsedPolicy =
  | { readonly ok: true; readonly spec: PolicySpec; readonly warnings: string[] }
  | { readonly ok: false; readonly errors: string[] };

/** A trusted resolver's own two ranges (udp/53, tcp/53) share a port set with those of `--port`. */
const MAX_PORTS = PORT_RANGES - 2;
/** Lines of errors or warnings shown. */
const MAX_LINES = 100;

/** `identity`: id 1–1023 (L7_MAX_POLICIES) and the name that people see. */
export function parsePolicy(
  flags: PolicyFlags,
  identity: { readonly id: number; readonly name: string } = { id: 1, name: "default" },
): ParsedPolicy {
  const reader = new FlagReader();
  const rules: RuleSpec[] = [];
  const cidrRule = (action: "allow" | "deny") => (cidr: Cidr, text: string) =>
    rules.push({ kind: "cidr", action, cidr, text });
  const nameRule = (pattern: NamePattern, text: string) => rules.push({ kind: "name", pattern, text });

  const allowed = reader.each("--cidr", flags.cidr, parseCidr, formatCidr, new Map(), cidrRule("allow"));
  const denied = reader.each("--deny-cidr", flags.denyCidr, parseCidr, formatCidr, new Map(), cidrRule("deny"));
  for (const [network, text] of allowed) {
    const other = denied.get(network);
    if (other !== undefined) reader.errors.push(`${text}: contradicts ${other}; keep one of them`);
  }
  const names = new Map<string, string>();
  reader.each("--cn", flags.cn, parseCn, patternKey, names, nameRule);
  reader.each("--domain", flags.domain, parseDomain, patternKey, names, nameRule);

  const resolvers: Addr[] = [];
  reader.each("--resolver", flags.resolver, parseResolver, formatAddr, new Map(), (addr) => resolvers.push(addr));
  const ports = reader.ports("--port", flags.port, parsePort);
  const namePorts = reader.ports("--name-port", flags.namePort, parseNamePort);
  const verify = reader.choice<Verify>("--verify", flags.verify, ["dns", "sni", "both"], "both");
  const reject = reader.choice<RejectMode>("--reject", flags.reject, ["rst", "drop"], "rst");
  const dnsDeny = reader.choice<DnsDeny>("--dns-deny", flags.dnsDeny, ["drop", "refused", "nxdomain"], "refused");
  const quic = reader.choice<QuicMode>("--quic", flags.quic, ["inspect", "deny"], "inspect");

  const given = flags.cidr.length + flags.denyCidr.length + flags.cn.length + flags.domain.length;
  if (given === 0)
    reader.errors.push("no rules at all: nothing could pass; give at least one --cidr, --cn or --domain");
  if (reader.errors.length > 0) return { ok: false, errors: atMost(reader.errors, MAX_LINES, "errors") };

  const spec: PolicySpec = {
    ...identity,
    verify,
    reject,
    dnsDeny,
    quic,
    rules,
    ports,
    namePorts: flags.namePort.length > 0 ? namePorts : mergePorts(DEFAULT_NAME_PORTS),
    resolvers,
  };
  return { ok: true, spec, warnings: policyWarnings(spec) };
}

/** The spec with these resolvers if it names none: those of resolv.conf and of this box, which only the caller knows. */
export function withResolvers(spec: PolicySpec, resolvers: readonly Addr[]): PolicySpec {
  return spec.resolvers.length > 0 ? spec : { ...spec, resolvers: [...new Set(resolvers)] };
}

class FlagReader {
  readonly errors: string[] = [];

  /**
   * Parse each value and pass on the good ones. `seen` (normal form → the flag as written) finds the second mention; it may
   * be shared by flags whose values mean the same thing. Returns it.
   */
  each<T>(
    flag: string,
    values: readonly string[],
    parse: (text: string) => Checked<T>,
    keyOf: (value: T) => string,
    seen: Map<string, string>,
    take: (value: T, text: string) => void,
  ): Map<string, string> {
    for (const value of values) {
      const text = `${flag} ${show(value)}`;
      const result = parse(value);
      if (!result.ok) {
        this.errors.push(`${text}: ${result.error}`);
        continue;
      }
      const key = keyOf(result.value);
      const first = seen.get(key);
      if (first === undefined) {
        seen.set(key, text);
        take(result.value, text);
      } else {
        this.errors.push(first === text ? `${text}: given twice` : `${text}: the same as ${first}; keep one of them`);
      }
    }
    return seen;
  }

  ports(flag: string, values: readonly string[], parse: (text: string) => Checked<readonly PortRange[]>): PortRange[] {
    const all: PortRange[] = [];
    const keyOf = (ranges: readonly PortRange[]) => ranges.map(formatRange).join();
    this.each(flag, values, parse, keyOf, new Map(), (ranges) => all.push(...ranges));
    const merged = mergePorts(all);
    if (merged.length > MAX_PORTS) {
      this.errors.push(`${flag}: ${merged.length} separate ranges; at most ${MAX_PORTS}: join neighbouring ones`);
    }
    return merged;
  }

  choice<T extends string>(flag: string, value: string | undefined, options: readonly T[], byDefault: T): T {
    if (value === undefined) return byDefault;
    const found = options.find((option) => option === value);
    if (found === undefined) this.errors.push(`${flag} ${show(value)}: unknown; one of ${options.join(", ")}`);
    return found ?? byDefault;
  }
}

function parseResolver(text: string): Checked<Addr> {
  const addr = parseAddress(text, "give the resolver's address instead");
  if (!addr.ok) return addr;
  const first = addr.value.charCodeAt(0);
  const unspecified = /^\0+$/.test(addr.value);
  const multicast = addr.value.length === 4 ? first >= 224 : first === 0xff;
  if (unspecified || multicast) return bad("no host has this address; give the resolver's own");
  return good(addr.value);
}
