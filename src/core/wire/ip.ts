/**
 * IPv4 (RFC 791) and IPv6 (RFC 8200) headers, as far as the transport header.
 */
import { addrFromBytes, type Addr } from "../net/address.js";
import { u16, u32, u8 } from "./bytes.js";
import type { Writable } from "../writable.js";
import { done, invalid, type Invalid, type Parsed } from "./result.js";

/** IP protocol numbers that the firewall speaks of. */
export const IpProto = { ICMP: 1, TCP: 6, UDP: 17, GRE: 47, ESP: 50, AH: 51, ICMPV6: 58, NONE: 59, SCTP: 132 } as const;

/**
 * `first` and `later` are fragments of a packet that was not reassembled; `atomic` is an IPv6 packet that carries a fragment
 * header but is whole (RFC 6946).
 */
export type Fragment = "no" | "first" | "later" | "atomic";

export interface IpPacket {
  readonly family: 4 | 6;
  readonly src: Addr;
  readonly dst: Addr;
  /**
   * Upper layer, after the extension headers. AH, ESP, Mobility and other headers that no ordinary receiver skips count as the
   * upper layer. For a `later` fragment: what the fragment header says, which may be an extension header.
   */
  readonly proto: number;
  readonly payloadOffset: number;
  /** By the header's own length, so what a link pads behind it is left out. Beyond `bytes.length` only if `cut`. */
  readonly payloadEnd: number;
  readonly fragment: Fragment;
  /** Time to live or hop limit. */
  readonly ttl: number;
  /** The copy is shorter than the packet. */
  readonly cut: boolean;
}

export type IpCode =
  /** the copy ends inside the headers */
  | "truncated"
  /** neither 4 nor 6 */
  | "version"
  /** IPv4 header length below 5 words or beyond the packet */
  | "header-length"
  /** length field below the header or beyond the packet */
  | "total-length"
  /** IPv4 option with a length that doesn't fit */
  | "options"
  /** IPv4 loose or strict source route: the destination in the header isn't the last one (stricter than RFC 791) */
  | "source-route"
  /** IPv6 extension header that doesn't fit, hop-by-hop header not first, second fragment header */
  | "ext-malformed"
  /** more than 8 extension headers (L7_MAX_EXT_HEADERS) */
  | "ext-too-many"
  /** routing header of type 0 (RFC 5095), or of any type with segments left: the destination isn't the last one */
  | "ext-routing"
  /** jumbo payload option (RFC 2675) on anything but the kernel's own BIG TCP packets */
  | "ext-jumbo";

/**
 * `bytes` starts at the network header; `wireLength` is the packet's length before the copy was cut.
 *
 * BIG TCP: the kernel builds TCP packets that are longer than their 16-bit length field can say, writes 0 there, and (IPv6, kernels
 * before 7.0) adds a hop-by-hop header with the true length. So a length of 0 is taken for `wireLength` if, and only if, the packet is TCP
 * and `wireLength` can't be said in 16 bits. Every other 0 means what it says.
 */
export function parseIp(bytes: Uint8Array, wireLength: number): Parsed<IpPacket, IpCode> {
  const ip = emptyIp();
  return readIp(bytes, wireLength, ip) ?? done(ip);
}

/** `parseIp` into `ip`, for who reads many. Something: why it is invalid; then `ip` is as it was. */
export function readIp(bytes: Uint8Array, wireLength: number, ip: Writable<IpPacket>): Invalid<IpCode> | undefined {
  if (bytes.length < 1) return invalid("truncated", 0);
  const version = u8(bytes, 0) >> 4;
  if (version === 4) return read4(bytes, wireLength, ip);
  if (version === 6) return read6(bytes, wireLength, ip);
  return invalid("version", 0);
}

export function emptyIp(): Writable<IpPacket> {
  return {
    family: 4,
    src: "" as Addr,
    dst: "" as Addr,
    proto: 0,
    payloadOffset: 0,
    payloadEnd: 0,
    fragment: "no",
    ttl: 0,
    cut: false,
  };
}

const MAX_EXT_HEADERS = 8;
const FRAGMENT_LATER_MASK = 0x1fff;
const FRAGMENT_MORE = 0x2000;

function read4(bytes: Uint8Array, wireLength: number, ip: Writable<IpPacket>): Invalid<IpCode> | undefined {
  if (bytes.length < 20) return invalid("truncated", bytes.length);
  const header = (u8(bytes, 0) & 15) * 4;
  if (header < 20 || header > wireLength) return invalid("header-length", 0);
  if (header > bytes.length) return invalid("truncated", bytes.length);
  const proto = u8(bytes, 9);
  let end = u16(bytes, 2);
  if (end === 0 && wireLength > 0xffff && proto === IpProto.TCP) end = wireLength;
  if (end < header || end > wireLength) return invalid("total-length", 2);
  if (header > 20) {
    const bad = checkOptions4(bytes, header);
    if (bad) return bad;
  }
  const frag = u16(bytes, 6);
  ip.family = 4;
  ip.src = addrFromBytes(bytes, 12, 4);
  ip.dst = addrFromBytes(bytes, 16, 4);
  ip.proto = proto;
  ip.payloadOffset = header;
  ip.payloadEnd = end;
  ip.fragment = (frag & FRAGMENT_LATER_MASK) !== 0 ? "later" : (frag & FRAGMENT_MORE) !== 0 ? "first" : "no";
  ip.ttl = u8(bytes, 8);
  ip.cut = end > bytes.length;
  return undefined;
}

