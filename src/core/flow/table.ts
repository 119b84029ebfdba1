/**
 * A table that can't grow without bound: at most `max` entries, each for at most `ttl` since it was set or touched.
 * Every operation is O(1). Entries are kept in the order of their last set or touch, in a list of our own: a Map alone can't give
 * its oldest key in O(1), since its iterator walks over the holes that deletions leave.
 */
export interface BoundedTableOptions<K, V> {
  /** Most entries, ≥ 1. */
  readonly max: number;
  /** Milliseconds an entry lives; undefined: until it is deleted or evicted. */
  readonly ttl?: number | undefined;
  /** What happens when `max` is reached and nothing has expired. */
  readonly full: "evict-oldest" | "refuse";
  /**
   * Told of every entry that goes without `delete` or an overwriting `set`, after it is gone. May use the table.
   */
  readonly onEvict?: ((key: K, value: V, why: "expired" | "full") => void) | undefined;
}

interface Entry<K, V> {
  readonly key: K;
  value: V;
  expires: number;
  older: Entry<K, V> | undefined;
  newer: Entry<K, V> | undefined;
}

export class BoundedTable<K, V> {
  /** Entries evicted because the table was full, and entries refused: a counter each. */
  evicted = 0;
  refused = 0;

  readonly #map = new Map<K, Entry<K, V>>();
  readonly #options: BoundedTableOptions<K, V>;
  readonly #ttl: number;
  #oldest: Entry<K, V> | undefined;
  #newest: Entry<K, V> | undefined;

  constructor(options: BoundedTableOptions<K, V>) {
    if (!(options.max >= 1)) throw new RangeError(`max must be at least 1, not ${options.max}`);
    this.#options = options;
    this.#ttl = options.ttl ?? Infinity;
  }

  /** Entries in the table, the expired ones that `expire` hasn't seen yet included. */
  get size(): number {
    return this.#map.size;
  }

  /** Put or overwrite, with a fresh time to live. false: full and refused, nothing changed. */
  set(key: K, value: V, now: number): boolean {
    const old = this.#map.get(key);
    if (old) {
      if (old.expires > now) {
        old.value = value;
        old.expires = now + this.#ttl;
        this.#moveToNewest(old);
        return true;
      }
      this.#evict(old, "expired");
    }
    if (this.#map.size >= this.#options.max && !this.#makeRoom(now)) {
      this.refused++;
      return false;
    }
    const entry: Entry<K, V> = { key, value, expires: now + this.#ttl, older: undefined, newer: undefined };
    this.#map.set(key, entry);
    this.#append(entry);
    return true;
  }

  /** undefined: not there, or expired (`expires <= now`). Doesn't refresh and doesn't remove. */
  get(key: K, now: number): V | undefined {
    const entry = this.#map.get(key);
    return entry && entry.expires > now ? entry.value : undefined;
  }

  /** Is it there, expired or not? */
  has(key: K): boolean {
    return this.#map.has(key);
  }

  /** A fresh time to live. false: not there, or expired. */
  touch(key: K, now: number): boolean {
    const entry = this.#map.get(key);
    if (!entry || entry.expires <= now) return false;
    entry.expires = now + this.#ttl;
    this.#moveToNewest(entry);
    return true;
  }

  /** `onEvict` isn't told. false: was not there. */
  delete(key: K): boolean {
    const entry = this.#map.get(key);
    if (!entry) return false;
    this.#remove(entry);
    return true;
  }

  /** Evict what has expired, the oldest first, at most `budget` (default: all). Returns how many went. */
  expire(now: number, budget = Infinity): number {
    let count = 0;
    for (let entry = this.#oldest; entry && entry.expires <= now && count < budget; entry = this.#oldest) {
      this.#evict(entry, "expired");
      count++;
    }
    return count;
  }

  /** When the oldest entry expires; undefined: nothing will. */
  nextExpiry(): number | undefined {
    return this.#oldest && this.#oldest.expires !== Infinity ? this.#oldest.expires : undefined;
  }

  /** Oldest first, expired ones included. The entry at hand may be deleted meanwhile. */
  *entries(): IterableIterator<[K, V]> {
    for (let entry = this.#oldest; entry;) {
      const { newer } = entry;
      yield [entry.key, entry.value];
      entry = newer;
    }
  }

  /** Drop everything. `onEvict` isn't told. */
  clear(): void {
    this.#map.clear();
    this.#oldest = this.#newest = undefined;
  }

  #makeRoom(now: number): boolean {
    const oldest = this.#oldest as Entry<K, V>;
    if (oldest.expires <= now) {
      this.#evict(oldest, "expired");
    } else if (this.#options.full === "evict-oldest") {
      this.evicted++;
      this.#evict(oldest, "full");
    }
    // onEvict may have put something in again.
    return this.#map.size < this.#options.max;
  }

  #evict(entry: Entry<K, V>, why: "expired" | "full"): void {
    this.#remove(entry);
    this.#options.onEvict?.(entry.key, entry.value, why);
  }

  #remove(entry: Entry<K, V>): void {
    this.#map.delete(entry.key);
    this.#unlink(entry);
  }

  #moveToNewest(entry: Entry<K, V>): void {
    if (entry === this.#newest) return;
    this.#unlink(entry);
    this.#append(entry);
  }

  #append(entry: Entry<K, V>): void {
    entry.older = this.#newest;
    entry.newer = undefined;
    if (this.#newest) this.#newest.newer = entry;
    else this.#oldest = entry;
    this.#newest = entry;
  }

  #unlink(entry: Entry<K, V>): void {
    if (entry.older) entry.older.newer = entry.newer;
    else this.#oldest = entry.newer;
    if (entry.newer) entry.newer.older = entry.older;
    else this.#newest = entry.older;
  }
}
