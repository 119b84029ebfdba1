/**
 * What to do: the engine's only output. The edge carries them out **in order**; that order is the guarantee that the kernel
 * maps hold an address before the answer that names it is released. A command is valid until its list is cleared (commandList.ts).
 */
import type { Addr } from "../net/address.js";
import type { AskedKey } from "./asked.js";
import type { ClientId, PacketId } from "./events.js";

/** Give the verdict of one packet. `mark` is what to put into the mark's two bits (`enum l7_verdict`), other bits stay. */
export interface VerdictCommand {
  readonly type: "verdict";
  readonly id: PacketId;
  readonly action: "accept" | "drop";
  /** undefined: leave the mark alone (answers, packets that are not governed). */
  readonly mark: 2 | 3 | undefined;
  /** Replaces the packet (from the network header) before it goes on. */
  readonly bytes: Uint8Array | undefined;
}

/** Put `address` into names4/6 and (name, address) into bindings. Carried out before any verdict that follows. */
export interface LearnCommand {
  readonly type: "learn";
  readonly policy: number;
  readonly client: ClientId;
  readonly address: Addr;
  /** Normal form of the name that was asked for. */
  readonly name: string;
  /** Names from the question (first) to the owner of the address record (last). */
  readonly chain: readonly string[];
  readonly rule: number;
  /** Port set of the rule, 0 = everywhere. */
  readonly ports: number;
  /** Port set that covers those of every name that holds this address for this client, 0 = everywhere. */
  readonly addressPorts: number;
  /** When this (name, address) expires, for `bindings`. Milliseconds of CLOCK_MONOTONIC. */
  readonly expires: number;
  /** When the last name that holds this address for this client expires, for `names4/6`; ≥ expires. */
  readonly addressExpires: number;
  /** More than one name holds this address for this client. */
  readonly shared: boolean;
}

/** Drop a learned (name, address) whose time is over: housekeeping only, the kernel compares `expires` itself. */
export interface ForgetCommand {
  readonly type: "forget";
  readonly policy: number;
  readonly client: ClientId;
  readonly address: Addr;
  readonly name: string;
  /** No other name holds this address for this client: names4/6 goes too. */
  readonly last: boolean;
}

/** 5-tuple as the client sent it. Ports in host order; ICMP echo: the identifier in both. */
export interface FlowKey {
  readonly policy: number;
  readonly src: Addr;
  readonly dst: Addr;
  readonly proto: number;
  readonly sport: number;
  readonly dport: number;
}

/** Cache a flow's verdict in the kernel; pending: its SYN passes, its stream begins at `judgedStart` (= `judgedEnd`). */
export interface FlowPutCommand {
  readonly type: "flowPut";
  readonly key: FlowKey;
  readonly verdict: "pending" | "allow" | "deny";
  readonly reason: number;
  readonly rule: number;
  /** `L7_FLOW_*` flags. */
  readonly flags: number;
  /** Judged TCP sequence range [start, end), modulo 2^32; 0, 0 if nothing was judged. */
  readonly judgedStart: number;
  readonly judgedEnd: number;
}

/**
 * The kernel may let this question of this client pass by itself until `expires`. Its answers climb all the same unless they teach nothing new.
 * Best effort: without it the question climbs.
 */
export interface AllowQuestionCommand {
  readonly type: "allowQuestion";
  readonly policy: number;
  readonly client: ClientId;
  readonly resolver: Addr;
  /** Normal form. */
  readonly name: string;
  /** A or AAAA. */
  readonly questionType: number;
  readonly rule: number;
  /** Port set of the rule, 0 = everywhere. */
  readonly ports: number;
  /** Milliseconds of CLOCK_MONOTONIC. */
  readonly expires: number;
}

/** A question that the kernel had let pass has its answer: nobody awaits another one. */
export interface AnsweredCommand {
  readonly type: "answered";
  readonly key: AskedKey;
}

/** Send a whole IP packet (TCP reset, ICMP prohibited, DNS reply); routed by its destination. Best effort. */
export interface SendCommand {
  readonly type: "send";
  readonly bytes: Uint8Array;
}

/** One decision for the log and the counters. */
export interface DecisionCommand {
  readonly type: "decision";
  readonly verdict: "allow" | "deny";
  readonly reason: number;
  /** true: eBPF decided and has counted it already. */
  readonly inKernel: boolean;
  readonly policy: number;
  readonly rule: number;
  /** Who asked, of a packet that this engine judged. */
  readonly by: ClientId | undefined;
  /** The same one's address. */
  readonly client: Addr | undefined;
  readonly address: Addr | undefined;
  readonly port: number | undefined;
  readonly proto: number | undefined;
  /** Name on the wire, name asked for, or name that the address was learned for. */
  readonly name: string | undefined;
  /** Free words that help a person ("question type ANY", "2 names in SNI"). */
  readonly detail: string | undefined;
}

/** Count without a log line. */
export interface CountCommand {
  readonly type: "count";
  readonly reason: number;
  readonly bytes: number;
}

export type Command =
  | VerdictCommand
  | LearnCommand
  | ForgetCommand
  | FlowPutCommand
  | AllowQuestionCommand
  | AnsweredCommand
  | SendCommand
  | DecisionCommand
  | CountCommand;
