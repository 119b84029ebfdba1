/**
 * A QUIC client's first packets, built from the hello outwards; every level can be made wrong. Nothing of src is in it: where src and this agree, two
 * readings of RFC 9000, 9001 and 9369 do.
 */
import { createCipheriv, createHmac, hkdfSync } from "node:crypto";
import { hex, type Random, u16be } from "./core/wire/bytes.js";
import { alpn, ext, handshake, type HelloOptions, sni, versions } from "./core/wire/hello.js";

export const V1 = 1;
export const V2 = 0x6b3343cf;

export interface Keys {
  readonly key: Buffer;
  readonly iv: Buffer;
  readonly hp: Buffer;
}

/** RFC 9001 5.2, RFC 9369 3.3. A version that isn't 2 gets the keys of version 1. */
export function keysOf(version: number, dcid: Uint8Array, side: "client" | "server" = "client"): Keys {
  const v2 = version === V2;
  const salt = hex(v2 ? "0dede3def700a6db819381be6e269dcbf9bd2ed9" : "38762cf7f55934b34d179ae6a4c80cadccbb7f0a");
  const secret = new Uint8Array(hkdfSync("sha256", dcid, salt, labelled(`${side} in`, 32), 32));
  const expand = (label: string, size: number) =>
    createHmac("sha256", secret)
      .update(labelled(`${v2 ? "quicv2" : "quic"} ${label}`, size))
      .update("\x01")
      .digest()
      .subarray(0, size);
  return { key: expand("key", 16), iv: expand("iv", 12), hp: expand("hp", 16) };
}

/** RFC 8446 7.1: HkdfLabel with an empty context. */
function labelled(label: string, size: number): Buffer {
  const full = Buffer.from(`tls13 ${label}`);
  return Buffer.concat([u16be(size), Buffer.from([full.length]), full, Buffer.alloc(1)]);
}

/** RFC 9000 16. `size`: more bytes than it needs (1, 2, 4, 8). */
export function varint(value: number | bigint, size?: number): Buffer {
  const number = BigInt(value);
  const log = [0, 1, 2, 3].find((l) => (size === undefined ? number < 1n << BigInt((8 << l) - 2) : size === 1 << l))!;
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(number | (BigInt(log) << BigInt((8 << log) - 2)));
  return bytes.subarray(8 - (1 << log));
}

/** The frames that a client's Initial packet may carry (RFC 9000 19). */
export const frame = {
  padding: (count = 1) => Buffer.alloc(count),
  ping: () => Buffer.from([1]),
  /** `ranges`: gap and length of each further range; `ecn`: with counts. */
  ack: (largest: number, first = 0, ranges: readonly (readonly [number, number])[] = [], ecn = false) =>
    Buffer.concat([
      Buffer.from([ecn ? 3 : 2]),
      ...[largest, 25, ranges.length, first, ...ranges.flat(), ...(ecn ? [1, 0, 0] : [])].map((n) => varint(n)),
    ]),
  crypto: (offset: number | bigint, bytes: Uint8Array) =>
    Buffer.concat([Buffer.from([6]), varint(offset), varint(bytes.length), bytes]),
  close: (reason = "") => Buffer.concat([hex("1c0100"), varint(reason.length), Buffer.from(reason)]),
} as const;

export interface LongOptions {
  version?: number;
  /** By the name; the bits follow the version. Default "initial". */
  type?: "initial" | "0-rtt" | "handshake" | "retry";
  dcid?: Uint8Array;
  scid?: Uint8Array;
  /** Initial only. */
  token?: Uint8Array;
  /** Full packet number, its low bytes are sent. Default 0. */
  pn?: number;
  /** Bytes of it on the wire, 1 to 4. Default 1. */
  pnSize?: number;
  fixedBit?: 0 | 1;
  /** 0 to 3, default 0. */
  reserved?: number;
  /** Bytes of the Length field. Default 2, as most clients do. */
  lengthSize?: 1 | 2 | 4 | 8;
  /** Added to the true Length. */
  lengthOff?: number;
  /** Instead of those of version, dcid and the client. */
  keys?: Keys;
}

/** The connection id of the RFCs' examples. */
export const DCID = hex("8394c8f03e515708");
const TYPES = ["initial", "0-rtt", "handshake", "retry"] as const;

