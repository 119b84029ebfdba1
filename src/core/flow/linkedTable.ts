/**
 * A table of objects that its user makes and uses again, found by a hash of theirs and kept in the order of age. Unlike a Map it wants no key made for each
 * question, hashes none, and is not built anew again and again as its few entries come and go. How many there may be is its user's business.
 */
export interface Linked<T> {
  /** Of what it is found by: a signed or unsigned number of 32 bits of which the upper ones count. */
  hash: number;
  /** The table's own: the next one in its bucket, and its neighbours in order of age. */
  nextInBucket: T | undefined;
  older: T | undefined;
  newer: T | undefined;
}

export class LinkedTable<T extends Linked<T>> {
  /** Of a power of two, at least as many as there are entries: those with the same upper bits of the hash, linked. */
  #buckets: (T | undefined)[] = [];
  #shift = 32;
  #size = 0;
  #oldest: T | undefined;
  #newest: T | undefined;

  constructor() {
    this.#resize(6);
  }

  get size(): number {
    return this.#size;
  }

  get oldest(): T | undefined {
    return this.#oldest;
  }

  /** Of those that may have this hash; the others follow by `nextInBucket`. */
  first(hash: number): T | undefined {
    return this.#buckets[hash >>> this.#shift];
  }

  /** An entry that isn't there, as the newest. */
  add(entry: T): void {
    if (this.#size === this.#buckets.length) this.#resize(33 - this.#shift);
    this.#size++;
    this.#link(entry);
    entry.older = this.#newest;
    entry.newer = undefined;
    if (this.#newest) this.#newest.newer = entry;
    else this.#oldest = entry;
    this.#newest = entry;
  }

  /** false: it isn't there. */
  remove(entry: T): boolean {
    if (!this.#unlink(entry)) return false;
    this.#size--;
    if (entry.older) entry.older.newer = entry.newer;
    else this.#oldest = entry.newer;
    if (entry.newer) entry.newer.older = entry.older;
    else this.#newest = entry.older;
    entry.older = entry.newer = undefined;
    return true;
  }

  #link(entry: T): void {
    const bucket = entry.hash >>> this.#shift;
    entry.nextInBucket = this.#buckets[bucket];
    this.#buckets[bucket] = entry;
  }

  #unlink(entry: T): boolean {
    const bucket = entry.hash >>> this.#shift;
    let before: T | undefined;
    for (let at = this.#buckets[bucket]; at !== entry; at = at.nextInBucket) {
      if (!at) return false;
      before = at;
    }
    if (before) before.nextInBucket = entry.nextInBucket;
    else this.#buckets[bucket] = entry.nextInBucket;
    entry.nextInBucket = undefined;
    return true;
  }

  /** To 2^bits buckets. */
  #resize(bits: number): void {
    this.#buckets = Array<T | undefined>(2 ** bits).fill(undefined);
    this.#shift = 32 - bits;
    for (let entry = this.#oldest; entry; entry = entry.newer) this.#link(entry);
  }
}
