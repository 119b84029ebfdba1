/** What the kernel says about processor time and memory. */
import { readFileSync, writeFileSync } from "node:fs";

/** proc(5): /proc/stat counts in hundredths of a second, whatever the kernel's tick is. */
const tickUs = 10_000;

/** Microseconds that all CPUs together have spent on something, since start. Idle, waiting for disks and time stolen by the hypervisor are left out. */
export function busyUs(stat: string = readFileSync("/proc/stat", "utf8")): number {
  const [user, nice, system, , , irq, softirq] = stat.split("\n", 1)[0]!.trim().split(/\s+/).slice(1).map(Number);
  return ((user ?? 0) + (nice ?? 0) + (system ?? 0) + (irq ?? 0) + (softirq ?? 0)) * tickUs;
}

/** From here on, the peak of these processes is counted anew. */
export function resetPeak(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      // proc(5), clear_refs: 5 sets the peak (VmHWM) to what is resident now.
      writeFileSync(`/proc/${pid}/clear_refs`, "5");
    } catch {
      // Gone: then it has no peak either.
    }
  }
}

/** KiB, the processes' peaks added up: memory that they share is counted for each. */
export function peakRssKiB(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) {
    try {
      sum += Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
    } catch {
      // Gone.
    }
  }
  return sum;
}
