/** Small programs of our own: what eBPF the kernel has, and UDP sent in merged datagrams. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { atExit, prefix } from "./cleanup.js";
import type { Namespace } from "./namespace.js";

/** The TCX programs of a namespace, one a line: "lan0 ingress classify". */
export async function attachedPrograms(ns: Namespace): Promise<string> {
  const out = await ns.runBare([tool(), "attached"]);
  if (out.code !== 0) throw new Error(`what is attached can't be told: ${out.stderr}`);
  return out.stdout;
}

export function isProgramLoaded(id: number): boolean {
  const out = spawnSync(tool(), ["loaded", String(id)], { encoding: "utf8" });
  if (out.status !== 0 && out.status !== 1) throw new Error(`program ${id} can't be asked for: ${out.stderr}`);
  return out.status === 0;
}

/** Send `payload` in one call, cut into datagrams of `size` bytes by whoever cuts last. How many came back. */
export async function sendMerged(
  from: Namespace,
  to: { readonly address: string; readonly port: number; readonly localPort: number; readonly size: number },
  payload: Uint8Array,
): Promise<number> {
  const argv = [compiled("gso"), to.address, String(to.port), String(to.localPort), String(to.size)];
  const out = await from.run(["/bin/sh", "-c", `base64 -d | "$0" "$@"`, ...argv], {
    input: Buffer.from(payload).toString("base64"),
  });
  if (out.code !== 0) throw new Error(`gso: ${out.stderr}`);
  return Number(out.stdout);
}

const tool = () => compiled("programs");
const built = new Map<string, string>();

/** A program of this folder, for this run. */
function compiled(name: string): string {
  const known = built.get(name);
  if (known !== undefined) return known;
  const folder = mkdtempSync(join(tmpdir(), prefix));
  atExit(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, name);
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url));
  const out = spawnSync("cc", ["-O1", "-Wall", "-o", path, source], { encoding: "utf8" });
  if (out.status !== 0) throw new Error(`cc ${source}: ${out.error?.message ?? ""}${out.stderr}`);
  built.set(name, path);
  return path;
}
