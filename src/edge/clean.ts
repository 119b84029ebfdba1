/**
 * Remove all that a gateway of this name has left, whatever state it is in: after a kill -9, a failed start, half by hand. What is
 * there decides, not what a record says: pinned links, clsact filters, iptables chains, pins, the /run folder.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Native } from "../native/types.js";
import type { Attachment } from "./attachments.js";
import { detachPinnedLinks, removeClsact } from "./attachments.js";
import { listPins, removePins } from "./bpffs.js";
import { UsageError, errnoOf } from "./errors.js";
import { listInstances, networkNamespace, readRecord, releaseInstance } from "./instances.js";
import { Interfaces } from "./interfaces.js";
import { rulesDown } from "./iptables.js";
import type { FileLock } from "./lock.js";
import { lockFolder, tryLock } from "./lock.js";
import { defaults, isInstanceName } from "./options.js";
import { instancePaths } from "./paths.js";

/** Names of all instances of which anything is left: records, pins, chains of this network namespace. */
export function knownInstances(pinDir: string): string[] {
  const names = new Set(listInstances().map((instance) => instance.record.name));
  for (const name of listPins(pinDir)) names.add(name);
  for (const chain of ownChains()) names.add(chain.name);
  return [...names].filter(isInstanceName).sort();
}

/**
 * One line for each thing that was removed; none: there was nothing. UsageError if the gateway runs and `force` is not set.
 * With `force` it is asked to stop (SIGTERM), and killed after 10 seconds.
 */
export async function cleanInstance(
  native: Native,
  name: string,
  pinDirIfUnknown: string,
  force: boolean,
): Promise<string[]> {
  const record = readRecord(instancePaths(name, pinDirIfUnknown).record);
  const paths = instancePaths(name, record?.pinDir ?? pinDirIfUnknown);
  const out: string[] = [];
  // Held to the end: nobody may start an instance of this name over our heads.
  const lock = existsSync(paths.run) ? await takeLock(paths.lock, name, record?.pid, force, out) : undefined;
  if (record && record.netns !== networkNamespace()) {
    out.push(
      `${name}: it ran in another network namespace; its iptables chains, if that still exists, can only be removed there`,
    );
  }

  const links = listPins(paths.links);
  if (links.length > 0) {
    detachPinnedLinks(native, paths.links);
    out.push(`${name}: detached ${links.join(", ")}`);
  }
  out.push(...(await removeFilters(native, name)));
  const chains = ownChains().filter((chain) => chain.name === name);
  if (chains.length > 0) {
    await rulesDown(name);
    out.push(`${name}: removed iptables chains ${[...new Set(chains.map((chain) => chain.chain))].join(", ")}`);
  }
  if (existsSync(paths.pins)) {
    removePins(paths.pins);
    out.push(`${name}: removed ${paths.pins}`);
  }
  if (lock) {
    releaseInstance(paths, lock);
    out.push(`${name}: removed ${paths.run}`);
  }
  return out;
}

/** Our chains in this network namespace, in both kinds of iptables and both families. */
export function ownChains(): { readonly chain: string; readonly name: string }[] {
  const out = new Map<string, { chain: string; name: string }>();
  const kinds = ["", "-nft", "-legacy"].flatMap((kind) => [`iptables${kind}-save`, `ip6tables${kind}-save`]);
  for (const program of kinds) {
    // Asking legacy for its tables would load its modules: only if somebody uses it.
    if (
      program.includes("legacy") &&
      !existsSync(program.startsWith("ip6") ? "/proc/net/ip6_tables_names" : "/proc/net/ip_tables_names")
    ) {
      continue;
    }
    const result = spawnSync(program, [], { timeout: 10_000, maxBuffer: 256 * 1024 * 1024 });
    if (result.error || result.status !== 0) continue;
    for (const match of result.stdout.toString().matchAll(/^:(L7EGG-[A-Z]+-([a-z0-9-]+)) /gm)) {
      out.set(match[1] as string, { chain: match[1] as string, name: match[2] as string });
    }
  }
  return [...out.values()];
}

/** clsact filters of this instance on any interface there is. */
async function removeFilters(native: Native, name: string): Promise<string[]> {
  const interfaces = new Interfaces();
  try {
    const out: string[] = [];
    for (const link of await interfaces.links()) {
      const at = { interfaceName: link.name, ifindex: link.index };
      const all: Attachment[] = [
        { ...at, program: "gate", point: "egress" },
        { ...at, program: "classify", point: "ingress" },
        { ...at, program: "watch", point: "egress" },
        { ...at, program: "watch", point: "ingress" },
        { ...at, program: "back", point: "ingress" },
      ];
      for (const one of all) {
        if (removeClsact(native, name, one))
          out.push(`${name}: removed filter ${one.program} at ${one.point} of ${link.name}`);
      }
    }
    return out;
  } finally {
    interfaces.close();
  }
}

async function takeLock(
  path: string,
  name: string,
  pid: number | undefined,
  force: boolean,
  out: string[],
): Promise<FileLock> {
  const take = () => {
    const all = lockFolder(defaults.runDir, 10);
    try {
      return tryLock(path);
    } finally {
      all?.release();
    }
  };
  const lock = take();
  if (lock) return lock;
  const who = pid === undefined ? "" : ` (pid ${pid})`;
  if (!force) throw new UsageError(`instance "${name}" is running${who}: stop it, or clean with --force`);
  if (pid === undefined)
    throw new UsageError(`instance "${name}" is running, and its record is unreadable: stop it yourself`);
  for (const [signal, seconds] of [
    ["SIGTERM", 10],
    ["SIGKILL", 5],
  ] as const) {
    kill(pid, signal);
    out.push(`${name}: sent ${signal} to pid ${pid}`);
    for (let waited = 0; waited < seconds * 10; waited++) {
      await sleep(100);
      // A gateway that stops removes its folder, lock and all; between the look and the open, too.
      if (!existsSync(path)) return fresh(path);
      try {
        const got = take();
        if (got) return got;
      } catch (error) {
        if (errnoOf(error) !== "ENOENT") throw error;
      }
    }
  }
  throw new Error(`instance "${name}" does not die (pid ${pid})`);
}

function fresh(path: string): FileLock {
  const folder = lockFolder(join(path, ".."), 10);
  const lock = tryLock(path);
  folder?.release();
  if (!lock) throw new Error(`${path} was taken by a new start`);
  return lock;
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}
