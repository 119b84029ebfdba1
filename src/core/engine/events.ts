/**
 * What happened: the engine's only input. Times are milliseconds of CLOCK_MONOTONIC (the clock that eBPF reads).
 * An event and its buffers belong to the caller and are valid only during the call, for the next packet fills them anew; the engine copies what it keeps.
 */
import type { Addr } from "../net/address.js";
import type { Policy } from "../policy/types.js";

/**
 * Where netfilter handed the packet over. `input` is all that is not on its way out by the governed interface: to this box, or DNS that goes
 * to another network of it. Of that only questions to trusted resolvers are judged.
 */
export type Hook = "forward" | "input" | "output";

/**
 * Who a client is (`enum l7_client_by` in the ABI): 16 bytes as a latin1 string. Opaque to the engine: compared, stored, put into keys.
 */
export type ClientId = string & { readonly __brand: "ClientId" };

/** One packet that waits in an NFQUEUE for its verdict. Exactly one verdict must be given for each `id`. */
export interface PacketEvent {
  readonly type: "packet";
  /** Handle that the edge uses to give the verdict: the kernel's id of the packet in its queue. */
  readonly id: PacketId;
  readonly hook: Hook;
  /** Interface it came in by; 0 for this box's own packets. */
  readonly ifindexIn: number;
  /** Interface it would leave by; 0 for packets to this box. */
  readonly ifindexOut: number;
  /** Several packets that the kernel has merged or not split yet (GSO): TCP segments, or datagrams of one length but the last. */
  readonly merged: boolean;
  /** The whole skb mark. */
  readonly mark: number;
  /** Who sent it, if it comes from a client; undefined if it goes to one (a DNS answer). */
  readonly client: ClientId | undefined;
  /**
   * Policy of the client that sent it on its way out (mark INSPECT in FORWARD, eface in OUTPUT) or to this box's resolver (INPUT from a
   * governed interface). undefined: the packet goes *to* a client, i.e. it may be a DNS answer.
   */
  readonly policy: number | undefined;
  /** From the network header, at most the queue's copy range. */
  readonly bytes: Uint8Array;
  /** Length of the packet on the wire; larger than bytes.length if the copy was cut. */
  readonly wireLength: number;
  /** The checksum is still to be filled in by the hardware (NFQA_SKB_INFO CSUMNOTREADY): don't verify it. */
  readonly checksumPending: boolean;
}

export type PacketId = number & { readonly __brand: "PacketId" };

/** A packet that eBPF decided without asking: denied, or the first of an allowed flow (`struct l7_event`). */
export interface KernelDecisionEvent {
  readonly type: "kernelDecision";
  readonly verdict: "allow" | "deny";
  readonly reason: number;
  readonly rule: number;
  readonly policy: number;
  readonly client: ClientId;
  readonly ifindexIn: number;
  /** Name on the wire in normal form, if eBPF read it. */
  readonly name: string | undefined;
  /** First bytes of the packet from the network header. */
  readonly bytes: Uint8Array;
  readonly wireLength: number;
}

/** An address that a previous run of this instance learned and that is still valid (give these before the first packet), or that another engine bound. */
export interface RestoredEvent {
  readonly type: "restored";
  readonly policy: number;
  readonly client: ClientId;
  readonly name: string;
  readonly address: Addr;
  readonly chain: readonly string[];
  readonly expires: number;
}

/** Other policies are in force from now on, for everything. What the kernel has allowed under those before is asked about once more (policyChange.ts). */
export interface PoliciesEvent {
  readonly type: "policies";
  readonly policies: readonly Policy[];
  /** Every rule of these policies has a higher number than all before; a lower one: the numbers begin anew. */
  readonly firstRule: number;
}

/** No flow is left that only the policies before can tell about. */
export interface SettledEvent {
  readonly type: "settled";
}

/** Time passed. Give one at the time that `Engine.nextDeadline()` says. */
export interface TickEvent {
  readonly type: "tick";
}

/** The gateway stops: every packet still held gets its verdict. */
export interface ShutdownEvent {
  readonly type: "shutdown";
}

export type Event =
  PacketEvent | KernelDecisionEvent | RestoredEvent | PoliciesEvent | SettledEvent | TickEvent | ShutdownEvent;
