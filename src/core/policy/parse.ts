/**
 * From the flags of the command line to a checked `PolicySpec`. Strict: whatever is ambiguous, contradictory or without
 * effect by mistake is an error, and all errors are told at once, one line each.
 */
import { PORT_RANGES } from "../abi.generated.js";
import { formatAddr, type Addr } from "../net/address.js";
import { atMost, bad, good, show, type Checked } from "./checked.js";
import { formatCidr, parseAddress, parseCidr } from "./cidr.js";
import { commandLine, type Origin, type PolicyFlags } from "./flags.js";
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

export type { Origin, PolicyFlags } from "./flags.js";

export type ParsedPolicy =
  | { readonly ok: true; readonly spec: PolicySpec; readonly warnings: string[] }
  | { readonly ok: false; readonly errors: string[] };

/** A trusted resolver's own two ranges (udp/53, tcp/53) share a port set with those of `--port`. */
const MAX_PORTS = PORT_RANGES - 2;
/** Lines of errors or warnings shown. */
const MAX_LINES = 100;

/** `origin`: where the values come from, for what rules are called and for errors. `identity`: id 1–1023 (L7_MAX_POLICIES) and the name that people see. */
export function parsePolicy(
  flags: PolicyFlags,
  identity: { readonly id: number; readonly name: string } = { id: 1, name: "default" },
  origin: Origin = commandLine,
): ParsedPolicy {
  const reader = new FlagReader(origin);
  const rules: RuleSpec[] = [];
  const cidrRule = (action: "allow" | "deny") => (cidr: Cidr, text: string) =>
    rules.push({ kind: "cidr", action, cidr, text });
  const nameRule = (pattern: NamePattern, text: string) => rules.push({ kind: "name", pattern, text });

  const allowed = reader.each("cidr", flags.cidr, parseCidr, formatCidr, new Map(), cidrRule("allow"));
  const denied = reader.each("denyCidr", flags.denyCidr, parseCidr, formatCidr, new Map(), cidrRule("deny"));
  for (const [network, one] of allowed) {
    const other = denied.get(network);
    if (other) reader.fail(one.flag, one.index, `${one.text}: contradicts ${other.text}; keep one of them`);
  }
  const names: Seen = new Map();
  reader.each("cn", flags.cn, parseCn, patternKey, names, nameRule);
  reader.each("domain", flags.domain, parseDomain, patternKey, names, nameRule);

  const resolvers: Addr[] = [];
  reader.each("resolver", flags.resolver, parseResolver, formatAddr, new Map(), (addr) => resolvers.push(addr));
  const ports = reader.ports("port", flags.port, parsePort);
  const namePorts = reader.ports("namePort", flags.namePort, parseNamePort);
  const verify = reader.choice<Verify>("verify", flags.verify, ["dns", "sni", "both"], "both");
  const reject = reader.choice<RejectMode>("reject", flags.reject, ["rst", "drop"], "rst");
  const dnsDeny = reader.choice<DnsDeny>("dnsDeny", flags.dnsDeny, ["drop", "refused", "nxdomain"], "refused");
  const quic = reader.choice<QuicMode>("quic", flags.quic, ["inspect", "deny"], "inspect");

  const given = flags.cidr.length + flags.denyCidr.length + flags.cn.length + flags.domain.length;
  if (given === 0) {
    reader.fail(undefined, 0, "no rules at all: nothing could pass; give at least one --cidr, --cn or --domain");
  }
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

/** A value that was read: as people see it, and where it stands. */
interface Mention {
  readonly text: string;
  readonly flag: keyof PolicyFlags;
  readonly index: number;
}

/** By normal form. */
type Seen = Map<string, Mention>;

class FlagReader {
  readonly errors: string[] = [];
  readonly #origin: Origin;

  constructor(origin: Origin) {
    this.#origin = origin;
  }

  /** One line, with its place. */
  fail(flag: keyof PolicyFlags | undefined, index: number, line: string): void {
    this.errors.push(`${this.#origin.place(flag, index)}${this.#origin.wording(line)}`);
  }

  /**
   * Parse each value and pass on the good ones. `seen` (normal form → the flag as written) finds the second mention; it may
   * be shared by flags whose values mean the same thing. Returns it.
   */
  each<T>(
    flag: keyof PolicyFlags,
    values: readonly string[],
    parse: (text: string) => Checked<T>,
    keyOf: (value: T) => string,
    seen: Seen,
    take: (value: T, text: string) => void,
  ): Seen {
    const word = this.#origin.word(flag);
    for (let index = 0; index < values.length; index++) {
      const value = values[index] as string;
      const text = `${word} ${show(value)}`;
      const result = parse(value);
      if (!result.ok) {
        this.fail(flag, index, `${text}: ${result.error}`);
        continue;
      }
      const key = keyOf(result.value);
      const first = seen.get(key);
      if (first === undefined) {
        seen.set(key, { text, flag, index });
        take(result.value, text);
      } else {
        const same = first.text === text ? "given twice" : `the same as ${first.text}; keep one of them`;
        this.fail(flag, index, `${text}: ${same}`);
      }
    }
    return seen;
  }

  ports(
    flag: keyof PolicyFlags,
    values: readonly string[],
    parse: (text: string) => Checked<readonly PortRange[]>,
  ): PortRange[] {
    const all: PortRange[] = [];
    const keyOf = (ranges: readonly PortRange[]) => ranges.map(formatRange).join();
    this.each(flag, values, parse, keyOf, new Map(), (ranges) => all.push(...ranges));
    const merged = mergePorts(all);
    if (merged.length > MAX_PORTS) {
      const word = this.#origin.word(flag);
      this.fail(flag, 0, `${word}: ${merged.length} separate ranges; at most ${MAX_PORTS}: join neighbouring ones`);
    }
    return merged;
  }

  choice<T extends string>(flag: keyof PolicyFlags, value: string | undefined, options: readonly T[], byDefault: T): T {
    if (value === undefined) return byDefault;
    const found = options.find((option) => option === value);
    if (found === undefined) {
      this.fail(flag, 0, `${this.#origin.word(flag)} ${show(value)}: unknown; one of ${options.join(", ")}`);
    }
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
