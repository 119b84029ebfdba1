/**
 * Packets for tests, field by field, so that a test can break any one of them. Written apart from src on purpose: what is tested must not
 * build its own tests. RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP).
 *
 * Pieces first (header around a body, segment, datagram), then whole packets with complete checksums.
 */
import { isIPv4, isIPv6 } from "node:net";

export const PROTO = { ICMP: 1, TCP: 6, UDP: 17, DCCP: 33, GRE: 47, ESP: 50, AH: 51, ICMP6: 58, SCTP: 132 } as const;
export const TCP = { FIN: 0x01, SYN: 0x02, RST: 0x04, PSH: 0x08, ACK: 0x10, URG: 0x20 } as const;

/** 4 or 16 bytes. */
export function address(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split(".").map(Number));
  if (!isIPv6(text)) throw new Error(`not an address: ${text}`);
  // RFC 4291 2.2.3: the last two groups may be written as an IPv4 address.
  const plain = text.replace(/\d+\.\d+\.\d+\.\d+$/, (v4) => address(v4).toString("hex").replace(/^..../, "$&:"));
  const [left = "", right] = plain.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => parseInt(group, 16)));
  const head = groups(left);
  const tail = right === undefined ? [] : groups(right);
  const all = [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 255]));
}

/** RFC 1071: what a checksum field must hold that is 0 in `bytes`. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/** A copy of `body` whose checksum, over the pseudo header too (not for ICMP), is filled in at `at`. */
export function checksummed(src: string, dst: string, proto: number, body: Uint8Array, at: number): Buffer {
  const out = Buffer.from(body);
  out.writeUInt16BE(0, at);
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(out.length, 0);
  tail[7] = proto;
  const pseudo = proto === PROTO.ICMP ? [] : [address(src), address(dst), tail];
  const value = checksum(Buffer.concat([...pseudo, out]));
  // RFC 768: 0 would mean "none".
  out.writeUInt16BE(value === 0 && proto === PROTO.UDP ? 0xffff : value, at);
  return out;
}

export interface Extension {
  readonly type: number;
  /** The whole header; its first byte (the next type) is filled in. */
  readonly bytes: Uint8Array;
}

export interface IpFields {
  readonly src: string;
  readonly dst: string;
  readonly proto: number;
  readonly body: Uint8Array;
  /** TTL or hop limit, default 64. */
  readonly ttl?: number | undefined;
  /** IPv4: identification, for fragments. */
  readonly id?: number | undefined;
  /** IPv4: flags and fragment offset; 0x2000 is "more fragments". Default 0. */
  readonly fragment?: number | undefined;
  /** IPv4: header words behind the fifth. */
  readonly options?: Uint8Array;
  /** IPv6: extension headers, outermost first; each gives its own type. */
  readonly extensions?: readonly Extension[];
  /** What the length field says, if not the truth. */
  readonly length?: number;
  /** IPv4: what the header length field says in words, if not the truth. */
  readonly words?: number;
  readonly version?: number;
}

/** The header around `body`; the family is that of `src`. */
export function ipPacket(fields: IpFields): Buffer {
  return isIPv4(fields.src) ? ip4(fields) : ip6(fields);
}

function ip4(fields: IpFields): Buffer {
  const options = fields.options ?? new Uint8Array(0);
  const header = Buffer.alloc(20 + options.length);
  header[0] = ((fields.version ?? 4) << 4) | (fields.words ?? header.length / 4);
  header.writeUInt16BE(fields.length ?? header.length + fields.body.length, 2);
  header.writeUInt16BE(fields.id ?? 0, 4);
  header.writeUInt16BE(fields.fragment ?? 0, 6);
  header[8] = fields.ttl ?? 64;
  header[9] = fields.proto;
  header.set(address(fields.src), 12);
  header.set(address(fields.dst), 16);
  header.set(options, 20);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, fields.body]);
}

function ip6(fields: IpFields): Buffer {
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

export interface SegmentFields {
  readonly sport: number;
  readonly dport: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window?: number | undefined;
  readonly urgent?: number | undefined;
  /** Padded with zeros to a multiple of four. */
  readonly options?: Uint8Array | undefined;
  readonly data?: Uint8Array | undefined;
  /** What the header length field says in words, if not the truth. */
  readonly words?: number | undefined;
}

/** TCP header and data; the checksum is 0. */
export function segment(fields: SegmentFields): Buffer {
  const options = Buffer.from(fields.options ?? []);
  const padding = Buffer.alloc((4 - (options.length % 4)) % 4);
  const header = Buffer.alloc(20);
  header.writeUInt16BE(fields.sport, 0);
  header.writeUInt16BE(fields.dport, 2);
  header.writeUInt32BE(fields.seq >>> 0, 4);
  header.writeUInt32BE(fields.ack >>> 0, 8);
  header[12] = (fields.words ?? (20 + options.length + padding.length) / 4) << 4;
  header[13] = fields.flags;
  header.writeUInt16BE(fields.window ?? 65_000, 14);
  header.writeUInt16BE(fields.urgent ?? 0, 18);
  return Buffer.concat([header, options, padding, fields.data ?? new Uint8Array(0)]);
}

/** The bits of letters out of S A F R P U. */
export function flagBits(letters: string): number {
  return [..."FSRPAU"].reduce((bits, letter, i) => bits | (letters.includes(letter) ? 1 << i : 0), 0);
}

/** UDP header and data; the checksum is 0. `length`: what the length field says, if not the truth. */
export function datagram(sport: number, dport: number, data: Uint8Array, length = 8 + data.length): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(sport, 0);
  header.writeUInt16BE(dport, 2);
  header.writeUInt16BE(length, 4);
  return Buffer.concat([header, data]);
}

