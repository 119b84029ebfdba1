/** What is kept of flows of QUIC, and its bounds. At each of them what was held is dropped and what is known forgotten, never let go. */
import { Reason } from "../abi.generated.js";
import { BoundedTable } from "../flow/table.js";
import type { CommandList } from "./commandList.js";
import type { PacketId } from "./events.js";
import type { EngineLimits } from "./limits.js";
import { MAX_CONNECTIONS, QuicConnection, QuicFlow } from "./quicFlow.js";
import type { ConnectionKeys, InitialReading } from "./quicInitials.js";
import { flowId, MARK_ALLOW, type ClientPacket, type Voice, type Why } from "./voice.js";

/** Sizes and losses of the tables. */
export interface QuicStats {
  readonly quicFlows: number;
  readonly quicEvicted: number;
  readonly quicHeld: number;
}

export class QuicTable {
  readonly #limits: EngineLimits;
  readonly #voice: Voice;
  readonly #flows: BoundedTable<string, QuicFlow>;
  /** Connections whose hello isn't complete, in the order of their deadlines. */
  readonly #incomplete: BoundedTable<QuicConnection, true>;
  /**
   * Connections (flow and connection id) that were allowed and forgotten before their time. A server may still wait for the rest of a hello that it got
   * a part of; if another one could be judged now, it would read one made of both.
   */
  readonly #spent: BoundedTable<string, true>;
  #bytes = 0;
  #held = 0;
  #evicted = 0;

