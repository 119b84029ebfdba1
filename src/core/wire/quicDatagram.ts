/**
 * What a client's UDP datagram consists of, if it is QUIC version 1 or 2 (RFC 9000 12.2 and 17, RFC 9369 3.2): coalesced packets with long headers by their
 * Length fields, and behind them, up to the end, one with a short header.
 *
 * All or nothing: a receiver would go by the packets that it can read, and which these are is more than anybody between can know.
 */
import { u32 } from "./bytes.js";
import type { QuicCode } from "./quicCodes.js";
import { quicVersion, type LongType } from "./quicVersions.js";
import { done, invalid, type Done, type Invalid } from "./result.js";
import { varintAt, varintSize } from "./varint.js";

/** All offsets are those of the bytes that the datagram lies in. */
export interface QuicPacket {
  /**
   * "short": whatever begins with a 0 bit, up to the end of the datagram. Its connection id has no length on the wire. It may be no packet at all: some
   * clients fill up a datagram with zeros (Firefox).
   */
  type: "short" | Exclude<LongType, "retry">;
  /** 1 or 0x6b3343cf; 0: it has a short header. */
  version: number;
  start: number;
  /** Connection ids, [start, end): empty ones have start === end. Those of a short header are always empty. */
  dcidStart: number;
  dcidEnd: number;
  scidStart: number;
  scidEnd: number;
  /** Of an Initial packet, else empty. */
  tokenStart: number;
  tokenEnd: number;
  /** Where the packet number stands, still protected. Of a short header: `start`. */
  packetNumber: number;
  end: number;
}

/** Most coalesced packets. Clients send one for each of the four levels of encryption. */
export const MAX_PACKETS = 16;

/** The packets of one datagram. Made once and used for many: nothing is allocated for a packet. */
export class QuicDatagram {
  /** The first `count` are those of the datagram that was read last. */
  readonly packets: QuicPacket[] = [];
  count = 0;
  /** Is one of them an Initial packet? */
  hasInitial = false;

  /** The next packet, to be filled in. */
  next(): QuicPacket {
    return (this.packets[this.count++] ??= {
      type: "short",
      version: 0,
      start: 0,
      dcidStart: 0,
      dcidEnd: 0,
      scidStart: 0,
      scidEnd: 0,
      tokenStart: 0,
      tokenEnd: 0,
      packetNumber: 0,
      end: 0,
    });
  }
}

/**
 * Read the payload of a UDP datagram, `bytes` [start, end), into `into`; of an invalid one nothing in it is to be used.
 *
 * `greased`: the server has answered, and so may have said that the client can send any fixed bit (RFC 9287). A client doesn't remember
 * that for its next connection.
 */
export function readDatagram(
  bytes: Uint8Array,
  start: number,
  end: number,
  into: QuicDatagram,
  greased = false,
): Done<QuicDatagram> | Invalid<QuicCode> {
  into.count = 0;
  into.hasInitial = false;
  if (start === end) return invalid("empty", start);
  for (let at = start; at < end;) {
    if (into.count === MAX_PACKETS) return invalid("too-many-packets", at);
    const packet = into.next();
    packet.start = at;
    if (bytes[at]! < LONG) {
      shortHeader(packet, end);
      break;
    }
    const wrong = longHeader(bytes, packet, end, greased);
    if (wrong) return wrong;
    const first = into.packets[0]!;
    // RFC 9000 12.2: receivers should ignore it. Not all do.
    if (packet !== first && !sameDcid(bytes, packet, first)) return invalid("other-connection", packet.dcidStart);
    if (packet.type === "initial") into.hasInitial = true;
    at = packet.end;
  }
  return done(into);
}

/** The first byte's bits (RFC 9000 17.2). */
const LONG = 0x80;
const FIXED = 0x40;
const TYPE_SHIFT = 4;

/** RFC 9000 17.2: in version 1 (and 2). */
const MAX_CID = 20;

/** RFC 9001 5.4.2: four bytes from the packet number on, and 16 that are the sample. */
const MIN_PROTECTED = 20;

/** Fill in all but `start`. undefined: it is valid. */
function longHeader(
  bytes: Uint8Array,
  packet: QuicPacket,
  end: number,
  greased: boolean,
): Invalid<QuicCode> | undefined {
  const { start } = packet;
  // RFC 8999: only these fields are the same in all versions, so nothing else is said of an unknown one.
  if (start + 5 > end) return invalid("truncated", start);
  const number = u32(bytes, start + 1);
  if (number === 0) return invalid("version-negotiation", start + 1);
  const version = quicVersion(number);
  if (!version) return invalid("unknown-version", start + 1);
  const type = version.types[((bytes[start]! >> TYPE_SHIFT) & 3) as 0 | 1 | 2 | 3];
  if (type === "retry") return invalid("retry", start);
  if ((bytes[start]! & FIXED) === 0 && !greased) return invalid("fixed-bit", start);
  packet.type = type;
  packet.version = number;

  let at = start + 5;
  if (at >= end) return invalid("truncated", at);
  if (bytes[at]! > MAX_CID) return invalid("cid-length", at);
  packet.dcidStart = at + 1;
  packet.dcidEnd = at + 1 + bytes[at]!;
  if (packet.dcidEnd >= end) return invalid("truncated", at);
  at = packet.dcidEnd;
  if (bytes[at]! > MAX_CID) return invalid("cid-length", at);
  packet.scidStart = at + 1;
  packet.scidEnd = at + 1 + bytes[at]!;
  if (packet.scidEnd >= end) return invalid("truncated", at);
  at = packet.scidEnd;
  packet.tokenStart = packet.tokenEnd = at;
  if (type === "initial") {
    if (at + varintSize(bytes[at]!) > end) return invalid("truncated", at);
    packet.tokenStart = at + varintSize(bytes[at]!);
    packet.tokenEnd = packet.tokenStart + varintAt(bytes, at);
    if (packet.tokenEnd > end) return invalid("truncated", at);
    at = packet.tokenEnd;
  }
  if (at >= end || at + varintSize(bytes[at]!) > end) return invalid("truncated", at);
  packet.packetNumber = at + varintSize(bytes[at]!);
  packet.end = packet.packetNumber + varintAt(bytes, at);
  if (packet.end > end) return invalid("truncated", at);
  if (packet.end - packet.packetNumber < MIN_PROTECTED) return invalid("too-short", at);
  return undefined;
}

function shortHeader(packet: QuicPacket, end: number): void {
  const { start } = packet;
  packet.type = "short";
  packet.version = 0;
  packet.dcidStart = packet.dcidEnd = packet.scidStart = packet.scidEnd = start;
  packet.tokenStart = packet.tokenEnd = packet.packetNumber = start;
  packet.end = end;
}

function sameDcid(bytes: Uint8Array, a: QuicPacket, b: QuicPacket): boolean {
  const length = a.dcidEnd - a.dcidStart;
  if (length !== b.dcidEnd - b.dcidStart) return false;
  for (let i = 0; i < length; i++) if (bytes[a.dcidStart + i] !== bytes[b.dcidStart + i]) return false;
  return true;
}
