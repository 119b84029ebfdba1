/**
 * CIDRs: strict text, and the arithmetic of prefixes on `Addr` strings. Two addresses of one family compare as strings
 * exactly as they compare as numbers, so sorting needs no conversion.
 */
import { formatAddr, parseAddr, type Addr } from "../net/address.js";
import { bad, good, type Checked } from "./checked.js";
import type { Cidr } from "./types.js";

/** `10.0.0.0/24`, `2001:db8::/32`, or a bare address, which means itself alone (/32, /128). */
export function parseCidr(text: string): Checked<Cidr> {
  if (text === "") return bad("empty; write a network like 10.0.0.0/24, or one address");
  if (/[\s,]/.test(text)) return bad("one network for each flag, without spaces or commas");
  const slash = text.indexOf("/");
  const addrText = slash < 0 ? text : text.slice(0, slash);
  const addr = parseAddr(addrText);
  if (!addr) return bad(whyNoAddress(addrText, "use --domain for it"));
  const width = addr.length * 8;
  const length = slash < 0 ? good(width) : parsePrefixLength(text.slice(slash + 1), addr, width);
  if (!length.ok) return length;
  if (isMapped(addr) && length.value >= 96) {
    const v4: Cidr = { addr: maskAddr(addr.slice(12) as Addr, length.value - 96), length: length.value - 96 };
    return bad(`an IPv4-mapped IPv6 network; packets carry it as IPv4: write ${formatCidr(v4)}`);
  }
  const network = maskAddr(addr, length.value);
  if (network !== addr) {
    return bad(`host bits are set; the network is ${formatCidr({ addr: network, length: length.value })}`);
  }
  return good({ addr, length: length.value });
}

