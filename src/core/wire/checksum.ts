/**
 * The Internet checksum (RFC 1071).
 */
import { IpProto, type IpPacket } from "./ip.js";
import type { Addr } from "../net/address.js";

/**
 * Is the transport checksum right? A receiver drops a packet whose checksum is wrong, so such a packet must never decide.
 * false also where it can't be known: a cut copy, a fragment. true for protocols other than TCP, UDP, ICMP and ICMPv6.
 * UDP over IPv4 may say 0 for "none" (RFC 768); over IPv6 that is wrong (RFC 8200 8.1; the tunnels of RFC 6936 are no business of ours).
 *
 * Don't ask when the checksum is still to be filled in by the hardware.
 */
export function transportChecksumOk(bytes: Uint8Array, ip: IpPacket): boolean {
  const at = ip.payloadOffset;
  const length = ip.payloadEnd - at;
  let field: number;
  switch (ip.proto) {
    case IpProto.TCP:
      field = 16;
      break;
    case IpProto.UDP:
      field = 6;
      break;
    case IpProto.ICMP:
    case IpProto.ICMPV6:
      field = 2;
      break;
    default:
      return true;
  }
  if (ip.cut || ip.fragment === "first" || ip.fragment === "later" || length < field + 2) return false;
  if (ip.proto === IpProto.UDP && bytes[at + 6] === 0 && bytes[at + 7] === 0) return ip.family === 4;
  const start = ip.proto === IpProto.ICMP ? 0 : pseudoHeaderSum(ip.src, ip.dst, ip.proto, length);
  return fold(sum(bytes, at, ip.payloadEnd, start)) === 0xffff;
}

/** `bytes` starts with an IPv4 header whose length was checked. */
export function ipv4ChecksumOk(bytes: Uint8Array): boolean {
  const header = ((bytes[0] as number) & 15) * 4;
  return header >= 20 && header <= bytes.length && fold(sum(bytes, 0, header, 0)) === 0xffff;
}

/** What a checksum field must hold that was 0 while `total` was summed. */
export function checksumOf(total: number): number {
  return ~fold(total) & 0xffff;
}

/** Sum of the 16-bit words of [start, end), added to `initial`; an odd last byte counts as the high one. Not folded. */
export function sum(bytes: Uint8Array, start: number, end: number, initial: number): number {
  let total = initial;
  let at = start;
  // 2^15 words of 2^16 each stay within 32 bits less a sign; folding each 32 KiB keeps the loop in integer arithmetic.
  while (end - at > 1) {
    const stop = Math.min(at + 0x8000, end - 1);
    // Four words at a time: a quarter less time than one at a time.
    let high = 0;
    let low = 0;
    for (; at + 6 < stop; at += 8) {
      high += bytes[at]! + bytes[at + 2]! + bytes[at + 4]! + bytes[at + 6]!;
      low += bytes[at + 1]! + bytes[at + 3]! + bytes[at + 5]! + bytes[at + 7]!;
    }
    for (; at < stop; at += 2) {
      high += bytes[at]!;
      low += bytes[at + 1]!;
    }
    total += high * 256 + low;
  }
  if (at < end) total += (bytes[at] as number) << 8;
  return total;
}

/** End-around carry down to 16 bits. `total` up to 2^53. */
export function fold(total: number): number {
  let value = total;
  while (value > 0xffff) value = (value % 0x10000) + Math.floor(value / 0x10000);
  return value;
}

/** RFC 9293 3.1 and RFC 8200 8.1 in one: both families sum to the same words. */
export function pseudoHeaderSum(src: Addr, dst: Addr, proto: number, length: number): number {
  let total = proto + (length & 0xffff) + (length >>> 16);
  for (let i = 0; i < src.length; i += 2) {
    total += (src.charCodeAt(i) << 8) + src.charCodeAt(i + 1) + (dst.charCodeAt(i) << 8) + dst.charCodeAt(i + 1);
  }
  return total;
}
