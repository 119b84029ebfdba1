/**
 * The extensions of a ClientHello whose content is looked at: server_name, supported_versions, and the list of ALPN, which nothing asks for but
 * which must be in order.
 */
import { u16 } from "./bytes.js";
import type { Writable } from "../writable.js";
import { readHostName, type NameCode } from "./dnsName.js";
import { invalid, needMore, type Invalid, type NeedMore } from "./result.js";
import type { ClientHello, TlsCode } from "./clientHello.js";

export const Extension = {
  SERVER_NAME: 0,
  ALPN: 16,
  PRE_SHARED_KEY: 41,
  EARLY_DATA: 42,
  VERSIONS: 43,
  QUIC_PARAMETERS: 57,
  ECH: 0xfe0d,
  ESNI: 0xffce,
} as const;

export type Hello = Writable<ClientHello>;

export function emptyHello(): Hello {
  return {
    serverName: undefined,
    noNameWhy: "absent",
    ech: false,
    earlyData: false,
    tls13: false,
    quic: false,
    sessionId: 0,
    length: 0,
  };
}

/** Not yet, or never. */
export type Stop = NeedMore | Invalid<TlsCode>;

/** Why `size` bytes can't be read at `at`: what holds them ends at `end`, before they do, or they just haven't come. */
export function missing(at: number, size: number, end: number): Stop {
  return at + size > end ? invalid("malformed", at) : needMore;
}

/**
 * Fill `hello` from the extension of this `type` that begins (with its type) at `at` and ends at `end`; of `bytes` those before `come` are there.
 * Returns where its content ends by its own lengths.
 */
export function readExtension(
  type: number,
  bytes: Uint8Array,
  at: number,
  come: number,
  end: number,
  hello: Hello,
): number | Stop {
  switch (type) {
    case Extension.SERVER_NAME:
      return readServerName(bytes, at, come, end, hello);
    case Extension.ALPN:
      return readAlpn(bytes, at, come, end);
    case Extension.VERSIONS:
      return readVersions(bytes, at, come, end, hello);
    case Extension.ECH:
    case Extension.ESNI:
      hello.ech = true;
      return end;
    case Extension.EARLY_DATA:
      hello.earlyData = true;
      return end;
    case Extension.QUIC_PARAMETERS:
      hello.quic = true;
      return end;
    default:
      return end;
  }
}

/** Type and length of an extension. */
const HEADER = 4;

/** RFC 6066 3: a list of {type, name}; exactly one, of type host_name. */
function readServerName(bytes: Uint8Array, extension: number, come: number, end: number, hello: Hello): number | Stop {
  const at = extension + HEADER;
  if (at + 2 > end || at + 2 > come) return missing(at, 2, end);
  const list = at + 2;
  const listEnd = list + u16(bytes, at);
  if (listEnd > end) return invalid("malformed", list);
  if (listEnd === list) return invalid("server-name", extension);
  if (list + 1 > come) return needMore;
  if (bytes[list] !== 0) return invalid("server-name", extension);
  const start = list + 3;
  if (start > listEnd) return invalid("malformed", listEnd);
  if (start > come) return needMore;
  const nameEnd = start + u16(bytes, list + 1);
  if (nameEnd > listEnd) return invalid("malformed", listEnd);
  if (nameEnd > come) return needMore;
  if (nameEnd < listEnd) return invalid("two-host-names", extension);
  if (isIpv6Literal(bytes, start, nameEnd)) {
    hello.noNameWhy = "ip-literal";
    return listEnd;
  }
  const name = readHostName(bytes, start, nameEnd);
  if (typeof name === "string") {
    hello.serverName = name;
    hello.noNameWhy = undefined;
    return listEnd;
  }
  const why = name.code;
  if (why === "ip-literal") hello.noNameWhy = "ip-literal";
  const code = SERVER_NAME_CODES[why];
  return code === undefined ? listEnd : invalid(code, extension);
}

/** RFC 7301 3.1: names of at least one byte, at least one of them. */
function readAlpn(bytes: Uint8Array, extension: number, come: number, end: number): number | Stop {
  let at = extension + HEADER;
  if (at + 2 > end || at + 2 > come) return missing(at, 2, end);
  const listEnd = at + 2 + u16(bytes, at);
  at += 2;
  if (listEnd > end) return invalid("malformed", at);
  if (listEnd === at) return invalid("alpn", extension);
  while (at < listEnd) {
    if (at + 1 > come) return needMore;
    const size = bytes[at]!;
    if (at + 1 + size > listEnd) return invalid("malformed", listEnd);
    if (at + 1 + size > come) return needMore;
    if (size === 0) return invalid("alpn", extension);
    at += 1 + size;
  }
  return listEnd;
}

/** RFC 8446 4.2.1: versions of two bytes, at least one of them. */
function readVersions(bytes: Uint8Array, extension: number, come: number, end: number, hello: Hello): number | Stop {
  const at = extension + HEADER;
  if (at + 1 > end || at + 1 > come) return missing(at, 1, end);
  const size = bytes[at]!;
  const listEnd = at + 1 + size;
  if (listEnd > end) return invalid("malformed", at + 1);
  if (size === 0 || size % 2 !== 0) return invalid("supported-versions", extension);
  if (listEnd > come) return needMore;
  for (let i = at + 1; i < listEnd; i += 2) if (u16(bytes, i) === TLS13) hello.tls13 = true;
  return listEnd;
}

const TLS13 = 0x0304;

const SERVER_NAME_CODES: Readonly<Record<NameCode, TlsCode | undefined>> = {
  empty: "server-name",
  "label-empty": "server-name-length",
  "label-too-long": "server-name-length",
  "name-too-long": "server-name-length",
  character: "server-name-character",
  "ip-literal": undefined,
};

/** Hex digits and colons, at least two of these: an IPv6 address or an attempt at one. */
function isIpv6Literal(bytes: Uint8Array, start: number, end: number): boolean {
  let colons = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    if (byte === COLON) colons++;
    else if (!OF_IPV6[byte]) return false;
  }
  return colons >= 2;
}

const COLON = 0x3a;
const OF_IPV6: readonly boolean[] = Array.from({ length: 256 }, (_, byte) =>
  /[0-9a-fA-F.[\]]/.test(String.fromCharCode(byte)),
);
