/** sniproxy: does nothing but read the name and pass on. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { proxy, server } from "../../lab.js";
import type { System } from "../../harness/types.js";
import { makeFolder, needProgram, untilListening, versionOf, withChildren, writeConfig } from "../program.js";

export const sniproxy: System = {
  name: "sniproxy",
  title: "sniproxy",
  fair: "bench/systems/sniproxy/sniproxy.conf: no log, no name lookup; one process, as it is made; clients connect to it directly, so it pays for no address translation.",
  ways: ["sni"],
  tlsOnly: true,
  gap: "never compares the name with the address",
  version: () => versionOf("sniproxy", ["-V"]),
  start: async (lab, workload) => {
    needProgram("sniproxy", "sniproxy");
    const { folder, remove } = makeFolder("sniproxy");
    const config = join(folder, "sniproxy.conf");
    const names = (address: string) => workload.domains.map((domain) => `  ${regexOf(domain)} ${address}`).join("\n");
    writeConfig("sniproxy/sniproxy.conf", config, {
      FOLDER: folder,
      NAMES4: names(`${server.first.v4}:443`),
      NAMES6: names(`[${server.first.v6}]:443`),
    });
    lab.router.sysctl({ "net/ipv4/tcp_tw_reuse": 1 });
    const daemon = lab.router.start(["sniproxy", "-f", "-c", config, "-n", "65536"]);
    await untilListening(lab.router, daemon, "tcp", 443);
    const errors = join(folder, "error.log");
    return {
      pids: () => withChildren(daemon.pid),
      connectTo: proxy.first,
      log: () => `${existsSync(errors) ? readFileSync(errors, "utf8") : ""}${daemon.stderr}`,
      stop: async () => {
        await daemon.stop();
        remove();
      },
    };
  },
};

function regexOf(domain: string): string {
  return `^${domain.replaceAll(".", "\\.").replace("*", ".*")}$`;
}
