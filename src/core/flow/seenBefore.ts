/**
 * Whether something came before: fingerprints in arrays that are made once. Things that come once are what it is asked about most, and an entry of a
 * Map for each of them, alive for minutes, was a quarter of what a hello with a new name cost in JavaScript.
 *
 * It may be wrong both ways, so only ask what may be: one new thing in 2^18 counts as known (fingerprints of 32 bits, by default 13 of them say its
 * place, and there are two), and what came long ago, or had to make room for two newer ones of the same place, counts as new.
 */
export interface SeenBeforeOptions {
  /** Most that are remembered, rounded up to a power of two, 2 to 2^24. Full: of two in a place the older one goes. */
  readonly max: number;
  /** Milliseconds for which one is remembered. */
  readonly ttl: number;
}

export class SeenBefore {
  readonly #ttl: number;
  /** Two places side by side for each hash. */
  readonly #prints: Int32Array;
  readonly #expires: Float64Array;
  readonly #shift: number;

  constructor({ max, ttl }: SeenBeforeOptions) {
    if (!(max >= 2 && max <= 2 ** 24)) throw new RangeError(`max must be 2 to 2^24, not ${max}`);
    const bits = Math.ceil(Math.log2(max));
    this.#ttl = ttl;
    this.#prints = new Int32Array(2 ** bits);
    this.#expires = new Float64Array(2 ** bits);
    this.#shift = 32 - (bits - 1);
  }

  /** Did these strings come, in this order, within the last `ttl`? If not, they have now. `now`: milliseconds, never going back. */
  test(parts: readonly string[], now: number): boolean {
    const print = fingerprint(parts);
    const first = this.#shift === 32 ? 0 : (print >>> this.#shift) * 2;
    const expires = this.#expires;
    for (let place = first; place < first + 2; place++) {
      if (this.#prints[place] === print && expires[place]! > now) return true;
    }
    const older = expires[first]! <= expires[first + 1]! ? first : first + 1;
    this.#prints[older] = print;
    expires[older] = now + this.#ttl;
    return false;
  }
}

/** FNV-1a of 16-bit characters, with a length before each part, and stirred at the end: FNV's upper bits depend on few of the last characters. */
function fingerprint(parts: readonly string[]): number {
  let hash = 0x811c9dc5;
  for (const part of parts) {
    hash = Math.imul(hash ^ part.length, 0x01000193);
    for (let i = 0; i < part.length; i++) hash = Math.imul(hash ^ part.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}
