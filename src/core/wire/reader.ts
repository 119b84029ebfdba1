/**
 * The one cursor for nested lengths. It never throws and never reads outside its bounds; failure is sticky, so a parser may
 * read several fields and ask once:
 *
 * - `failed`: something was read beyond the declared end. The message contradicts itself, whatever follows.
 * - `short`: something was read inside the declared end but beyond the bytes that have come so far. More bytes may cure it.
 *
 * After either, every read gives 0 (or an empty view) and the cursor stays where it was. A child made by `sub` is confined to
 * its declared length; its failures are its own, so ask the child.
 */
export class Reader {
  /** Position of the next byte, counted from the start of `bytes`, also in a child. */
  offset: number;
  /** First position that doesn't belong to this reader any more. */
  readonly end: number;
  /** Read beyond `end`. */
  failed = false;
  /** Read beyond what has come, but not beyond `end`. */
  short = false;

  readonly #bytes: Uint8Array;

  /**
   * `end` is the declared end and may lie beyond `bytes.length`, if not all has come yet. Defaults: all of `bytes`.
   */
  constructor(bytes: Uint8Array, offset = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.offset = offset;
    this.end = end;
  }

  /** Declared bytes left, come or not. */
  get remaining(): number {
    return this.end - this.offset;
  }

  /** Neither failed nor short. */
  get ok(): boolean {
    return !this.failed && !this.short;
  }

  u8(): number {
    return this.#take(1) ? (this.#bytes[this.offset - 1] as number) : 0;
  }

  u16(): number {
    if (!this.#take(2)) return 0;
    const at = this.offset - 2;
    return ((this.#bytes[at] as number) << 8) | (this.#bytes[at + 1] as number);
  }

  u24(): number {
    if (!this.#take(3)) return 0;
    const at = this.offset - 3;
    const bytes = this.#bytes;
    return ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
  }

  /** Unsigned. */
  u32(): number {
    if (!this.#take(4)) return 0;
    const at = this.offset - 4;
    const bytes = this.#bytes;
    return (
      (((bytes[at] as number) << 24) |
        ((bytes[at + 1] as number) << 16) |
        ((bytes[at + 2] as number) << 8) |
        (bytes[at + 3] as number)) >>>
      0
    );
  }

  /** A view, not a copy. Empty when it fails. */
  bytes(length: number): Uint8Array {
    return this.#take(length) ? this.#bytes.subarray(this.offset - length, this.offset) : EMPTY;
  }

  /** The next `length` bytes as characters, without a view of them. "" when it fails. */
  latin1(length: number): string {
    if (!this.#take(length)) return "";
    let text = "";
    for (let i = this.offset - length; i < this.offset; i++) text += String.fromCharCode(this.#bytes[i] as number);
    return text;
  }

  /** Move over `length` bytes. false: failed or short. */
  skip(length: number): boolean {
    return this.#take(length);
  }

  /**
   * A child over the next `length` bytes; this reader moves behind them. `length` beyond the end fails this reader. Bytes that
   * haven't come yet are no failure here: the child becomes `short` when it reaches them, and so does this reader.
   */
  sub(length: number): Reader {
    if (this.failed || length < 0 || length > this.end - this.offset) {
      this.failed = true;
      const dead = new Reader(this.#bytes, this.offset, this.offset);
      dead.failed = true;
      return dead;
    }
    const child = new Reader(this.#bytes, this.offset, this.offset + length);
    child.short = this.short;
    this.offset += length;
    return child;
  }

  /** true if all declared bytes were read and nothing failed; else the reader fails (trailing bytes). */
  expectEmpty(): boolean {
    if (!this.short && this.offset !== this.end) this.failed = true;
    return this.ok;
  }

  #take(length: number): boolean {
    if (this.failed || this.short) return false;
    const next = this.offset + length;
    if (next > this.end || length < 0) {
      this.failed = true;
      return false;
    }
    if (next > this.#bytes.length) {
      this.short = true;
      return false;
    }
    this.offset = next;
    return true;
  }
}

const EMPTY = new Uint8Array(0);
