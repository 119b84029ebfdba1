/** What a gateway could leave behind in a namespace and on the machine, as text that can be compared. */
import { existsSync } from "node:fs";
import { type Namespace } from "./namespace.js";
import { attachedPrograms } from "./programs.js";

/** Rules, filters, links, folders of `instance`. Counters and comments are left out. */
export async function snapshot(ns: Namespace, instance: string): Promise<string> {
  const parts: string[] = [];
  for (const program of ["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"]) {
    // A kernel without legacy tables, or a system without that program, can hold no rules there; the others must answer.
    const rules = (program.includes("legacy") ? (await ns.runBare([program])).stdout : await say(ns, [program]))
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"));
    // An empty table with its built-in chains is made by looking at it.
    const real = rules.filter((line) => !/^(\*|COMMIT|:[A-Z]+ (ACCEPT|DROP) )/.test(line));
    parts.push(`${program}\n${real.map((line) => line.replace(/\[\d+:\d+\]/, "")).join("\n")}`);
  }
  parts.push(await attachedPrograms(ns));
  const links = await say(ns, ["ip", "-o", "link"]);
  parts.push(
    links
      .split("\n")
      .map((line) => line.replace(/ state .*/, ""))
      .join("\n"),
  );
  for (const dev of links.matchAll(/^\d+: ([^:@]+)/gm)) {
    for (const side of ["ingress", "egress"]) {
      parts.push(await say(ns, ["tc", "filter", "show", "dev", dev[1] as string, side]));
    }
    parts.push(await say(ns, ["tc", "qdisc", "show", "dev", dev[1] as string]));
  }
  for (const folder of ["/sys/fs/bpf/l7egg", "/run/l7egg"]) {
    if (existsSync(`${folder}/${instance}`)) parts.push(`its folder in ${folder}`);
  }
  return parts.join("\n---\n");
}

/** What a program prints. An empty text because it isn't there, or failed, would equal any other such text. */
async function say(ns: Namespace, argv: readonly string[]): Promise<string> {
  const out = await ns.runBare(argv);
  if (out.code !== 0) throw new Error(`${argv.join(" ")}: exit ${out.code}: ${out.stderr}`);
  return out.stdout;
}
