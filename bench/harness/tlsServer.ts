/** nginx with TLS in the server namespace, for what is measured end to end. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { BenchLab } from "../lab.js";
import { makeCertificate, makeFolder, untilListening, writeConfig } from "../systems/program.js";

/** On port 443 of every address. It and its folder go with the namespace and the process. */
export async function startTlsServer(lab: BenchLab): Promise<void> {
  const { folder } = makeFolder("tls");
  makeCertificate(folder);
  const config = join(folder, "nginx.conf");
  writeConfig("../harness/tlsServer.conf", config, { FOLDER: folder, WORKERS: String(availableParallelism()) });
  const daemon = lab.server.start(["nginx", "-p", folder, "-c", config, "-e", join(folder, "error.log")]);
  await untilListening(lab.server, daemon, "tcp", 443);
}
