/** What the machine can do, and what is lost without it: `l7egg doctor`. Each answer by trying: yes, no, or could not tell. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import type { Native } from "../native/types.js";
import { isOnBpffs } from "./bpffs.js";
import { defaults } from "./options.js";
import { objectPath } from "./paths.js";
import { missingCapabilities } from "./privileges.js";
import { flowtableProblem, flowtableWarning, flowtables } from "./flowtables.js";
import { hasProgram } from "./preflight.js";

export interface Feature {
  readonly name: string;
  readonly answer: "yes" | "no" | "unknown";
  /** Without it the gateway doesn't start. */
  readonly needed: boolean;
  /** What is lost without it. */
  readonly cost: string;
}

export interface Diagnosis {
  readonly features: readonly Feature[];
  readonly warnings: readonly string[];
}

type Probed = keyof ReturnType<Native["probe"]>;

const kernel: Record<Probed, { readonly name: string; readonly needed: boolean; readonly cost: string }> = {
  bpf: { name: "eBPF on TC", needed: true, cost: "no gateway: nothing can be decided in the kernel" },
  tcx: {
    name: "TCX links (kernel 6.6)",
    needed: false,
    cost: "clsact filters instead: they work as well, but `tc filter del` by anybody removes them",
  },
  btf: { name: "BTF", needed: false, cost: "nothing for the gateway; bpftool shows maps without their fields" },
  ringbuf: { name: "ring buffer (5.8)", needed: true, cost: "no gateway: the kernel's denials could not be reported" },
  lpmTrie: {
    name: "LPM trie (4.11)",
    needed: true,
    cost: "no gateway: policies by source address could not be looked up",
  },
  batchOps: {
    name: "batch operations on maps (5.6)",
    needed: false,
    cost: "a start with 100,000 CIDRs takes a second longer",
  },
  nfqueue: { name: "NFQUEUE", needed: true, cost: "no gateway: undecided packets could not be judged" },
  transparent: { name: "transparent sockets", needed: false, cost: "nothing yet: TPROXY mode is to come" },
  bpfLoop: { name: "bpf_loop (5.17)", needed: false, cost: "nothing" },
  fibLookup: {
    name: "bpf_fib_lookup (4.18)",
    needed: true,
    cost: "no gateway: egress could not be told from traffic to this box",
  },
};

export function diagnose(native: Native): Diagnosis {
  const probed = native.probe();
  const features: Feature[] = (Object.keys(kernel) as Probed[]).map((key) => ({ ...kernel[key], answer: probed[key] }));
  const program = (name: string, needed: boolean, cost: string): Feature => ({
    name: `program ${name}`,
    answer: hasProgram(name) ? "yes" : "no",
    needed,
    cost,
  });
  const lacking = missingCapabilities();
  features.push(
    {
      name: "capabilities",
      answer: lacking.length === 0 ? "yes" : "no",
      needed: true,
      cost: `no gateway: this process lacks ${lacking.join(", ")}`,
    },
    {
      name: `eBPF object ${objectPath}`,
      answer: existsSync(objectPath) ? "yes" : "no",
      needed: true,
      cost: "no gateway: scripts/setup.sh builds it",
    },
    {
      name: "bpf file system",
      answer: isOnBpffs(defaults.pinDir) ? "yes" : "no",
      needed: false,
      cost: "`l7egg run` mounts /sys/fs/bpf",
    },
    program("iptables", false, "`--no-iptables` only: somebody else sends packets to the queue"),
    program("ip6tables", false, "as iptables, for IPv6"),
    program("flock", true, "no gateway: two of one name could not be told apart (util-linux)"),
    {
      name: "IPv4 forwarding",
      answer: sysctl("net/ipv4/ip_forward"),
      needed: false,
      cost: "this box is no router: --lan has nothing to govern",
    },
    {
      name: "IPv6 forwarding",
      answer: sysctl("net/ipv6/conf/all/forwarding"),
      needed: false,
      cost: "this box routes no IPv6: --lan has nothing of it to govern",
    },
  );
  return {
    features,
    warnings: [
      ...flowtables().map((table) => (table.hardware ? flowtableProblem(table) : flowtableWarning(table))),
      ...hardwareOffloadWarnings(),
    ],
  };
}

/** Interfaces whose hardware may forward packets that the kernel never sees (`ethtool -k`: hw-tc-offload). */
function hardwareOffloadWarnings(): string[] {
  if (!hasProgram("ethtool"))
    return ["ethtool is not installed: could not tell whether an interface offloads flows to its hardware"];
  const names = readFileSync("/proc/net/dev", "utf8")
    .split("\n")
    .flatMap((line) => /^\s*([^:\s]+):/.exec(line)?.[1] ?? []);
  return names.flatMap((name) => {
    const result = spawnSync("ethtool", ["-k", name], { timeout: 5000 });
    if (result.error || !/^hw-tc-offload: on/m.test(result.stdout.toString())) return [];
    return [
      `${name}: hw-tc-offload is on: flows that another program offloads pass unseen; ethtool -K ${name} hw-tc-offload off`,
    ];
  });
}

function sysctl(path: string): Feature["answer"] {
  try {
    return readFileSync(`/proc/sys/${path}`, "utf8").trim() === "0" ? "no" : "yes";
  } catch {
    return "unknown";
  }
}
