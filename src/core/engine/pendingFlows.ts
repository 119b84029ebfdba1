/**
 * The flows whose first bytes are incomplete, and what is kept of each. At ten thousand connections a second each lives for a moment, so the objects
 * are used again, their buffers and lists with them.
 */
import { BufferPool, ownBuffer } from "../flow/bufferPool.js";
import { HeldPackets } from "../flow/held.js";
import { KeyHash } from "../flow/keyHash.js";
import { StreamAssembler } from "../flow/reassembly.js";
import type { Addr } from "../net/address.js";
import type { PacketId } from "./events.js";
import type { CachedFlow, TcpPacket } from "./flowState.js";
import type { LearnedEntry } from "./learned.js";
import type { EngineLimits } from "./limits.js";

const NO_ADDRESS = "" as Addr;

export class PendingFlow {
  policy = 0;
  sport = 0;
  dport = 0;
  src = NO_ADDRESS;
  dst = NO_ADDRESS;
  firstSeq = 0;
  /** Milliseconds of CLOCK_MONOTONIC at its SYN, or up to a second earlier. */
  opened = 0;
  /** `CachedFlow.fast` */
  fast = false;
  /** When the hello must be complete. */
  deadline = 0;
  readonly stream: StreamAssembler;
  /** Packets that wait for the verdict; what they release goes to the server as PENDING. */
  readonly held = new HeldPackets<PacketId>(0);
  /** The learned address, in use at the SYN (verify both). */
  learned: LearnedEntry | undefined;
  /** For denials that no packet triggers (time-outs): the last payload's packet, once one didn't complete the hello. */
  last: TcpPacket | undefined;
  /** Some of its packets went on undecided; the kernel's entry says so, too. */
  released = false;

  /** Copied into again as long as it fits. */
  #headers = ownBuffer(0);

  /** The table's own: the hash of the five above, the next flow in its bucket, and its neighbours in order of age. */
  hash = 0;
  nextInBucket: PendingFlow | undefined;
  older: PendingFlow | undefined;
  newer: PendingFlow | undefined;

  constructor(limits: EngineLimits, pool: BufferPool) {
    const { helloBytes: maxBytes, helloSegments: maxSegments } = limits;
    this.stream = new StreamAssembler({ firstSeq: 0, maxBytes, maxSegments, pool });
  }

  /** Forget everything, and begin with another connection. */
  begin(packet: TcpPacket, cached: CachedFlow, learned: LearnedEntry | undefined, deadline: number): void {
    const { judgedStart: firstSeq, openedAt, fast } = cached;
    this.policy = packet.policy.id;
    this.sport = packet.sport;
    this.dport = packet.dport;
    this.src = packet.ip.src;
    this.dst = packet.ip.dst;
    this.firstSeq = firstSeq;
    this.opened = openedAt;
    this.fast = fast;
    this.deadline = deadline;
    this.stream.restart(firstSeq);
    this.held.restart(firstSeq);
    this.learned = learned;
    this.last = undefined;
    this.released = false;
  }

  /** The packet's headers are kept for a later reset, not the batch's buffer. */
  keepLast(packet: TcpPacket): void {
    const { id, bytes, ip, client, policy, sport, dport, tcp, toThisBox, ifindexOut } = packet;
    if (this.#headers.length !== tcp.payloadOffset) this.#headers = ownBuffer(tcp.payloadOffset);
    const headers = this.#headers;
    for (let i = 0; i < headers.length; i++) headers[i] = bytes[i]!;
    this.last = { id, bytes: headers, ip, client, policy, sport, dport, tcp, toThisBox, ifindexOut };
  }
}

/** Flows that wait to be used again: more than begin and end at the same time on a busy gateway. */
const SPARE = 256;

/**
 * Found by the ends of a packet. A table of its own, since a Map wants a key made for each packet, hashes it, and is built anew again and again as its few
 * entries come and go. The number of flows is the caller's business: it asks for `size` and ends the oldest.
 */
export class PendingFlows {
  readonly #limits: EngineLimits;
  readonly #hash: KeyHash;
  /** Of a power of two, at least as many as there are flows: flows with the same upper bits of the hash, linked. */
  #buckets: (PendingFlow | undefined)[] = [];
  #shift = 32;
  #size = 0;
  /** The order of age is the order of deadlines. */
  #oldest: PendingFlow | undefined;
  #newest: PendingFlow | undefined;
  readonly #spare: PendingFlow[] = [];
  /** 2 KiB hold all hellos but those with a post-quantum key share beside a session ticket. */
  readonly #buffers = new BufferPool(2_048, SPARE);