/** A protected packet with a long header around `content`. Those that aren't Initial packets are protected with the same keys: nobody between has the real ones. */
export function longPacket(content: Uint8Array, o: LongOptions = {}): Buffer {
  const { version = V1, type = "initial", dcid = DCID, scid = new Uint8Array(0), token = new Uint8Array(0) } = o;
  const { pn = 0, pnSize = 1, lengthSize = 2, lengthOff = 0, keys = keysOf(version, dcid) } = o;
  const bits = (TYPES.indexOf(type) + (version === V2 ? 1 : 0)) & 3;
  const first = 0x80 | ((o.fixedBit ?? 1) << 6) | (bits << 4) | ((o.reserved ?? 0) << 2) | (pnSize - 1);
  const start = Buffer.concat([
    Buffer.from([first]),
    u16be(Math.floor(version / 65536)),
    u16be(version & 0xffff),
    Buffer.from([dcid.length]),
    dcid,
    Buffer.from([scid.length]),
    scid,
    ...(type === "initial" ? [varint(token.length), token] : []),
    varint(pnSize + content.length + 16 + lengthOff, lengthSize),
  ]);
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(BigInt(pn));
  const header = Buffer.concat([start, number.subarray(8 - pnSize)]);

  const nonce = Buffer.from(keys.iv);
  for (let i = 0; i < 8; i++) nonce[4 + i]! ^= number[i]!;
  const cipher = createCipheriv("aes-128-gcm", keys.key, nonce).setAAD(header);
  const body = Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]);

  const packet = Buffer.concat([header, body]);
  // Too short for a sample: it is filled up with zeros, the packet isn't.
  const sample = Buffer.concat([packet.subarray(start.length + 4, start.length + 20), Buffer.alloc(16)]).subarray(
    0,
    16,
  );
  const mask = createCipheriv("aes-128-ecb", keys.hp, null).update(sample);
  packet[0]! ^= mask[0]! & 0x0f;
  for (let i = 0; i < pnSize; i++) packet[start.length + i]! ^= mask[1 + i]!;
  return packet;
}

/** Something with a short header: to anybody between it is a bit and noise. */
export function shortPacket(size = 40, dcid: Uint8Array = new Uint8Array(0)): Buffer {
  return Buffer.concat([Buffer.from([0x41]), dcid, Buffer.alloc(size, 0xa5)]);
}

export interface QuicHelloOptions extends HelloOptions {
  name?: string;
  /** Bytes that make it longer: Chromium's and Firefox's have a post-quantum key share and don't fit into one datagram. */
  more?: number;
}

/** The handshake message of a client that speaks QUIC. */
export function quicHello({ name = "www.example.com", more = 0, ...o }: QuicHelloOptions = {}): Buffer {
  return handshake({
    sessionId: new Uint8Array(0),
    extensions: Buffer.concat([
      sni(name),
      versions(0x0304),
      alpn("h3"),
      ext(57, hex("0408ffffffffffffffff05048000ffff")),
      ...(more > 0 ? [ext(51, Buffer.alloc(more, 9))] : []),
    ]),
    ...o,
  });
}

export interface FlightOptions extends LongOptions {
  /** Content of a packet, padding included; the same for all. Default: what makes a datagram of 1,200 bytes. */
  contentSize?: number;
}

/** Datagrams with this hello, in order, each one Initial packet: the first flight of a plain client. */
export function flight(hello: Uint8Array, o: FlightOptions = {}): Buffer[] {
  const overhead = longPacket(new Uint8Array(0), o).length;
  const size = o.contentSize ?? 1200 - overhead;
  const room = size - 8;
  const datagrams: Buffer[] = [];
  for (let at = 0; at < hello.length; at += room) {
    const content = Buffer.alloc(size);
    content.set(frame.crypto(at, hello.subarray(at, at + room)));
    datagrams.push(longPacket(content, { ...o, pn: (o.pn ?? 0) + datagrams.length }));
  }
  return datagrams;
}

/** The bytes of `stream` as CRYPTO frames in any order, cut anywhere, `overlap` of the cuts sent twice in part. */
export function scattered(stream: Uint8Array, random: Random, pieces: number, overlap = 0): Buffer[] {
  const cuts = [0, stream.length, ...Array.from({ length: pieces - 1 }, () => random.below(stream.length))];
  cuts.sort((a, b) => a - b);
  const ranges = cuts.slice(1).map((end, i): [number, number] => [cuts[i]!, end]);
  for (let i = 0; i < overlap; i++) {
    const from = random.below(stream.length);
    ranges.push([from, from + random.below(stream.length - from)]);
  }
  return shuffled(ranges, random).map(([from, to]) => frame.crypto(from, stream.subarray(from, to)));
}

export function shuffled<T>(list: readonly T[], random: Random): T[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}
