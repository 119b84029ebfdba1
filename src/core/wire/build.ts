/**
 * Packets that the gateway sends itself: resets, ICMP errors, DNS replies. Whole IP packets with all checksums complete.
 *
 * Their source is the address that the client spoke to, not the gateway's own: clients, their firewalls and their NATs take an answer from
 * there for what it is, and drop one from a stranger.
 */
import { addrToBytes, type Addr } from "../net/address.js";
import { seqAdd } from "../flow/seq.js";
import { put16, put32, u8 } from "./bytes.js";
import { checksumOf, pseudoHeaderSum, sum } from "./checksum.js";
import { IpProto, type IpPacket } from "./ip.js";
import { TcpFlag, type TcpSegment } from "./tcp.js";
import type { UdpDatagram } from "./udp.js";

/**
 * Reset towards the sender of `tcp` (RFC 9293 3.10.7.1): with ACK, SEQ is what it acknowledged; without, SEQ is 0 and ACK is the end of
 * its segment. Don't answer a segment that carries RST itself.
 */
export function tcpResetFor(_bytes: Uint8Array, ip: IpPacket, tcp: TcpSegment): Uint8Array {
  if ((tcp.flags & TcpFlag.ACK) !== 0) {
    return reset(ip.dst, ip.src, tcp.dport, tcp.sport, tcp.ack, 0, TcpFlag.RST);
  }
  return reset(ip.dst, ip.src, tcp.dport, tcp.sport, 0, segmentEnd(tcp), TcpFlag.RST | TcpFlag.ACK);
}

/**
 * Reset towards the receiver of `tcp`, in the sender's name. RFC 5961 3.2: it counts only if SEQ is exactly the next byte that the receiver
 * expects, so give `seq` when earlier segments were held back; default: the segment's own.
 */
export function tcpResetToServer(_bytes: Uint8Array, ip: IpPacket, tcp: TcpSegment, seq = tcp.seq): Uint8Array {
  const acks = (tcp.flags & TcpFlag.ACK) !== 0;
  const flags = TcpFlag.RST | (acks ? TcpFlag.ACK : 0);
  return reset(ip.src, ip.dst, tcp.sport, tcp.dport, seq, acks ? tcp.ack : 0, flags);
}

/**
 * "Communication administratively prohibited" towards the sender: ICMP type 3 code 13 (RFC 1812 5.2.7.1) with up to 548 bytes of the packet,
 * ICMPv6 type 1 code 1 (RFC 4443 3.1) with up to 1232. Ask `mayAnswerWithError` first.
 */
export function icmpProhibitedFor(bytes: Uint8Array, ip: IpPacket): Uint8Array {
  const quoted = bytes.subarray(0, Math.min(ip.payloadEnd, bytes.length, ip.family === 4 ? 548 : 1232));
  const message = new Uint8Array(8 + quoted.length);
  message[0] = ip.family === 4 ? 3 : 1;
  message[1] = ip.family === 4 ? 13 : 1;
  message.set(quoted, 8);
  return ip.family === 4
    ? packet(ip.dst, ip.src, IpProto.ICMP, message, 2)
    : packet(ip.dst, ip.src, IpProto.ICMPV6, message, 2);
}

/**
 * RFC 1122 3.2.2, RFC 4443 2.4(e): no error about an ICMP error, a fragment other than the first, or a packet whose source or destination
 * isn't one host's address (multicast, broadcast, unspecified, loopback).
 */
export function mayAnswerWithError(bytes: Uint8Array, ip: IpPacket): boolean {
  if (ip.fragment === "later" || !isUnicast(ip.src) || !isUnicast(ip.dst)) return false;
  const type = ip.payloadOffset < bytes.length ? u8(bytes, ip.payloadOffset) : undefined;
  if (ip.proto === IpProto.ICMP) return type !== undefined && ICMP_QUERIES.has(type);
  if (ip.proto === IpProto.ICMPV6) return type === 128 || type === 129;
  return true;
}

/**
 * A datagram back to the sender of `udp`, from the address and port that it was sent to. `payload` up to 65507 (IPv6: 65527) bytes, else
 * RangeError.
 */
export function udpReplyFor(ip: IpPacket, udp: UdpDatagram, payload: Uint8Array): Uint8Array {
  const datagram = new Uint8Array(8 + payload.length);
  put16(datagram, 0, udp.dport);
  put16(datagram, 2, udp.sport);
  put16(datagram, 4, datagram.length);
  datagram.set(payload, 8);
  return packet(ip.dst, ip.src, IpProto.UDP, datagram, 6);
}

/**
 * `payload` from the segment's destination back to its sender, acknowledging all of the segment, with FIN: the sender reads the payload, then
 * the end. For protocols whose denial is a message of their own.
 */