/** One address as a person writes it. `ifName` says what to do with a name here. */
export function parseAddress(text: string, ifName: string): Checked<Addr> {
  if (text === "") return bad("empty; write an address like 10.0.0.53");
  const addr = parseAddr(text);
  if (!addr) return bad(whyNoAddress(text, ifName));
  if (isMapped(addr)) return bad(`an IPv4-mapped IPv6 address; write ${formatAddr(addr.slice(12) as Addr)}`);
  return good(addr);
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddr(cidr.addr)}/${cidr.length}`;
}

/** The first `length` bits, the rest zero. */
export function maskAddr(addr: Addr, length: number): Addr {
  const whole = length >> 3;
  if (whole >= addr.length) return addr;
  const partial = addr.charCodeAt(whole) & (0xff00 >> (length & 7)) & 0xff;
  return (addr.slice(0, whole) + String.fromCharCode(partial) + "\0".repeat(addr.length - whole - 1)) as Addr;
}

/** Is all of `inner` inside `outer`? A prefix contains itself. */
export function contains(outer: Cidr, inner: Cidr): boolean {
  if (outer.addr.length !== inner.addr.length || outer.length > inner.length) return false;
  const whole = outer.length >> 3;
  for (let i = 0; i < whole; i++) if (outer.addr.charCodeAt(i) !== inner.addr.charCodeAt(i)) return false;
  if (whole === outer.addr.length) return true;
  const differ = outer.addr.charCodeAt(whole) ^ inner.addr.charCodeAt(whole);
  return (differ & (0xff00 >> (outer.length & 7)) & 0xff) === 0;
}

/** The first address after it; undefined if it ends where the family ends. */
export function addrAfter(cidr: Cidr): Addr | undefined {
  let out = "";
  let carry = true;
  for (let i = cidr.addr.length - 1; i >= 0; i--) {
    const hostBits = Math.min(8, Math.max(0, (i + 1) * 8 - cidr.length));
    let byte = cidr.addr.charCodeAt(i) | ((1 << hostBits) - 1);
    if (carry) byte++;
    carry = byte > 0xff;
    out = String.fromCharCode(byte & 0xff) + out;
  }
  return carry ? undefined : (out as Addr);
}

/** IPv4 before IPv6, then by address, then the wider first: each prefix comes right before all that it contains. */
export function compareCidrs(a: Cidr, b: Cidr): number {
  if (a.addr.length !== b.addr.length) return a.addr.length - b.addr.length;
  if (a.addr !== b.addr) return a.addr < b.addr ? -1 : 1;
  return a.length - b.length;
}

/** A new list in the order of compareCidrs; equal ones stay in their order. Twice as fast as sorting with it: keys compare natively. */
export function sortCidrs<T extends Cidr>(cidrs: readonly T[]): T[] {
  const byKey = new Map<string, T | T[]>();
  for (const cidr of cidrs) {
    const key = `${cidr.addr.length === 4 ? "4" : "6"}${cidr.addr}${String.fromCharCode(cidr.length)}`;
    const same = byKey.get(key);
    if (same === undefined) byKey.set(key, cidr);
    else if (Array.isArray(same)) same.push(cidr);
    else byKey.set(key, [same, cidr]);
  }
  return [...byKey.keys()].sort().flatMap((key) => byKey.get(key) as T | T[]);
}

/** Calls back for each of `sorted` (compareCidrs) with the narrowest other one that contains it. One pass, one stack. */
export function forEachNested<T extends Cidr>(
  sorted: readonly T[],
  visit: (inner: T, outer: T | undefined) => void,
): void {
  const open: T[] = [];
  for (const cidr of sorted) {
    while (open.length > 0 && !contains(open[open.length - 1] as T, cidr)) open.pop();
    visit(cidr, open[open.length - 1]);
    open.push(cidr);
  }
}

function isMapped(addr: Addr): boolean {
  return addr.length === 16 && addr.startsWith("\0\0\0\0\0\0\0\0\0\0\xff\xff");
}

function parsePrefixLength(text: string, addr: Addr, width: number): Checked<number> {
  const family = width === 32 ? "IPv4" : "IPv6";
  if (!/^\d+$/.test(text)) {
    const mask = parseAddr(text);
    const length = mask && mask.length === addr.length ? maskLength(mask) : undefined;
    if (length === undefined) return bad(`the prefix length must be a number from 0 to ${width}`);
    return bad(`a netmask; write the prefix length: ${formatCidr({ addr: maskAddr(addr, length), length })}`);
  }
  if (text.length > 1 && text.startsWith("0"))
    return bad(`the prefix length has leading zeros; write /${Number(text)}`);
  const length = Number(text);
  if (length > width) return bad(`prefix length ${text} is out of range; ${family} has 0 to ${width}`);
  return good(length);
}

/** Length of a contiguous netmask. */
function maskLength(mask: Addr): number | undefined {
  let length = 0;
  while (length < mask.length * 8 && (mask.charCodeAt(length >> 3) & (0x80 >> (length & 7))) !== 0) length++;
  return maskAddr(mask, length) === mask ? length : undefined;
}

function whyNoAddress(text: string, ifName: string): string {
  if (/\s/.test(text)) return "contains a space; write the address alone";
  const zone = text.indexOf("%");
  if (zone >= 0) return `a zone id has no meaning here; write ${text.slice(0, zone)}`;
  if (/^\[.*\]$/.test(text)) return `write it without brackets: ${text.slice(1, -1)}`;
  const withPort = /^\[?(.*?)\]?:\d+$/.exec(text);
  if (withPort && parseAddr(withPort[1] as string)) return `no port belongs here; write ${withPort[1]}`;
  if (/^[\d.]+$/.test(text)) return whyNoIPv4(text);
  if (text.includes("/") && parseCidr(text).ok) return "a network; write one address";
  if (/^[\d.]+-[\d.]+$/.test(text)) return "a range; write it as networks like 10.0.0.0/24";
  if (text.includes(":")) return "not an IPv6 address";
  if (/^[^/]*\p{L}[^/]*$/u.test(text)) return `not an address; if ${text} is a name, ${ifName}`;
  return "not an address";
}

function whyNoIPv4(text: string): string {
  const parts = text.split(".");
  if (parts.length !== 4 || parts.includes(""))
    return "an IPv4 address has four numbers with dots between, like 10.0.0.1";
  const tooBig = parts.find((part) => Number(part) > 255);
  if (tooBig !== undefined) return `${tooBig} is out of range; each number of an IPv4 address is 0 to 255`;
  return `leading zeros are ambiguous (decimal or octal); if decimal is meant, write ${parts.map(Number).join(".")}`;
}
