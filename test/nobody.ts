/**
 * Running things as nobody, wherever this checkout and this Node lie: under /root or in another folder that only root may enter they are
 * bound to a place that everybody may enter, in a mount namespace that goes with the process.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const checkout = fileURLToPath(new URL("..", import.meta.url));

/** In front of a command: as user and group 65534 without further groups. */
export const asNobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";

/** A shell line that makes `path` this Node's program. In a mount namespace of one's own only. */
export function bindNode(path: string): string {
  return `touch ${path} && mount --bind ${process.execPath} ${path}`;
}

/**
 * Runs a command as nobody in the checkout, which is read-only there; `node` is this Node. `enter`: words in front that lead root into a
 * namespace first.
 */
export function runAsNobody(
  argv: readonly string[],
  enter: readonly string[] = [],
): { code: number | null; stdout: string; stderr: string } {
  // Not in TMPDIR, which may be root's own.
  const folder = mkdtempSync("/var/tmp/l7egg-nobody-");
  const script = [
    "set -e",
    `chmod 755 ${folder}`,
    `mkdir ${folder}/checkout ${folder}/bin && mkdir -m 1777 ${folder}/tmp`,
    `mount --bind ${checkout} ${folder}/checkout && mount -o remount,bind,ro ${folder}/checkout`,
    bindNode(`${folder}/bin/node`),
    `cd ${folder}/checkout`,
    `export TMPDIR=${folder}/tmp PATH=${folder}/bin:$PATH`,
    `exec ${asNobody} "$@"`,
  ].join("\n");
  try {
    const whole = [...enter, "unshare", "--mount", "--propagation", "private", "bash", "-c", script, "bash", ...argv];
    const result = spawnSync(whole[0] as string, whole.slice(1), { encoding: "utf8", timeout: 60_000 });
    return { code: result.status, stdout: result.stdout, stderr: result.stderr };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
