/** DNS messages byte by byte (RFC 1035 4), so that a test can break any one of them. */
import { address } from "../packets.js";

export const A = 1;
export const AAAA = 28;

/** Name, type and class of a question. */
export function question(name: string, type = A, cls = 1): Buffer {
  const labels = name.split(".").map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([...labels, Buffer.from([0, type >> 8, type & 255, cls >> 8, cls & 255])]);
}

export interface Message {
  readonly id?: number;
  readonly flags?: number;
  readonly question?: Buffer;
  /** Questions, answers, authority, additional, if not as they are. */
  readonly counts?: readonly [number, number, number, number];
  readonly answers?: readonly Buffer[];
  readonly authority?: readonly Buffer[];
  readonly additional?: readonly Buffer[];
  /** Behind everything. */
  readonly trailing?: Buffer;
}

export function message({ id = 77, flags = 0x0100, ...parts }: Message): Buffer {
  const { answers = [], authority = [], additional = [] } = parts;
  const counts = parts.counts ?? [1, answers.length, authority.length, additional.length];
  const header = Buffer.alloc(12);
  [id, flags, ...counts].forEach((value, i) => header.writeUInt16BE(value, 2 * i));
  const body = [parts.question ?? question("www.x.io"), ...answers, ...authority, ...additional];
  return Buffer.concat([header, ...body, parts.trailing ?? Buffer.alloc(0)]);
}

/** An answer to it: recursion available, no error. */
export function reply(parts: Message): Buffer {
  return message({ flags: 0x8180, ...parts });
}

export interface Record {
  /** Default: a pointer to the question. */
  readonly owner?: Buffer;
  readonly type?: number;
  readonly cls?: number;
  readonly ttl?: number;
  readonly data?: Buffer;
  /** What RDLENGTH says, if not the truth. */
  readonly length?: number;
}

/** An address record of the question's name. */
export function record(to: string, fields: Record = {}): Buffer {
  const data = fields.data ?? address(to);
  const { owner = Buffer.from([0xc0, 0x0c]), type = data.length === 4 ? A : AAAA, cls = 1, ttl = 0 } = fields;
  const head = Buffer.alloc(10);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(cls, 2);
  head.writeUInt32BE(ttl, 4);
  head.writeUInt16BE(fields.length ?? data.length, 8);
  return Buffer.concat([owner, head, data]);
}

/** EDNS (RFC 6891): `ttl` is {extended rcode, version, flags}. */
export function opt(options: Buffer = Buffer.alloc(0), ttl = 0, length?: number): Buffer {
  const owner = Buffer.from([0]);
  return record("", { owner, type: 41, cls: 1232, ttl, data: options, ...(length === undefined ? {} : { length }) });
}

export function option(code: number, data: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(code, 0);
  head.writeUInt16BE(data.length, 2);
  return Buffer.concat([head, data]);
}

export const cookie = option(10, Buffer.from("0102030405060708", "hex"));
