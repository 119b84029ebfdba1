/**
 * IP packets made by hand, also wrong ones. Written apart from src/core/wire on purpose: what is tested must not build its own tests.
 * RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP).
 */
import { isIPv4 } from "node:net";

export interface IpOptions {
  /** TTL or hop limit, default 64. */
  readonly ttl?: number;
  /** IPv4 identification, for fragments. */
  readonly id?: number;
}

export interface TcpFields {
  readonly sport: number;
  readonly dport: number;
  readonly seq: number;
  readonly ack?: number;
  /** As letters: S, A, F, R, P, U. */
  readonly flags: string;
  readonly window?: number;
  readonly urgent?: number;
  /** Padded with zeros to a multiple of four. */
  readonly options?: Uint8Array;
  readonly data?: Uint8Array;
  /** Make the checksum wrong. */
  readonly badChecksum?: boolean;
}

export function addressBytes(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split(".").map(Number));
  const [left = "", right] = text.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => parseInt(group, 16)));
  const head = groups(left);
  const tail = right === undefined ? [] : groups(right);
  const all = [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 255]));
}

/** A whole IP packet around `payload`; the family is that of `src`. */
export function ip(src: string, dst: string, proto: number, payload: Uint8Array, options: IpOptions = {}): Buffer {
  return isIPv4(src) ? ip4(src, dst, proto, payload, options, 0) : ip6(src, dst, proto, payload, options);
}

/** The same packet as fragments whose payloads are `size` bytes (a multiple of 8) but for the last. */
export function fragments(
  src: string,
  dst: string,
  proto: number,
  payload: Uint8Array,
  size: number,
  id: number,
): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 0; at < payload.length; at += size) {
    const part = payload.subarray(at, at + size);
    const more = at + size < payload.length ? 1 : 0;
    if (isIPv4(src)) {
      out.push(ip4(src, dst, proto, part, { id }, (more << 13) | (at >> 3)));
    } else {
      // RFC 8200 section 4.5; next header 44.
      const header = Buffer.alloc(8);
      header[0] = proto;
      header.writeUInt16BE(((at >> 3) << 3) | more, 2);
      header.writeUInt32BE(id, 4);
      out.push(ip6(src, dst, 44, Buffer.concat([header, part]), {}));
    }
  }
  return out;
}

export function tcp(src: string, dst: string, fields: TcpFields): Buffer {
  const given = fields.options ?? new Uint8Array();
  const options = Buffer.concat([given, Buffer.alloc((4 - (given.length % 4)) % 4)]);
  const data = fields.data ?? new Uint8Array();
  const header = Buffer.alloc(20);
  header.writeUInt16BE(fields.sport, 0);
  header.writeUInt16BE(fields.dport, 2);
  header.writeUInt32BE(fields.seq >>> 0, 4);
  header.writeUInt32BE((fields.ack ?? 0) >>> 0, 8);
  header[12] = ((20 + options.length) / 4) << 4;
  header[13] = [..."FSRPAU"].reduce((bits, letter, i) => bits | (fields.flags.includes(letter) ? 1 << i : 0), 0);
  header.writeUInt16BE(fields.window ?? 65_000, 14);
  header.writeUInt16BE(fields.urgent ?? 0, 18);
  const segment = Buffer.concat([header, options, data]);
  const sum = checksum(src, dst, 6, segment);
  segment.writeUInt16BE(fields.badChecksum ? sum ^ 0x5555 : sum, 16);
  return segment;
}

export function udp(src: string, dst: string, sport: number, dport: number, data: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(sport, 0);
  header.writeUInt16BE(dport, 2);
  header.writeUInt16BE(8 + data.length, 4);
  const datagram = Buffer.concat([header, data]);
  datagram.writeUInt16BE(checksum(src, dst, 17, datagram) || 0xffff, 6);
  return datagram;
}

export interface ReadTcp {
  readonly src: Buffer;
  readonly sport: number;
  readonly dport: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly data: Buffer;
}

/** What the lab's own servers send back: plain packets without extension headers. undefined: not TCP. */
export function readTcp(packet: Buffer): ReadTcp | undefined {
  const v4 = (packet[0] as number) >> 4 === 4;
  if ((v4 ? packet[9] : packet[6]) !== 6) return undefined;
  const at = v4 ? ((packet[0] as number) & 15) * 4 : 40;
  const end = v4 ? packet.readUInt16BE(2) : 40 + packet.readUInt16BE(4);
  return {
    src: Buffer.from(v4 ? packet.subarray(12, 16) : packet.subarray(8, 24)),
    sport: packet.readUInt16BE(at),
    dport: packet.readUInt16BE(at + 2),
    seq: packet.readUInt32BE(at + 4),
    ack: packet.readUInt32BE(at + 8),
    flags: packet[at + 13] as number,
    data: Buffer.from(packet.subarray(at + ((packet[at + 12] as number) >> 4) * 4, end)),
  };
}

export const Flag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;

function ip4(src: string, dst: string, proto: number, payload: Uint8Array, options: IpOptions, offset: number): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + payload.length, 2);
  header.writeUInt16BE(options.id ?? 0, 4);
  header.writeUInt16BE(offset, 6);
  header[8] = options.ttl ?? 64;
  header[9] = proto;
  addressBytes(src).copy(header, 12);
  addressBytes(dst).copy(header, 16);
  header.writeUInt16BE(fold(header), 10);
  return Buffer.concat([header, payload]);
}

function ip6(src: string, dst: string, next: number, payload: Uint8Array, options: IpOptions): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(payload.length, 4);
  header[6] = next;
  header[7] = options.ttl ?? 64;
  addressBytes(src).copy(header, 8);
  addressBytes(dst).copy(header, 24);
  return Buffer.concat([header, payload]);
}

function checksum(src: string, dst: string, proto: number, segment: Buffer): number {
  const length = Buffer.alloc(8);
  length.writeUInt32BE(segment.length, 0);
  length[7] = proto;
  return fold(Buffer.concat([addressBytes(src), addressBytes(dst), length, segment]));
}

function fold(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  if (bytes.length % 2) sum += (bytes[bytes.length - 1] as number) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
