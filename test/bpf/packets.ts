/**
 * Ethernet frames for BPF_PROG_TEST_RUN. The checksums of what stands behind the IP header are left 0: the fast path doesn't read them (user
 * space and the receiver do).
 */
import { address, datagram, segment, type Extension } from "../packets.js";

export { address, ipPacket as ip, PROTO, TCP, type Extension, type IpFields as Ip } from "../packets.js";

/** 16-byte form of the map keys. */
export function address16(text: string): Uint8Array {
  const bytes = address(text);
  return bytes.length === 16 ? bytes : Buffer.concat([Buffer.from("00000000000000000000ffff", "hex"), bytes]);
}

export function mac(text: string): Buffer {
  return Buffer.from(text.replaceAll(":", ""), "hex");
}

export interface Tcp {
  readonly sport?: number;
  readonly dport: number;
  readonly flags: number;
  readonly seq?: number;
  readonly ack?: number;
  /** Bytes of it. */
  readonly payload?: number;
  /** Header length in words, if not 5. */
  readonly words?: number;
}

export function tcp({ sport = 40000, seq = 1000, ack = 0, payload = 0, ...fields }: Tcp): Buffer {
  return segment({ sport, seq, ack, window: 64240, data: Buffer.alloc(payload, 0x61), ...fields });
}

/** `payload`: bytes of it. `length`: what the length field says, if not the truth. */
export function udp(sport: number, dport: number, payload = 20, length = 8 + payload): Buffer {
  return datagram(sport, dport, Buffer.alloc(payload, 0x61), length);
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

export interface Frame {
  /** "02:…" or undefined for zeros. */
  readonly to?: string;
  readonly from?: string;
  readonly etherType?: number;
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
