/** nginx with `ssl_preread`: a TCP proxy that reads the name and doesn't end TLS. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { proxy, type BenchLab } from "../../lab.js";
import type { Running, System, Workload } from "../../harness/types.js";
import { makeFolder, needProgram, untilListening, versionOf, withChildren, writeConfig } from "../program.js";
import { serverAddresses } from "../upstream.js";

export const nginx: System = {
  name: "nginx",
  title: "nginx ssl_preread",
  fair: "bench/systems/nginx/nginx.conf: one worker a CPU, reuseport, no log, no name lookup; clients connect to it directly, so it pays for no address translation.",
  ways: ["sni"],
  tlsOnly: true,
  gap: "never compares the name with the address",
  version: () => versionOf("nginx", ["-v"]).replace("nginx version: ", ""),
  start: (lab, workload) => startNginx(lab, workload, availableParallelism()),
};

export async function startNginx(lab: BenchLab, workload: Workload, workers: number): Promise<Running> {
  needProgram("nginx", "nginx, libnginx-mod-stream");
  const { folder, remove } = makeFolder("nginx");
  const config = join(folder, "nginx.conf");
  const names = (way: string) => workload.domains.map((domain) => `${domain} ${way};`).join(" ");
  const servers = (list: readonly string[]) => list.map((address) => `server ${address}:443;`).join(" ");
  writeConfig("nginx/nginx.conf", config, {
    FOLDER: folder,
    WORKERS: String(workers),
    MODULES: "/usr/lib/nginx/modules",
    SERVERS4: servers(serverAddresses("v4")),
    SERVERS6: servers(serverAddresses("v6").map((address) => `[${address}]`)),
    NAMES4: names("server4"),
    NAMES6: names("server6"),
  });
  const daemon = lab.router.start(["nginx", "-p", folder, "-c", config, "-e", join(folder, "error.log")]);
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
}
