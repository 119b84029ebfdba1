/** What the kernel hands over, as events of the engine. */
import { EVENT_SIZE, Reason, Verdict, decodeEvent } from "../core/abi.generated.js";
import type { ClientId, Hook, KernelDecisionEvent, PacketEvent, PacketId } from "../core/engine/events.js";
import type { Writable } from "../core/writable.js";
import { Meta } from "../native/types.js";
import type { GovernedInterface } from "./clients.js";
import { clientOf } from "./clients.js";

/** NF_INET_LOCAL_IN, NF_INET_FORWARD, NF_INET_LOCAL_OUT (include/uapi/linux/netfilter.h). */
const hooks: readonly (Hook | undefined)[] = [undefined, "input", "forward", "output"];
const checksumNotReady = 1;
const isMerged = 2;
const hasMac = 8;

const NO_BYTES = new Uint8Array(0);
/** Views of packets that are kept: a batch of each of a few lengths. */
const VIEWS = 1024;
const PLACE_SHIFT = 32 - Math.log2(VIEWS);

/** Makes events of a queue's packets: one event, which each packet fills anew. */
export class PacketEvents {
  readonly #event: Writable<PacketEvent> = {
    type: "packet",
    id: 0 as PacketId,
    hook: "forward",
    ifindexIn: 0,
    ifindexOut: 0,
    mark: 0,
    client: undefined,
    policy: undefined,
    bytes: NO_BYTES,
    wireLength: 0,
    merged: false,
    checksumPending: false,
  };
  /** Where the last packet lay: a queue always hands over the same memory, and to ask a Buffer where it lies takes as long as to make the view. */
  #data: Buffer = Buffer.alloc(0);
  #buffer: ArrayBufferLike = this.#data.buffer;
  #start = 0;
  /** Views of it, each with its beginning and its end. */
  readonly #views = Array<Uint8Array>(VIEWS).fill(NO_BYTES);
  readonly #offsets = new Uint32Array(VIEWS);
  readonly #ends = new Uint32Array(VIEWS);

  /**
   * The packet whose slice of `meta` begins at `at`; its bytes stay in `data`. A number: the reason why it must be dropped unasked
   * (a hook that no rule of ours uses, a client that can't be told). Valid until the next call; the caller may change it.
   *
   * From a governed interface (0: this box itself) it is a client's packet; from anywhere else it can only be an answer to one. What
   * reaches INPUT in own-egress mode came in by eface, which is no governed interface.
   */
  read(
    meta: Uint32Array,
    at: number,
    data: Buffer,
    interfaces: ReadonlyMap<number, GovernedInterface>,
  ): Writable<PacketEvent> | number {
    const hook = hooks[meta[at + Meta.hook] as number];
    if (hook === undefined) return Reason.INTERNAL;
    const bytes = this.#view(data, meta[at + Meta.offset] as number, meta[at + Meta.length] as number);
    const ifindexIn = meta[at + Meta.ifindexIn] as number;
    const flags = meta[at + Meta.flags] as number;
    const from = interfaces.get(ifindexIn);
    let client: ClientId | undefined;
    if (from) {
      const mac0 = meta[at + Meta.mac0] as number;
      const mac1 = meta[at + Meta.mac1] as number;
      client = clientOf(from.clientBy, ifindexIn, bytes, (flags & hasMac) !== 0, mac0, mac1);
      if (client === undefined) return Reason.MALFORMED;
    }
    const event = this.#event;
    event.id = meta[at + Meta.id] as PacketId;
    event.hook = hook;
    event.ifindexIn = ifindexIn;
    event.ifindexOut = meta[at + Meta.ifindexOut] as number;
    event.mark = meta[at + Meta.mark] as number;
    event.client = client;
    event.policy = from?.policy;
    event.bytes = bytes;
    event.wireLength = meta[at + Meta.wireLength] as number;
    event.merged = (flags & isMerged) !== 0;
    event.checksumPending = (flags & checksumNotReady) !== 0;
    return event;
  }

  /**
   * Packets of the few lengths that are usual come into the same slots of the queue's memory again and again, and a view says no more than that: the one
   * that was there last is used again, one place for each hash.
   */
  #view(data: Buffer, offset: number, length: number): Uint8Array {
    if (data !== this.#data) {
      this.#data = data;
      this.#buffer = data.buffer;
      this.#start = data.byteOffset;
      this.#views.fill(NO_BYTES);
      this.#ends.fill(0);
    }
    const place = (Math.imul(offset, 0x9e3779b1) ^ Math.imul(length, 0x85ebca6b)) >>> PLACE_SHIFT;
    if (this.#offsets[place] === offset && this.#ends[place] === offset + length) return this.#views[place]!;
    this.#offsets[place] = offset;
    this.#ends[place] = offset + length;
    // Not `subarray`: a Buffer costs twice as much as the view that it is.
    return (this.#views[place] = new Uint8Array(this.#buffer, this.#start + offset, length));
  }
}

/** A record of the ring buffer. RangeError: too short. */
export function kernelDecisionEvent(record: Buffer): KernelDecisionEvent {
  if (record.length < EVENT_SIZE) throw new RangeError(`${record.length} bytes, ${EVENT_SIZE} wanted`);
  const event = decodeEvent(record);
  return {
    type: "kernelDecision",
    verdict: event.verdict === Verdict.ALLOW ? "allow" : "deny",
    reason: event.reason,
    rule: event.rule,
    policy: event.policy,
    client: Buffer.from(event.client).toString("latin1") as ClientId,
    ifindexIn: event.ifindex,
    name: event.nameLen > 0 ? Buffer.from(event.name.subarray(0, event.nameLen)).toString("latin1") : undefined,
    bytes: event.data.subarray(0, event.snapLen),
    wireLength: event.wireLen,
  };
}
