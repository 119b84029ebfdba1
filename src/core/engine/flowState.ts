/** What is known of a TCP flow while and after its first bytes are judged. */
import type { HeldPackets } from "../flow/held.js";
import type { StreamAssembler } from "../flow/reassembly.js";
import type { TcpSegment } from "../wire/tcp.js";
import type { FlowKey } from "./commands.js";
import type { PacketId } from "./events.js";
import type { LearnedEntry } from "./learned.js";
import type { ClientPacket } from "./voice.js";

/** A TCP packet whose header was parsed. */
export type TcpPacket = ClientPacket & { readonly tcp: TcpSegment };

/** A flow whose first bytes are incomplete. */
export interface PendingFlow {
  readonly firstSeq: number;
  /** Milliseconds of CLOCK_MONOTONIC at its SYN, or up to a second earlier. */
  readonly opened: number;
  /** `CachedFlow.fast` */
  readonly fast: boolean;
  /** When the hello must be complete. */
  readonly deadline: number;
  readonly stream: StreamAssembler;
  /** Packets that wait for the verdict; what they release goes to the server as PENDING. */
  readonly held: HeldPackets<PacketId>;
  /** The learned address, in use at the SYN (verify both). */
  readonly learned: LearnedEntry | undefined;
  /** For denials that no packet triggers (time-outs): the last payload's packet, once one didn't complete the hello. */
  last: TcpPacket | undefined;
  /** Some of its packets went on undecided; the kernel's entry says so, too. */
  released: boolean;
}

/**
 * What eBPF has cached for a TCP flow. It sees every SYN, user space only those that carry something: where a flow begins is known there.
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
}

/** A read of the kernel's cache; undefined: nothing that counts (none, idle, of another generation). */
export type FlowLookup = (key: FlowKey) => CachedFlow | undefined;
