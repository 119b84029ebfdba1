/**
 * TLS records (RFC 8446 5.1): the layer that has to come off before a ClientHello can be read.
 */
import type { Writable } from "../writable.js";
import type { TlsCode } from "./clientHello.js";
import { invalid, type Invalid } from "./result.js";

/** The handshake message, from its header on, is `bytes` [start, end), as far as it has come: no view, since every packet of a beginning needs one. */
export interface Gathered {
  /** The stream with one record, a copy of the pieces with more. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Where it will end in `bytes`; Infinity while its header is incomplete. */
  readonly declaredEnd: number;
  /** Bytes of the stream it took; undefined while it is incomplete. */
  readonly length: number | undefined;
}

export function emptyGathered(): Writable<Gathered> {
  return { bytes: NO_BYTES, start: 0, end: 0, declaredEnd: 0, length: undefined };
}

/** Take the records off `stream` [from, to), into `gathered`. Something: why they will never be a hello; its offset counts from `from`. */
export function gatherHello(
  stream: Uint8Array,
  from: number,
  to: number,
  maxBytes: number,
  gathered: Writable<Gathered>,
): Invalid<TlsCode> | undefined {
  if (to - from >= 3 && stream[from]! >= 0x80 && stream[from + 2] === CLIENT_HELLO) return invalid("sslv2", 0);
  let pieces: Uint8Array[] | undefined;
  let records = 0;
  /** The header's four bytes, of which the first may stand in other records than the last: how many have come, and the last three as a number. */
  let headerBytes = 0;
  let headerLength = 0;
  let have = 0;
  let declared = Infinity;
  let length: number | undefined;
  const last = from + maxBytes;
  let at = from;
  while (at < to) {
    if (stream[at] !== HANDSHAKE) return invalid("record-type", at - from);
    if (at + 1 < to && stream[at + 1] !== 3) return invalid("record-version", at + 1 - from);
    if (at + 2 < to && stream[at + 2]! > 4) return invalid("record-version", at + 2 - from);
    if (at + RECORD_HEADER >= last) return invalid("too-large", at - from);
    if (at + RECORD_HEADER > to) break;
    const size = (stream[at + 3]! << 8) | stream[at + 4]!;
    if (size === 0) return invalid("record-empty", at + 3 - from);
    if (size > MAX_RECORD) return invalid("record-too-large", at + 3 - from);
    at += RECORD_HEADER;
    const come = Math.min(size, to - at);
    for (let i = at; i < at + come && headerBytes < HANDSHAKE_HEADER; i++, headerBytes++) {
      if (headerBytes > 0) headerLength = (headerLength << 8) | stream[i]!;
      else if (stream[i] !== CLIENT_HELLO) return invalid("not-client-hello", at - from);
    }
    if (headerBytes === HANDSHAKE_HEADER) declared = HANDSHAKE_HEADER + headerLength;
    const missing = declared - have;
    // Where the hello would end if this record held all the rest; with an incomplete header, at least one byte further on.
    if ((declared === Infinity ? at + come + 1 : at + missing) > last) return invalid("too-large", at - from);
    if (size > missing) return invalid("trailing-handshake", at - from);
    if (++records > 1) {
      const first = from + RECORD_HEADER;
      (pieces ??= [stream.subarray(first, first + have)]).push(stream.subarray(at, at + come));
    }
    have += come;
    at += size;
    if (have === declared) {
      length = at - from;
      break;
    }
  }
  const start = pieces ? 0 : from + RECORD_HEADER;
  gathered.bytes = pieces ? Buffer.concat(pieces, have) : stream;
  gathered.start = start;
  gathered.end = start + have;
  gathered.declaredEnd = start + declared;
  gathered.length = length;
  return undefined;
}

/**
 * Where byte `offset` of the handshake message stands in `stream` [from, to), counted from there, or its end if it hasn't come. Walks the same records again: only a
 * refusal pays for it.
 */
export function streamOffset(stream: Uint8Array, from: number, to: number, offset: number): number {
  let at = from;
  let left = offset;
  for (;;) {
    const size = (stream[at + 3]! << 8) | stream[at + 4]!;
    if (left < size || at + RECORD_HEADER + size >= to) return Math.min(at + RECORD_HEADER + left, to) - from;
    left -= size;
    at += RECORD_HEADER + size;
  }
}

const NO_BYTES = new Uint8Array(0);
const RECORD_HEADER = 5;
const MAX_RECORD = 1 << 14;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const HANDSHAKE_HEADER = 4;
