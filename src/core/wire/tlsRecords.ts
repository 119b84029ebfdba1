/**
 * TLS records (RFC 8446 5.1): the layer that has to come off before a ClientHello can be read.
 */
import { invalid, type Parsed } from "./result.js";
import type { TlsCode } from "./clientHello.js";

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

/** Take the records off. */
export function gatherHello(stream: Uint8Array, maxBytes: number): Gathered | Parsed<never, TlsCode> {
  if (stream.length >= 3 && stream[0]! >= 0x80 && stream[2] === CLIENT_HELLO) return invalid("sslv2", 0);
  let pieces: Uint8Array[] | undefined;
  let records = 0;
  /** The header's four bytes, of which the first may stand in other records than the last: how many have come, and the last three as a number. */
  let headerBytes = 0;
  let headerLength = 0;
  let have = 0;
  let declared = Infinity;
  let at = 0;
  while (at < stream.length) {
    if (stream[at] !== HANDSHAKE) return invalid("record-type", at);
    if (at + 1 < stream.length && stream[at + 1] !== 3) return invalid("record-version", at + 1);
    if (at + 2 < stream.length && stream[at + 2]! > 4) return invalid("record-version", at + 2);
    if (at + RECORD_HEADER >= maxBytes) return invalid("too-large", at);
    if (at + RECORD_HEADER > stream.length) break;
    const size = (stream[at + 3]! << 8) | stream[at + 4]!;
    if (size === 0) return invalid("record-empty", at + 3);
    if (size > MAX_RECORD) return invalid("record-too-large", at + 3);
    at += RECORD_HEADER;
    const come = Math.min(size, stream.length - at);
    for (let i = at; i < at + come && headerBytes < HANDSHAKE_HEADER; i++, headerBytes++) {
      if (headerBytes > 0) headerLength = (headerLength << 8) | stream[i]!;
      else if (stream[i] !== CLIENT_HELLO) return invalid("not-client-hello", at);
    }
    if (headerBytes === HANDSHAKE_HEADER) declared = HANDSHAKE_HEADER + headerLength;
    const missing = declared - have;
    // Where the hello would end if this record held all the rest; with an incomplete header, at least one byte further on.
    if ((declared === Infinity ? at + come + 1 : at + missing) > maxBytes) return invalid("too-large", at);
    if (size > missing) return invalid("trailing-handshake", at);
    if (++records > 1)
      (pieces ??= [stream.subarray(RECORD_HEADER, RECORD_HEADER + have)]).push(stream.subarray(at, at + come));
    have += come;
    at += size;
    if (have === declared) return gathered(stream, pieces, have, declared, at);
  }
  return gathered(stream, pieces, have, declared, undefined);
}

/**
 * Where byte `offset` of the handshake message stands in the stream, or its end if it hasn't come. Walks the same records again: only a
 * refusal pays for it.
 */
export function streamOffset(stream: Uint8Array, offset: number): number {
  let at = 0;
  let left = offset;
  for (;;) {
    const size = (stream[at + 3]! << 8) | stream[at + 4]!;
    if (left < size || at + RECORD_HEADER + size >= stream.length)
      return Math.min(at + RECORD_HEADER + left, stream.length);
    left -= size;
    at += RECORD_HEADER + size;
  }
}

const RECORD_HEADER = 5;
const MAX_RECORD = 1 << 14;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const HANDSHAKE_HEADER = 4;

function gathered(
  stream: Uint8Array,
  pieces: readonly Uint8Array[] | undefined,
  have: number,
  declared: number,
  length: number | undefined,
): Gathered {
  const start = pieces ? 0 : RECORD_HEADER;
  const bytes = pieces ? Buffer.concat(pieces, have) : stream;
  return { bytes, start, end: start + have, declaredEnd: start + declared, length };
}
