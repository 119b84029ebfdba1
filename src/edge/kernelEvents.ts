/** What the kernel hands over, as events of the engine. */
import { EVENT_SIZE, Reason, Verdict, decodeEvent } from "../core/abi.generated.js";
import type { ClientId, Hook, KernelDecisionEvent, PacketEvent, PacketId } from "../core/engine/events.js";
import { Meta } from "../native/types.js";
import type { GovernedInterface } from "./clients.js";
import { clientOf } from "./clients.js";

/** NF_INET_LOCAL_IN, NF_INET_FORWARD, NF_INET_LOCAL_OUT (include/uapi/linux/netfilter.h). */
const hooks: readonly (Hook | undefined)[] = [undefined, "input", "forward", "output"];
const checksumNotReady = 1;
const hasMac = 8;

/** Where the last packet lay: a queue always hands over the same memory, and to ask a Buffer where it lies takes as long as to make the view. */
let batch: Batch = { data: Buffer.alloc(0), buffer: new ArrayBuffer(0), start: 0 };

interface Batch {
  readonly data: Buffer;
  readonly buffer: ArrayBufferLike;
  readonly start: number;
}

/**
 * The packet whose slice of `meta` begins at `at`; its bytes stay in `data`. A number: the reason why it must be dropped unasked
 * (a hook that no rule of ours uses, a client that can't be told).
 *
 * From a governed interface (0: this box itself) it is a client's packet; from anywhere else it can only be an answer to one. What
 * reaches INPUT in own-egress mode came in by eface, which is no governed interface.
 */
export function packetEvent(
  id: PacketId,
  meta: Uint32Array,
  at: number,
  data: Buffer,
  interfaces: ReadonlyMap<number, GovernedInterface>,
): PacketEvent | number {
  const hook = hooks[meta[at + Meta.hook] as number];
  if (hook === undefined) return Reason.INTERNAL;
  const offset = meta[at + Meta.offset] as number;
  if (data !== batch.data) batch = { data, buffer: data.buffer, start: data.byteOffset };
  // Not `subarray`: a Buffer costs twice as much as the view that it is.
  const bytes = new Uint8Array(batch.buffer, batch.start + offset, meta[at + Meta.length]);
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
  return {
    type: "packet",
    id,
    hook,
    ifindexIn,
    ifindexOut: meta[at + Meta.ifindexOut] as number,
    mark: meta[at + Meta.mark] as number,
    client,
    policy: from?.policy,
    bytes,
    wireLength: meta[at + Meta.wireLength] as number,
    checksumPending: (flags & checksumNotReady) !== 0,
  };
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
