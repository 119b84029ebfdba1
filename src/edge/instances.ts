/**
 * The instances on this machine: /run/l7egg/<name>/instance.json says what each holds, the lock beside it says whether it lives.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { removeEmptyDir } from "./bpffs.js";
import { UsageError, errnoOf } from "./errors.js";
import type { FileLock } from "./lock.js";
import { isLocked, lockFolder, tryLock } from "./lock.js";
import type { GatewayOptions, MarkBits, QueueRange } from "./options.js";
import { defaults, formatMask } from "./options.js";
import type { InstancePaths } from "./paths.js";
import { instancePaths } from "./paths.js";

const recordVersion = 1;

/** Everything that `clean` must know after a kill -9. */
export interface InstanceRecord {
  readonly v: number;
  readonly name: string;
  readonly pid: number;
  /** Inode of the network namespace: interfaces and queues are compared only within one. */
  readonly netns: number;
  readonly lan: readonly string[];
  readonly iface: string;
  readonly eface: string;
  readonly queues: QueueRange;
  readonly mark: MarkBits;
  readonly pinDir: string;
  readonly iptables: boolean;
  readonly masquerade: boolean;
  readonly failMode: "closed" | "open";
  readonly started: string;
}

export interface Claim {
  readonly lock: FileLock;
  readonly paths: InstancePaths;
  /** What a run of this name that was killed has left. */
  readonly previous: InstanceRecord | undefined;
}

export interface Instance {
  readonly record: InstanceRecord;
  readonly alive: boolean;
}

/** Every instance that left a record, living or dead. Records that don't parse are skipped. */
export function listInstances(runDir: string = defaults.runDir): Instance[] {
  let names: string[];
  try {
    names = readdirSync(runDir);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
  return names.flatMap((name) => {
    const record = readRecord(join(runDir, name, "instance.json"));
    return record ? [{ record, alive: isLocked(join(runDir, name, "lock")) }] : [];
  });
}

export function readRecord(path: string): InstanceRecord | undefined {
  try {
    const value = JSON.parse(readFileSync(path, "utf8")) as Partial<InstanceRecord>;
    // Only we write it, in one step: the version says all about its shape.
    return value.v === recordVersion ? (value as InstanceRecord) : undefined;
  } catch {
    return undefined;
  }
}

export function writeRecord(paths: InstancePaths, record: InstanceRecord): void {
  writeFileSync(`${paths.record}.new`, `${JSON.stringify(record)}\n`, { mode: 0o644 });
  renameSync(`${paths.record}.new`, paths.record);
}

export function networkNamespace(): number {
  return statSync("/proc/self/ns/net").ino;
}

/**
 * Take the instance's name, and check under one lock for all instances that nobody else holds what it asks for.
 * UsageError: which instance holds which thing.
 */
export function claimInstance(options: GatewayOptions, runDir: string = defaults.runDir): Claim {
  const paths = instancePaths(options.name, options.pinDir, runDir);
  const all = lockFolder(runDir, 10);
  if (!all) throw new UsageError(`another start has been under way for more than 10 seconds: ${runDir} is locked`);
  try {
    const made = mkdirSync(paths.run, { recursive: true, mode: 0o711 }) !== undefined;
    const lock = tryLock(paths.lock);
    if (!lock) throw new UsageError(runsAlready(options.name, readRecord(paths.record)));
    const problems = conflicts(
      options,
      networkNamespace(),
      listInstances(runDir).filter((other) => other.alive && other.record.name !== options.name),
    );
    if (problems.length > 0) {
      if (made) rmSync(paths.run, { recursive: true, force: true });
      lock.release();
      throw new UsageError(problems);
    }
    const previous = readRecord(paths.record);
    // Under the common lock, so that the next starter sees what this one holds.
    writeRecord(paths, recordOf(options));
    return { lock, paths, previous };
  } finally {
    all.release();
  }
}

/**
 * Remove the folder of an instance that has stopped (or is dead), and release its lock. Under the common lock: nobody can take the
 * name while its lock file goes.
 */
export function releaseInstance(paths: InstancePaths, lock: FileLock, runDir: string = defaults.runDir): void {
  const all = lockFolder(runDir, 10);
  try {
    rmSync(paths.run, { recursive: true, force: true });
    lock.release();
    removeEmptyDir(runDir);
  } finally {
    all?.release();
  }
}

export function runsAlready(name: string, record: InstanceRecord | undefined): string {
  const who = record === undefined ? "" : ` (pid ${record.pid})`;
  return `instance "${name}" is running already${who}: stop it, or give this one another --name`;
}

/** What `options` wants and a living instance in the same network namespace holds; one line each. */
export function conflicts(options: GatewayOptions, netns: number, others: readonly Instance[]): string[] {
  const out: string[] = [];
  const here = others.map((other) => other.record).filter((record) => record.netns === netns);
  for (const other of here) {
    const who = `instance "${other.name}" (pid ${other.pid})`;
    if (other.eface === options.eface) out.push(`--eface ${options.eface} is governed by ${who} already`);
    if (other.queues.first <= options.queues.last && options.queues.first <= other.queues.last) {
      out.push(`--queue ${formatQueues(options.queues)} is taken: ${who} holds ${formatQueues(other.queues)}`);
    }
    const shared = other.lan.find((name) => options.lan.includes(name));
    if (shared !== undefined && (other.mark.mask & options.mark.mask) !== 0) {
      out.push(
        `--lan ${shared} is shared with ${who}, and both use mark ${formatMask(other.mark.mask & options.mark.mask)}: ` +
          `give this one --mark-mask ${formatMask(freeMask(here))}`,
      );
    }
  }
  return out;
}

export function formatQueues(queues: QueueRange): string {
  return queues.first === queues.last ? String(queues.first) : `${queues.first}:${queues.last}`;
}

/** Two neighbouring bits that none of them uses. */
function freeMask(records: readonly InstanceRecord[]): number {
  const used = records.reduce((mask, record) => mask | record.mark.mask, 0);
  for (let shift = 4; shift <= 30; shift += 2) if ((used & (3 << shift)) === 0) return (3 << shift) >>> 0;
  return 3;
}

export function recordOf(options: GatewayOptions): InstanceRecord {
  return {
    v: recordVersion,
    name: options.name,
    pid: process.pid,
    netns: networkNamespace(),
    lan: options.lan,
    iface: options.iface,
    eface: options.eface,
    queues: options.queues,
    mark: options.mark,
    pinDir: options.pinDir,
    iptables: options.iptables,
    masquerade: options.masquerade,
    failMode: options.failMode,
    started: new Date().toISOString(),
  };
}
