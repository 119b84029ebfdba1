/** What a gateway could leave behind in a namespace and on the machine, as text that can be compared. */
import { existsSync } from "node:fs";
import { type Namespace } from "./namespace.js";

/** Rules, filters, links, folders of `instance`. Counters and comments are left out. */
export async function snapshot(ns: Namespace, instance: string): Promise<string> {
  const parts: string[] = [];
  for (const program of ["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"]) {
    const out = await ns.runBare([program]);
    const rules = out.stdout.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    // An empty table with its built-in chains is made by looking at it.
    const real = rules.filter((line) => !/^(\*|COMMIT|:[A-Z]+ (ACCEPT|DROP) )/.test(line));
    parts.push(`${program}\n${real.map((line) => line.replace(/\[\d+:\d+\]/, "")).join("\n")}`);
  }
  parts.push((await ns.runBare(["bpftool", "net", "show"])).stdout.replace(/\bid \d+\b/g, ""));
  const links = (await ns.runBare(["ip", "-o", "link"])).stdout;
  parts.push(
    links
      .split("\n")
      .map((line) => line.replace(/ state .*/, ""))
      .join("\n"),
  );
  for (const dev of links.matchAll(/^\d+: ([^:@]+)/gm)) {
    for (const side of ["ingress", "egress"]) {
      parts.push((await ns.runBare(["tc", "filter", "show", "dev", dev[1] as string, side])).stdout);
    }
    parts.push((await ns.runBare(["tc", "qdisc", "show", "dev", dev[1] as string])).stdout);
  }
  for (const folder of ["/sys/fs/bpf/l7egg", "/run/l7egg"]) {
    if (existsSync(`${folder}/${instance}`)) parts.push(`its folder in ${folder}`);
  }
  return parts.join("\n---\n");
}
