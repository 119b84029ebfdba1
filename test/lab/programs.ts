/** eBPF programs as the kernel lists them. */
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

let built: string | undefined;

function tool(): string {
  if (built !== undefined) return built;
  const folder = mkdtempSync(join(tmpdir(), prefix));
  atExit(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "programs");
  const source = fileURLToPath(new URL("programs.c", import.meta.url));
  const out = spawnSync("cc", ["-O1", "-Wall", "-o", path, source], { encoding: "utf8" });
  if (out.status !== 0) throw new Error(`cc ${source}: ${out.error?.message ?? ""}${out.stderr}`);
  return (built = path);
}
