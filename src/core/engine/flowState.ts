/** What is known of a TCP flow from its packets and from eBPF; what is kept of it meanwhile is pendingFlows.ts. */
import type { TcpSegment } from "../wire/tcp.js";
import type { FlowKey } from "./commands.js";
import type { ClientPacket } from "./voice.js";

/** A TCP packet whose header was parsed. */
export type TcpPacket = ClientPacket & { readonly tcp: TcpSegment };

/**
 * What eBPF has cached for a flow of TCP or QUIC. It sees every SYN, user space only those that carry something: where a flow begins is known there.
 */
export interface CachedFlow {
  /** pending: opened, its first payload awaited. */
  readonly verdict: "pending" | "allow" | "deny";
  readonly reason: number;
  readonly final: boolean;
  /** The server acknowledged the SYN: its stream begins at judgedStart. */
  readonly opened: boolean;
  /** A part of its first bytes went on undecided (pending). */
  readonly released: boolean;
  /** It skips netfilter; whatever is put in its place must say so, too. */
  readonly fast: boolean;
  /** Milliseconds of CLOCK_MONOTONIC at its SYN, cut to seconds; 0 if it wasn't opened as pending. */
  readonly openedAt: number;
  /** Sequence number of the first payload byte. */
  readonly judgedStart: number;
  /** End of the judged range; = judgedStart while nothing was judged. */
  readonly judgedEnd: number;
  /** It was judged under the policy before, and not anew since: `PolicyChange.renew` says whether it counts. `flags`: `L7_FLOW_*` */
  readonly outdated?: { readonly rule: number; readonly flags: number } | undefined;
}

/** A read of the kernel's cache; undefined: nothing that counts (none, idle, of another generation). Valid until the next one; the key may change afterwards. */
export type FlowLookup = (key: FlowKey) => CachedFlow | undefined;
