/** Netfilter rules that are not l7egg's and that a forwarded packet would meet, as reasons for people. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import { errnoOf } from "./errors.js";

const run = promisify(execFile);
const maxBuffer = 256 * 1024 * 1024;
/** Chains of any instance, but for its NAT. */
const ours = /^L7EGG-(?!NAT-)[A-Z]+-[a-z0-9-]+$/;
/** Where a forwarded packet comes by. */
const forwardHooks = new Set(["ingress", "prerouting", "forward", "postrouting", "egress"]);

interface NftObject {
  readonly chain?: {
    readonly family: string;
    readonly table: string;
    readonly name: string;
    readonly hook?: string;
    readonly policy?: string;
    readonly dev?: string;
  };
  readonly rule?: {
    readonly family: string;
    readonly table: string;
    readonly chain: string;
    readonly expr: readonly object[];
  };
  readonly flowtable?: { readonly family: string; readonly table: string; readonly name: string };
}

/** Of nftables, iptables-nft among them. `interfaces`: the governed ones. Rejects if nft is there and can't tell. */
export async function nftRules(interfaces: readonly string[]): Promise<string[]> {
  try {
    const { stdout } = await run("nft", ["-j", "list", "ruleset"], { maxBuffer, timeout: 10_000 });
    return nftReasons((JSON.parse(stdout || '{"nftables":[]}') as { nftables: NftObject[] }).nftables, interfaces);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    return ["nft is missing, so nobody can tell whose rules there are (apt-get install nftables)"];
  }
}

/** From what `nft -j list ruleset` prints. */
export function nftReasons(objects: readonly NftObject[], interfaces: readonly string[]): string[] {
  const out = new Set<string>();
  const hooked = new Set<string>();
  for (const { chain, flowtable } of objects) {
    if (flowtable) out.add(`nftables flowtable ${flowtable.table} ${flowtable.name}`);
    if (!chain?.hook || !forwardHooks.has(chain.hook) || chain.family === "arp") continue;
    if (chain.dev !== undefined && !interfaces.includes(chain.dev)) continue;
    hooked.add(`${chain.family} ${chain.table} ${chain.name}`);
    if (chain.policy === "drop") out.add(`policy drop of chain ${chain.family} ${chain.table} ${chain.name}`);
  }
  for (const { rule } of objects) {
    if (!rule) continue;
    const at = `${rule.family} ${rule.table} ${rule.chain}`;
    if (!hooked.has(at) || rule.expr.every(isHarmless)) continue;
    out.add(`rules in chain ${at}`);
  }
  return [...out];
}

/** A jump to a chain of ours, and the counter that iptables-nft puts before it. */
function isHarmless(expression: object): boolean {
  const { jump } = expression as { jump?: { target?: string } };
  return "counter" in expression || ours.test(jump?.target ?? "");
}

/** Of iptables-legacy, if anybody uses it: asking it would load its modules. */
export async function legacyRules(): Promise<string[]> {
  const out: string[] = [];
  for (const [program, names] of [
    ["iptables-legacy-save", "/proc/net/ip_tables_names"],
    ["ip6tables-legacy-save", "/proc/net/ip6_tables_names"],
  ] as const) {
    if (!existsSync(names) || readFileSync(names, "utf8").trim() === "") continue;
    const { stdout } = await run(program, [], { maxBuffer, timeout: 10_000 });
    out.push(...legacyReasons(stdout, program));
  }
  return out;
}

const legacyChains = new Set(["PREROUTING", "FORWARD", "POSTROUTING"]);

/** From what `iptables-save` prints. */
export function legacyReasons(text: string, program: string): string[] {
  const out = new Set<string>();
  let table = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1);
    const chain = /^(?:-A |:)([A-Z]+) /.exec(line)?.[1];
    if (chain === undefined || !legacyChains.has(chain)) continue;
    if (line.startsWith(":") && !line.includes(" DROP ")) continue;
    const jump = /^-A [A-Z]+ -j (\S+)$/.exec(line)?.[1];
    if (jump !== undefined && ours.test(jump)) continue;
    out.add(`${line.startsWith(":") ? "policy DROP" : "rules"} in ${chain} of table ${table} (${program})`);
  }
  return [...out];
}
