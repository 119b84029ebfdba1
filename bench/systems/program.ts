/** What systems that are programs have in common: a folder, a configuration file, a start that waits, a version. */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { atExit, prefix } from "../../test/lab/cleanup.js";
import type { Namespace } from "../../test/lab/namespace.js";
import { until, type Daemon } from "../../test/lab/process.js";
import { CannotRun } from "../harness/types.js";

const path = `${process.env["PATH"] ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`;

/** A folder of its own in the temporary folder; programs that give up root may write there. Gone at the end. */
export function makeFolder(label: string): { readonly folder: string; readonly remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), `${prefix}${label}-`));
  chmodSync(folder, 0o777);
  return { folder, remove: atExit(() => rmSync(folder, { recursive: true, force: true })) };
}

/** bench/systems/`file` with every @KEY@ replaced, written to `to`. Throws if a key of the file has no value. */
export function writeConfig(file: string, to: string, values: Readonly<Record<string, string>>): void {
  const text = readFileSync(fileURLToPath(new URL(file, import.meta.url)), "utf8");
  const filled = text.replaceAll(/@([A-Z0-9_]+)@/g, (_, key: string) => {
    const value = values[key];
    if (value === undefined) throw new Error(`${file}: no value for @${key}@`);
    return value;
  });
  writeFileSync(to, filled, { mode: 0o644 });
}

/** cert.pem and key.pem in this folder, ECDSA P-256, for two days and for everybody to read. */
export function makeCertificate(folder: string): void {
  const files = ["-keyout", join(folder, "key.pem"), "-out", join(folder, "cert.pem")];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const made = spawnSync("openssl", ["req", ...kind, "-subj", "/CN=bench", ...files], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(`openssl req: ${made.stderr.trim().split("\n").at(-1)!}`);
  for (const file of ["cert.pem", "key.pem"]) chmodSync(join(folder, file), 0o644);
}

/** Throws CannotRun with the Debian package that brings it. */
export function needProgram(program: string, debianPackage: string): void {
  if (which(program) === undefined) {
    throw new CannotRun(
      `${program} is not installed (Debian's package ${debianPackage} brings it, where there is one)`,
    );
  }
}

export function which(program: string): string | undefined {
  try {
    return execFileSync("sh", ["-c", `command -v "$1"`, "sh", program], {
      encoding: "utf8",
      env: { PATH: path },
    }).trim();
  } catch {
    return undefined;
  }
}

/** First line that the program says of itself; "not installed" without it. */
export function versionOf(program: string, args: readonly string[]): string {
  if (which(program) === undefined) return "not installed";
  try {
    const script = `"$@" 2>&1 || :`;
    const env = { PATH: path };
    return execFileSync("sh", ["-c", script, "sh", program, ...args], { encoding: "utf8", env })
      .trim()
      .split("\n")[0]!;
  } catch {
    return "version unknown";
  }
}

/** Wait until the program in this namespace listens on a port; throws with what it said if it ends first. */
export async function untilListening(ns: Namespace, daemon: Daemon, proto: "tcp" | "udp", port: number): Promise<void> {
  const argv = ["ss", "-Hln", proto === "tcp" ? "-t" : "-u", `sport = :${port}`];
  const listening = async () => (await ns.run(argv)).stdout.includes(`:${port}`);
  const said = () => `${daemon.stderr}${daemon.stdout}`.trim().split("\n").at(-1) ?? "";
  await until(
    () => `${daemon.what} to listen on ${port}: ${said()}`,
    async () => daemon.ended || (await listening()),
    15_000,
    30,
  );
  if (daemon.ended) throw new Error(`it ended at once: ${said()}`);
}

/** A process and everything it has started. */
export function withChildren(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const parent = parentOf(Number(entry));
    children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
  }
  const all = [pid];
  for (let at = 0; at < all.length; at++) all.push(...(children.get(all[at]!) ?? []));
  return all;
}

/** proc(5): name in parentheses, state, parent. 0 if it is gone. */
function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return 0;
  }
}
