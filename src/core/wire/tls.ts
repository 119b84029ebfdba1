/**
 * TLS ClientHello (RFC 8446 4.1.2, RFC 6066 3) over any number of records, read strictly.
 *
 * While the hello is incomplete its fields are checked as far as they have come, so a broken one is refused at once. Offsets count from the
 * start of the stream.
 */
import { normalizeHostBytes, type NameCode } from "./dnsName.js";
import { Reader } from "./reader.js";
import { done, invalid, needMore, type Parsed } from "./result.js";
import { gatherHello, streamOffset } from "./tlsRecords.js";

export interface ClientHello {
  /** Normal form. */
  readonly serverName: string | undefined;
  /** Why there is no `serverName`: no such extension, or an address stands in it (RFC 6066 3 forbids that). */
  readonly noNameWhy: undefined | "absent" | "ip-literal";
  /** An encrypted_client_hello extension is there (real or GREASE: nobody between can tell), or the older encrypted SNI. */
  readonly ech: boolean;
  /** Protocol names as latin1. */
  readonly alpn: string[];
  /** supported_versions as it stands, GREASE included; without the extension the legacy version alone. */
  readonly versions: number[];
  /** Application data may follow before the server has answered (RFC 8446 4.2.10). */
  readonly earlyData: boolean;
  /** Bytes of the stream, record headers included, that the hello took. */
  readonly length: number;
}

export interface TlsLimits {
  /** Most bytes of the stream, record headers included, that a hello may take. Default 16384. */
  readonly maxBytes: number;
}

export const defaultTlsLimits: TlsLimits = { maxBytes: 16384 };

export type TlsCode =
  /** SSL 2 hello */
  | "sslv2"
  /** not a handshake record, at the beginning or before the hello is complete */
  | "record-type"
  /** record version other than SSL 3.0 to TLS 1.3 */
  | "record-version"
  /** record without content (RFC 8446 5.1 forbids it for handshakes) */
  | "record-empty"
  /** more than 2^14 bytes in a record */
  | "record-too-large"
  /** first handshake message is another one */
  | "not-client-hello"
  /** `maxBytes` can't hold it */
  | "too-large"
  /** something else in the same record behind the hello */
  | "trailing-handshake"
  /** lengths inside the hello that contradict each other, without a code of their own */
  | "malformed"
  /** bytes behind the extensions or behind an extension's content */
  | "trailing"
  /** legacy_version outside SSL 3.0 to TLS 1.2 */
  | "version"
  /** session id of more than 32 bytes */
  | "session-id"
  /** no cipher suite, or an odd number of bytes */
  | "cipher-suites"
  /** compression methods other than exactly "null" (RFC 8446 4.1.2; stricter for TLS 1.2, whose compression nobody should use) */
  | "compression"
  /** the same extension twice (RFC 8446 4.2) */
  | "duplicate-extension"
  /** two server_name extensions */
  | "two-server-names"
  /** server_name with two host_names */
  | "two-host-names"
  /** server_name without a name, or of another type than host_name */
  | "server-name"
  /** name with NUL, non-ASCII or anything but letters, digits, `-`, `_` */
  | "server-name-character"
  /** name with an empty label, a label of more than 63 or a total of more than 253 characters */
  | "server-name-length"
  /** ALPN list that is empty or has an empty name */
  | "alpn"
  /** supported_versions that is empty or odd */
  | "supported-versions"
  /** pre_shared_key isn't the last extension (RFC 8446 4.2.11) */
  | "psk-not-last"
  /** more than 100 extensions */
  | "too-many-extensions";

/**
 * `stream`: the first bytes that the client sent, from the very first. Bytes behind the hello's last record (early data, change cipher spec)
 * are not looked at.
 */
export function parseClientHello(
  stream: Uint8Array,
  limits: TlsLimits = defaultTlsLimits,
): Parsed<ClientHello, TlsCode> {
  const gathered = gatherHello(stream, limits.maxBytes);
  if ("kind" in gathered) return gathered;
  const { message, declared, length } = gathered;
  const result = parseBody(message, declared, length ?? 0);
  // The message is a view of the stream with one record, a copy of its pieces with more.
  if (result.kind === "invalid") return invalid(result.code, streamOffset(stream, result.offset));
  return length === undefined ? needMore : result;
}

const HANDSHAKE_HEADER = 4;
const MAX_EXTENSIONS = 100;

const Extension = {
  SERVER_NAME: 0,
  ALPN: 16,
  PRE_SHARED_KEY: 41,
  EARLY_DATA: 42,
  VERSIONS: 43,
  ECH: 0xfe0d,
  ESNI: 0xffce,
};

