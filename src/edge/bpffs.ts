/** The file system that pins live in. */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  statfsSync,
  symlinkSync,
  unlinkSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { BpfMap, BpfProgram } from "../native/types.js";
import { errnoOf } from "./errors.js";

/** BPF_FS_MAGIC (include/uapi/linux/magic.h). */
const magic = 0xcafe4a11;
const standardMount = "/sys/fs/bpf";

/** Is `path` (or where it would be made) on a bpffs? */
export function isOnBpffs(path: string): boolean {
  let at = path;
  while (!existsSync(at) && at !== dirname(at)) at = dirname(at);
  return statfsSync(at).type === magic;
}

/** undefined: fine, or will be mounted by `mountBpffs`. Else one line that says what to do. */
export function bpffsProblem(pinDir: string): string | undefined {
  if (!pinDir.startsWith("/")) return `--pin-dir ${pinDir}: give an absolute path`;
  if (pinDir.includes(".")) return `--pin-dir ${pinDir}: the bpf file system allows no dots in names`;
  if (isOnBpffs(pinDir)) return undefined;
  if (pinDir.startsWith(`${standardMount}/`)) return undefined;
  return `--pin-dir ${pinDir}: not on a bpf file system; mount one first: mount -t bpf bpf DIRECTORY`;
}

/** The standard mount is made if it is missing, as systemd does, and stays: others may use it. Needs CAP_SYS_ADMIN. */
export function mountBpffs(pinDir: string): void {
  if (isOnBpffs(pinDir)) return;
  const result = spawnSync("mount", ["-t", "bpf", "-o", "mode=0700", "bpf", standardMount]);
  if (result.error) throw new Error(`can't mount ${standardMount}`, { cause: result.error });
  if (result.status !== 0) throw new Error(`can't mount ${standardMount}: ${result.stderr.toString().trim()}`);
}

/** Pin `what` at `path` in one step, in place of what is there. */
export function pinOver(what: BpfMap | BpfProgram, path: string): void {
  const beside = `${path}_new`;
  removePin(beside);
  what.pin(beside);
  renameSync(beside, path);
}

/** A word in bpffs: the target of a symbolic link. */
export function writeWord(path: string, word: string): void {
  const beside = `${path}_new`;
  removePin(beside);
  symlinkSync(word, beside);
  renameSync(beside, path);
}

export function readWord(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** false: was not there. */
export function removePin(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}

export function makePinDir(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

/** Names in a folder of bpffs; none if it isn't there. */
export function listPins(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** Remove an instance's folder with all pins in it; the folder above goes with its last. What is attached by an unpinned link or referenced elsewhere lives on. */
export function removePins(path: string): void {
  removePinDir(path);
  removeEmptyDir(dirname(path));
}

export function removePinDir(path: string): void {
  for (const entry of listPins(path)) {
    const at = join(path, entry);
    try {
      unlinkSync(at);
    } catch (error) {
      if (errnoOf(error) !== "EISDIR" && errnoOf(error) !== "EPERM") throw error;
      removePinDir(at);
    }
  }
  removeEmptyDir(path);
}

/** Nothing happens if it isn't empty, or isn't there, or is the mount point itself. */
export function removeEmptyDir(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!["ENOENT", "ENOTEMPTY", "EBUSY", "EEXIST"].includes(errnoOf(error) ?? "")) throw error;
  }
}
