/**
 * Strings made of bytes that come again and again: the names of a network are few, and each comes thousands of times. A string that is there already
 * costs no call out of JavaScript and no memory, and its hash is known to every Map that it is a key of.
 *
 * One place for each hash, so the newest of two that collide is kept: who makes names collide makes them as slow as they are without this.
 */
export class RecentStrings {
  readonly #strings: string[];

  /** `size`: most strings that are kept; a power of two. */
  constructor(size: number) {
    this.#strings = Array<string>(size).fill("");
  }

  /** The first `length` bytes as latin1 characters. */
  get(bytes: Buffer, length: number): string {
    let hash = 0;
    for (let i = 0; i < length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
    const place = (hash ^ (hash >>> 15)) & (this.#strings.length - 1);
    const known = this.#strings[place]!;
    if (known.length === length && equals(known, bytes)) return known;
    const text = bytes.toString("latin1", 0, length);
    this.#strings[place] = text;
    return text;
  }
}

function equals(text: string, bytes: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== bytes[i]) return false;
  return true;
}
