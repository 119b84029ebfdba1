/** ClientHello messages, plain and odd ones (RFC 8446 section 4.1.2, RFC 6066 section 3), and request heads. */
import { randomBytes } from "node:crypto";

export interface HelloOptions {
  /** host_name entries of one server_name extension; [] leaves the extension out. */
  readonly names: readonly (string | Uint8Array)[];
  /** A second server_name extension with these. */
  readonly again?: readonly string[];
  /** Bytes of handshake in each TLS record, default all in one. */
  readonly recordSize?: number;
  /** Bytes of padding extension (RFC 7685). */
  readonly padding?: number;
}

/** A hello that nginx and openssl answer: TLS 1.2, ECDHE with ECDSA, P-256. As TLS records. */
export function clientHello(options: HelloOptions): Buffer {
  const extensions: Buffer[] = [];
  if (options.names.length > 0) extensions.push(serverName(options.names));
  if (options.again) extensions.push(serverName(options.again));
  extensions.push(extension(10, Buffer.from([0, 2, 0, 0x17])), extension(11, Buffer.from([1, 0])));
  extensions.push(extension(13, Buffer.from([0, 6, 4, 3, 5, 3, 8, 4])));
  if (options.padding) extensions.push(extension(21, Buffer.alloc(options.padding)));
  const suites = Buffer.from([0xc0, 0x2b, 0xc0, 0x2c]);
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    randomBytes(32),
    Buffer.from([0]),
    vector(2, suites),
    Buffer.from([1, 0]),
    vector(2, Buffer.concat(extensions)),
  ]);
  const handshake = Buffer.concat([Buffer.from([1]), vector(3, body)]);
  const size = options.recordSize ?? 16_384;
  const records: Buffer[] = [];
  for (let at = 0; at < handshake.length; at += size) {
    records.push(Buffer.concat([Buffer.from([22, 3, 1]), vector(2, handshake.subarray(at, at + size))]));
  }
  return Buffer.concat(records);
}

/** A plain hello for one name. */
export function hello(name: string): Buffer {
  return clientHello({ names: [name] });
}

export function request(host: string, path = "/"): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
}

/** The server went on with the handshake: a record of type handshake that begins with a ServerHello. */
export function isServerHello(bytes: Uint8Array): boolean {
  return bytes[0] === 22 && bytes[5] === 2;
}

function serverName(names: readonly (string | Uint8Array)[]): Buffer {
  const list = names.map((name) => Buffer.concat([Buffer.from([0]), vector(2, Buffer.from(name as Uint8Array))]));
  return extension(0, vector(2, Buffer.concat(list)));
}

function extension(type: number, data: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type >> 8, type & 255]), vector(2, data)]);
}

function vector(lengthBytes: number, data: Uint8Array): Buffer {
  const length = Buffer.alloc(lengthBytes);
  length.writeUIntBE(data.length, 0, lengthBytes);
  return Buffer.concat([length, data]);
}
