/** egress-eddie: decides by DNS answers, over NFQUEUE, in Go. No registry carries it: it takes part if the user has put it on the PATH. */
import { join } from "node:path";
import { lanInterface, wanInterface, type BenchLab } from "../../lab.js";
import { CannotRun, type System } from "../../harness/types.js";
import { makeFolder, versionOf, which, withChildren, writeConfig } from "../program.js";

export const egressEddie: System = {
  name: "egress-eddie",
  title: "egress-eddie",
  fair: "bench/systems/egress-eddie: as its documentation shows it, in FORWARD instead of OUTPUT; only first packets of connections are queued, known ones pass by conntrack.",
  ways: ["dns"],
  gap: "looks at no name on the wire",
  version: () => versionOf("egress-eddie", ["-version"]),
  start: async (lab, workload) => {
    if (which("egress-eddie") === undefined) {
      throw new CannotRun(
        "egress-eddie is not on the PATH (no registry carries it: go install github.com/capnspacehook/egress-eddie@latest); " +
          "it cannot start on a kernel without the NFQUEUE-conntrack glue",
      );
    }
    await queue(lab);
    const { folder, remove } = makeFolder("egress-eddie");
    const config = join(folder, "config.toml");
    const names = workload.domains.map((domain) => JSON.stringify(domain.replace(/^\*\./, "")));
    writeConfig("egress-eddie/config.toml", config, { NAMES: names.join(", ") });
    const daemon = lab.router.start(["egress-eddie", "-c", config], { cwd: folder });
    const said = () => `${daemon.stderr}${daemon.stdout}`;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    if (daemon.ended) {
      const why = said().trim().split("\n").at(-1) ?? "";
      throw new CannotRun(`egress-eddie ended: ${why} (it needs the NFQUEUE-conntrack glue, which many kernels lack)`);
    }
    return {
      pids: () => withChildren(daemon.pid),
      log: said,
      stop: async () => {
        await daemon.stop();
        remove();
      },
    };
  },
};

async function queue(lab: BenchLab): Promise<void> {
  for (const [program, first] of [
    ["iptables", 0],
    ["ip6tables", 10],
  ] as const) {
    const rule = (words: string) => lab.router.must([program, "-w", "-A", "FORWARD", ...words.split(" ")]);
    const out = `-i ${lanInterface} -o ${wanInterface}`;
    await rule(`-i ${wanInterface} -p udp --sport 53 -j NFQUEUE --queue-num ${first + 1}`);
    await rule(`${out} -p udp --dport 53 -j NFQUEUE --queue-num ${first + 2}`);
    await rule(`${out} -m conntrack --ctstate NEW -j NFQUEUE --queue-num ${first + 3}`);
  }
}
