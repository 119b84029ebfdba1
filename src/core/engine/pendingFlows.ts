/**
 * The flows whose first bytes are incomplete, and what is kept of each. At ten thousand connections a second each lives for a moment, so the objects
 * are used again, their buffers and lists with them.
 */
import { BufferPool, ownBuffer } from "../flow/bufferPool.js";
import { HeldPackets } from "../flow/held.js";
import type { JudgedFlow } from "../flow/judgedBytes.js";
import { KeyHash, type FlowEnds } from "../flow/keyHash.js";
import { LinkedTable, type Linked } from "../flow/linkedTable.js";
import { StreamAssembler } from "../flow/reassembly.js";
import type { Addr } from "../net/address.js";
import { emptyIp } from "../wire/ip.js";
import { emptyTcp } from "../wire/tcp.js";
import type { PacketId } from "./events.js";
import type { CachedFlow, TcpPacket } from "./flowState.js";
import type { LearnedFor } from "./learned.js";
import type { Writable } from "../writable.js";
import type { EngineLimits } from "./limits.js";
import { copyPacket, NO_POLICY, ParsedPacket } from "./parsedPacket.js";

const NO_ADDRESS = "" as Addr;

export class PendingFlow implements FlowEnds, JudgedFlow, Linked<PendingFlow> {
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
  /** Why it is allowed, and by which rule: once it is. */
  reason = 0;
  rule = 0;
  /** When the hello must be complete. */
  deadline = 0;
  readonly stream: StreamAssembler;
  /** Packets that wait for the verdict; what they release goes to the server as PENDING. */
  readonly held = new HeldPackets<PacketId>(0);
  /** The learned address, in use at the SYN (verify both); undefined: it was none. */
  learned: LearnedFor | undefined;
  readonly #learned: Writable<LearnedFor> = { name: "", rule: 0 };
  /** Some of its packets went on undecided; the kernel's entry says so, too. */
  released = false;

  /** For denials that no packet triggers (time-outs): the last payload's packet, once one didn't complete the hello. */
  readonly #last = new ParsedPacket(emptyIp(), emptyTcp());
  #hasLast = false;
  /** Copied into again as long as it fits. */
  #headers = ownBuffer(0);

  /** Of the first five. */
  hash = 0;
  nextInBucket: PendingFlow | undefined;
  older: PendingFlow | undefined;
  newer: PendingFlow | undefined;

  constructor(limits: EngineLimits, pool: BufferPool) {
    const { helloBytes: maxBytes, helloSegments: maxSegments } = limits;
    this.stream = new StreamAssembler({ firstSeq: 0, maxBytes, maxSegments, pool });
  }

  /** Forget everything, and begin with another connection. */
  begin(packet: TcpPacket, cached: CachedFlow, learned: LearnedFor | undefined, deadline: number): void {
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
    this.learned = learned && this.#learned;
    if (learned) {
      this.#learned.name = learned.name;
      this.#learned.rule = learned.rule;
    }
    this.#hasLast = false;
    this.released = false;
  }

  /** Let go of what it knew. */
  end(): void {
    this.stream.release();
    this.held.clear();
    this.learned = undefined;
    this.#hasLast = false;
    this.#last.policy = NO_POLICY;
  }

  /** The packet of `keepLast`, as a copy: the flow is over before the packet's denial is said. */
  get last(): TcpPacket | undefined {
    if (!this.#hasLast) return undefined;
    const copy = new ParsedPacket(emptyIp(), emptyTcp());
    copyPacket(this.#last, Uint8Array.from(this.#headers), copy);
    return copy;
  }

  /** The packet's headers are kept for a later reset, not the batch's buffer. */
  keepLast(packet: TcpPacket): void {
    const { bytes, tcp } = packet;
    if (this.#headers.length !== tcp.payloadOffset) this.#headers = ownBuffer(tcp.payloadOffset);
    const headers = this.#headers;
    for (let i = 0; i < headers.length; i++) headers[i] = bytes[i]!;
    copyPacket(packet, headers, this.#last);
    this.#hasLast = true;
  }
}

/** Flows that wait to be used again: more than begin and end at the same time on a busy gateway. */
const SPARE = 256;

/** Found by the ends of a packet. The number of flows is the caller's business: it asks for `size` and ends the oldest. */
export class PendingFlows {
  readonly #limits: EngineLimits;
  readonly #hash: KeyHash;
  /** The order of age is the order of deadlines. */
  readonly #table = new LinkedTable<PendingFlow>();
  readonly #spare: PendingFlow[] = [];
  /** 2 KiB hold all hellos but those with a post-quantum key share beside a session ticket. */
  readonly #buffers = new BufferPool(2_048, SPARE);

  /** `hashSeed`: as in `KeyHash`. */
  constructor(limits: EngineLimits, hashSeed: Uint8Array) {
    this.#limits = limits;
    this.#hash = new KeyHash(hashSeed);
  }

  get size(): number {
    return this.#table.size;
  }

  get oldest(): PendingFlow | undefined {
    return this.#table.oldest;
  }

  get(ends: FlowEnds): PendingFlow | undefined {
    const hash = this.#hash.of(ends);
    let flow = this.#table.first(hash);
    while (flow && !(flow.hash === hash && isOf(flow, ends))) flow = flow.nextInBucket;
    return flow;
  }

  /** `packet` is of no flow that is here. */
  begin(packet: TcpPacket, cached: CachedFlow, learned: LearnedFor | undefined, now: number): PendingFlow {
    const flow = this.#spare.pop() ?? new PendingFlow(this.#limits, this.#buffers);
    flow.begin(packet, cached, learned, now + this.#limits.helloMs);
    flow.hash = this.#hash.of(flow);
    this.#table.add(flow);
    return flow;
  }

  /** Its packets have their verdicts. Nobody may use `flow` afterwards: it becomes another one. */
  end(flow: PendingFlow): void {
    // One that has ended already must not be in the list twice: it would be two connections at once.
    if (!this.#table.remove(flow)) return;
    flow.end();
    if (this.#spare.length < SPARE) this.#spare.push(flow);
  }
}

function isOf(flow: PendingFlow, { policy, sport, dport, src, dst }: FlowEnds): boolean {
  return flow.sport === sport && flow.dport === dport && flow.policy === policy && flow.src === src && flow.dst === dst;
}