  /** `hashSeed`: as in `KeyHash`. */
  constructor(limits: EngineLimits, hashSeed: Uint8Array) {
    this.#limits = limits;
    this.#hash = new KeyHash(hashSeed);
    this.#resize(6);
  }

  get size(): number {
    return this.#size;
  }

  get oldest(): PendingFlow | undefined {
    return this.#oldest;
  }

  get({ policy, sport, dport, ip }: TcpPacket): PendingFlow | undefined {
    const hash = this.#hash.ofFlow(policy.id, sport, dport, ip.src, ip.dst);
    let flow = this.#buckets[hash >>> this.#shift];
    while (flow && !(flow.hash === hash && isOf(flow, policy.id, sport, dport, ip.src, ip.dst)))
      flow = flow.nextInBucket;
    return flow;
  }

  /** `packet` is of no flow that is here. */
  begin(packet: TcpPacket, cached: CachedFlow, learned: LearnedEntry | undefined, now: number): PendingFlow {
    const flow = this.#spare.pop() ?? new PendingFlow(this.#limits, this.#buffers);
    flow.begin(packet, cached, learned, now + this.#limits.helloMs);
    flow.hash = this.#hash.ofFlow(flow.policy, flow.sport, flow.dport, flow.src, flow.dst);
    if (this.#size === this.#buckets.length) this.#resize(33 - this.#shift);
    this.#size++;
    this.#link(flow);
    flow.older = this.#newest;
    flow.newer = undefined;
    if (this.#newest) this.#newest.newer = flow;
    else this.#oldest = flow;
    this.#newest = flow;
    return flow;
  }

  /** Its packets have their verdicts. Nobody may use `flow` afterwards: it becomes another one. */
  end(flow: PendingFlow): void {
    // One that has ended already must not be in the list twice: it would be two connections at once.
    if (!this.#unlink(flow)) return;
    this.#size--;
    if (flow.older) flow.older.newer = flow.newer;
    else this.#oldest = flow.newer;
    if (flow.newer) flow.newer.older = flow.older;
    else this.#newest = flow.older;
    flow.stream.release();
    flow.held.clear();
    // Nothing that it knew stays alive by it.
    flow.learned = flow.last = flow.older = flow.newer = undefined;
    if (this.#spare.length < SPARE) this.#spare.push(flow);
  }

  #link(flow: PendingFlow): void {
    const bucket = flow.hash >>> this.#shift;
    flow.nextInBucket = this.#buckets[bucket];
    this.#buckets[bucket] = flow;
  }

  /** false: it isn't there. */
  #unlink(flow: PendingFlow): boolean {
    const bucket = flow.hash >>> this.#shift;
    let before: PendingFlow | undefined;
    for (let at = this.#buckets[bucket]; at !== flow; at = at.nextInBucket) {
      if (!at) return false;
      before = at;
    }
    if (before) before.nextInBucket = flow.nextInBucket;
    else this.#buckets[bucket] = flow.nextInBucket;
    flow.nextInBucket = undefined;
    return true;
  }

  /** To 2^bits buckets. */
  #resize(bits: number): void {
    this.#buckets = Array<PendingFlow | undefined>(2 ** bits).fill(undefined);
    this.#shift = 32 - bits;
    for (let flow = this.#oldest; flow; flow = flow.newer) this.#link(flow);
  }
}

function isOf(flow: PendingFlow, policy: number, sport: number, dport: number, src: Addr, dst: Addr): boolean {
  return flow.sport === sport && flow.dport === dport && flow.policy === policy && flow.src === src && flow.dst === dst;
}
