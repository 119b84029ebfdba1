/** IP packets for the lab's raw sockets, also wrong ones, and reading what comes back. */
import { isIPv4 } from "node:net";
import { checksummed, datagram, flagBits, ipPacket, PROTO, segment } from "../packets.js";

export { address as addressBytes } from "../packets.js";

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

/** A whole IP packet around `payload`; the family is that of `src`. */
export function ip(src: string, dst: string, proto: number, payload: Uint8Array, options: IpOptions = {}): Buffer {
  return ipPacket({ src, dst, proto, body: payload, ...options });
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
    const body = payload.subarray(at, at + size);
    const more = at + size < payload.length ? 1 : 0;
    // RFC 8200 section 4.5; next header 44.
    const bytes = Buffer.alloc(8);
    bytes.writeUInt16BE(at | more, 2);
    bytes.writeUInt32BE(id, 4);
    if (isIPv4(src)) out.push(ipPacket({ src, dst, proto, body, id, fragment: (more << 13) | (at >> 3) }));
    else out.push(ipPacket({ src, dst, proto, body, extensions: [{ type: 44, bytes }] }));
  }
  return out;
}

/** A segment with its checksum, for `ip`. */
export function tcp(src: string, dst: string, fields: TcpFields): Buffer {
  const { ack = 0, flags, badChecksum, ...rest } = fields;
  const out = checksummed(src, dst, PROTO.TCP, segment({ ack, flags: flagBits(flags), ...rest }), 16);
  if (badChecksum) out.writeUInt16BE(out.readUInt16BE(16) ^ 0x5555, 16);
  return out;
}

/** A datagram with its checksum, for `ip`. */
export function udp(src: string, dst: string, sport: number, dport: number, data: Uint8Array): Buffer {
  return checksummed(src, dst, PROTO.UDP, datagram(sport, dport, data), 6);
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
