/** What is known of a TCP flow while and after its first bytes are judged. */
import type { HeldPackets } from "../flow/held.js";
import type { StreamAssembler } from "../flow/reassembly.js";
import type { FlowKey } from "./commands.js";
import type { PacketId } from "./events.js";
import type { LearnedEntry } from "./learned.js";
import type { ClientPacket, Why } from "./voice.js";

/** A flow whose first bytes are awaited or incomplete. */
export interface PendingFlow {
  readonly firstSeq: number;
  readonly started: number;
  /** When the first payload came; the hello must be complete `helloMs` later. */
  helloStarted: number | undefined;
  readonly stream: StreamAssembler;
  /** Packets that wait for the verdict; what they release goes to the server as PENDING. */
  readonly held: HeldPackets<PacketId>;
  /** The learned address that let the SYN pass (verify dns and both). */
  readonly learned: LearnedEntry | undefined;
  /** For denials that no packet triggers (time-outs): the last payload's packet, once one didn't complete the hello. */
  last: ClientPacket | undefined;
}

/**
 * What eBPF has cached for a TCP flow. It sees every SYN, user space only those that carry something: where a flow begins is known there.
 */
export interface CachedFlow {
  /** pending: opened, its first payload awaited. */
  readonly verdict: "pending" | "allow" | "deny";
  readonly final: boolean;
  /** Sequence number of the first payload byte. */
  readonly judgedStart: number;
  /** End of the judged range; = judgedStart while nothing was judged. */
  readonly judgedEnd: number;
}

/** A read of the kernel's cache; undefined: nothing that counts (none, idle, of another generation). */
export type FlowLookup = (key: FlowKey) => CachedFlow | undefined;

/** What was allowed by its first bytes: they must not change any more. */
export interface JudgedFlow {
  readonly start: number;
  readonly bytes: Uint8Array;
  readonly why: Why;
}
