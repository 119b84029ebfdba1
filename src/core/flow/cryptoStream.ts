/**
 * The CRYPTO stream of one client's Initial packets, put in order, and the hello in it.
 *
 * It is the assembler of TCP: two copies of a byte that disagree are refused. Nothing is consumed, so that all that comes later is compared with what was
 * judged.
 */
import type { ClientHello } from "../wire/clientHello.js";
import type { QuicHelloCode } from "../wire/quicCodes.js";
import type { InitialFrames } from "../wire/quicFrames.js";
import { parseQuicHello } from "../wire/quicHello.js";
import { needMore, type Parsed } from "../wire/result.js";
import type { BufferPool } from "./bufferPool.js";
import { StreamAssembler, type AddResult } from "./reassembly.js";

export interface CryptoStreamOptions {
  /** Most bytes of the stream. */
  readonly maxBytes: number;
  /** Most pieces that wait behind a gap. Chromium cuts a hello into some ten, in any order. */
  readonly maxSegments: number;
  /** Where the buffer comes from, and goes back to with `release`. */
  readonly pool?: BufferPool;
}

/** As of the assembler; what begins beyond `maxBytes` is "too-large". */
export type CryptoAdd = Exclude<AddResult, "outside">;

export class CryptoStream {
  readonly #assembler: StreamAssembler;
  readonly #maxBytes: number;

  constructor({ maxBytes, maxSegments, pool }: CryptoStreamOptions) {
    this.#maxBytes = maxBytes;
    this.#assembler = new StreamAssembler({ firstSeq: 0, maxBytes, maxSegments, ...(pool && { pool }) });
  }

  /** Bytes held, those behind gaps included. */
  get bufferedBytes(): number {
    return this.#assembler.bufferedBytes;
  }

  /**
   * Take the CRYPTO frames of one packet's content. "ok": something new was taken. "duplicate": nothing was, and all agrees with what is held; so it is with a
   * packet without such frames. Anything else: a frame was refused, those before it were taken, and the stream is not to be used any more.
   */
  add(content: Uint8Array, frames: InitialFrames): CryptoAdd {
    let result: CryptoAdd = "duplicate";
    for (let i = 0; i < frames.count; i++) {
      const { offset, start, end } = frames.crypto[i]!;
      if (start === end) continue;
      // Before the assembler, which counts modulo 2^32.
      if (offset + (end - start) > this.#maxBytes) return "too-large";
      const added = this.#assembler.add(offset, content.subarray(start, end));
      if (added === "ok") result = "ok";
      else if (added !== "duplicate") return added === "outside" ? "too-large" : added;
    }
    return result;
  }

  /** The hello; needMore: while a byte is missing, or one behind it has come without all that it belongs to. */
  read(): Parsed<ClientHello, QuicHelloCode> {
    const result = parseQuicHello(this.#assembler.contiguous(), this.#maxBytes);
    return result.kind === "done" && this.#assembler.pendingSegments > 0 ? needMore : result;
  }

  /** The bytes from the first one on up to the first gap: a view, valid until the next `add`. */
  contiguous(): Uint8Array {
    return this.#assembler.contiguous();
  }

  /** Forget everything; it can be used for another stream. */
  release(): void {
    this.#assembler.restart(0);
  }
}
