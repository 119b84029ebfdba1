/**
 * Packets for tests, built byte by byte with complete checksums. Everything starts at the network header.
 */
import { addrToBytes, parseAddr } from "../src/core/net/address.js";

export interface Endpoints {
  readonly src: string;
  readonly dst: string;
}

export interface IpOptions {
  readonly ttl?: number;
  /** IPv4: flags and fragment offset field, e.g. 0x2000 = more fragments. */
  readonly fragment?: number;
  /** IPv6: extension headers between the fixed header and the payload, the first one's type in `nextHeader`. */
  readonly extension?: { readonly type: number; readonly bytes: Uint8Array };
}

/** RFC 1071 sum of 16-bit words, folded. */
function fold16(bytes: Uint8Array, initial: number): number {
  let total = initial;
  for (let i = 0; i < bytes.length; i += 2) total += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0);
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return total;
}

function address(text: string): Uint8Array {
  const parsed = parseAddr(text);
  if (!parsed) throw new Error(`not an address: ${text}`);
  return addrToBytes(parsed);
}

/** IPv4 or IPv6 around an upper-layer packet; `checksumAt`: offset of its 16-bit checksum, which is filled in. */
export function ip(
  ends: Endpoints,
  proto: number,
  body: Uint8Array,
  checksumAt?: number,
  options: IpOptions = {},
): Uint8Array {
  const src = address(ends.src);
  const dst = address(ends.dst);
  const payload = Buffer.from(body);
  if (checksumAt !== undefined) {
    payload.writeUInt16BE(0, checksumAt);
    const pseudo = proto === 1 ? 0 : fold16(Buffer.concat([src, dst]), proto + payload.length);
    const value = ~fold16(payload, pseudo) & 0xffff;
    payload.writeUInt16BE(value === 0 && proto === 17 ? 0xffff : value, checksumAt);
  }
  if (src.length === 4) {
    const header = Buffer.alloc(20);
    header[0] = 0x45;
    header.writeUInt16BE(20 + payload.length, 2);
    header.writeUInt16BE(options.fragment ?? 0x4000, 6);
    header[8] = options.ttl ?? 64;
    header[9] = proto;
    header.set(src, 12);
    header.set(dst, 16);
    header.writeUInt16BE(~fold16(header, 0) & 0xffff, 10);
    return Buffer.concat([header, payload]);
  }
  const extension = options.extension?.bytes ?? new Uint8Array(0);
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(extension.length + payload.length, 4);
  header[6] = options.extension?.type ?? proto;
  header[7] = options.ttl ?? 64;
  header.set(src, 8);
  header.set(dst, 24);
  return Buffer.concat([header, extension, payload]);
}

export interface TcpOptions extends IpOptions {
  readonly sport?: number;
  readonly dport?: number;
  readonly seq?: number;
  readonly ack?: number;
  /** Letters of S A F R P U, e.g. "SA". Default "PA" with a payload, "A" without. */
  readonly flags?: string;
  readonly urgent?: number;
  /** TCP options, a multiple of 4 bytes. */
  readonly tcpOptions?: Uint8Array;
}

const FLAGS: Record<string, number> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32 };

export function tcp(ends: Endpoints, options: TcpOptions = {}, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const extra = options.tcpOptions ?? new Uint8Array(0);
  const header = Buffer.alloc(20);
  header.writeUInt16BE(options.sport ?? 40_000, 0);
  header.writeUInt16BE(options.dport ?? 443, 2);
  header.writeUInt32BE((options.seq ?? 1000) >>> 0, 4);
  header.writeUInt32BE((options.ack ?? 5001) >>> 0, 8);
  header[12] = ((20 + extra.length) / 4) << 4;
  header[13] = [...(options.flags ?? (payload.length ? "PA" : "A"))].reduce(
    (all, one) => all | (FLAGS[one] as number),
    0,
  );
  header.writeUInt16BE(65_000, 14);
  header.writeUInt16BE(options.urgent ?? 0, 18);
  return ip(ends, 6, Buffer.concat([header, extra, payload]), 16, options);
}

export interface UdpOptions extends IpOptions {
  readonly sport?: number;
  readonly dport?: number;
}

export function udp(ends: Endpoints, options: UdpOptions, payload: Uint8Array): Uint8Array {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(options.sport ?? 40_000, 0);
  header.writeUInt16BE(options.dport ?? 53, 2);
  header.writeUInt16BE(8 + payload.length, 4);
  return ip(ends, 17, Buffer.concat([header, payload]), 6, options);
}

/** ICMP or ICMPv6 echo request. */
export function ping(ends: Endpoints, id = 7, sequence = 1): Uint8Array {
  const body = Buffer.alloc(16);
  const v4 = !ends.src.includes(":");
  body[0] = v4 ? 8 : 128;
  body.writeUInt16BE(id, 4);
  body.writeUInt16BE(sequence, 6);
  return ip(ends, v4 ? 1 : 58, body, 2);
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
