/**
 * ICMP (RFC 792) and ICMPv6 (RFC 4443): what is needed to tell an echo from the rest.
 */
import { addrFromBytes, type Addr } from "../net/address.js";
import { u16, u8 } from "./bytes.js";
import { IpProto, type IpPacket } from "./ip.js";
import { done, invalid, type Done, type Invalid } from "./result.js";

export interface IcmpMessage {
  readonly type: number;
  readonly code: number;
  /** Identifier of an echo request or reply with code 0; undefined for everything else. */
  readonly echoId: number | undefined;
  readonly isEchoRequest: boolean;
}

export type IcmpCode =
  /** a fragment that was not reassembled */
  | "fragment"
  /** shorter than its header */
  | "truncated"
  /** ICMP inside IPv6 or ICMPv6 inside IPv4 */
  | "family";

export function parseIcmp(bytes: Uint8Array, ip: IpPacket): Done<IcmpMessage> | Invalid<IcmpCode> {
  const at = ip.payloadOffset;
  if (ip.fragment === "first" || ip.fragment === "later") return invalid("fragment", at);
  if (ip.proto !== (ip.family === 4 ? IpProto.ICMP : IpProto.ICMPV6)) return invalid("family", 0);
  // RFC 792, RFC 4443 2.1: every message that is defined has at least a 4-byte body after type, code and checksum.
  if (at + 8 > ip.payloadEnd || at + 8 > bytes.length) return invalid("truncated", bytes.length);
  const type = u8(bytes, at);
  const code = u8(bytes, at + 1);
  const isEchoRequest = code === 0 && type === (ip.family === 4 ? 8 : 128);
  const isEchoReply = code === 0 && type === (ip.family === 4 ? 0 : 129);
  return done<IcmpMessage>({
    type,
    code,
    echoId: isEchoRequest || isEchoReply ? u16(bytes, at + 4) : undefined,
    isEchoRequest,
  });
}

/** Whom the packet concerns that an error message quotes. */
export interface QuotedPacket {
  readonly src: Addr;
  readonly dst: Addr;
  readonly proto: number;
  readonly sport: number;
  readonly dport: number;
}

/**
 * The packet that an ICMP error is about: its header and the first 8 bytes behind it (RFC 792; RFC 4443 2.4(c) quotes more). undefined: no error
 * message, or nothing in it with ports that can be read. IPv6 extension headers are not looked behind.
 */
export function quotedPacket(bytes: Uint8Array, ip: IpPacket): QuotedPacket | undefined {
  const type = u8(bytes, ip.payloadOffset);
  const v4 = ip.family === 4;
  if (v4 ? type !== 3 && type !== 11 && type !== 12 : type < 1 || type > 4) return undefined;
  const at = ip.payloadOffset + 8;
  const end = Math.min(ip.payloadEnd, bytes.length);
  if (at + (v4 ? 20 : 40) > end || u8(bytes, at) >> 4 !== ip.family) return undefined;
  const header = v4 ? (u8(bytes, at) & 15) * 4 : 40;
  // A later fragment has no ports.
  if (header < 20 || at + header + 4 > end || (v4 && (u16(bytes, at + 6) & 0x1fff) !== 0)) return undefined;
  const proto = u8(bytes, at + (v4 ? 9 : 6));
  if (proto !== IpProto.TCP && proto !== IpProto.UDP) return undefined;
  const addrAt = (v4Offset: number, v6Offset: number) =>
    v4 ? addrFromBytes(bytes, at + v4Offset, 4) : addrFromBytes(bytes, at + v6Offset, 16);
  return {
    src: addrAt(12, 8),
    dst: addrAt(16, 24),
    proto,
    sport: u16(bytes, at + header),
    dport: u16(bytes, at + header + 2),
  };
}
