/** How fields of map keys and values are written and read: without what Buffer's own methods ask and check for each of a packet's fields. */
import type { Addr } from "../core/net/address.js";

/** The characters of `text` as bytes. */
export function writeLatin1(target: Buffer, offset: number, text: string): void {
  for (let i = 0; i < text.length; i++) target[offset + i] = text.charCodeAt(i);
}

/** The 16 bytes of an address in keys: IPv4 as ::ffff:a.b.c.d. */
export function writeAddr16(target: Buffer, offset: number, address: Addr): void {
  if (address.length === 4) {
    target.fill(0, offset, offset + 10);
    target[offset + 10] = 0xff;
    target[offset + 11] = 0xff;
    writeLatin1(target, offset + 12, address);
  } else {
    writeLatin1(target, offset, address);
  }
}

/** Milliseconds as a 64-bit count of nanoseconds, without a bigint: exact for the first 104 days after boot, then within some nanoseconds. */
export function writeNs(target: Buffer, offset: number, ms: number): void {
  const ns = Math.round(ms * 1e6);
  target.writeUInt32LE(ns % 0x1_0000_0000, offset);
  target.writeUInt32LE(Math.floor(ns / 0x1_0000_0000), offset + 4);
}

export function readMs(source: Buffer, offset: number): number {
  return (source.readUInt32LE(offset + 4) * 0x1_0000_0000 + source.readUInt32LE(offset)) / 1e6;
}
