/** What this process may do: user 0 is not enough, a container's root may lack the rest. */
import { readFileSync } from "node:fs";

/** Bits of include/uapi/linux/capability.h. CAP_SYS_ADMIN stands for what was split off from it (5.8). */
const NET_ADMIN = 12;
const NET_RAW = 13;
const SYS_ADMIN = 21;
const PERFMON = 38;
const BPF = 39;

/** Names of the missing capabilities, empty if all is well. `text`: /proc/self/status. */
export function missingCapabilities(text = readFileSync("/proc/self/status", "utf8")): string[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(text)?.[1] ?? "0"}`);
  const has = (bit: number) => ((effective >> BigInt(bit)) & 1n) === 1n;
  const out: string[] = [];
  if (!has(NET_ADMIN)) out.push("CAP_NET_ADMIN");
  if (!has(NET_RAW)) out.push("CAP_NET_RAW");
  if (!has(SYS_ADMIN)) {
    if (!has(BPF)) out.push("CAP_BPF");
    if (!has(PERFMON)) out.push("CAP_PERFMON");
  }
  return out;
}

/** undefined: fine. Else one line. `why`: what root is needed for. */
export function privilegeProblem(why: string): string | undefined {
  if (process.geteuid?.() !== 0) return `this needs root: ${why}`;
  const missing = missingCapabilities();
  if (missing.length === 0) return undefined;
  return `this root may not do what is needed: it lacks ${missing.join(", ")} (a container? give it these capabilities)`;
}