  constructor(limits: EngineLimits, voice: Voice) {
    this.#limits = limits;
    this.#voice = voice;
    this.#flows = new BoundedTable({ max: limits.quicFlows, ttl: limits.judgedMs, full: "refuse" });
    this.#spent = new BoundedTable({ max: limits.quicSpent, ttl: limits.judgedMs, full: "evict-oldest" });
    this.#incomplete = new BoundedTable({
      max: limits.quicFlows * MAX_CONNECTIONS,
      ttl: limits.helloMs,
      full: "refuse",
    });
  }

  stats(): QuicStats {
    return { quicFlows: this.#flows.size, quicEvicted: this.#evicted, quicHeld: this.#held };
  }

  get(packet: ClientPacket, now: number): QuicFlow | undefined {
    return this.#flows.get(flowId(packet), now);
  }

  begin(packet: ClientPacket, allowed: boolean, now: number, out: CommandList): QuicFlow {
    const flow = new QuicFlow(flowId(packet), packet, allowed);
    // Its time is over, and nobody has looked since.
    const before = this.#flows.get(flow.id, -Infinity);
    if (before) this.forget(before, out);
    if (this.#flows.size >= this.#limits.quicFlows) this.#evict(oldestOf(this.#flows)![1], now, out);
    this.#flows.set(flow.id, flow, now);
    return flow;
  }

  /** A connection begins. undefined: too many of this flow's wait for the rest of their hello. */
  connect(flow: QuicFlow, keys: ConnectionKeys, now: number, out: CommandList): QuicConnection | undefined {
    if (flow.connections.length >= MAX_CONNECTIONS) {
      const oldest = flow.connections.find((one) => one.complete);
      if (!oldest) return undefined;
      // Nothing waits for it. What still comes of its Initials opens under no known key, or is of a connection that is spent.
      this.end(oldest, now, out);
    }
    const connection = new QuicConnection(flow, keys, now, this.#limits);
    flow.connections.push(connection);
    this.#flows.touch(flow.id, now);
    return connection;
  }

  /** An Initial's frames. Something: why they can't be of a hello that is allowed. */
  add(connection: QuicConnection, frames: Uint8Array): Why | undefined {
    const before = connection.bytes;
    const why = connection.add(frames);
    this.#bytes += connection.bytes - before;
    return why;
  }

  /** Its hello must be complete in time. */
  await(connection: QuicConnection, now: number): void {
    if (connection.complete) this.#incomplete.delete(connection);
    else if (!this.#incomplete.has(connection)) this.#incomplete.set(connection, true, now);
  }

  /** What finds no room is lost, as on a full link; the client sends it again. Its bytes have been read all the same. */
  hold(flow: QuicFlow, packet: ClientPacket, waits: readonly QuicConnection[], out: CommandList): void {
    if (flow.held.length >= this.#limits.quicHeldPerFlow || this.#held >= this.#limits.held) {
      return this.#voice.discard(packet.id, Reason.OVERLOAD, packet.bytes.length, out);
    }
    this.#held++;
    flow.held.push({ id: packet.id, waits });
  }

  /** What waits for nothing any more goes on. */
  release(flow: QuicFlow, out: CommandList): void {
    const ids = flow.takeReady();
    this.#held -= ids.length;
    for (const id of ids) this.#voice.accept(id, MARK_ALLOW, out);
  }

  /** Nothing is known of it any more; what it held is dropped. */
  forget(flow: QuicFlow, out: CommandList): void {
    this.#drop(flow.takeAll(), out);
    for (const connection of flow.connections) {
      this.#bytes -= connection.bytes;
      this.#incomplete.delete(connection);
    }
    this.#flows.delete(flow.id);
  }

  /** The same before its time: its connections are spent. */
  giveUp(flow: QuicFlow, now: number, out: CommandList): void {
    for (const connection of flow.connections) this.#spend(connection, now);
    this.forget(flow, out);
  }

  /** The same of one connection. */
  end(connection: QuicConnection, now: number, out: CommandList): void {
    this.#spend(connection, now);
    this.#bytes -= connection.bytes;
    this.#incomplete.delete(connection);
    this.#drop(connection.flow.takeAway(connection), out);
  }

  /** Is one of these a connection that was forgotten before its time? `known`: the packet's flow. */
  isSpent(
    packet: ClientPacket,
    known: QuicFlow | undefined,
    readings: readonly InitialReading[],
    now: number,
  ): boolean {
    if (this.#spent.size === 0) return false;
    const id = flowId(packet);
    return readings.some(({ keys }) => !known?.find(keys.dcid) && this.#spent.get(id + keys.dcid, now));
  }

  /** The oldest flows go until the bytes of all hellos are within their bound; `flow` stays. */
  makeRoom(flow: QuicFlow, now: number, out: CommandList): void {
    while (this.#bytes > this.#limits.quicBytes) {
      const [, oldest] = oldestOf(this.#flows)!;
      if (oldest === flow) return;
      this.#evict(oldest, now, out);
    }
  }

  /** A connection whose hello should be complete by now. */
  due(now: number): QuicConnection | undefined {
    const deadline = this.nextDeadline();
    return deadline !== undefined && deadline <= now ? oldestOf(this.#incomplete)![0] : undefined;
  }

  nextDeadline(): number | undefined {
    return this.#incomplete.nextExpiry();
  }

  /** Forget what was judged a while ago: the kernel knows that it is allowed. */
  expire(now: number, out: CommandList): void {
    for (let due = this.#flows.nextExpiry(); due !== undefined && due <= now; due = this.#flows.nextExpiry()) {
      this.forget(oldestOf(this.#flows)![1], out);
    }
    this.#spent.expire(now);
  }

  clear(out: CommandList): void {
    for (const [, flow] of this.#flows.entries()) this.forget(flow, out);
  }

  #spend({ flow, keys, allowedBy }: QuicConnection, now: number): void {
    if (allowedBy) this.#spent.set(flow.id + keys.dcid, true, now);
  }

  #evict(flow: QuicFlow, now: number, out: CommandList): void {
    this.#evicted++;
    out.count(Reason.OVERLOAD, 0);
    this.giveUp(flow, now, out);
  }

  #drop(ids: readonly PacketId[], out: CommandList): void {
    this.#held -= ids.length;
    for (const id of ids) this.#voice.drop(id, out);
  }
}

function oldestOf<K, V>(table: BoundedTable<K, V>): [K, V] | undefined {
  for (const entry of table.entries()) return entry;
  return undefined;
}
