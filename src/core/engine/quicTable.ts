/** What is kept of flows of QUIC, and its bounds. At each of them what was held is dropped and what is known forgotten, never let go. */
import { Reason } from "../abi.generated.js";
import { BoundedTable } from "../flow/table.js";
import type { CommandList } from "./commandList.js";
import type { PacketId } from "./events.js";
import type { EngineLimits } from "./limits.js";
import { MAX_CONNECTIONS, QuicConnection, QuicFlow } from "./quicFlow.js";
import { ConnectionIds } from "./quicIds.js";
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
  readonly #ids: ConnectionIds;
  #bytes = 0;
  #held = 0;
  #evicted = 0;

  constructor(limits: EngineLimits, voice: Voice) {
    this.#limits = limits;
    this.#voice = voice;
    this.#flows = new BoundedTable({ max: limits.quicFlows, ttl: limits.judgedMs, full: "refuse" });
    this.#ids = new ConnectionIds(limits);
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
    if (before) this.forget(before, now, out);
    if (this.#flows.size >= this.#limits.quicFlows) this.#evict(oldestOf(this.#flows)![1], now, out);
    this.#flows.set(flow.id, flow, now);
    return flow;
  }

  /** A connection begins. undefined: this flow has too many of which a server may wait for the rest of their hello. */
  connect(flow: QuicFlow, keys: ConnectionKeys, now: number, out: CommandList): QuicConnection | undefined {
    if (flow.connections.length >= MAX_CONNECTIONS) {
      // Not one that a server may still wait for: an Initial that opens under its keys as well would no longer be noticed.
      const old = flow.connections.find(
        (one) => !this.#incomplete.has(one) && now - one.lastSeen >= this.#limits.judgedMs,
      );
      if (!old) return undefined;
      this.#end(old, now, out);
    }
    const connection = new QuicConnection(flow, keys, now, this.#limits);
    flow.connections.push(connection);
    this.#ids.take(keys.dcid);
    return connection;
  }

  /** An Initial's frames. Something: why they can't be of a hello that is allowed. */
  add(connection: QuicConnection, frames: Uint8Array, now: number): Why | undefined {
    // Its server, too, waits from now on anew.
    connection.lastSeen = now;
    this.#flows.touch(connection.flow.id, now);
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
  forget(flow: QuicFlow, now: number, out: CommandList): void {
    this.#drop(flow.takeAll(), out);
    for (const connection of flow.connections) this.#forgetConnection(connection, now);
    this.#flows.delete(flow.id);
  }

  /** The same before its time: if something of it was allowed, nothing begins on it for a while. */
  giveUp(flow: QuicFlow, now: number, out: CommandList): void {
    if (flow.connections.some((one) => one.allowedBy)) this.#ids.spendFlow(flow.id, now);
    this.forget(flow, now, out);
  }

  /** The rest of its hello hasn't come in time, on a flow that goes on. One that was allowed (a second hello is wanted) stays known: its server waits on. */
  giveUpHello(connection: QuicConnection, now: number, out: CommandList): void {
    if (!connection.allowedBy) return this.#end(connection, now, out);
    this.#incomplete.delete(connection);
    this.#drop(connection.flow.takeWaiting(connection), out);
  }

  /** Why these readings of an Initial can't begin what they begin, an `enum l7_reason`. `known`: the packet's flow. */
  refuse(
    packet: ClientPacket,
    known: QuicFlow | undefined,
    readings: readonly InitialReading[],
    now: number,
  ): number | undefined {
    if (!known && this.#ids.isSpentFlow(flowId(packet), now)) return Reason.QUIC;
    for (const { keys } of readings) {
      if (known?.find(keys.dcid)) continue;
      if (this.#ids.isTaken(keys.dcid, now)) return Reason.QUIC;
      if (!this.#ids.hasRoom(now)) return Reason.OVERLOAD;
    }
    return undefined;
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
      this.forget(oldestOf(this.#flows)![1], now, out);
    }
    this.#ids.expire(now);
  }

  clear(now: number, out: CommandList): void {
    for (const [, flow] of this.#flows.entries()) this.forget(flow, now, out);
  }

  #end(connection: QuicConnection, now: number, out: CommandList): void {
    this.#forgetConnection(connection, now);
    this.#drop(connection.flow.takeAway(connection), out);
  }

  #forgetConnection(connection: QuicConnection, now: number): void {
    this.#bytes -= connection.bytes;
    this.#incomplete.delete(connection);
    this.#ids.forget(connection.keys.dcid, connection.allowedBy !== undefined, now);
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
