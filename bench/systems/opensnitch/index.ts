/** OpenSnitch: an application firewall. It governs the machine that it runs on, never a network behind it. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "../../../test/lab/process.js";
import { CannotRun, type System, type Workload } from "../../harness/types.js";
import { makeFolder, needProgram, versionOf, withChildren, writeConfig } from "../program.js";

export const opensnitch: System = {
  name: "opensnitch",
  title: "OpenSnitch, on the client",
  fair: "bench/systems/opensnitch: it can only govern its own machine, so it runs on the client and the router forwards plainly: it pays for finding the process of each connection, and saves the work of a router. One rule, no user interface, log of errors only.",
  ways: ["dns"],
  gap: "looks at no name on the wire, judges only the first question of a socket, lets pass what its queue has no room for, and governs its own machine only",
  version: () => `opensnitchd ${versionOf("opensnitchd", ["-version"])}`,
  start: async (lab, workload) => {
    needProgram("opensnitchd", "opensnitch");
    const { folder, remove } = makeFolder("opensnitch");
    const rules = join(folder, "rules");
    mkdirSync(rules);
    writeConfig("opensnitch/rule.json", join(rules, "allowed.json"), { REGEXP: regexpOf(workload) });
    const config = readFileSync(fileURLToPath(new URL("default-config.json", import.meta.url)), "utf8");
    await lab.client.overlay(folder, { "/etc/opensnitchd/default-config.json": config });
    const argv = ["opensnitchd", "-rules-path", rules, "-process-monitor-method", "proc", "-queue-num", "0", "-error"];
    const daemon = lab.client.start(argv, { cwd: folder });
    const said = () => `${daemon.stderr}${daemon.stdout}`;
    const queued = async () =>
      (await lab.client.run(["iptables", "-w", "-t", "mangle", "-S", "OUTPUT"])).stdout.includes("NFQUEUE");
    await until(
      () => `opensnitchd to set its rules: ${said()}`,
      async () => daemon.ended || (await queued()),
      10_000,
    );
    if (daemon.ended) throw new CannotRun(`opensnitchd ended: ${said().trim().split("\n").at(-1)!}`);
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

/** For JSON: the backslashes are doubled. */
function regexpOf(workload: Workload): string {
  const patterns = workload.domains.map((domain) => domain.replaceAll(".", "\\\\.").replace("*", ".*"));
  return `^(${patterns.join("|")})$`;
}
