/** From the words of the command line to `GatewayOptions`: form only, nothing of the machine is asked. */
import { resolve } from "node:path";
import { keyOf, type PolicyFlags } from "../core/policy/flags.js";
import { parsePolicy } from "../core/policy/parse.js";
import { UsageError } from "../edge/errors.js";
import type { GatewayOptions, MarkBits, QueueRange } from "../edge/options.js";
import { defaults, isInstanceName, markBits, maxQueues } from "../edge/options.js";

/** As commander hands them over; lists are split at commas already. */
export interface RawRunOptions {
  readonly lan?: readonly string[];
  readonly iface?: string;
  readonly eface?: string;
  readonly cidr?: readonly string[];
  readonly denyCidr?: readonly string[];
  readonly cn?: readonly string[];
  readonly domain?: readonly string[];
  readonly resolver?: readonly string[];
  readonly port?: readonly string[];
  readonly namePort?: readonly string[];
  readonly verify?: string;
  readonly reject?: string;
  readonly dnsDeny?: string;
  readonly policy?: string;
  readonly quic?: string;
  readonly queue?: string;
  readonly markMask?: string;
  readonly failMode?: string;
  readonly logFormat?: string;
  readonly pinDir?: string;
  readonly name?: string;
  readonly maxCidrs?: string;
  readonly maxNames?: string;
  readonly maxFlows?: string;
  readonly masquerade?: boolean;
  readonly iptables?: boolean;
  readonly attach?: string;
  readonly fastPath?: string;
}

/** What a policy file says as well. */
const policyFlags = [
  "cidr", "denyCidr", "cn", "domain", "resolver", "port", "namePort", "verify", "reject", "dnsDeny", "quic",
] as const satisfies readonly (keyof PolicyFlags)[]; // prettier-ignore

/** Most entries of one map: more is a mistake, and gigabytes of locked memory. */
const maxEntries = 16_777_216;

/** UsageError with a line for each thing that is wrong. */
export function readRunOptions(raw: RawRunOptions): GatewayOptions {
  const errors: string[] = [];
  const choice = <T extends string>(flag: string, value: string | undefined, all: readonly T[], byDefault: T): T => {
    if (value === undefined) return byDefault;
    const found = all.find((one) => one === value);
    if (found === undefined) errors.push(`${flag} ${JSON.stringify(value)}: unknown; one of ${all.join(", ")}`);
    return found ?? byDefault;
  };
  const count = (flag: string, value: string | undefined, byDefault: number): number => {
    if (value === undefined) return byDefault;
    const number = /^\d{1,9}$/.test(value) ? Number(value) : 0;
    if (number >= 1 && number <= maxEntries) return number;
    errors.push(`${flag} ${JSON.stringify(value)}: give a number from 1 to ${maxEntries}`);
    return byDefault;
  };

  const lan = raw.lan ?? [];
  for (const name of lan) if (name === "") errors.push('--lan "": give the name of an interface');
  const eface = raw.eface ?? "";
  if (eface === "") errors.push("--eface is missing: the interface by which traffic leaves");
  if (raw.iface === "") errors.push('--iface "": give the name of an interface');
  const name = raw.name ?? defaults.name;
  if (!isInstanceName(name))
    errors.push(`--name ${JSON.stringify(name)}: 1 to 15 of a-z, 0-9 and -, not beginning with -`);
  const pinDir = (raw.pinDir ?? defaults.pinDir).replace(/(.)\/+$/, "$1");
  if (!/^\/[A-Za-z0-9_/-]+$/.test(pinDir)) {
    errors.push(
      `--pin-dir ${JSON.stringify(pinDir)}: give an absolute path of letters, digits, - and _ (a bpf file system allows no dots)`,
    );
  }

  if (raw.policy === "") errors.push('--policy "": give the path of a policy file');
  if (raw.policy !== undefined) {
    const both = policyFlags.filter((flag) => raw[flag] !== undefined).map((flag) => `--${keyOf(flag)}`);
    if (both.length > 0)
      errors.push(`--policy is the whole policy: write what ${both.join(", ")} would say into ${raw.policy}`);
  }

  const options: GatewayOptions = {
    name,
    lan,
    iface: raw.iface ?? eface,
    eface,
    flags: {
      cidr: raw.cidr ?? [],
      denyCidr: raw.denyCidr ?? [],
      cn: raw.cn ?? [],
      domain: raw.domain ?? [],
      resolver: raw.resolver ?? [],
      port: raw.port ?? [],
      namePort: raw.namePort ?? [],
      verify: raw.verify,
      reject: raw.reject,
      dnsDeny: raw.dnsDeny,
      quic: raw.quic,
    },
    policyFile: raw.policy === undefined ? undefined : resolve(raw.policy),
    queues: readQueues(raw.queue, errors),
    mark: readMark(raw.markMask, errors),
    failMode: choice("--fail-mode", raw.failMode, ["closed", "open"], defaults.failMode),
    logFormat: choice("--log-format", raw.logFormat, ["pretty", "json"], "pretty"),
    pinDir,
    sizes: {
      cidrs: count("--max-cidrs", raw.maxCidrs, defaults.sizes.cidrs),
      names: count("--max-names", raw.maxNames, defaults.sizes.names),
      flows: count("--max-flows", raw.maxFlows, defaults.sizes.flows),
    },
    masquerade: raw.masquerade ?? false,
    iptables: raw.iptables ?? true,
    fastPath: choice("--fast-path", raw.fastPath, ["auto", "off"], "auto"),
    attach: choice("--attach", raw.attach, ["auto", "tcx", "clsact"], "auto"),
  };
  if (errors.length > 0) {
    // All at once: the rules are read again, with the machine, by the preflight.
    const policy = raw.policy === undefined ? parsePolicy(options.flags) : undefined;
    throw new UsageError([...errors, ...(!policy || policy.ok ? [] : policy.errors)]);
  }
  return options;
}

function readQueues(text: string | undefined, errors: string[]): QueueRange {
  if (text === undefined) return defaults.queues;
  const match = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(text);
  const first = Number(match?.[1] ?? Number.NaN);
  const last = Number(match?.[2] ?? first);
  if (!(first <= 65535 && last <= 65535 && first <= last)) {
    errors.push(`--queue ${JSON.stringify(text)}: give A or A:B, each 0 to 65535, A not above B`);
    return defaults.queues;
  }
  if (last - first >= maxQueues) errors.push(`--queue ${text}: at most ${maxQueues} queues`);
  return { first, last };
}

function readMark(text: string | undefined, errors: string[]): MarkBits {
  if (text === undefined) return defaults.mark;
  const value = /^(0[xX][0-9a-fA-F]{1,8}|\d{1,10})$/.test(text) ? Number(text) : Number.NaN;
  const bits = markBits(value);
  if (!bits) errors.push(`--mark-mask ${JSON.stringify(text)}: give two neighbouring bits, such as 0x30 or 0xc00`);
  return bits ?? defaults.mark;
}
