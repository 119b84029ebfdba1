/** haproxy with `req.ssl_sni`: a TCP proxy that reads the name and doesn't end TLS. */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { proxy, type Family } from "../../lab.js";
import type { System } from "../../harness/types.js";
import { makeFolder, needProgram, untilListening, versionOf, withChildren, writeConfig } from "../program.js";
import { serverAddresses } from "../upstream.js";

export const haproxy: System = {
  name: "haproxy",
  title: "haproxy req.ssl_sni",
  fair: "bench/systems/haproxy/haproxy.cfg: one thread a CPU, no log, no checks, no name lookup; clients connect to it directly, so it pays for no address translation.",
  ways: ["sni"],
  tlsOnly: true,
  gap: "never compares the name with the address",
  version: () => versionOf("haproxy", ["-v"]).split(" - ")[0]!,
  start: async (lab, workload) => {
    needProgram("haproxy", "haproxy");
    const { folder, remove } = makeFolder("haproxy");
    const exact = workload.domains.filter((domain) => !domain.startsWith("*"));
    writeFileSync(join(folder, "exact"), exact.join("\n") + "\n");
    const config = join(folder, "haproxy.cfg");
    writeConfig("haproxy/haproxy.cfg", config, {
      THREADS: String(availableParallelism()),
      SUFFIXES: workload.domains
        .filter((domain) => domain.startsWith("*"))
        .map((domain) => domain.slice(1))
        .join(" "),
      EXACT: join(folder, "exact"),
      SERVERS4: servers("v4"),
      SERVERS6: servers("v6"),
    });
    const daemon = lab.router.start(["haproxy", "-db", "-f", config]);
    await untilListening(lab.router, daemon, "tcp", 443);
    return {
      pids: () => withChildren(daemon.pid),
      connectTo: proxy.first,
      log: () => daemon.stderr,
      stop: async () => {
        await daemon.stop();
        remove();
      },
    };
  },
};

function servers(family: Family): string {
  return serverAddresses(family)
    .map((address, i) => `  server s${i} ${family === "v6" ? `[${address}]` : address}:443`)
    .join("\n");
}
