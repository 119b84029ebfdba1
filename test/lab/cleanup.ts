/**
 * Nothing of a lab outlives its process: jobs registered here run once, newest first, on exit, on an exception and on SIGINT, SIGTERM
 * and SIGHUP. After `kill -9` no job runs; `sweep()` at the next start removes what the dead process left.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Namespaces, temporary folders and gateway instances of this process carry this prefix; the number is the owner's pid. */
export const prefix = `l7-${process.pid}-`;
const ownedBy = /^(?:lab-|l7-)(\d+)-/;
/** Folders whose entries are named after their owner. */
const folders = ["/sys/fs/bpf/l7egg", "/run/l7egg", tmpdir()];

const jobs: (() => void)[] = [];
let installed = false;

/** Run `job` (synchronous) when this process ends. Returns a function that runs it now and forgets it. */
export function atExit(job: () => void): () => void {
  install();
  jobs.push(job);
  return () => {
    const index = jobs.indexOf(job);
    if (index < 0) return;
    jobs.splice(index, 1);
    job();
  };
}

/** Remove namespaces, processes, folders and pins whose owner is dead. Needs root. */
export function sweep(): void {
  for (const name of list("/run/netns")) {
    if (!isOrphan(name)) continue;
    killInside(name);
    spawnSync("ip", ["netns", "del", name]);
  }
  for (const folder of folders) {
    for (const name of list(folder)) {
      if (isOrphan(name)) rmSync(join(folder, name), { recursive: true, force: true });
    }
  }
}

/** SIGKILL to every process in a namespace (by pid, as the kernel lists them). Returns when they are gone, or after a second. */
export function killInside(namespace: string): void {
  const out = spawnSync("ip", ["netns", "pids", namespace], { encoding: "utf8" });
  const pids = (out.stdout ?? "").split("\n").map(Number);
  const others = pids.filter((pid) => pid > 1 && pid !== process.pid);
  for (const pid of others) tryKill(pid);
  for (let i = 0; i < 100 && others.some(isRunning); i++) Atomics.wait(nobody, 0, 0, 10);
}

const nobody = new Int32Array(new SharedArrayBuffer(4));

/** false also for a zombie: it holds nothing any more. */
export function isRunning(pid: number): boolean {
  try {
    // proc(5): the state stands behind the name, which is in parentheses and may hold anything.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3) !== "Z";
  } catch {
    return false;
  }
}

export function tryKill(pid: number, signal: NodeJS.Signals = "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already: that is what was wanted.
  }
}

function isOrphan(name: string): boolean {
  const pid = Number(ownedBy.exec(name)?.[1] ?? 0);
  return pid > 0 && !existsSync(`/proc/${pid}`);
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function install(): void {
  if (installed) return;
  installed = true;
  // An uncaught exception and an unhandled rejection end in "exit" too.
  process.on("exit", runAll);
  for (const [signal, number] of [
    ["SIGINT", 2],
    ["SIGTERM", 15],
    ["SIGHUP", 1],
  ] as const) {
    process.on(signal, () => {
      runAll();
      process.exit(128 + number);
    });
  }
}

function runAll(): void {
  for (let job = jobs.pop(); job; job = jobs.pop()) {
    try {
      job();
    } catch (error) {
      process.stderr.write(`lab: clean-up failed: ${String(error)}\n`);
    }
  }
}
