/**
 * Buffers that are used again. A typed array of more than 64 bytes is a malloc, a free and work for the garbage collector; a gateway that
 * judges ten thousand hellos a second needs the same few buffers ten thousand times.
 */

/** No Buffer: one of Node's own pool would keep 8 KiB alive, and to cut a view out of any costs twice as much. */
export function ownBuffer(size: number): Uint8Array {
  return new Uint8Array(size);
}

export class BufferPool {
  readonly #size: number;
  readonly #max: number;
  readonly #free: Uint8Array[] = [];

  /** Buffers of `size` bytes; at most `max` of them wait here, what comes back beyond that is left to the collector. */
  constructor(size: number, max: number) {
    this.#size = size;
    this.#max = max;
  }

  /** Buffers that wait. */
  get free(): number {
    return this.#free.length;
  }

  /** A buffer with any content; undefined: `need` is more than they hold. */
  get(need: number): Uint8Array | undefined {
    if (need > this.#size) return undefined;
    return this.#free.pop() ?? ownBuffer(this.#size);
  }

  /** Give one back, once; it must not be used afterwards. Those that are not of this pool's size are ignored. */
  put(buffer: Uint8Array): void {
    if (buffer.length === this.#size && this.#free.length < this.#max) this.#free.push(buffer);
  }
}
