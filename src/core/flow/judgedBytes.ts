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
import { KEY_CHARS, KeyHash } from "./keyHash.js";

export interface JudgedBytesOptions {
  /** Most entries, 1 to 2^24. */
  readonly max: number;
  /** Most bytes of all entries, 1 to 2^31 - 1. */
  readonly bytes: number;
  /** Milliseconds an entry lives. */
  readonly ttl: number;
  /** Key of the hash. */
  readonly hashSeed: Uint8Array;
}

/** What was allowed by its first bytes. */
export interface JudgedFlow {
  /** Sequence number of the first judged byte. */
  readonly start: number;
  readonly reason: number;
  /** 0: no rule. */
  readonly rule: number;
  /** `CachedFlow.fast` */
  readonly fast: boolean;
}

/** An entry as it is found: valid until the next `set`. */
export interface FoundFlow extends JudgedFlow {
  /** How many bytes were judged. */
  readonly length: number;
  /** Where they lie. */
  readonly at: number;
}

export class JudgedBytes {
  /** Entries that went before their time, for lack of places or bytes. */
  evicted = 0;

  readonly #max: number;
  readonly #ttl: number;
  /** The ring of places: #span of them from #oldest on are taken or were deleted; #size are taken. */
  #oldest = 0;
  #span = 0;
  #size = 0;
  /** The ring of bytes: #used of them end before #end. */
  readonly #bytes: Uint8Array;
  #end = 0;
  #used = 0;

  /** Of each place. A key of no characters: deleted. */
  readonly #keys: Uint16Array;
  readonly #keyLengths: Uint8Array;
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

  constructor({ max, bytes, ttl, hashSeed }: JudgedBytesOptions) {
    if (!(max >= 1 && max <= 2 ** 24)) throw new RangeError(`max must be 1 to 2^24, not ${max}`);
    if (!(bytes >= 1 && bytes < 2 ** 31)) throw new RangeError(`bytes must be 1 to 2^31 - 1, not ${bytes}`);
    this.#max = max;
    this.#ttl = ttl;
    this.#bytes = new Uint8Array(bytes);
    this.#keys = new Uint16Array(max * KEY_CHARS);
    this.#keyLengths = new Uint8Array(max);
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
   * Remember a copy of `bytes`, instead of what the key had. The oldest entries go if there is no place or not enough bytes for it; with more
   * bytes than all may have, it is not remembered itself. `key`: 1 to KEY_CHARS characters. `now`: milliseconds, never going back.
   */
  set(key: string, flow: JudgedFlow, bytes: Uint8Array, now: number): void {
    if (key.length < 1 || key.length > KEY_CHARS) throw new RangeError(`key of ${key.length} characters`);
    const hash = this.#hash.of(key);
    this.#delete(this.#find(key, hash));
    if (bytes.length > this.#bytes.length) {
      this.evicted++;
      return;
    }
    while (this.#span === this.#max || this.#used + bytes.length > this.#bytes.length) this.#makeRoom(now);
    let place = this.#oldest + this.#span;
    if (place >= this.#max) place -= this.#max;
    this.#span++;
    this.#size++;
    const keyAt = place * KEY_CHARS;
    for (let i = 0; i < key.length; i++) this.#keys[keyAt + i] = key.charCodeAt(i);
    this.#keyLengths[place] = key.length;
    this.#expires[place] = now + this.#ttl;
    this.#starts[place] = flow.start;
    this.#rules[place] = flow.rule;
    this.#reasons[place] = flow.reason;
    this.#fast[place] = flow.fast ? 1 : 0;
    this.#at[place] = this.#end;
    this.#lengths[place] = bytes.length;
    this.#append(bytes);
    this.#hashes[place] = hash;
    let slot = hash >>> this.#shift;
    while (this.#index[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#index[slot] = place + 1;
  }

  /** undefined: not there, or its time is over. */
  get(key: string, now: number): FoundFlow | undefined {
    const slot = this.#find(key, this.#hash.of(key));
    if (slot < 0) return undefined;
    const place = this.#index[slot]! - 1;
    if (this.#expires[place]! <= now) return undefined;
    return {
      start: this.#starts[place]!,
      reason: this.#reasons[place]!,
      rule: this.#rules[place]!,
      fast: this.#fast[place] === 1,
      length: this.#lengths[place]!,
      at: this.#at[place]!,
    };
  }

  /** Are `bytes` [from, to) those of the flow from its `offset` ≥ 0 on, as far as they were judged? */
  same(flow: FoundFlow, offset: number, bytes: Uint8Array, from: number, to: number): boolean {
    const count = Math.min(to - from, flow.length - offset);
    let at = flow.at + offset;
    for (let i = 0; i < count; i++, at++) {
      if (at >= this.#bytes.length) at -= this.#bytes.length;
      if (bytes[from + i] !== this.#bytes[at]) return false;
    }
    return true;
  }

  delete(key: string): void {
    this.#delete(this.#find(key, this.#hash.of(key)));
  }

  /** Forget those whose time is over. */
  expire(now: number): void {
    while (this.#span > 0 && (this.#keyLengths[this.#oldest] === 0 || this.#expires[this.#oldest]! <= now)) {
      this.#dropOldest();
    }
  }

  /** What stands in this slot of the index, if any does. */
  #delete(slot: number): void {
    if (slot < 0) return;
    const place = this.#index[slot]! - 1;
    this.#vacate(slot);
    this.#keyLengths[place] = 0;
    this.#size--;
  }

  #makeRoom(now: number): void {
    if (this.#keyLengths[this.#oldest] !== 0 && this.#expires[this.#oldest]! > now) this.evicted++;
    this.#dropOldest();
  }

  #dropOldest(): void {
    const place = this.#oldest;
    if (this.#keyLengths[place] !== 0) {
      let slot = this.#hashes[place]! >>> this.#shift;
      while (this.#index[slot] !== place + 1) slot = (slot + 1) & this.#mask;
      this.#vacate(slot);
      this.#size--;
    }
    this.#used -= this.#lengths[place]!;
    this.#oldest = place + 1 === this.#max ? 0 : place + 1;
    this.#span--;
  }

  #append(bytes: Uint8Array): void {
    const room = this.#bytes.length - this.#end;
    if (bytes.length < room) {
      this.#bytes.set(bytes, this.#end);
      this.#end += bytes.length;
    } else {
      this.#bytes.set(bytes.subarray(0, room), this.#end);
      this.#bytes.set(bytes.subarray(room));
      this.#end = bytes.length - room;
    }
    this.#used += bytes.length;
  }

  /** The index's slot of this key; -1: none. */
  #find(key: string, hash: number): number {
    for (let slot = hash >>> this.#shift; ; slot = (slot + 1) & this.#mask) {
      const place = this.#index[slot]! - 1;
      if (place < 0) return -1;
      if (this.#hashes[place] === hash && this.#hasKey(place, key)) return slot;
    }
  }

  #hasKey(place: number, key: string): boolean {
    if (this.#keyLengths[place] !== key.length) return false;
    const at = place * KEY_CHARS;
    for (let i = 0; i < key.length; i++) if (this.#keys[at + i] !== key.charCodeAt(i)) return false;
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
