/**
 * The bytes that flows were allowed by, each for a while: a ring of entries and a ring of bytes, in the order of age.
 *
 * An entry is some numbers in arrays that are made once, so remembering one allocates nothing and the garbage collector has nothing to
 * copy or mark; with an object, a string and a Map's entry each, that was a fifth of a busy gateway's own time. Entries lie where they came in:
 * the oldest is always next to go, by its time, for its place or for its bytes. One that is deleted in the middle keeps both until those before
 * it have gone, so what is remembered is at most the last `max` entries and of the last `bytes` bytes.
 *
 * Memory that was never written costs none: the arrays are zero pages of the kernel's until then.
 */
import type { Writable } from "../writable.js";
import { KEY_CHARS, KeyHash, type FlowEnds } from "./keyHash.js";

export interface JudgedBytesOptions {
  /** Most entries, 1 to 2^24. */
  readonly max: number;
  /** Most bytes of all entries, 1 to 2^30. */
  readonly bytes: number;
  /** Milliseconds an entry lives. */
  readonly ttl: number;
  /** Of the hash (`KeyHash`). */
  readonly hashSeed: Uint8Array;
}

/** What was allowed by its first bytes. */
export interface JudgedFlow {
  /** Sequence number of the first judged byte. */
  readonly firstSeq: number;
  readonly reason: number;
  /** 0: no rule. */
  readonly rule: number;
  /** `CachedFlow.fast` */
  readonly fast: boolean;
}

/** An entry as it is found: valid until the next `get` or `set`. */
export interface FoundFlow extends JudgedFlow {
  /** How many bytes were judged. */
  readonly length: number;
  /** Where they lie. */
  readonly at: number;
}

/** Bytes that a copy may take its way over: a packet with all its headers. */
const STAGE = 2_048;

export class JudgedBytes {
  /** Entries that went before their time, for lack of places or bytes. */
  evicted = 0;

  readonly #max: number;
  readonly #ttl: number;
  /** The ring of places: #span of them from #oldest on are taken or were deleted; #size are taken. */
  #oldest = 0;
  #span = 0;
  #size = 0;
  /** The ring of bytes, #room of them: #used end before #end. Behind it is the stage (`#append`). */
  readonly #bytes: Uint8Array;
  readonly #room: number;
  #end = 0;
  #used = 0;

  /** Of each place: policy, ports and addresses. No length of an address: deleted. */
  readonly #keys: Uint16Array;
  readonly #addressLengths: Uint8Array;
  readonly #hashes: Int32Array;
  readonly #expires: Float64Array;
  readonly #starts: Uint32Array;
  readonly #at: Uint32Array;
  readonly #lengths: Uint32Array;
  readonly #rules: Uint32Array;
  readonly #reasons: Uint8Array;
  readonly #fast: Uint8Array;

  /** Place + 1 by hash, 0: none. Open addressing with linear probing; at most half of it is taken. */
  readonly #index: Int32Array;
  readonly #mask: number;
  readonly #shift: number;
  readonly #hash: KeyHash;
  readonly #found: Writable<FoundFlow> = { firstSeq: 0, reason: 0, rule: 0, fast: false, length: 0, at: 0 };

  constructor({ max, bytes, ttl, hashSeed }: JudgedBytesOptions) {
    if (!(max >= 1 && max <= 2 ** 24)) throw new RangeError(`max must be 1 to 2^24, not ${max}`);
    if (!(bytes >= 1 && bytes <= 2 ** 30)) throw new RangeError(`bytes must be 1 to 2^30, not ${bytes}`);
    this.#max = max;
    this.#ttl = ttl;
    this.#room = bytes;
    this.#bytes = new Uint8Array(bytes + STAGE);
    this.#keys = new Uint16Array(max * KEY_CHARS);
    this.#addressLengths = new Uint8Array(max);
    this.#hashes = new Int32Array(max);
    this.#expires = new Float64Array(max);
    this.#starts = new Uint32Array(max);
    this.#at = new Uint32Array(max);
    this.#lengths = new Uint32Array(max);
    this.#rules = new Uint32Array(max);
    this.#reasons = new Uint8Array(max);
    this.#fast = new Uint8Array(max);
    const bits = 1 + Math.ceil(Math.log2(max));
    this.#index = new Int32Array(2 ** Math.max(bits, 1));
    this.#mask = this.#index.length - 1;
    this.#shift = 32 - bits;
    this.#hash = new KeyHash(hashSeed);
  }

  /** Entries, the expired ones that `expire` hasn't seen yet included. */
  get size(): number {
    return this.#size;
  }

