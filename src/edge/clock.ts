/**
 * CLOCK_MONOTONIC, the clock that eBPF reads (`bpf_ktime_get_ns`). `process.hrtime` is that clock, unlike `performance.now()`,
 * which starts at 0 with the process.
 */
import { readFileSync } from "node:fs";

/** Milliseconds, with a fraction. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}

/** Changes with every boot, as CLOCK_MONOTONIC does: times of another boot mean nothing. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/** Milliseconds as nanoseconds. */
export function toNs(ms: number): bigint {
  return BigInt(Math.round(ms * 1e6));
}
