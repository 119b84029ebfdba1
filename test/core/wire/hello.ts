/** ClientHellos built by hand, from the name outwards; every level can be made wrong. */
import { hex, type Random, u16be } from "./bytes.js";

export const vec8 = (body: Uint8Array) => Buffer.concat([Buffer.from([body.length]), body]);
export const vec16 = (body: Uint8Array) => Buffer.concat([u16be(body.length), body]);
export const ext = (type: number, body: Uint8Array) => Buffer.concat([u16be(type), vec16(body)]);
export const hostName = (name: string, type = 0) =>
  Buffer.concat([Buffer.from([type]), vec16(Buffer.from(name, "latin1"))]);
export const sni = (...names: string[]) => ext(0, vec16(Buffer.concat(names.map((name) => hostName(name)))));
export const alpn = (...names: string[]) => ext(16, vec16(Buffer.concat(names.map((name) => vec8(Buffer.from(name))))));
export const versions = (...list: number[]) => ext(43, vec8(Buffer.concat(list.map(u16be))));

export interface HelloOptions {
  version?: number;
  sessionId?: Uint8Array;
  suites?: Uint8Array;
  compression?: Uint8Array;
  /** null: no extensions block at all. */
  extensions?: Uint8Array | null;
  /** Behind the extensions. */
  trailing?: Uint8Array;
  type?: number;
  /** Instead of the true one, in the handshake header. */
  length?: number;
}

/** The handshake message. */
export function handshake(o: HelloOptions = {}): Buffer {
  const extensions =
    o.extensions === undefined ? Buffer.concat([sni("www.example.com"), versions(0x0304)]) : o.extensions;
  const body = Buffer.concat([
    u16be(o.version ?? 0x0303),
    Buffer.alloc(32, 0x5a),
    vec8(o.sessionId ?? Buffer.alloc(32, 1)),
    vec16(o.suites ?? hex("1301c02b")),
    vec8(o.compression ?? hex("00")),
    ...(extensions === null ? [] : [vec16(extensions)]),
    o.trailing ?? new Uint8Array(0),
  ]);
  const length = o.length ?? body.length;
  return Buffer.concat([Buffer.from([o.type ?? 1, length >> 16]), u16be(length & 0xffff), body]);
}

export function record(content: Uint8Array, type = 22, version = 0x0301, length = content.length): Buffer {
  return Buffer.concat([Buffer.from([type]), u16be(version), u16be(length), content]);
}

/** One hello in one record. */
export function hello(o: HelloOptions = {}): Buffer {
  return record(handshake(o));
}

/** The same message over records of the given sizes, the last one repeated. */
export function inRecords(message: Uint8Array, size: () => number): Buffer {
  const records: Buffer[] = [];
  for (let at = 0; at < message.length;) {
    const next = Math.min(message.length, at + Math.max(1, size()));
    records.push(record(message.subarray(at, next)));
    at = next;
  }
  return Buffer.concat(records);
}

export const randomSize = (random: Random, limit: number) => () => 1 + random.below(limit);
