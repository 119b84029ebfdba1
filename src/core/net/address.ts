/**
 * Addresses as short byte strings: cheap to cut out of a packet, to compare and to use as a Map key.
 * `Addr` is 4 or 16 bytes as a latin1 string. Text appears only where people read it.
 */
export type Addr = string & { readonly __brand: "Addr" };

/** Cut an address out of a packet. `length` is 4 or 16; the caller has checked that they are there. */
export function addrFromBytes(bytes: Uint8Array, offset: number, length: 4 | 16): Addr {
  return length === 4 ? recent4(bytes, offset) : recent16(bytes, offset);
}

/**
 * Addresses that were cut out lately, one place for each hash: most packets are of addresses that were there a moment ago, and the same string again
 * costs no call, no memory, and no hash of it where it is a key. The zeros at the start are true: an address of zeros stands in every place.
 */
const RECENT = 1024;
const words4 = new Int32Array(RECENT);
const addrs4: Addr[] = Array<Addr>(RECENT).fill("\0".repeat(4) as Addr);
const words16 = new Int32Array(RECENT * 4);
const addrs16: Addr[] = Array<Addr>(RECENT).fill("\0".repeat(16) as Addr);

function recent4(b: Uint8Array, o: number): Addr {
  const word = word32(b, o);
  const place = placeOf(word);
  if (words4[place] === word) return addrs4[place]!;
  words4[place] = word;
  return (addrs4[place] = String.fromCharCode(b[o]!, b[o + 1]!, b[o + 2]!, b[o + 3]!) as Addr);
}

function recent16(b: Uint8Array, o: number): Addr {
  const w0 = word32(b, o);
  const w1 = word32(b, o + 4);
  const w2 = word32(b, o + 8);
  const w3 = word32(b, o + 12);
  const place = placeOf(Math.imul(Math.imul(Math.imul(w0, 31) + w1, 31) + w2, 31) + w3);
  const at = place * 4;
  if (words16[at] === w0 && words16[at + 1] === w1 && words16[at + 2] === w2 && words16[at + 3] === w3) {
    return addrs16[place]!;
  }
  words16[at] = w0;
  words16[at + 1] = w1;
  words16[at + 2] = w2;
  words16[at + 3] = w3;
  // prettier-ignore
  return (addrs16[place] = String.fromCharCode(
    b[o]!, b[o + 1]!, b[o + 2]!, b[o + 3]!, b[o + 4]!, b[o + 5]!, b[o + 6]!, b[o + 7]!,
    b[o + 8]!, b[o + 9]!, b[o + 10]!, b[o + 11]!, b[o + 12]!, b[o + 13]!, b[o + 14]!, b[o + 15]!,
  ) as Addr);
}

function word32(b: Uint8Array, o: number): number {
  return (b[o]! << 24) | (b[o + 1]! << 16) | (b[o + 2]! << 8) | b[o + 3]!;
}

/** The upper ten bits of a product that all bits of the word have a part in. */
function placeOf(word: number): number {
  return Math.imul(word, 0x9e3779b1) >>> 22;
}

export function addrToBytes(addr: Addr): Uint8Array {
  return Buffer.from(addr, "latin1");
}

export function isIPv4(addr: Addr): boolean {
  return addr.length === 4;
}

/** IPv4 as ::ffff:a.b.c.d, IPv6 as it is: the 16-byte form of the map keys. */
export function addrTo16(addr: Addr): Uint8Array {
  const out = new Uint8Array(16);
  if (addr.length === 4) {
    out[10] = 0xff;
    out[11] = 0xff;
    for (let i = 0; i < 4; i++) out[12 + i] = addr.charCodeAt(i);
  } else {
    for (let i = 0; i < 16; i++) out[i] = addr.charCodeAt(i);
  }
  return out;
}

/**
 * Parse a dotted quad or RFC 4291 text. No zone, no prefix, no leading zeros in IPv4, no IPv4-mapped shortcuts folded:
 * `::ffff:1.2.3.4` stays 16 bytes. undefined if it isn't an address.
 */
export function parseAddr(text: string): Addr | undefined {
  return text.includes(":") ? parse6(text) : parse4(text);
}

/** RFC 5952 text. */
export function formatAddr(addr: Addr): string {
  if (addr.length === 4) {
    return `${addr.charCodeAt(0)}.${addr.charCodeAt(1)}.${addr.charCodeAt(2)}.${addr.charCodeAt(3)}`;
  }
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((addr.charCodeAt(i) << 8) | addr.charCodeAt(i + 1));
  // RFC 5952 4.2: the longest run of two or more zero groups is compressed, the first of equals.
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > bestLength) {
      best = i;
      bestLength = j - i;
    }
    if (j > i) i = j;
  }
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((g) => g.toString(16))
      .join(":");
  // RFC 5952 section 5: mixed notation for IPv4-mapped addresses.
  if (best === 0 && bestLength === 5 && groups[5] === 0xffff) {
    return `::ffff:${formatAddr(addr.slice(12) as Addr)}`;
  }
  return best < 0 ? hex(0, 8) : `${hex(0, best)}::${hex(best + bestLength, 8)}`;
}

function parse4(text: string): Addr | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  let out = "";
  for (let i = 1; i <= 4; i++) {
    const part = match[i] as string;
    const value = Number(part);
    if (value > 255 || (part.length > 1 && part.startsWith("0"))) return undefined;
    out += String.fromCharCode(value);
  }
  return out as Addr;
}

function parse6(text: string): Addr | undefined {
  let body = text;
  let tail = "";
  const dot = body.indexOf(".");
  if (dot >= 0) {
    const colon = body.lastIndexOf(":");
    const v4 = parse4(body.slice(colon + 1));
    if (!v4) return undefined;
    tail = v4;
    // Keep "::" whole when it stands right before the dotted part.
    body = body.slice(0, colon + 1);
    body = body.endsWith("::") ? body : body.slice(0, -1);
  }
  const halves = body.split("::");
  if (halves.length > 2) return undefined;
  const left = groupsOf(halves[0] as string);
  const right = halves.length === 2 ? groupsOf(halves[1] as string) : [];
  if (!left || !right) return undefined;
  const have = left.length + right.length + tail.length / 2;
  if (halves.length === 1 ? have !== 8 : have > 7) return undefined;
  const all = [...left, ...Array<number>(8 - have).fill(0), ...right];
  let out = "";
  for (const group of all) out += String.fromCharCode(group >> 8, group & 0xff);
  return (out + tail) as Addr;
}

function groupsOf(text: string): number[] | undefined {
  if (text === "") return [];
  const out: number[] = [];
  for (const part of text.split(":")) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
    out.push(parseInt(part, 16));
  }
  return out;
}
