/**
 * Names to rules. A name is read once, from its end; the hash of what was read so far is known at each character, so every
 * ending of the name can be looked up in one table without cutting a string: at its dots for `*.x.io` and `.x.io`, anywhere for
 * suffixes, at its beginning for exact names. Two filters keep a lookup short: the lengths that patterns have, and
 * a Bloom filter that fits the processor's cache.
 *
 * All is in typed arrays, some 45 bytes a name, which threads share, and nothing is allocated by a lookup. Tried instead: a Map for each kind (29 bytes a
 * name because it shares the spec's strings, but 2 to 3 times slower for `*.x.io`, as each ending is cut and hashed
 * anew) and reversed suffixes in sorted order (23 bytes, but 20 steps through memory that is not in the cache, and seconds to sort).
 *
 * The hash is not keyed: names on the wire can't change the table, so the longest probe is a property of the policy.
 */
import type { NamePattern } from "./types.js";

export interface IndexedName {
  readonly pattern: NamePattern;
  /** Greater than 0. */
  readonly rule: number;
}

/** What an index is made of. */
export interface NameMemory {
  readonly bytes: SharedArrayBuffer;
  readonly slots: SharedArrayBuffer;
  readonly bloom: SharedArrayBuffer;
  readonly lengths: SharedArrayBuffer;
}

const EXACT = 1;
const BELOW = 2;
const APEX_AND_BELOW = 4;
const SUFFIX = 8;
const KINDS = { exact: EXACT, below: BELOW, apexAndBelow: APEX_AND_BELOW, suffix: SUFFIX } as const;
const kinds = Object.keys(KINDS) as NamePattern["kind"][];
const DOT = 0x2e;
/** Bytes before each pattern's text. */
const HEADER = 2;
const MAX_LENGTH = 255;
/** Bits of the Bloom filter for one name, two of which are set: 1 in 70 lookups of what isn't there goes on to the table. */
const BLOOM_BITS = 16;

export class NameIndex {
  readonly memory: NameMemory;
  /** Each pattern's length, kind and text, one behind the other. */
  readonly #bytes: Uint8Array;
  /** Open addressing, at most half full: hash, offset in #bytes, rule; rule 0 is free. */
  readonly #slots: Uint32Array;
  readonly #mask: number;
  readonly #bloom: Uint32Array;
  /** #lengths[n]: which kinds have a pattern of n characters. */
  readonly #lengths: Uint8Array;
  #longestEnding = 0;
  /** Made when it is first asked for: of each rule, from `first` on, where its pattern is in #bytes, plus 1. */
  #places: { readonly first: number; readonly at: Uint32Array } | undefined;