function parseBody(message: Uint8Array, declared: number, length: number): Parsed<ClientHello, TlsCode> {
  if (message.length < HANDSHAKE_HEADER) return needMore;
  const r = new Reader(message, HANDSHAKE_HEADER, declared);
  const stop = (reader: Reader) => (reader.short ? needMore : invalid<TlsCode>("malformed", reader.offset));

  const legacy = r.u16();
  if (r.ok && (legacy < 0x0300 || legacy > 0x0303)) return invalid("version", HANDSHAKE_HEADER);
  r.skip(32); // random
  const sessionId = r.u8();
  if (sessionId > 32) return invalid("session-id", r.offset - 1);
  r.skip(sessionId);
  const suites = r.u16();
  if (r.ok && (suites < 2 || suites % 2 !== 0)) return invalid("cipher-suites", r.offset - 2);
  r.skip(suites);
  const methods = r.u8();
  if (r.ok && methods !== 1) return invalid("compression", r.offset - 1);
  if (r.u8() !== 0) return invalid("compression", r.offset - 1);
  if (!r.ok) return stop(r);
  const hello: Hello = {
    serverName: undefined,
    noNameWhy: "absent",
    ech: false,
    alpn: [],
    versions: [legacy],
    earlyData: false,
    length,
  };
  // RFC 5246 7.4.1.2: a hello without extensions ends here.
  if (r.remaining === 0) return done(hello);

  const extensions = r.sub(r.u16());
  if (r.failed) return stop(r);
  if (extensions.ok && r.remaining > 0) return invalid("trailing", extensions.offset - 2);
  const seen: number[] = [];
  while (extensions.remaining > 0) {
    const at = extensions.offset;
    const type = extensions.u16();
    if (extensions.ok && seen.includes(type)) {
      return invalid(type === Extension.SERVER_NAME ? "two-server-names" : "duplicate-extension", at);
    }
    if (extensions.ok && seen.at(-1) === Extension.PRE_SHARED_KEY) return invalid("psk-not-last", at);
    if (seen.length === MAX_EXTENSIONS) return invalid("too-many-extensions", at);
    const size = extensions.u16();
    if (!hasRules(type) && size <= extensions.remaining && extensions.ok) {
      noteExtension(type, hello);
      seen.push(type);
      if (!extensions.skip(size)) return stop(extensions);
      continue;
    }
    const body = extensions.sub(size);
    if (!extensions.ok) return stop(extensions);
    seen.push(type);
    const code = readExtension(type, body, message, hello);
    if (code !== undefined) return invalid(code, at);
    if (!body.ok) return stop(body);
    if (!body.expectEmpty()) return invalid("trailing", body.offset);
  }
  return r.short || message.length < declared ? needMore : done(hello);
}

type Hello = { -readonly [K in keyof ClientHello]: ClientHello[K] };

/** Extensions whose content is looked at; of the others the length is enough, and a reader of their own would be most of what a hello costs. */
function hasRules(type: number): boolean {
  return type === Extension.SERVER_NAME || type === Extension.ALPN || type === Extension.VERSIONS;
}

function noteExtension(type: number, hello: Hello): void {
  if (type === Extension.ECH || type === Extension.ESNI) hello.ech = true;
  if (type === Extension.EARLY_DATA) hello.earlyData = true;
}

/** Fills `hello`. A code: content that is wrong by itself. Lengths that don't fit show in `body`. */
function readExtension(type: number, body: Reader, message: Uint8Array, hello: Hello): TlsCode | undefined {
  switch (type) {
    case Extension.SERVER_NAME:
      return readServerName(body, message, hello);
    case Extension.ALPN: {
      const list = body.sub(body.u16());
      if (body.ok && list.remaining === 0) return "alpn";
      while (list.remaining > 0) {
        const name = list.latin1(list.u8());
        if (!list.ok) return spread(list, body);
        if (name.length === 0) return "alpn";
        hello.alpn.push(name);
      }
      return undefined;
    }
    case Extension.VERSIONS: {
      const list = body.sub(body.u8());
      if (body.ok && (list.remaining === 0 || list.remaining % 2 !== 0)) return "supported-versions";
      if (body.ok) hello.versions = [];
      while (list.remaining > 0) {
        const version = list.u16();
        if (!list.ok) return spread(list, body);
        hello.versions.push(version);
      }
      return undefined;
    }
    default:
      body.skip(body.remaining);
      return undefined;
  }
}

/** RFC 6066 3: a list of {type, name}; exactly one, of type host_name. */
function readServerName(body: Reader, message: Uint8Array, hello: Hello): TlsCode | undefined {
  const list = body.sub(body.u16());
  if (body.ok && list.remaining === 0) return "server-name";
  const type = list.u8();
  if (list.ok && type !== 0) return "server-name";
  const length = list.u16();
  const start = list.offset;
  list.skip(length);
  if (!list.ok) return spread(list, body);
  if (list.remaining > 0) return "two-host-names";
  if (isIpv6Literal(message, start, start + length)) {
    hello.noNameWhy = "ip-literal";
    return undefined;
  }
  const result = normalizeHostBytes(message, start, start + length);
  if (result.kind === "done") {
    hello.serverName = result.value;
    hello.noNameWhy = undefined;
    return undefined;
  }
  const code = result.kind === "invalid" ? result.code : "empty";
  if (code === "ip-literal") hello.noNameWhy = "ip-literal";
  return SERVER_NAME_CODES[code];
}

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
    const byte = bytes[i] as number;
    if (byte === 0x3a) colons++;
    else if (!/[0-9a-fA-F.[\]]/.test(String.fromCharCode(byte))) return false;
  }
  return colons >= 2;
}

/** A child's failure is its parent's: the caller looks at the parent alone. */
function spread(child: Reader, parent: Reader): TlsCode | undefined {
  if (child.failed) parent.failed = true;
  if (child.short) parent.short = true;
  return undefined;
}
