/** What a process and its eBPF maps hold, as the kernel counts it. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { defaults } from "../../src/edge/options.js";
import { native } from "../../src/native/index.js";

/** Resident memory of one process in MiB (VmRSS of proc(5)). */
export function rssMiB(pid: number): number {
  return Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1_024;
}

/** Microseconds of processor time that a process has used so far, all threads, kernel and user. */
export function cpuUs(pid: number): number {
  let ns = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      // A thread that has just ended: V8's helpers come and go.
    }
  }
  return ns / 1e3;
}

/** Memory of the maps that an instance has pinned, in MiB (`memlock` of the map's descriptor; since Linux 6.4 what is really allocated). */
export function mapMiB(instance: string): number {
  const folder = join(defaults.pinDir, instance, "maps");
  let bytes = 0;
  for (const name of readdirSync(folder)) {
    const map = native.openPinnedMap(join(folder, name));
    bytes += Number(/^memlock:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${map.fd}`, "utf8"))?.[1] ?? 0);
    map.close();
  }
  return bytes / 2 ** 20;
}

/** Entries of one of its maps. */
export function entriesOf(instance: string, name: string): number {
  const map = native.openPinnedMap(join(defaults.pinDir, instance, "maps", name));
  try {
    return map.entries().count;
  } finally {
    map.close();
  }
}

/** Until a process that was busy does nothing any more: less than a twentieth of a processor over 200 ms. Gives up after `ms`. */
export async function settled(pid: number, ms = 5_000): Promise<void> {
  const end = performance.now() + ms;
  for (;;) {
    const before = cpuUs(pid);
    await new Promise((resolve) => setTimeout(resolve, 200));
    if (cpuUs(pid) - before < 10_000 || performance.now() > end) return;
  }
}
