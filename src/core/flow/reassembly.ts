/**
 * The first bytes of one direction of a TCP flow, put in order.
 *
 * Nothing is chosen between two copies that disagree: the second one is refused, the caller drops the flow (the receiving stack may prefer
 * either). What was consumed is forgotten, so a later copy of it can't be compared.
 */
import { ownBuffer, type BufferPool } from "./bufferPool.js";
import { seqAdd, seqDiff } from "./seq.js";

export interface StreamAssemblerOptions {
  /** Sequence number of the first byte: ISN + 1. */
  readonly firstSeq: number;
  /** Most bytes from `firstSeq` on, consumed ones not counted. */
  readonly maxBytes: number;
  /** Most pieces that wait behind a gap. Segments in order are never counted. */
  readonly maxSegments: number;
  /** Where the first buffer comes from, and goes back to with `release`. Without one, every assembler makes its own. */
  readonly pool?: BufferPool;
}

export type AddResult =
  /** something new was taken (or the segment was empty) */
  | "ok"
  /** nothing new, and what could be compared agrees */
  | "duplicate"
  /** disagrees with bytes that are held; nothing was taken */
  | "overlap-conflict"
  /** begins within `maxBytes` and ends beyond; nothing was taken */
  | "too-large"
  /** would be one piece behind a gap too many; nothing was taken */
  | "too-many"
  /** begins at or beyond `maxBytes`, or ends more than `maxBytes` before `firstSeq`; nothing was taken */
  | "outside";

interface Piece {
  /** Offset from firstSeq. */
  start: number;
  readonly bytes: Uint8Array;
}

const EMPTY = ownBuffer(0);

export class StreamAssembler {
  #firstSeq: number;
  readonly #maxBytes: number;
  readonly #maxSegments: number;
  readonly #pool: BufferPool | undefined;
  /** Contiguous bytes are #buffer[#head, #tail). */
  #buffer = EMPTY;
  #head = 0;
  #tail = 0;
  /** Behind a gap: in order, neither overlapping nor touching the contiguous bytes. */
  #pieces: Piece[] = [];
  #pieceBytes = 0;

  constructor(options: StreamAssemblerOptions) {
    this.#firstSeq = options.firstSeq >>> 0;
    this.#maxBytes = options.maxBytes;
    this.#maxSegments = options.maxSegments;
    this.#pool = options.pool;
  }

  /** Sequence number of the first byte of `contiguous()`; moved by `consume`. */
  get firstSeq(): number {
    return this.#firstSeq;
  }

