/**
 * UDP header (RFC 768).
 */
import { u16 } from "./bytes.js";
import type { IpPacket } from "./ip.js";
import type { Writable } from "../writable.js";
import { done, invalid, type Invalid, type Parsed } from "./result.js";

export interface UdpDatagram {
  readonly sport: number;
  readonly dport: number;
  readonly payloadOffset: number;
  /** Beyond `bytes.length` only if the packet is `cut`. */
  readonly payloadEnd: number;
}

export type UdpCode =
  /** a fragment that was not reassembled */
  | "fragment"
  /** shorter than its header */
  | "truncated"
  /**
   * the length field isn't the length of the IP payload. Stricter than the receivers, which cut a surplus off: two lengths are two
   * readings, and the surplus (RFC 9868) is a place to hide in.
   */
  | "length";

export function parseUdp(bytes: Uint8Array, ip: IpPacket): Parsed<UdpDatagram, UdpCode> {
  const udp = emptyUdp();
  return readUdp(bytes, ip, udp) ?? done(udp);
}

export function emptyUdp(): Writable<UdpDatagram> {
  return { sport: 0, dport: 0, payloadOffset: 0, payloadEnd: 0 };
}

/** `parseUdp` into `udp`, for who reads many. Something: why it is invalid; then `udp` is as it was. */
export function readUdp(bytes: Uint8Array, ip: IpPacket, udp: Writable<UdpDatagram>): Invalid<UdpCode> | undefined {
  const at = ip.payloadOffset;
  if (ip.fragment === "first" || ip.fragment === "later") return invalid("fragment", at);
  if (at + 8 > ip.payloadEnd || at + 8 > bytes.length) return invalid("truncated", bytes.length);
  if (u16(bytes, at + 4) !== ip.payloadEnd - at) return invalid("length", at + 4);
  udp.sport = u16(bytes, at);
  udp.dport = u16(bytes, at + 2);
  udp.payloadOffset = at + 8;
  udp.payloadEnd = ip.payloadEnd;
  return undefined;
}

/**
 * Ports for a log line or a flow key, also of a first fragment or of a segment whose other fields don't parse. undefined: this protocol
 * has none, or they didn't come (later fragment, cut).
 */
export function peekPorts(bytes: Uint8Array, ip: IpPacket): { sport: number; dport: number } | undefined {
  const at = ip.payloadOffset;
  if (!WITH_PORTS.has(ip.proto) || ip.fragment === "later") return undefined;
  if (at + 4 > ip.payloadEnd || at + 4 > bytes.length) return undefined;
  return { sport: u16(bytes, at), dport: u16(bytes, at + 2) };
}

/** TCP, UDP, DCCP, SCTP, UDP-Lite: source and destination port come first in all of them. */
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);
