/** npm `nfqueue`: installed into bench/node_modules when it is first needed. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { root } from "../../load.js";

const folder = join(root, "bench");
const addon = join(folder, "node_modules/nfqueue/build/Release/nfqueue.node");

/** undefined: it is there. Else one line that says why it isn't. */
export function installNfqueue(): string | undefined {
  if (existsSync(addon)) return undefined;
  const out = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--prefer-offline"], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, ...localHeaders() },
    timeout: 120_000,
  });
  if (existsSync(addon)) return undefined;
  const why = `${out.stderr}\n${out.stdout}`.split("\n").find((line) => /error|not found|No such/i.test(line));
  return `npm nfqueue could not be built: ${why?.trim() ?? out.error?.message ?? `npm ci: exit ${String(out.status)}`}`;
}

/** The headers that came with this Node, where it has them, instead of headers from the network. */
function localHeaders(): Record<string, string> {
  const prefix = resolve(dirname(process.execPath), "..");
  return existsSync(join(prefix, "include/node/node.h")) ? { npm_config_nodedir: prefix } : {};
}
