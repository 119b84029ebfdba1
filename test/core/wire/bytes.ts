/** Packets and messages built by hand, with nothing of src in them but types; a seeded generator for bounded fuzzing. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Parsed } from "../../../src/core/wire/result.js";

/** Bytes of fixtures/NAME.hex (see fixtures/README.md). */
export function fixture(name: string): Buffer {
  return hex(readFileSync(new URL(`fixtures/${name}.hex`, import.meta.url), "utf8"));
}

/** Datagrams of fixtures/NAME.hex, one a line. */
export function datagramsOf(name: string): Buffer[] {
  const lines = readFileSync(new URL(`fixtures/${name}.hex`, import.meta.url), "utf8")
    .trim()
    .split("\n");
  return lines.map(hex);
}

export function hex(text: string): Buffer {
  const clean = text.replace(/\s+/g, "");
  const bytes = Buffer.from(clean, "hex");
  assert.equal(bytes.length * 2, clean.length, "bad hex");
  return bytes;
}

export function u16be(value: number): Buffer {
  return Buffer.from([(value >> 8) & 0xff, value & 0xff]);
}

/** RFC 1071 the slow way: sum of all words, then the carries. */
export function slowChecksum(bytes: Uint8Array): number {
  let total = 0n;
  for (let i = 0; i < bytes.length; i++) total += BigInt(bytes[i]!) << (i % 2 === 0 ? 8n : 0n);
  while (total > 0xffffn) total = (total & 0xffffn) + (total >> 16n);
  return Number(~total & 0xffffn);
}

export interface Ip4Options {
  proto?: number;
  src?: string;
  dst?: string;
  ttl?: number;
  /** Flags and fragment offset. */
  frag?: number;
  options?: Uint8Array;
  /** Instead of the true one. */
  totalLength?: number;
  ihl?: number;
}

export function ip4(payload: Uint8Array, o: Ip4Options = {}): Buffer {
  const options = o.options ?? new Uint8Array(0);
  const length = 20 + options.length;
  const header = Buffer.alloc(length);
  header[0] = 0x40 | (o.ihl ?? length / 4);
  header.writeUInt16BE(o.totalLength ?? length + payload.length, 2);
  header.writeUInt16BE(o.frag ?? 0x4000, 6);
  header[8] = o.ttl ?? 64;
  header[9] = o.proto ?? 6;
  header.set((o.src ?? "10.0.0.2").split(".").map(Number), 12);
  header.set((o.dst ?? "192.0.2.7").split(".").map(Number), 16);
  header.set(options, 20);
  header.writeUInt16BE(slowChecksum(header), 10);
  return Buffer.concat([header, payload]);
}

/** 2001:db8::2 → 2001:db8::7. */
export const SRC6 = hex("20010db8000000000000000000000002");
export const DST6 = hex("20010db8000000000000000000000007");

export interface Ip6Options {
  proto?: number;
  /** Extension headers, in order: {type, whole header with its first byte to be filled in}. */
  ext?: readonly { type: number; bytes: Uint8Array }[];
  payloadLength?: number;
  hopLimit?: number;
}

export function ip6(payload: Uint8Array, o: Ip6Options = {}): Buffer {
  const ext = (o.ext ?? []).map(({ type, bytes }) => ({ type, bytes: Buffer.from(bytes) }));
  const types = [...ext.map(({ type }) => type), o.proto ?? 6];
  ext.forEach(({ bytes }, i) => (bytes[0] = types[i + 1]!));
  const body = Buffer.concat([...ext.map(({ bytes }) => bytes), payload]);
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(o.payloadLength ?? body.length, 4);
  header[6] = types[0]!;
  header[7] = o.hopLimit ?? 64;
  header.set(SRC6, 8);
  header.set(DST6, 24);
  return Buffer.concat([header, body]);
}

export interface TcpOptions {
  sport?: number;
  dport?: number;
  seq?: number;
  ack?: number;
  flags?: number;
  window?: number;
  urgent?: number;
  options?: Uint8Array;
  dataOffset?: number;
}

/** Without checksum. */
export function tcp(payload: Uint8Array = new Uint8Array(0), o: TcpOptions = {}): Buffer {
  const options = o.options ?? new Uint8Array(0);
  const header = Buffer.alloc(20);
  header.writeUInt16BE(o.sport ?? 40000, 0);
  header.writeUInt16BE(o.dport ?? 443, 2);
  header.writeUInt32BE(o.seq ?? 0xfffffff0, 4);
  header.writeUInt32BE(o.ack ?? 0x90000001, 8);
  header[12] = (o.dataOffset ?? 5 + options.length / 4) << 4;
  header[13] = o.flags ?? 0x18;
  header.writeUInt16BE(o.window ?? 64240, 14);
  header.writeUInt16BE(o.urgent ?? 0, 18);
  return Buffer.concat([header, options, payload]);
}

/** Without checksum. */
export function udp(payload: Uint8Array = new Uint8Array(0), sport = 40000, dport = 53, length?: number): Buffer {
  return Buffer.concat([u16be(sport), u16be(dport), u16be(length ?? 8 + payload.length), u16be(0), payload]);
}

/** Fill in the transport checksum of a packet without options, extension headers or fragments, the slow way. */
export function withChecksum(packet: Uint8Array, at: number): Buffer {
  const out = Buffer.from(packet);
  const v4 = out[0]! >> 4 === 4;
  const header = v4 ? 20 : 40;
  const body = out.subarray(header);
  body.writeUInt16BE(0, at);
  const proto = v4 ? out[9]! : out[6]!;
  const addresses = v4 ? out.subarray(12, 20) : out.subarray(8, 40);
  const pseudo =
    proto === 1 ? Buffer.alloc(0) : Buffer.concat([addresses, u16be(0), u16be(body.length), u16be(0), u16be(proto)]);
  body.writeUInt16BE(slowChecksum(Buffer.concat([pseudo, body])), at);
  return out;
}

/** The code of an invalid result; anything else fails. */
export function codeOf(result: Parsed<unknown>): string {
  assert.equal(result.kind, "invalid", JSON.stringify(result));
  return result.kind === "invalid" ? result.code : "";
}

/** The value of a done result; anything else fails. */
export function valueOf<T>(result: Parsed<T>): T {
  if (result.kind !== "done") assert.fail(JSON.stringify(result));
  return result.value;
}

/** A small seeded generator (mulberry32): the same bytes in every run. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** 0 ≤ n < limit. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * limit);
  }
}

/** One to four changes: a bit, a byte, a cut, an insertion, a repeated piece. */
export function mutate(bytes: Uint8Array, random: Random): Buffer {
  let out = Buffer.from(bytes);
  for (let n = 1 + random.below(4); n > 0; n--) {
    const at = random.below(Math.max(out.length, 1));
    switch (random.below(5)) {
      case 0:
        if (out.length > 0) out[at]! ^= 1 << random.below(8);
        break;
      case 1:
        if (out.length > 0) out[at] = [0, 0xff, 0x7f, 0xc0, random.below(256)][random.below(5)]!;
        break;
      case 2:
        out = out.subarray(0, at);
        break;
      case 3:
        out = Buffer.concat([out.subarray(0, at), Buffer.from([random.below(256)]), out.subarray(at)]);
        break;
      default:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at, at + random.below(40)), out.subarray(at)]);
    }
  }
  return out;
}
