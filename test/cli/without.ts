/** Kernels that lack something (without.c). */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

const folder = mkdtempSync(join(tmpdir(), "l7egg-without-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "without");
const source = fileURLToPath(new URL("without.c", import.meta.url));
const cc = spawnSync("cc", ["-o", path, source], { encoding: "utf8" });
assert.equal(cc.status, 0, cc.stderr);

/** The words that go in front of a command. */
export function without(what: "bpf" | "tcx" | "nfqueue"): string[] {
  return [path, what];
}