  /**
   * Remember a copy of `bytes` [from, to), instead of what was known of the flow. The oldest entries go if there is no place or not enough bytes for it;
   * with more bytes than all may have, it is not remembered itself. `now`: milliseconds, never going back.
   */
  set(flow: FlowEnds & JudgedFlow, bytes: Uint8Array, from: number, to: number, now: number): void {
    const hash = this.#hash.of(flow);
    this.#delete(this.#find(flow, hash));
    const length = to - from;
    if (length > this.#room) {
      this.evicted++;
      return;
    }
    while (this.#span === this.#max || this.#used + length > this.#room) this.#makeRoom(now);
    let place = this.#oldest + this.#span;
    if (place >= this.#max) place -= this.#max;
    this.#span++;
    this.#size++;
    this.#writeKey(place, flow);
    this.#expires[place] = now + this.#ttl;
    this.#starts[place] = flow.firstSeq;
    this.#rules[place] = flow.rule;
    this.#reasons[place] = flow.reason;
    this.#fast[place] = flow.fast ? 1 : 0;
    this.#at[place] = this.#end;
    this.#lengths[place] = length;
    this.#append(bytes, from, to);
    this.#hashes[place] = hash;
    let slot = hash >>> this.#shift;
    while (this.#index[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#index[slot] = place + 1;
  }

  /** undefined: not there, or its time is over. */
  get(flow: FlowEnds, now: number): FoundFlow | undefined {
    const slot = this.#find(flow, this.#hash.of(flow));
    if (slot < 0) return undefined;
    const place = this.#index[slot]! - 1;
    if (this.#expires[place]! <= now) return undefined;
    const found = this.#found;
    found.firstSeq = this.#starts[place]!;
    found.reason = this.#reasons[place]!;
    found.rule = this.#rules[place]!;
    found.fast = this.#fast[place] === 1;
    found.length = this.#lengths[place]!;
    found.at = this.#at[place]!;
    return found;
  }

  /** Are `bytes` [from, to) those of the flow from its `offset` ≥ 0 on, as far as they were judged? */
  same(flow: FoundFlow, offset: number, bytes: Uint8Array, from: number, to: number): boolean {
    const count = Math.min(to - from, flow.length - offset);
    let at = flow.at + offset;
    for (let i = 0; i < count; i++, at++) {
      if (at >= this.#room) at -= this.#room;
      if (bytes[from + i] !== this.#bytes[at]) return false;
    }
    return true;
  }

  delete(flow: FlowEnds): void {
    this.#delete(this.#find(flow, this.#hash.of(flow)));
  }

  /** Forget those whose time is over. */
  expire(now: number): void {
    while (this.#span > 0 && (this.#addressLengths[this.#oldest] === 0 || this.#expires[this.#oldest]! <= now)) {
      this.#dropOldest();
    }
  }

  /** What stands in this slot of the index, if any does. */
  #delete(slot: number): void {
    if (slot < 0) return;
    const place = this.#index[slot]! - 1;
    this.#vacate(slot);
    this.#addressLengths[place] = 0;
    this.#size--;
  }

  #makeRoom(now: number): void {
    if (this.#addressLengths[this.#oldest] !== 0 && this.#expires[this.#oldest]! > now) this.evicted++;
    this.#dropOldest();
  }

  #dropOldest(): void {
    const place = this.#oldest;
    if (this.#addressLengths[place] !== 0) {
      let slot = this.#hashes[place]! >>> this.#shift;
      while (this.#index[slot] !== place + 1) slot = (slot + 1) & this.#mask;
      this.#vacate(slot);
      this.#size--;
    }
    this.#used -= this.#lengths[place]!;
    this.#oldest = place + 1 === this.#max ? 0 : place + 1;
    this.#span--;
  }

  #append(bytes: Uint8Array, from: number, to: number): void {
    const length = to - from;
    const room = this.#room - this.#end;
    if (length < room && bytes.length <= STAGE) {
      // All of it behind the ring, then what is wanted into it: a view of a part costs more, and is garbage.
      this.#bytes.set(bytes, this.#room);
      this.#bytes.copyWithin(this.#end, this.#room + from, this.#room + to);
      this.#end += length;
    } else {
      const first = Math.min(length, room);
      this.#bytes.set(bytes.subarray(from, from + first), this.#end);
      this.#bytes.set(bytes.subarray(from + first, to));
      this.#end = (this.#end + length) % this.#room;
    }
    this.#used += length;
  }

  /** The index's slot of this key; -1: none. */
  #find(flow: FlowEnds, hash: number): number {
    for (let slot = hash >>> this.#shift; ; slot = (slot + 1) & this.#mask) {
      const place = this.#index[slot]! - 1;
      if (place < 0) return -1;
      if (this.#hashes[place] === hash && this.#hasKey(place, flow)) return slot;
    }
  }

  #writeKey(place: number, { policy, sport, dport, src, dst }: FlowEnds): void {
    const keys = this.#keys;
    const at = place * KEY_CHARS;
    keys[at] = policy;
    keys[at + 1] = sport;
    keys[at + 2] = dport;
    const { length } = src;
    this.#addressLengths[place] = length;
    for (let i = 0; i < length; i++) {
      keys[at + 3 + i] = src.charCodeAt(i);
      keys[at + 3 + length + i] = dst.charCodeAt(i);
    }
  }

  #hasKey(place: number, { policy, sport, dport, src, dst }: FlowEnds): boolean {
    const keys = this.#keys;
    const at = place * KEY_CHARS;
    const { length } = src;
    if (this.#addressLengths[place] !== length) return false;
    if (keys[at] !== policy || keys[at + 1] !== sport || keys[at + 2] !== dport) return false;
    for (let i = 0; i < length; i++) {
      if (keys[at + 3 + i] !== src.charCodeAt(i) || keys[at + 3 + length + i] !== dst.charCodeAt(i)) return false;
    }
    return true;
  }

  /** Empty a slot of the index, and move up those behind it that stood there only because it was taken: no tombstones. */
  #vacate(slot: number): void {
    const index = this.#index;
    const mask = this.#mask;
    let hole = slot;
    for (let at = (hole + 1) & mask; index[at] !== 0; at = (at + 1) & mask) {
      const wanted = this.#hashes[index[at]! - 1]! >>> this.#shift;
      // The hole lies on its way from where it wanted to be to where it is.
      if (((at - wanted) & mask) < ((at - hole) & mask)) continue;
      index[hole] = index[at]!;
      hole = at;
    }
    index[hole] = 0;
  }
}
