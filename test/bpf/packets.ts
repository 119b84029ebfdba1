/**
 * Ethernet frames for BPF_PROG_TEST_RUN, built field by field, so that a test can break any one of them. Checksums are left 0: the fast
 * path doesn't read them (user space and the receiver do).
 */
import { addrToBytes, parseAddr } from "../../src/core/net/address.js";

export const TCP = { FIN: 0x01, SYN: 0x02, RST: 0x04, PSH: 0x08, ACK: 0x10, URG: 0x20 } as const;
export const PROTO = { ICMP: 1, TCP: 6, UDP: 17, DCCP: 33, GRE: 47, ESP: 50, AH: 51, ICMP6: 58, SCTP: 132 } as const;

export interface Ip {
  readonly src: string;
  readonly dst: string;
  readonly proto: number;
  readonly body: Uint8Array;
  readonly ttl?: number;
  /** IPv4: header words behind the fifth. */
  readonly options?: Uint8Array;
  /** IPv4: flags and fragment offset; 0x2000 is "more fragments". */
  readonly fragment?: number;
  /** IPv6: extension headers, outermost first; each gives its own type. */
  readonly extensions?: readonly Extension[];
  /** What the length field says, if not the truth. */
  readonly length?: number;
  /** IPv4: what the header length field says in words, if not the truth. */
  readonly words?: number;
  readonly version?: number;
}

export interface Extension {
  readonly type: number;
  /** The whole header; its first byte (the next type) is filled in. */
  readonly bytes: Uint8Array;
}

export interface Frame {
  /** "02:…" or undefined for zeros. */
  readonly to?: string;
  readonly from?: string;
  readonly etherType?: number;
}

export function address(text: string): Uint8Array {
  const parsed = parseAddr(text);
  if (!parsed) throw new Error(`not an address: ${text}`);
  return addrToBytes(parsed);
}

/** 16-byte form of the map keys. */
export function address16(text: string): Uint8Array {
  const bytes = address(text);
  return bytes.length === 16 ? bytes : Buffer.concat([Buffer.from("00000000000000000000ffff", "hex"), bytes]);
}

export function mac(text: string): Buffer {
  return Buffer.from(text.replaceAll(":", ""), "hex");
}

export function ip(fields: Ip): Buffer {
  return fields.src.includes(":") ? ip6(fields) : ip4(fields);
}

function ip4(fields: Ip): Buffer {
  const options = fields.options ?? new Uint8Array(0);
  const header = Buffer.alloc(20 + options.length);
  header[0] = ((fields.version ?? 4) << 4) | (fields.words ?? header.length / 4);
  header.writeUInt16BE(fields.length ?? header.length + fields.body.length, 2);
  header.writeUInt16BE(fields.fragment ?? 0, 6);
  header[8] = fields.ttl ?? 64;
  header[9] = fields.proto;
  header.set(address(fields.src), 12);
  header.set(address(fields.dst), 16);
  header.set(options, 20);
  return Buffer.concat([header, fields.body]);
}

function ip6(fields: Ip): Buffer {
  const extensions = fields.extensions ?? [];
  const types = [...extensions.map((one) => one.type), fields.proto];
  const chain = extensions.map((one, i) => {
    const bytes = Buffer.from(one.bytes);
    bytes[0] = types[i + 1] as number;
    return bytes;
  });
  const body = Buffer.concat([...chain, fields.body]);
  const header = Buffer.alloc(40);
  header[0] = (fields.version ?? 6) << 4;
  header.writeUInt16BE(fields.length ?? body.length, 4);
  header[6] = types[0] as number;
  header[7] = fields.ttl ?? 64;
  header.set(address(fields.src), 8);
  header.set(address(fields.dst), 24);
  return Buffer.concat([header, body]);
}

export interface Tcp {
  readonly sport?: number;
  readonly dport: number;
  readonly flags: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly payload?: number;
  /** Header length in words, if not 5. */
  readonly words?: number;
}

export function tcp(fields: Tcp): Buffer {
  const out = Buffer.alloc(20 + (fields.payload ?? 0), 0x61);
  out.fill(0, 0, 20);
  out.writeUInt16BE(fields.sport ?? 40000, 0);
  out.writeUInt16BE(fields.dport, 2);
  out.writeUInt32BE((fields.seq ?? 1000) >>> 0, 4);
  out.writeUInt32BE((fields.ack ?? 0) >>> 0, 8);
  out[12] = (fields.words ?? 5) << 4;
  out[13] = fields.flags;
  out.writeUInt16BE(64240, 14);
  return out;
}

/** `length`: what the length field says, if not the truth. */
export function udp(sport: number, dport: number, payload = 20, length = 8 + payload): Buffer {
  const out = Buffer.alloc(8 + payload, 0x61);
  out.writeUInt16BE(sport, 0);
  out.writeUInt16BE(dport, 2);
  out.writeUInt16BE(length, 4);
  return out;
}

/** Echo: types 8 and 0 (ICMP), 128 and 129 (ICMPv6). */
export function icmp(type: number, identifier = 77, payload = 20): Buffer {
  const out = Buffer.alloc(8 + payload, 0x61);
  out[0] = type;
  out[1] = 0;
  out.writeUInt16BE(identifier, 4);
  out.writeUInt16BE(1, 6);
  return out;
}

/** Two ports and whatever follows: SCTP, DCCP. */
export function ports(sport: number, dport: number, length = 20): Buffer {
  const out = Buffer.alloc(length);
  out.writeUInt16BE(sport, 0);
  out.writeUInt16BE(dport, 2);
  return out;
}

export function frame(packet: Uint8Array, fields: Frame = {}): Buffer {
  const version = (packet[0] ?? 0) >> 4;
  const header = Buffer.alloc(14);
  if (fields.to) header.set(mac(fields.to), 0);
  if (fields.from) header.set(mac(fields.from), 6);
  header.writeUInt16BE(fields.etherType ?? (version === 6 ? 0x86dd : 0x0800), 12);
  return Buffer.concat([header, packet]);
}

/** Hop-by-hop (0), destination options (60): `size` bytes of padding. */
export function optionsHeader(type: number, size = 8): Extension {
  const bytes = Buffer.alloc(size);
  bytes[1] = size / 8 - 1;
  bytes[2] = 1; // PadN
  bytes[3] = size - 4;
  return { type, bytes };
}

export function routingHeader(routingType: number, segmentsLeft: number): Extension {
  return { type: 43, bytes: Buffer.from([0, 2, routingType, segmentsLeft, ...new Uint8Array(20)]) };
}

/** `offset` in 8-byte units. Offset 0 without more: an atomic fragment (RFC 6946). */
export function fragmentHeader(offset: number, more: boolean): Extension {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16BE((offset << 3) | (more ? 1 : 0), 2);
  return { type: 44, bytes };
}
