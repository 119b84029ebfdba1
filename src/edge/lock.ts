/**
 * Locks between processes: flock(2) on a file or folder, taken through util-linux' `flock`, because Node has no call for it. The lock belongs
 * to the open file description that we share with that child for a moment, so it is ours until we close the file or die,
 * however we die: nothing is ever stale, and two starters can't both win.
 */
import { spawnSync } from "node:child_process";
import { closeSync, fstatSync, mkdirSync, openSync, statSync } from "node:fs";
import { errnoOf } from "./errors.js";

export interface FileLock {
  release(): void;
}

/** undefined: somebody else holds it. Makes the file (mode 0640) if missing. */
export function tryLock(path: string): FileLock | undefined {
  const fd = openSync(path, "a", 0o640);
  if (flock(fd, ["-n"]) && isStill(path, fd)) return fileLock(fd);
  closeSync(fd);
  return undefined;
}

/**
 * The lock of a folder, which is made if missing (mode 0711: who can't read it can't lock it either, and
 * the group may pass through to the control socket). Waits at most about `seconds`. undefined: still held.
 * The last one to leave may remove the folder: a lock on a removed folder is worth nothing, so it is tried again.
 */
export function lockFolder(path: string, seconds: number): FileLock | undefined {
  for (let attempt = 0; attempt < 10; attempt++) {
    mkdirSync(path, { recursive: true, mode: 0o711 });
    let fd: number;
    try {
      fd = openSync(path, "r");
    } catch (error) {
      if (errnoOf(error) === "ENOENT") continue;
      throw error;
    }
    const got = flock(fd, ["-w", String(seconds)]);
    if (got && isStill(path, fd)) return fileLock(fd);
    closeSync(fd);
    if (!got) return undefined;
  }
  return undefined;
}

/** Does a living process hold it? Doesn't make the file. */
export function isLocked(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
  try {
    return !flock(fd, ["-n"]);
  } finally {
    closeSync(fd);
  }
}

function isStill(path: string, fd: number): boolean {
  try {
    return statSync(path).ino === fstatSync(fd).ino;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}

function fileLock(fd: number): FileLock {
  let open = true;
  return {
    release() {
      if (!open) return;
      open = false;
      closeSync(fd);
    },
  };
}

/** Exit code 1 is "held by somebody else"; anything but 0 and 1 is a failure of the tool. */
function flock(fd: number, flags: string[]): boolean {
  const result = spawnSync("flock", ["-x", ...flags, "3"], { stdio: ["ignore", "ignore", "pipe", fd] });
  if (result.error) throw new Error("flock (util-linux) can't be run", { cause: result.error });
  if (result.status === 0) return true;
  if (result.status === 1) return false;
  throw new Error(`flock: ${result.stderr.toString().trim()}`);
}
