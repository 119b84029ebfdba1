/** How fields of map keys and values are written and read: without what Buffer's own methods ask and check for each of a packet's fields. */
import type { Addr } from "../core/net/address.js";

/** Keys or values of a map: as bytes, and as words in the machine's order, which is that of eBPF. */
export interface Memory {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
}

/** `size`: bytes, a multiple of 4. */
export function memory(size: number): Memory {
  // `Buffer.alloc` gives each its own memory, so it is aligned.
  const bytes = Buffer.alloc(size);
  return { bytes, words: new Uint32Array(bytes.buffer, bytes.byteOffset, size / 4) };
}

/** Whether the words from `at` on are these. */
export function areAt(words: Uint32Array, at: number, wanted: Uint32Array): boolean {
  for (let i = wanted.length - 1; i >= 0; i--) if (words[at + i] !== wanted[i]) return false;
  return true;
}

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
export function writeNs(words: Uint32Array, at: number, ms: number): void {
  const ns = Math.round(ms * 1e6);
  // The lower word: what is stored is modulo 2^32.
  words[at] = ns;
  words[at + 1] = Math.floor(ns / 0x1_0000_0000);
}

export function readMs(words: Uint32Array, at: number): number {
  return ((words[at + 1] as number) * 0x1_0000_0000 + (words[at] as number)) / 1e6;
}