export function tcpReplyFor(ip: IpPacket, tcp: TcpSegment, payload: Uint8Array): Uint8Array {
  const segment = new Uint8Array(20 + payload.length);
  put16(segment, 0, tcp.dport);
  put16(segment, 2, tcp.sport);
  put32(segment, 4, tcp.ack);
  put32(segment, 8, segmentEnd(tcp));
  segment[12] = 5 << 4;
  segment[13] = TcpFlag.ACK | TcpFlag.PSH | TcpFlag.FIN;
  put16(segment, 14, 65_535);
  segment.set(payload, 20);
  return packet(ip.dst, ip.src, IpProto.TCP, segment, 16);
}

/** The same packet without its payload, with lengths and checksums to match. */
export function tcpWithoutPayload(bytes: Uint8Array, ip: IpPacket, tcp: TcpSegment): Uint8Array {
  const out = Uint8Array.prototype.slice.call(bytes, 0, tcp.payloadOffset);
  const at = ip.payloadOffset;
  if (ip.family === 4) {
    const header = (u8(out, 0) & 15) * 4;
    put16(out, 2, out.length);
    put16(out, 10, 0);
    put16(out, 10, checksumOf(sum(out, 0, header, 0)));
  } else {
    put16(out, 4, out.length - 40);
  }
  put16(out, at + 16, 0);
  const pseudo = pseudoHeaderSum(ip.src, ip.dst, IpProto.TCP, out.length - at);
  put16(out, at + 16, checksumOf(sum(out, at, out.length, pseudo)));
  return out;
}

/** Sequence number behind the segment: SYN and FIN count as one byte each (RFC 9293 3.4). */
export function segmentEnd(tcp: TcpSegment): number {
  const syn = (tcp.flags & TcpFlag.SYN) !== 0 ? 1 : 0;
  const fin = (tcp.flags & TcpFlag.FIN) !== 0 ? 1 : 0;
  return seqAdd(tcp.seq, tcp.payloadEnd - tcp.payloadOffset + syn + fin);
}

const TTL = 64;
const DONT_FRAGMENT = 0x4000;
/** Echo, timestamp, and the address mask and router messages that are no errors. */
const ICMP_QUERIES: ReadonlySet<number> = new Set([0, 8, 9, 10, 13, 14, 15, 16, 17, 18]);

function reset(
  src: Addr,
  dst: Addr,
  sport: number,
  dport: number,
  seq: number,
  ack: number,
  flags: number,
): Uint8Array {
  const segment = new Uint8Array(20);
  put16(segment, 0, sport);
  put16(segment, 2, dport);
  put32(segment, 4, seq);
  put32(segment, 8, ack);
  segment[12] = 5 << 4;
  segment[13] = flags;
  return packet(src, dst, IpProto.TCP, segment, 16);
}

/** IP header in front of `payload`, whose checksum field at `checksumAt` is filled in. */
function packet(src: Addr, dst: Addr, proto: number, payload: Uint8Array, checksumAt: number): Uint8Array {
  const header = src.length === 4 ? 20 : 40;
  const lengthField = header === 20 ? header + payload.length : payload.length;
  if (lengthField > 0xffff) throw new RangeError(`${payload.length} bytes don't fit into one IP packet`);
  const out = new Uint8Array(header + payload.length);
  if (header === 20) {
    out[0] = 0x45;
    put16(out, 2, lengthField);
    put16(out, 6, DONT_FRAGMENT);
    out[8] = TTL;
    out[9] = proto;
    out.set(addrToBytes(src), 12);
    out.set(addrToBytes(dst), 16);
    put16(out, 10, checksumOf(sum(out, 0, 20, 0)));
  } else {
    out[0] = 6 << 4;
    put16(out, 4, lengthField);
    out[6] = proto;
    out[7] = TTL;
    out.set(addrToBytes(src), 8);
    out.set(addrToBytes(dst), 24);
  }
  out.set(payload, header);
  const pseudo = proto === IpProto.ICMP ? 0 : pseudoHeaderSum(src, dst, proto, payload.length);
  const checksum = checksumOf(sum(out, header, out.length, pseudo));
  // RFC 768: a UDP checksum of 0 means none, so 0 is sent as its other spelling.
  put16(out, header + checksumAt, checksum === 0 && proto === IpProto.UDP ? 0xffff : checksum);
  return out;
}

function isUnicast(addr: Addr): boolean {
  const first = addr.charCodeAt(0);
  if (addr.length === 4) return first !== 0 && first !== 127 && first < 224;
  return first !== 0xff && !/^\0{15}[\0\x01]$/.test(addr);
}
