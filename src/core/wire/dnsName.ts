/**
 * The one normal form of a name: lower case, A-labels, no trailing dot, labels of 1 to 63 bytes, 253 characters at most.
 */
import { domainToASCII } from "node:url";
import { RecentStrings } from "../names/recentStrings.js";
import { parseAddr } from "../net/address.js";
import { done, invalid, type Invalid, type Parsed } from "./result.js";

export type NameCode =
  /** no name at all (text only; as labels this is the root, "") */
  | "empty"
  /** two dots in a row, or a dot in front */
  | "label-empty"
  /** more than 63 bytes between two dots (RFC 1035 2.3.4) */
  | "label-too-long"
  /** more than 253 characters (255 bytes on the wire) */
  | "name-too-long"
  /** a byte that no name has: NUL, control characters, space, above 0x7e; a dot inside a label; in text also all but letters, digits, `-` and `_` */
  | "character"
  /** an address, in any spelling that inet_aton takes: the last label is a number */
  | "ip-literal";

/**
 * Normal form of a name from a DNS message: its labels, or text that is made of them. Any printable ASCII but the dot is taken in a
 * label, so that odd but harmless questions aren't malformed. No labels and "" are the root: "".
 */
export function normalizeName(name: readonly Uint8Array[] | string): Parsed<string, NameCode> {
  if (typeof name === "string") {
    if (name === "") return done("");
    const bytes = latin1(name);
    return bytes ? parsed(fromText(bytes, 0, bytes.length, WIRE)) : invalid("character", 0);
  }
  let length = 0;
  let offset = 0;
  for (const label of name) {
    const next = appendLabel(SCRATCH, length, label, 0, label.length, WIRE);
    if (typeof next === "string") return invalid(next, offset);
    length = next;
    offset += label.length + 1;
  }
  return done(SCRATCH.toString("latin1", 0, length));
}

/**
 * Normal form of a host name that a person wrote: one trailing dot may stand, an internationalised name becomes A-labels (UTS 46).
 * Offsets count characters of the text, 0 for a name that had to be converted.
 */
export function normalizeNameText(text: string): Parsed<string, NameCode> {
  if (parseAddr(text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text)) return invalid("ip-literal", 0);
  const bytes = latin1(text);
  if (bytes && bytes.every((byte) => byte < 0x80)) return normalizeHostBytes(bytes, 0, bytes.length);
  // domainToASCII repairs more than it should (percent signs, tabs); let it see nothing but letters and dots.
  if (/[^-_.0-9A-Za-z\u0080-\u{10ffff}]/u.test(text)) return invalid("character", 0);
  const ascii = domainToASCII(text);
  if (ascii === "") return invalid("character", 0);
  const converted = Buffer.from(ascii, "latin1");
  const result = normalizeHostBytes(converted, 0, converted.length);
  return result.kind === "invalid" ? invalid(result.code, 0) : result;
}

/**
 * Normal form of a host name as it stands in SNI and Host: ASCII letters, digits, `-` and `_`, one trailing dot may stand. Nothing is
 * converted: what isn't a name already is invalid.
 */
export function normalizeHostBytes(bytes: Uint8Array, start: number, end: number): Parsed<string, NameCode> {
  return parsed(readHostName(bytes, start, end));
}

/** The same, for who reads many: the name by itself. */
export function readHostName(bytes: Uint8Array, start: number, end: number): string | Invalid<NameCode> {
  if (start >= end) return invalid("empty", start);
  const stop = bytes[end - 1] === DOT && end - start > 1 ? end - 1 : end;
  const name = fromText(bytes, start, stop, HOST);
  return typeof name === "string" && isNumeric(name) ? invalid("ip-literal", start) : name;
}

/**
 * For parsers that walk labels: append one label in lower case to `out`, which holds `length` characters and has room for 253. Returns the
 * new length, or why not.
 */
export function appendLabel(
  out: Uint8Array,
  length: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  allowed: Uint8Array = WIRE,
): number | NameCode {
  if (start === end) return "label-empty";
  if (end - start > 63) return "label-too-long";
  let at = length;
  if (at + (end - start) + (at > 0 ? 1 : 0) > MAX_NAME) return "name-too-long";
  if (at > 0) out[at++] = DOT;
  for (let i = start; i < end; i++) {
    const lower = allowed[bytes[i]!]!;
    if (lower === 0) return "character";
    out[at++] = lower;
  }
  return at;
}

/** The first `length` bytes, which are those of a name in normal form: as the same string as last time, where the name has come lately. */
export function nameText(bytes: Buffer, length: number): string {
  return RECENT.get(bytes, length);
}

const RECENT = new RecentStrings(1024);

const DOT = 0x2e;
const MAX_NAME = 253;

/** Byte → lower-case byte, 0 = not allowed. */
const WIRE = table((byte) => byte > 0x20 && byte < 0x7f && byte !== DOT);
const HOST = table((byte) => /[-_0-9A-Za-z]/.test(String.fromCharCode(byte)));

/** Filled and read within one call. */
const SCRATCH = Buffer.alloc(MAX_NAME + 1);

function table(allowed: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => {
    if (!allowed(byte)) return 0;
    return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
  });
}

function parsed(name: string | Invalid<NameCode>): Parsed<string, NameCode> {
  return typeof name === "string" ? done(name) : name;
}

function fromText(bytes: Uint8Array, start: number, end: number, allowed: Uint8Array): string | Invalid<NameCode> {
  let length = 0;
  let from = start;
  for (;;) {
    let to = from;
    while (to < end && bytes[to] !== DOT) to++;
    const next = appendLabel(SCRATCH, length, bytes, from, to, allowed);
    if (typeof next === "string") return invalid(next, from);
    length = next;
    if (to === end) return nameText(SCRATCH, length);
    from = to + 1;
  }
}

/** The WHATWG URL standard's "ends in a number": what inet_aton, and so curl and browsers, would take for an address. */
function isNumeric(name: string): boolean {
  // Few names have a digit there, and asking for it first saves the pattern.
  const first = name.charCodeAt(name.lastIndexOf(".") + 1);
  return first >= 0x30 && first <= 0x39 && /(^|\.)(\d+|0x[0-9a-f]*)$/.test(name);
}

/** undefined: has characters above 0xff. */
function latin1(text: string): Uint8Array | undefined {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return undefined;
  return Buffer.from(text, "latin1");
}
