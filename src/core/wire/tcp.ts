/**
 * TCP header (RFC 9293 3.1).
 */
import { u16, u32, u8 } from "./bytes.js";
import type { IpPacket } from "./ip.js";
import type { Writable } from "../writable.js";
import { done, invalid, type Invalid, type Parsed } from "./result.js";

export const TcpFlag = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;

export interface TcpSegment {
  readonly sport: number;
  readonly dport: number;
  readonly seq: number;
  /** Meaningful only with the ACK flag. */
  readonly ack: number;
  /** `TcpFlag` bits, and ECE (64), CWR (128). */
  readonly flags: number;
  /** Unscaled. */
  readonly window: number;
  readonly payloadOffset: number;
  /** Beyond `bytes.length` only if the packet is `cut`. */
  readonly payloadEnd: number;
  /** Urgent pointer; 0 without the URG flag. */
  readonly urgent: number;
  /** An authentication option (MD5, RFC 2385, or TCP-AO, RFC 5925) is there: an ordinary receiver drops the segment. */
  readonly md5: boolean;
}

export type TcpCode =
  /** a fragment that was not reassembled: later ones have no header, first ones not all of the payload */
  | "fragment"
  /** shorter than its header */
  | "truncated"
  /** data offset below 5 words or beyond the segment */
  | "data-offset"
  /** option with a length that doesn't fit (RFC 9293 3.1 MUST-7 suggests a reset; Linux would stop reading options there) */
  | "options"
  /** flags that no TCP sends: SYN with FIN or RST, FIN with RST, FIN without ACK, none of SYN, RST, FIN, ACK */
  | "flags";

export function parseTcp(bytes: Uint8Array, ip: IpPacket): Parsed<TcpSegment, TcpCode> {
  const tcp = emptyTcp();
  return readTcp(bytes, ip, tcp) ?? done(tcp);
}

export function emptyTcp(): Writable<TcpSegment> {
  return {
    sport: 0,
    dport: 0,
    seq: 0,
    ack: 0,
    flags: 0,
    window: 0,
    payloadOffset: 0,
    payloadEnd: 0,
    urgent: 0,
    md5: false,
  };
}

/** `parseTcp` into `tcp`, for who reads many. Something: why it is invalid; then `tcp` is as it was. */
export function readTcp(bytes: Uint8Array, ip: IpPacket, tcp: Writable<TcpSegment>): Invalid<TcpCode> | undefined {
  const at = ip.payloadOffset;
  if (ip.fragment === "first" || ip.fragment === "later") return invalid("fragment", at);
  if (at + 20 > ip.payloadEnd || at + 20 > bytes.length) return invalid("truncated", bytes.length);
  const payloadOffset = at + (u8(bytes, at + 12) >> 4) * 4;
  if (payloadOffset < at + 20 || payloadOffset > ip.payloadEnd) return invalid("data-offset", at + 12);
  if (payloadOffset > bytes.length) return invalid("truncated", bytes.length);
  const flags = u8(bytes, at + 13);
  if (!PLAUSIBLE[flags & 0x17]) return invalid("flags", at + 13);

  let md5 = false;
  for (let option = at + 20; option < payloadOffset;) {
    const kind = u8(bytes, option);
    if (kind === 0) break; // end of options
    if (kind === 1) {
      option++;
      continue;
    }
    const length = option + 1 < payloadOffset ? u8(bytes, option + 1) : 0;
    if (length < 2 || option + length > payloadOffset) return invalid("options", option);
    if (kind === OPTION_MD5 || kind === OPTION_AO) md5 = true;
    option += length;
  }
  tcp.sport = u16(bytes, at);
  tcp.dport = u16(bytes, at + 2);
  tcp.seq = u32(bytes, at + 4);
  tcp.ack = u32(bytes, at + 8);
  tcp.flags = flags;
  tcp.window = u16(bytes, at + 14);
  tcp.payloadOffset = payloadOffset;
  tcp.payloadEnd = ip.payloadEnd;
  tcp.urgent = (flags & TcpFlag.URG) !== 0 ? u16(bytes, at + 18) : 0;
  tcp.md5 = md5;
  return undefined;
}

const OPTION_MD5 = 19;
const OPTION_AO = 29;

/** By FIN, SYN, RST and ACK: the combinations that nf_conntrack_proto_tcp.c calls valid too. */
const PLAUSIBLE: readonly boolean[] = Array.from({ length: 0x18 }, (_, flags) => {
  const { FIN, SYN, RST, ACK } = TcpFlag;
  return [SYN, SYN | ACK, RST, RST | ACK, FIN | ACK, ACK].includes(flags);
});