  /** Sequence number of the first byte that is missing. */
  get nextSeq(): number {
    return seqAdd(this.#firstSeq, this.#tail - this.#head);
  }

  /** Bytes held, those behind gaps included. */
  get bufferedBytes(): number {
    return this.#tail - this.#head + this.#pieceBytes;
  }

  /** Pieces that wait behind a gap. */
  get pendingSegments(): number {
    return this.#pieces.length;
  }

  /** What has come from `firstSeq` to the first gap stands in `bytes` [start, end), until the next `add` or `consume`. */
  get bytes(): Uint8Array {
    return this.#buffer;
  }

  get start(): number {
    return this.#head;
  }

  get end(): number {
    return this.#tail;
  }

  /** The same as a view. */
  contiguous(): Uint8Array {
    return this.#buffer.subarray(this.#head, this.#tail);
  }

  /** Forget everything. The assembler is not used afterwards, but for `restart`. */
  release(): void {
    this.#pool?.put(this.#buffer);
    this.#buffer = EMPTY;
    this.#head = this.#tail = 0;
    if (this.#pieces.length > 0) this.#pieces = [];
    this.#pieceBytes = 0;
  }

  /** Forget everything, and begin another stream. */
  restart(firstSeq: number): void {
    this.release();
    this.#firstSeq = firstSeq >>> 0;
  }

  /** Take one segment's payload, `bytes` [from, to); copies what it keeps. A part before `firstSeq` is cut off. */
  add(seq: number, bytes: Uint8Array, from = 0, to = bytes.length): AddResult {
    const offset = seqDiff(seq, this.#firstSeq);
    const end = offset + (to - from);
    if (offset >= this.#maxBytes && !(from === to && offset === this.#maxBytes)) return "outside";
    if (end < -this.#maxBytes) return "outside";
    if (end > this.#maxBytes) return "too-large";
    if (from === to) return "ok";
    if (end <= 0) return "duplicate";
    const start = Math.max(offset, 0);
    const first = from + (start - offset);
    const have = this.#tail - this.#head;
    if (start === have && this.#pieces.length === 0) {
      this.#append(bytes, first, to);
      return "ok";
    }
    return this.#merge(start, bytes.subarray(first, to), have);
  }

  /** Drop `n` bytes from the front (at most those that are contiguous). */
  consume(n: number): void {
    const have = this.#tail - this.#head;
    if (!(n >= 0 && n <= have)) throw new RangeError(`can't consume ${n} of ${have} bytes`);
    this.#head += n;
    this.#firstSeq = seqAdd(this.#firstSeq, n);
    for (const piece of this.#pieces) piece.start -= n;
    if (this.#head === this.#tail) this.#head = this.#tail = 0;
  }

  #merge(start: number, payload: Uint8Array, have: number): AddResult {
    const end = start + payload.length;
    const overlap = Math.min(end, have) - start;
    if (overlap > 0 && !equal(payload, 0, this.#buffer, this.#head + start, overlap)) return "overlap-conflict";

    // Cut what is new out of the payload: what neither the contiguous bytes nor the pieces cover.
    const fresh: Piece[] = [];
    let at = Math.max(start, have);
    for (const piece of this.#pieces) {
      const pieceEnd = piece.start + piece.bytes.length;
      if (pieceEnd <= at) continue;
      if (piece.start >= end) break;
      if (piece.start > at) fresh.push({ start: at, bytes: payload.subarray(at - start, piece.start - start) });
      const from = Math.max(at, piece.start);
      const to = Math.min(end, pieceEnd);
      if (!equal(payload, from - start, piece.bytes, from - piece.start, to - from)) return "overlap-conflict";
      at = to;
    }
    if (at < end) fresh.push({ start: at, bytes: payload.subarray(at - start) });
    if (fresh.length === 0) return "duplicate";

    // A segment that closes the first gap is always welcome: it becomes contiguous as a whole, so no more pieces wait than before.
    const closesGap = (fresh[0] as Piece).start === have;
    if (!closesGap && this.#pieces.length + fresh.length > this.#maxSegments) return "too-many";
    for (const piece of fresh) {
      if (piece.start === this.#tail - this.#head) {
        this.#append(piece.bytes, 0, piece.bytes.length);
        this.#absorb();
      } else {
        this.#insert({ start: piece.start, bytes: Uint8Array.prototype.slice.call(piece.bytes) });
      }
    }
    return "ok";
  }

  #insert(piece: Piece): void {
    let index = this.#pieces.length;
    while (index > 0 && (this.#pieces[index - 1] as Piece).start > piece.start) index--;
    this.#pieces.splice(index, 0, piece);
    this.#pieceBytes += piece.bytes.length;
  }

  /** Move the pieces that have become contiguous into the buffer. */
  #absorb(): void {
    let count = 0;
    for (const piece of this.#pieces) {
      if (piece.start !== this.#tail - this.#head) break;
      this.#append(piece.bytes, 0, piece.bytes.length);
      this.#pieceBytes -= piece.bytes.length;
      count++;
    }
    if (count > 0) this.#pieces.splice(0, count);
  }

  /** Amortised O(1) a byte: the buffer at least doubles, and is moved to its front only when that frees half of it. */
  #append(bytes: Uint8Array, from: number, to: number): void {
    const have = this.#tail - this.#head;
    const length = to - from;
    if (this.#tail + length > this.#buffer.length) {
      const need = have + length;
      if (need <= this.#buffer.length / 2) {
        this.#buffer.copyWithin(0, this.#head, this.#tail);
      } else {
        const larger = this.#larger(need);
        if (have > 0) larger.set(this.contiguous());
        this.#pool?.put(this.#buffer);
        this.#buffer = larger;
      }
      this.#head = 0;
      this.#tail = have;
    }
    if (this.#tail + bytes.length <= this.#buffer.length) {
      // All of it, then what is wanted of it to the front: a view of that part costs more, and is garbage.
      this.#buffer.set(bytes, this.#tail);
      if (from > 0) this.#buffer.copyWithin(this.#tail, this.#tail + from, this.#tail + to);
    } else {
      this.#buffer.set(bytes.subarray(from, to), this.#tail);
    }
    this.#tail += length;
  }

  #larger(need: number): Uint8Array {
    const pooled = this.#buffer.length === 0 ? this.#pool?.get(need) : undefined;
    // The first segment is often the only one: exactly its size.
    return pooled ?? ownBuffer(this.#buffer.length === 0 ? need : Math.max(need, Math.min(need * 2, this.#maxBytes)));
  }
}

function equal(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[bStart + i]) return false;
  return true;
}
