/**
 * The connection ids that begin connections of QUIC. A server knows a connection by its id, whatever port and address it comes from, and keeps the first copy of
 * each byte of its hello. A client that lets a part of an allowed hello get lost could fill it with another name, if that one were judged for itself: on
 * another port, or once the first one is forgotten. So an id belongs to one flow, and one whose hello was allowed begins nothing for a while after.
 * (Clients choose ids at random, RFC 9000 7.2: no honest one comes twice.)
 */
import { BoundedTable } from "../flow/table.js";
import type { EngineLimits } from "./limits.js";

export class ConnectionIds {
  readonly #limits: EngineLimits;
  /** Of the connections that are known. */
  readonly #live = new Set<string>();
  /** Of those that were allowed and are forgotten. */
  readonly #spent: BoundedTable<string, true>;
  /** Flows forgotten before their time: a packet that opens under their connections' keys as well would no longer be noticed. As many as `#spent` at most. */
  readonly #spentFlows: BoundedTable<string, true>;

  constructor(limits: EngineLimits) {
    this.#limits = limits;
    const max = limits.quicConnections;
    this.#spent = new BoundedTable({ max, ttl: limits.quicSpentMs, full: "evict-oldest" });
    this.#spentFlows = new BoundedTable({ max, ttl: limits.judgedMs, full: "evict-oldest" });
  }

  /** Known and remembered ones. */
  get size(): number {
    return this.#live.size + this.#spent.size;
  }

  /** Does it belong to a connection that is known, or was? */
  isTaken(dcid: string, now: number): boolean {
    return this.#live.has(dcid) || this.#spent.get(dcid, now) === true;
  }

  isSpentFlow(flow: string, now: number): boolean {
    return this.#spentFlows.size > 0 && this.#spentFlows.get(flow, now) === true;
  }

  /** Room for one more, made if it must be by what servers have surely given up. */
  hasRoom(now: number): boolean {
    if (this.size < this.#limits.quicConnections) return true;
    const expires = this.#spent.nextExpiry();
    if (expires === undefined || now < expires - this.#limits.quicSpentMs + this.#limits.judgedMs) return false;
    for (const [oldest] of this.#spent.entries()) return this.#spent.delete(oldest);
    return false;
  }

  take(dcid: string): void {
    this.#live.add(dcid);
  }

  /** The connection is forgotten. `allowed`: its server may have got a part of its hello. */
  forget(dcid: string, allowed: boolean, now: number): void {
    this.#live.delete(dcid);
    if (allowed) this.#spent.set(dcid, true, now);
  }

  spendFlow(flow: string, now: number): void {
    this.#spentFlows.set(flow, true, now);
  }

  expire(now: number): void {
    this.#spent.expire(now);
    this.#spentFlows.expire(now);
  }
}