// --- whole packets -----------------------------------------------------------------------------------------------------

export interface Endpoints {
  readonly src: string;
  readonly dst: string;
}

export interface IpOptions {
  readonly ttl?: number;
  /** IPv4: flags and fragment offset field. Default 0x4000, "don't fragment". */
  readonly fragment?: number;
}

/** IPv4 or IPv6 around an upper-layer packet; `checksumAt`: offset of its 16-bit checksum, which is filled in. */
export function ip(
  ends: Endpoints,
  proto: number,
  body: Uint8Array,
  checksumAt?: number,
  options: IpOptions = {},
): Uint8Array {
  const { src, dst } = ends;
  const whole = checksumAt === undefined ? body : checksummed(src, dst, proto, body, checksumAt);
  return ipPacket({ src, dst, proto, body: whole, ttl: options.ttl, fragment: options.fragment ?? 0x4000 });
}

export interface TcpOptions extends IpOptions {
  readonly sport?: number;
  readonly dport?: number;
  readonly seq?: number;
  readonly ack?: number;
  /** Letters of S A F R P U, e.g. "SA". Default "PA" with a payload, "A" without. */
  readonly flags?: string;
  readonly urgent?: number;
  readonly tcpOptions?: Uint8Array;
}

export function tcp(ends: Endpoints, options: TcpOptions = {}, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const body = segment({
    sport: options.sport ?? 40_000,
    dport: options.dport ?? 443,
    seq: options.seq ?? 1000,
    ack: options.ack ?? 5001,
    flags: flagBits(options.flags ?? (payload.length ? "PA" : "A")),
    urgent: options.urgent,
    options: options.tcpOptions,
    data: payload,
  });
  return ip(ends, PROTO.TCP, body, 16, options);
}

export interface UdpOptions extends IpOptions {
  readonly sport?: number;
  readonly dport?: number;
}

export function udp(ends: Endpoints, options: UdpOptions, payload: Uint8Array): Uint8Array {
  return ip(ends, PROTO.UDP, datagram(options.sport ?? 40_000, options.dport ?? 53, payload), 6, options);
}

/** ICMP or ICMPv6 echo request. */
export function ping(ends: Endpoints, id = 7, sequence = 1): Uint8Array {
  const body = Buffer.alloc(16);
  const v4 = isIPv4(ends.src);
  body[0] = v4 ? 8 : 128;
  body.writeUInt16BE(id, 4);
  body.writeUInt16BE(sequence, 6);
  return ip(ends, v4 ? PROTO.ICMP : PROTO.ICMP6, body, 2);
}

/** A plain TLS 1.2/1.3-shaped ClientHello; `names` become host_name entries of one server_name extension, none: no extension. */
export function clientHello(names: readonly (string | Buffer)[], options: { pad?: number } = {}): Buffer {
  const u16 = (value: number) => Buffer.from([value >> 8, value & 0xff]);
  const block = (bytes: Buffer) => Buffer.concat([u16(bytes.length), bytes]);
  const extension = (type: number, body: Buffer) => Buffer.concat([u16(type), block(body)]);
  const extensions: Buffer[] = [];
  if (names.length > 0) {
    const list = names.map((name) => Buffer.concat([Buffer.from([0]), block(Buffer.from(name))]));
    extensions.push(extension(0, block(Buffer.concat(list))));
  }
  extensions.push(extension(43, Buffer.from([4, 3, 4, 3, 3]))); // supported_versions 1.3, 1.2
  if (options.pad) extensions.push(extension(21, Buffer.alloc(options.pad)));
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 0x5a),
    Buffer.from([0]),
    block(Buffer.from([0x13, 0x01, 0xc0, 0x2f])),
    Buffer.from([1, 0]),
    block(Buffer.concat(extensions)),
  ]);
  const handshake = Buffer.concat([Buffer.from([1, 0]), block(body)]);
  return Buffer.concat([Buffer.from([22, 3, 1]), block(handshake)]);
}
