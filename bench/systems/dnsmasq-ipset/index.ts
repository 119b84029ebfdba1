/** dnsmasq + ipset + iptables: the resolver of the router puts the addresses of allowed names into sets, netfilter lets only those through. */
import { join } from "node:path";
import { gateway, lanInterface, server, wanInterface, type BenchLab } from "../../lab.js";
import { CannotRun, type System, type Workload } from "../../harness/types.js";
import { makeFolder, needProgram, untilListening, versionOf, withChildren, writeConfig } from "../program.js";

export const dnsmasqIpset: System = {
  name: "dnsmasq-ipset",
  title: "dnsmasq + ipset + iptables",
  fair: "bench/systems/dnsmasq-ipset: hash sets for names and networks, known connections first (conntrack), one rule more. Clients ask dnsmasq, which needs no interception; no cache, no log.",
  ways: ["cidr", "dns"],
  gap: "looks at no name on the wire, and what one client has asked for stays open to all",
  version: () =>
    `${versionOf("dnsmasq", ["-v"]).replace(/ {2}Copyright.*/, "")}, ${versionOf("ipset", ["-v"]).split(",")[0]!}`,
  start: async (lab, workload) => {
    needProgram("dnsmasq", "dnsmasq-base");
    needProgram("ipset", "ipset");
    await makeSets(lab, workload);
    await makeRules(lab);
    const { folder, remove } = makeFolder("dnsmasq");
    const config = join(folder, "dnsmasq.conf");
    const rules = workload.domains.map((domain) => domain.replace(/^\*\./, "")).flatMap(rulesFor);
    writeConfig("dnsmasq-ipset/dnsmasq.conf", config, {
      FOLDER: folder,
      LISTEN4: gateway.v4,
      LISTEN6: gateway.v6,
      RULES: rules.join("\n"),
    });
    const daemon = lab.router.start(["dnsmasq", "-C", config]);
    await untilListening(lab.router, daemon, "udp", 53);
    return {
      pids: () => withChildren(daemon.pid),
      resolver: gateway,
      log: () => daemon.stderr,
      stop: async () => {
        await daemon.stop();
        remove();
      },
    };
  },
};

function rulesFor(name: string): string[] {
  return [`server=/${name}/${server.resolver.v4}`, `ipset=/${name}/names4,names6`];
}

async function makeSets(lab: BenchLab, workload: Workload): Promise<void> {
  const lines: string[] = [];
  for (const [family, inet] of [
    ["4", "inet"],
    ["6", "inet6"],
  ] as const) {
    lines.push(`create names${family} hash:ip family ${inet} maxelem 262144`);
    lines.push(`create nets${family} hash:net family ${inet} maxelem 262144`);
  }
  for (const cidr of workload.cidrs) lines.push(`add nets${cidr.includes(":") ? 6 : 4} ${cidr}`);
  const out = await lab.router.run(["ipset", "restore"], { input: lines.join("\n") + "\n", timeoutMs: 30_000 });
  if (out.code === 0) return;
  const why = out.stderr.trim().split("\n")[0]!;
  if (/kernel|module|protocol/i.test(why)) throw new CannotRun(`ipset: ${why}`);
  throw new Error(`ipset: ${why}`);
}

async function makeRules(lab: BenchLab): Promise<void> {
  const out = ["-i", lanInterface, "-o", wanInterface];
  for (const [program, family] of [
    ["iptables", "4"],
    ["ip6tables", "6"],
  ] as const) {
    const rule = (words: readonly string[]) => lab.router.must([program, "-w", "-A", "FORWARD", ...words]);
    await lab.router.must([program, "-w", "-P", "FORWARD", "DROP"]);
    await rule(["-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"]);
    await rule([...out, "-m", "set", "--match-set", `names${family}`, "dst", "-j", "ACCEPT"]);
    await rule([...out, "-m", "set", "--match-set", `nets${family}`, "dst", "-j", "ACCEPT"]);
  }
}
