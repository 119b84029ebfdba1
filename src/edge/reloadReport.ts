/** What a reload did, in numbers and in words. */
import { counted } from "../core/counted.js";
import type { PolicySpec } from "../core/policy/types.js";
import type { Changed } from "./reloadMessages.js";

/** What a reload did, for people and for JSON. */
export interface ReloadReport {
  readonly file: string;
  readonly generation: number;
  readonly hash: string;
  /** The same rules as before: what the kernel has cached went on without being asked about. */
  readonly unchanged: boolean;
  readonly names: Changed;
  readonly networks: Changed;
  /** Other settings that are not as they were: "verify", "ports", … */
  readonly settings: readonly string[];
  readonly learned: { readonly kept: number; readonly forgotten: number };
  /** Cached flows: of those that the new policy allows nothing has changed, the others are judged anew with their next packet. */
  readonly flows: { readonly kept: number; readonly judgedAnew: number };
  readonly warnings: readonly string[];
  /** Milliseconds: from the command until the new policy was in force everywhere; of these, how long packets for user space had to wait. */
  readonly ms: number;
  readonly pausedMs: number;
}

/** Settings that are not as they were, as the file calls them. */
export function changedSettings(before: PolicySpec, now: PolicySpec): string[] {
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const settings = [
    ["verify", "verify"],
    ["reject", "reject"],
    ["dns-deny", "dnsDeny"],
    ["quic", "quic"],
    ["port", "ports"],
    ["name-port", "namePorts"],
    ["resolver", "resolvers"],
  ] as const;
  return settings.filter(([, field]) => !same(before[field], now[field])).map(([name]) => name);
}

/** In lines for people. */
export function formatReload(report: ReloadReport): string[] {
  const { names, networks, settings, learned, flows } = report;
  const part = (what: string, { count, added, removed }: Changed) =>
    `${counted(count, what)}${added + removed > 0 ? ` (${added} added, ${removed} removed)` : ""}`;
  return [
    `the policy of ${report.file} is in force${report.unchanged ? ", the same as before" : ""}: ${part("name", names)}, ${part("network", networks)}`,
    ...(settings.length > 0 ? [`changed: ${settings.join(", ")}`] : []),
    `learned names: ${learned.kept} kept, ${learned.forgotten} forgotten; cached flows: ${flows.kept} go on, ${flows.judgedAnew} are judged anew`,
    `it took ${report.ms} ms; what waited for a verdict waited ${report.pausedMs} ms for it`,
  ];
}