  /** Of two equal patterns the first one counts. */
  constructor(names: readonly IndexedName[] | NameMemory) {
    this.memory = "bytes" in names ? names : emptyMemory(names);
    this.#bytes = new Uint8Array(this.memory.bytes);
    this.#slots = new Uint32Array(this.memory.slots);
    this.#mask = this.#slots.length / 3 - 1;
    this.#bloom = new Uint32Array(this.memory.bloom);
    this.#lengths = new Uint8Array(this.memory.lengths);
    if (!("bytes" in names)) this.#fill(names);
    this.#lengths.forEach((kinds, length) => {
      if (kinds & ~EXACT) this.#longestEnding = length;
    });
  }

  /** The same index, in another thread. */
  static of(memory: NameMemory): NameIndex {
    return new NameIndex(memory);
  }

  #fill(names: readonly IndexedName[]): void {
    const bytes = Buffer.from(this.memory.bytes);
    let at = 0;
    for (const { pattern, rule } of names) {
      bytes[at] = pattern.name.length;
      bytes[at + 1] = KINDS[pattern.kind];
      bytes.write(pattern.name, at + HEADER, "latin1");
      this.#insert(KINDS[pattern.kind], pattern.name, at, rule);
      at += HEADER + pattern.name.length;
    }
  }

  has({ kind, name }: NamePattern): boolean {
    return this.#find(KINDS[kind], hashOf(name), name, 0) !== 0;
  }

  /** The pattern of a rule; undefined: it has none here. */
  patternOf(rule: number): NamePattern | undefined {
    this.#places ??= this.#findPlaces();
    const at = (this.#places.at[rule - this.#places.first] ?? 0) - 1;
    if (at < 0) return undefined;
    const kind = kinds.find((one) => KINDS[one] === this.#bytes[at + 1]);
    const name = Buffer.from(this.#bytes.subarray(at + HEADER, at + HEADER + (this.#bytes[at] as number)));
    return kind && { kind, name: name.toString("latin1") };
  }

  #findPlaces(): { first: number; at: Uint32Array } {
    const slots = this.#slots;
    let first = 0xffffffff;
    let last = 0;
    for (let slot = 2; slot < slots.length; slot += 3) {
      const rule = slots[slot] as number;
      if (rule === 0) continue;
      first = Math.min(first, rule);
      last = Math.max(last, rule);
    }
    const at = new Uint32Array(Math.max(0, last - first + 1));
    for (let slot = 2; slot < slots.length; slot += 3) {
      const rule = slots[slot] as number;
      if (rule !== 0) at[rule - first] = (slots[slot - 1] as number) + 1;
    }
    return { first, at };
  }

  /** Rule of the most specific pattern: exact, then the longest of `*.x` and `.x`, then the longest suffix. 0: none. */
  match(name: string): number {
    let dots = 0;
    let suffix = 0;
    let hash = SEED;
    const length = name.length;
    // Beyond the longest ending only the whole name matters, if there is an exact one of its length.
    const whole = length <= MAX_LENGTH && (this.#lengths[length] as number) & EXACT;
    const stop = whole ? 0 : Math.max(0, length - this.#longestEnding);
    for (let at = length - 1; at >= stop; at--) {
      hash = step(hash, name.charCodeAt(at));
      const kinds = this.#lengths[length - at] as number;
      if (kinds === 0) continue;
      if (kinds & SUFFIX) suffix = this.#find(SUFFIX, hash, name, at) || suffix;
      if (at > 0 && name.charCodeAt(at - 1) !== DOT) continue;
      if (kinds & APEX_AND_BELOW) dots = this.#find(APEX_AND_BELOW, hash, name, at) || dots;
      // `*.x` matches what `.x` does but for the apex, so it is the more specific of the two.
      if (kinds & BELOW && at > 0) dots = this.#find(BELOW, hash, name, at) || dots;
      if (kinds & EXACT && at === 0) {
        const exact = this.#find(EXACT, hash, name, 0);
        if (exact !== 0) return exact;
      }
    }
    return dots || suffix;
  }

  /** Every rule whose pattern matches, most specific first. */
  matchAll(name: string): number[] {
    const found: { readonly kind: number; readonly rule: number }[] = [];
    let hash = SEED;
    for (let at = name.length - 1; at >= Math.max(0, name.length - MAX_LENGTH); at--) {
      hash = step(hash, name.charCodeAt(at));
      const atDot = at > 0 && name.charCodeAt(at - 1) === DOT;
      for (const kind of [SUFFIX, APEX_AND_BELOW, BELOW, EXACT]) {
        const fits =
          kind === SUFFIX ||
          (kind === APEX_AND_BELOW && (atDot || at === 0)) ||
          (kind === BELOW && atDot) ||
          (kind === EXACT && at === 0);
        const rule = fits ? this.#find(kind, hash, name, at) : 0;
        if (rule !== 0) found.push({ kind, rule });
      }
    }
    found.reverse();
    const ofKinds = (kinds: number) => found.filter(({ kind }) => kind & kinds).map(({ rule }) => rule);
    return [...ofKinds(EXACT), ...ofKinds(BELOW | APEX_AND_BELOW), ...ofKinds(SUFFIX)];
  }

  /** Rule of the pattern of this kind that is name[at..]. `ending` is the running hash there. */
  #find(kind: number, ending: number, name: string, at: number): number {
    const hash = finish(ending, kind);
    const bits = bloomBits(hash);
    if (((this.#bloom[bloomWord(hash) & (this.#bloom.length - 1)] as number) & bits) !== bits) return 0;
    for (let slot = (hash & this.#mask) * 3; ; slot = this.#next(slot)) {
      const rule = this.#slots[slot + 2] as number;
      if (rule === 0) return 0;
      if (this.#slots[slot] === hash && this.#equals(this.#slots[slot + 1] as number, name, at)) return rule;
    }
  }

  #next(slot: number): number {
    return slot === this.#mask * 3 ? 0 : slot + 3;
  }

  /** With an equal hash, equal text means equal kind: `finish` gives one text a different hash for each kind. */
  #equals(offset: number, name: string, at: number): boolean {
    const length = name.length - at;
    if (this.#bytes[offset] !== length) return false;
    for (let i = 0; i < length; i++) if (this.#bytes[offset + HEADER + i] !== name.charCodeAt(at + i)) return false;
    return true;
  }

  #insert(kind: number, text: string, offset: number, rule: number): void {
    const ending = hashOf(text);
    if (this.#find(kind, ending, text, 0) !== 0) return;
    const hash = finish(ending, kind);
    let slot = (hash & this.#mask) * 3;
    while (this.#slots[slot + 2] !== 0) slot = this.#next(slot);
    this.#slots[slot] = hash;
    this.#slots[slot + 1] = offset;
    this.#slots[slot + 2] = rule;
    const word = bloomWord(hash) & (this.#bloom.length - 1);
    this.#bloom[word] = (this.#bloom[word] as number) | bloomBits(hash);
    this.#lengths[text.length] = (this.#lengths[text.length] as number) | kind;
  }
}

/** Room for these names. */
function emptyMemory(names: readonly IndexedName[]): NameMemory {
  let total = 0;
  for (const { pattern } of names) total += HEADER + pattern.name.length;
  return {
    bytes: new SharedArrayBuffer(total),
    slots: new SharedArrayBuffer(powerOfTwo(names.length * 2) * 3 * 4),
    bloom: new SharedArrayBuffer(powerOfTwo((names.length * BLOOM_BITS) / 32) * 4),
    lengths: new SharedArrayBuffer(MAX_LENGTH + 1),
  };
}

// FNV-1a, 32 bits, with the finalizer of MurmurHash3: every bit of the running hash reaches every bit of the slot.
const SEED = 0x811c9dc5 | 0;

function hashOf(text: string): number {
  let ending = SEED;
  for (let at = text.length - 1; at >= 0; at--) ending = step(ending, text.charCodeAt(at));
  return ending;
}

function step(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, 0x01000193);
}

function finish(ending: number, kind: number): number {
  let hash = ending ^ Math.imul(kind, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Word and bits of the filter come from other bits of the hash than the slot does. */
function bloomWord(hash: number): number {
  return Math.imul(hash, 0x9e3779b1) >>> 7;
}

function bloomBits(hash: number): number {
  return (1 << (hash & 31)) | (1 << ((hash >>> 27) & 31));
}

function powerOfTwo(atLeast: number): number {
  let size = 1;
  while (size < atLeast) size *= 2;
  return size;
}
