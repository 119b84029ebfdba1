/**
 * ICMP (RFC 792) and ICMPv6 (RFC 4443): what is needed to tell an echo from the rest.
 */
import { u16, u8 } from "./bytes.js";
import { IpProto, type IpPacket } from "./ip.js";
import { done, invalid, type Parsed } from "./result.js";

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

export function parseIcmp(bytes: Uint8Array, ip: IpPacket): Parsed<IcmpMessage, IcmpCode> {
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