function checkOptions4(bytes: Uint8Array, header: number): Invalid<IpCode> | undefined {
  let at = 20;
  while (at < header) {
    const type = u8(bytes, at);
    if (type === 0) return undefined; // end of options
    if (type === 1) {
      at++;
      continue;
    }
    const length = at + 1 < header ? u8(bytes, at + 1) : 0;
    if (length < 2 || at + length > header) return invalid("options", at);
    if (type === 131 || type === 137) return invalid("source-route", at);
    at += length;
  }
  return undefined;
}

function read6(bytes: Uint8Array, wireLength: number, ip: Writable<IpPacket>): Invalid<IpCode> | undefined {
  if (bytes.length < 40) return invalid("truncated", bytes.length);
  const length = u16(bytes, 4);
  const big = length === 0 && wireLength > 40 + 0xffff;
  const end = big ? wireLength : 40 + length;
  if (end > wireLength) return invalid("total-length", 4);

  let proto = u8(bytes, 6);
  let at = 40;
  let fragment: Fragment = "no";
  for (let count = 0; isWalked(proto) && fragment !== "later"; count++) {
    if (count === MAX_EXT_HEADERS) return invalid("ext-too-many", at);
    if (at + 8 > end) return invalid("ext-malformed", at);
    if (at + 8 > bytes.length) return invalid("truncated", bytes.length);
    // RFC 8200 4.5: the fragment header has a fixed length, its second byte is reserved.
    const size = proto === FRAGMENT_HEADER ? 8 : (u8(bytes, at + 1) + 1) * 8;
    if (at + size > end) return invalid("ext-malformed", at + 1);
    if (at + size > bytes.length) return invalid("truncated", bytes.length);
    if (proto === HOP_BY_HOP) {
      // RFC 8200 4.1: only directly after the IPv6 header.
      if (at !== 40) return invalid("ext-malformed", at);
      const bad = checkHopByHop(bytes, at, size, big ? wireLength - 40 : undefined);
      if (bad) return bad;
    } else if (proto === ROUTING) {
      if (u8(bytes, at + 2) === 0 || u8(bytes, at + 3) !== 0) return invalid("ext-routing", at + 2);
    } else if (proto === FRAGMENT_HEADER) {
      if (fragment !== "no") return invalid("ext-malformed", at);
      const field = u16(bytes, at + 2);
      fragment = field >> 3 !== 0 ? "later" : (field & 1) !== 0 ? "first" : "atomic";
    }
    proto = u8(bytes, at);
    at += size;
  }
  if (big && proto !== IpProto.TCP) return invalid("ext-jumbo", 4);
  ip.family = 6;
  ip.src = addrFromBytes(bytes, 8, 16);
  ip.dst = addrFromBytes(bytes, 24, 16);
  ip.proto = proto;
  ip.payloadOffset = at;
  ip.payloadEnd = end;
  ip.fragment = fragment;
  ip.ttl = u8(bytes, 7);
  ip.cut = end > bytes.length;
  return undefined;
}

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT_HEADER = 44;
const DESTINATION_OPTIONS = 60;
const OPTION_JUMBO = 0xc2;

/** The headers that every receiver skips without further state (the set of Linux' ipv6_skip_exthdr, less AH). */
function isWalked(proto: number): boolean {
  return proto === HOP_BY_HOP || proto === ROUTING || proto === FRAGMENT_HEADER || proto === DESTINATION_OPTIONS;
}

/** `jumbo`: the only length that a jumbo option may say; undefined: none may be there. */
function checkHopByHop(
  bytes: Uint8Array,
  header: number,
  size: number,
  jumbo: number | undefined,
): Invalid<IpCode> | undefined {
  const end = header + size;
  let at = header + 2;
  while (at < end) {
    const type = u8(bytes, at);
    if (type === 0) {
      at++; // Pad1 has no length
      continue;
    }
    const next = at + 1 < end ? at + 2 + u8(bytes, at + 1) : Infinity;
    if (next > end) return invalid("ext-malformed", at);
    if (type === OPTION_JUMBO && (next !== at + 6 || u32(bytes, at + 2) !== jumbo)) {
      return invalid("ext-jumbo", at);
    }
    at = next;
  }
  return undefined;
}
