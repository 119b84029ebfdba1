/**
 * The questions over UDP that wait for their answers, found by what an answer must match (RFC 5452 section 9.1: addresses, ports and id; the question itself is
 * compared by `judgeAnswer`). Each lives for a moment, so the objects are used again.
 */
import { ownBuffer } from "../flow/bufferPool.js";
import { KeyHash } from "../flow/keyHash.js";
import { LinkedTable, type Linked } from "../flow/linkedTable.js";
import type { Addr } from "../net/address.js";
import type { DnsReading } from "../wire/dns.js";
import type { Query } from "./dnsMessages.js";
import type { ClientId } from "./events.js";
import type { EngineLimits } from "./limits.js";
import { NO_POLICY } from "./parsedPacket.js";

const NO_ADDRESS = "" as Addr;

/** A question; its maker fills in what `Queries` doesn't. */
export class PendingQuery implements Query, Linked<PendingQuery> {
  policy = NO_POLICY;
  client = "" as ClientId;
  source = NO_ADDRESS;
  port = 0;
  resolver = NO_ADDRESS;
  ifindex = 0;
  forwarded = false;
  id = 0;
  name = "";
  type = 0;
  rule = 0;
  ports = 0;
  questionBytes = ownBuffer(0);
  /** Milliseconds of CLOCK_MONOTONIC. */
  expires = 0;

  hash = 0;
  nextInBucket: PendingQuery | undefined;
  older: PendingQuery | undefined;
  newer: PendingQuery | undefined;

  /** Copies it; copied into again as long as it fits. */
  setQuestion(message: DnsReading): void {
    const { questionLength } = message;
    if (this.questionBytes.length !== questionLength) this.questionBytes = ownBuffer(questionLength);
    message.copyQuestion(this.questionBytes);
  }
}

/** Questions that wait to be used again: more than are asked and answered at the same time on a busy gateway. */
const SPARE = 256;

export class Queries {
  readonly #limits: EngineLimits;
  readonly #hash: KeyHash;
  readonly #table = new LinkedTable<PendingQuery>();
  readonly #spare: PendingQuery[] = [];

  /** `hashSeed`: as in `KeyHash`. */
  constructor(limits: EngineLimits, hashSeed: Uint8Array) {
    this.#limits = limits;
    this.#hash = new KeyHash(hashSeed);
  }

  /** Those whose time is over and that `expire` hasn't seen yet included. */
  get size(): number {
    return this.#table.size;
  }

  /** undefined: nobody asked that, or too long ago. */
  get(source: Addr, port: number, resolver: Addr, id: number, now: number): PendingQuery | undefined {
    const query = this.#find(this.#hashOf(source, port, resolver, id), source, port, resolver, id);
    return query && query.expires > now ? query : undefined;
  }

  /** A question that is asked now, in place of the same one before; the oldest goes if there are too many. Everything else in it is any other question's. */
  ask(source: Addr, port: number, resolver: Addr, id: number, now: number): PendingQuery {
    const hash = this.#hashOf(source, port, resolver, id);
    const known = this.#find(hash, source, port, resolver, id);
    if (known) this.end(known);
    const { oldest } = this.#table;
    if (oldest && this.#table.size >= this.#limits.queries) this.end(oldest);
    const query = this.#spare.pop() ?? new PendingQuery();
    query.source = source;
    query.port = port;
    query.resolver = resolver;
    query.id = id;
    query.expires = now + this.#limits.queryMs;
    query.hash = hash;
    this.#table.add(query);
    return query;
  }

  /** It has its answer. Nobody may use `query` afterwards: it becomes another one. */
  end(query: PendingQuery): void {
    if (!this.#table.remove(query)) return;
    query.policy = NO_POLICY;
    if (this.#spare.length < SPARE) this.#spare.push(query);
  }

  /** Forget those whose time is over. */
  expire(now: number): void {
    for (let query = this.#table.oldest; query && query.expires <= now; query = this.#table.oldest) this.end(query);
  }

  #hashOf(source: Addr, port: number, resolver: Addr, id: number): number {
    return this.#hash.ofParts(id, port, 0, source, resolver);
  }

  #find(hash: number, source: Addr, port: number, resolver: Addr, id: number): PendingQuery | undefined {
    let query = this.#table.first(hash);
    while (query && !(query.hash === hash && isOf(query, source, port, resolver, id))) query = query.nextInBucket;
    return query;
  }
}

function isOf(query: PendingQuery, source: Addr, port: number, resolver: Addr, id: number): boolean {
  return query.id === id && query.port === port && query.source === source && query.resolver === resolver;
}
