/** The frames of a client's Initial packet: PADDING, PING, ACK, CRYPTO and CONNECTION_CLOSE (RFC 9000 12.4 and 19). */
import type { QuicCode } from "./quicCodes.js";
import { done, invalid, type Done, type Invalid } from "./result.js";
import { varintAt, varintSize } from "./varint.js";

/** Part of the stream that carries the hello. */
export interface CryptoFrame {
  /** In the stream; up to 2^62, and only exact below 2^53. */
  offset: number;
  /** Where its bytes stand: [start, end) of the packet's content. */
  start: number;
  end: number;
}

/** Most CRYPTO frames in a packet. */
export const MAX_CRYPTO_FRAMES = 512;

/** What is in one packet. Made once and used for many. */
export class InitialFrames {
  /** The first `count` are those of the packet that was read last, in its order. Some may be empty. */
  readonly crypto: CryptoFrame[] = [];
  count = 0;
  /** CONNECTION_CLOSE: the client gives up. */
  close = false;
  /** ACK: the client has an Initial packet of the server's. */
  ack = false;

  next(): CryptoFrame {
    return (this.crypto[this.count++] ??= { offset: 0, start: 0, end: 0 });
  }
}

/** Read all of `bytes`, an Initial packet's content, into `into`; of an invalid one nothing in it is to be used. */
export function readInitialFrames(bytes: Uint8Array, into: InitialFrames): Done<InitialFrames> | Invalid<QuicCode> {
  into.count = 0;
  into.close = into.ack = false;
  if (bytes.length === 0) return invalid("no-frames", 0);
  for (let at = 0; at < bytes.length;) {
    const type = bytes[at]!;
    if (type === Frame.PADDING || type === Frame.PING) {
      at++;
      continue;
    }
    const end = readFrame(type, bytes, at, into);
    if (typeof end !== "number") return end;
    if (end === CUT) return invalid("frame-length", at);
    at = end;
  }
  return done(into);
}

const Frame = { PADDING: 0, PING: 1, ACK: 2, ACK_ECN: 3, CRYPTO: 6, CONNECTION_CLOSE: 0x1c } as const;

const LIMIT = 2 ** 62;
/** Instead of an end: it lies beyond the packet's. */
const CUT = -1;

/** Where the frame at `at` ends. */
function readFrame(type: number, bytes: Uint8Array, at: number, into: InitialFrames): number | Invalid<QuicCode> {
  switch (type) {
    case Frame.CRYPTO:
      return readCrypto(bytes, at, into);
    case Frame.ACK:
    case Frame.ACK_ECN:
      return readAck(bytes, at, into);
    case Frame.CONNECTION_CLOSE:
      return readClose(bytes, at, into);
    default:
      // All allowed types take one byte, and RFC 9000 12.4 wants the shortest encoding: a type of two bytes or more is none of them.
      return invalid("frame-type", at);
  }
}

/** Where the number at `at` ends. What stands behind a cut is cut. */
function numberEnd(bytes: Uint8Array, at: number): number {
  if (at === CUT || at >= bytes.length) return CUT;
  const end = at + varintSize(bytes[at]!);
  return end > bytes.length ? CUT : end;
}

/** RFC 9000 19.6: offset, length, data. */
function readCrypto(bytes: Uint8Array, frame: number, into: InitialFrames): number | Invalid<QuicCode> {
  const length = numberEnd(bytes, frame + 1);
  const start = numberEnd(bytes, length);
  if (start === CUT) return CUT;
  const offset = varintAt(bytes, frame + 1);
  const end = start + varintAt(bytes, length);
  if (end > bytes.length) return CUT;
  // Rounding makes some offsets below the limit the limit itself; no server takes a hello from there.
  if (offset + (end - start) >= LIMIT) return invalid("crypto-offset", frame);
  if (into.count === MAX_CRYPTO_FRAMES) return invalid("too-many-crypto-frames", frame);
  const crypto = into.next();
  crypto.offset = offset;
  crypto.start = start;
  crypto.end = end;
  return end;
}

/** RFC 9000 19.3: largest, delay, count of further ranges, first range; a gap and a length for each further one; three counts with ECN. */
function readAck(bytes: Uint8Array, frame: number, into: InitialFrames): number | Invalid<QuicCode> {
  const delay = numberEnd(bytes, frame + 1);
  const count = numberEnd(bytes, delay);
  const first = numberEnd(bytes, count);
  let at = numberEnd(bytes, first);
  if (at === CUT) return CUT;
  let smallest = varintAt(bytes, frame + 1) - varintAt(bytes, first);
  if (smallest < 0) return invalid("ack-range", frame);
  // Each takes two bytes at least, so the packet's end bounds the loop, whatever the count says.
  for (let left = varintAt(bytes, count); left > 0; left--) {
    const length = numberEnd(bytes, at);
    const end = numberEnd(bytes, length);
    if (end === CUT) return CUT;
    smallest -= varintAt(bytes, at) + 2 + varintAt(bytes, length);
    if (smallest < 0) return invalid("ack-range", frame);
    at = end;
  }
  if (bytes[frame] === Frame.ACK_ECN) at = numberEnd(bytes, numberEnd(bytes, numberEnd(bytes, at)));
  into.ack = true;
  return at;
}

/** RFC 9000 19.19: error code, frame type, length and text of the reason. */
function readClose(bytes: Uint8Array, frame: number, into: InitialFrames): number {
  const length = numberEnd(bytes, numberEnd(bytes, frame + 1));
  const reason = numberEnd(bytes, length);
  if (reason === CUT) return CUT;
  const end = reason + varintAt(bytes, length);
  if (end > bytes.length) return CUT;
  into.close = true;
  return end;
}
