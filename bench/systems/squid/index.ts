/** Squid, transparent, peek and splice: reads the name and passes TLS on untouched. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { lanInterface, server, type BenchLab } from "../../lab.js";
import { CannotRun, type System } from "../../harness/types.js";
import {
  makeCertificate,
  makeFolder,
  needProgram,
  untilListening,
  versionOf,
  withChildren,
  writeConfig,
} from "../program.js";

export const squid: System = {
  name: "squid",
  title: "Squid peek and splice",
  fair: "bench/systems/squid/squid.conf: no log, no cache, no certificates made. Transparent by REDIRECT, the way peek and splice is meant: so it pays for conntrack, and gains the check of name against address.",
  ways: ["sni"],
  version: () => versionOf("squid", ["-v"]).replace("Squid Cache: ", ""),
  start: async (lab, workload) => {
    needProgram("squid", "squid-openssl");
    if (!versionOfBuild().includes("--with-openssl")) {
      throw new CannotRun("this squid was built without OpenSSL; Debian's package squid-openssl has it");
    }
    const { folder, remove } = makeFolder("squid");
    // Squid wants one to listen with, even where it shows it to nobody.
    makeCertificate(folder);
    const config = join(folder, "squid.conf");
    writeConfig("squid/squid.conf", config, {
      FOLDER: folder,
      USER: "proxy",
      RESOLVER: server.resolver.v4,
      // .example.com: below it and itself.
      NAMES: workload.domains.map((domain) => domain.replace(/^\*/, "")).join(" "),
    });
    // Its shared memory has a name that every squid of the machine uses, and stays when it is killed: a /dev/shm of its own.
    const start = `mount -t tmpfs tmpfs /dev/shm && exec squid -N -f "$0"`;
    const daemon = lab.router.start(["unshare", "--mount", "sh", "-c", start, config]);
    await untilListening(lab.router, daemon, "tcp", 3129);
    await redirect(lab);
    return {
      pids: () => withChildren(daemon.pid),
      log: () => `${readFileSync(join(folder, "cache.log"), "utf8")}${daemon.stderr}`,
      stop: async () => {
        await daemon.stop();
        remove();
      },
    };
  },
};

async function redirect(lab: BenchLab): Promise<void> {
  const rule = ["-A", "PREROUTING", "-i", lanInterface, "-p", "tcp", "--dport", "443", "-j", "REDIRECT"];
  for (const program of ["iptables", "ip6tables"]) {
    await lab.router.must([program, "-w", "-t", "nat", ...rule, "--to-ports", "3129"]);
  }
}

function versionOfBuild(): string {
  return spawnSync("squid", ["-v"], { encoding: "utf8", env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } }).stdout;
}
