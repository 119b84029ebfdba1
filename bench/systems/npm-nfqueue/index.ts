/** npm `nfqueue` with a minimal SNI filter: what an afternoon with the package of this field gives. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { lanInterface, wanInterface } from "../../lab.js";
import { ready, root } from "../../load.js";
import { CannotRun, type System } from "../../harness/types.js";
import { installNfqueue } from "./install.js";

export const npmNfqueue: System = {
  name: "npm-nfqueue",
  title: "npm nfqueue, SNI filter",
  fair: "bench/systems/npm-nfqueue/filter.cjs: only what goes from clients to port 443 is queued; answers are not. A decided flow costs one look into a Map; the package can't set marks, so its packets go on being queued.",
  ways: ["sni"],
  gap: "denies a hello in pieces, and never compares the name with the address",
  version: () => {
    const manifest = readFileSync(join(root, "bench/package.json"), "utf8");
    const version = (JSON.parse(manifest) as { dependencies: Record<string, string> }).dependencies["nfqueue"];
    return `nfqueue ${version ?? "?"}, Node ${process.versions.node}`;
  },
  start: async (lab, workload) => {
    const missing = installNfqueue();
    if (missing !== undefined) throw new CannotRun(missing);
    for (const [program, queue] of [
      ["iptables", "0"],
      ["ip6tables", "1"],
    ] as const) {
      const rule = ["-i", lanInterface, "-o", wanInterface, "-p", "tcp", "--dport", "443", "-j", "NFQUEUE"];
      await lab.router.must([program, "-w", "-t", "mangle", "-A", "FORWARD", ...rule, "--queue-num", queue]);
    }
    const argv = [process.execPath, join(root, "bench/systems/npm-nfqueue/filter.cjs"), ...workload.domains];
    const daemon = lab.router.startBare(argv);
    await ready(daemon, 15_000);
    return {
      pids: () => [daemon.pid],
      log: () => daemon.stderr,
      stop: async () => {
        await daemon.stop();
      },
    };
  },
};
