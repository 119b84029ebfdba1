/**
 * TLS ClientHello (RFC 8446 4.1.2, RFC 6066 3) over any number of records, read strictly.
 *
 * While the hello is incomplete its fields are checked as far as they have come, so a broken one is refused at once. Offsets count from the
 * start of the stream.
 */
import { u16 } from "./bytes.js";
import type { ClientHello, TlsCode } from "./clientHello.js";
import { done, invalid, needMore, type Parsed } from "./result.js";
import { emptyHello, Extension, missing, readExtension, type Hello, type Stop } from "./tlsExtensions.js";
import { emptyGathered, gatherHello, streamOffset } from "./tlsRecords.js";

export interface TlsLimits {
  /** Most bytes of the stream, record headers included, that a hello may take. Default 16384. */
  readonly maxBytes: number;
}

export const defaultTlsLimits: TlsLimits = { maxBytes: 16384 };

/**
 * `stream`: the first bytes that the client sent, from the very first. Bytes behind the hello's last record (early data, change cipher spec)
 * are not looked at.
 */
export function parseClientHello(
  stream: Uint8Array,
  limits: TlsLimits = defaultTlsLimits,
): Parsed<ClientHello, TlsCode> {
  const hello = emptyHello();
  return readClientHello(stream, 0, stream.length, limits.maxBytes, hello) ?? done(hello);
}

/** `parseClientHello` of `stream` [from, to) into `hello`, for who reads many. Something: why it is not there; offsets count from `from`. */
export function readClientHello(
  stream: Uint8Array,
  from: number,
  to: number,
  maxBytes: number,
  hello: Hello,
): Stop | undefined {
  const never = gatherHello(stream, from, to, maxBytes, GATHERED);
  if (never) return never;
  const { bytes, start, end, declaredEnd, length } = GATHERED;
  // It may be a copy: nobody needs it any longer than this call.
  GATHERED.bytes = stream;
  hello.length = length ?? 0;
  const stop = readBody(bytes, start, end, declaredEnd, hello);
  if (stop?.kind === "invalid") return invalid(stop.code, streamOffset(stream, from, to, stop.offset - start));
  return length === undefined ? needMore : stop;
}

/** Filled and read within one call. */
const GATHERED = emptyGathered();

/**
 * The handshake message alone, without records, as QUIC carries it: `bytes` from `start` on, as far as it has come, whatever stands behind it. Offsets
 * count from the start of `bytes`.
 */
export function parseHelloMessage(bytes: Uint8Array, start: number, maxBytes: number): Parsed<ClientHello, TlsCode> {
  if (start >= bytes.length) return needMore;
  if (bytes[start] !== CLIENT_HELLO) return invalid("not-client-hello", start);
  if (start + HANDSHAKE_HEADER > bytes.length) return needMore;
  const length = HANDSHAKE_HEADER + ((bytes[start + 1]! << 16) | u16(bytes, start + 2));
  if (length > maxBytes) return invalid("too-large", start + 1);
  const declared = start + length;
  const come = Math.min(declared, bytes.length);
  const hello = emptyHello();
  hello.length = length;
  const stop = readBody(bytes, start, come, declared, hello);
  // A length that contradicts its surroundings may point behind what has come.
  if (stop?.kind === "invalid") return invalid(stop.code, Math.min(stop.offset, bytes.length));
  return stop ?? (come < declared ? needMore : done(hello));
}

const CLIENT_HELLO = 1;
const HANDSHAKE_HEADER = 4;
const RANDOM = 32;
const MAX_EXTENSIONS = 100;

/** Types of the extensions that have come; filled and read within one call. */
const SEEN = new Uint16Array(MAX_EXTENSIONS);

/**
 * The message stands in `bytes` from `start` on; `come` is the end of what has come of it, `declared` its end. No cursor object and no views: this runs for
 * every packet of every beginning, and they would be most of what it costs. So every read stands behind a comparison with `come`; one that fails
 * says by `missing` why.
 */
function readBody(bytes: Uint8Array, start: number, come: number, declared: number, hello: Hello): Stop | undefined {
  let at = start + HANDSHAKE_HEADER;
  if (at > come) return needMore;
  if (at + 2 > come) return missing(at, 2, declared);
  const legacy = u16(bytes, at);
  if (legacy < 0x0300 || legacy > 0x0303) return invalid("version", at);
  at += 2;
  if (at + RANDOM > come) return missing(at, RANDOM, declared);
  at += RANDOM;
  if (at + 1 > come) return missing(at, 1, declared);
  const sessionId = bytes[at]!;
  if (sessionId > 32) return invalid("session-id", at);
  at += 1;
  if (at + sessionId > come) return missing(at, sessionId, declared);
  at += sessionId;
  if (at + 2 > come) return missing(at, 2, declared);
  const suites = u16(bytes, at);
  if (suites < 2 || suites % 2 !== 0) return invalid("cipher-suites", at);
  at += 2;
  if (at + suites > come) return missing(at, suites, declared);
  at += suites;
  if (at + 1 > come) return missing(at, 1, declared);
  if (bytes[at] !== 1) return invalid("compression", at);
  at += 1;
  if (at + 1 > come) return missing(at, 1, declared);
  if (bytes[at] !== 0) return invalid("compression", at);
  at += 1;
  hello.serverName = undefined;
  hello.noNameWhy = "absent";
  hello.ech = hello.earlyData = hello.tls13 = hello.quic = false;
  hello.sessionId = sessionId;
  // RFC 5246 7.4.1.2: a hello without extensions ends here.
  if (at === declared) return undefined;
  if (at + 2 > come) return missing(at, 2, declared);
  const extensions = u16(bytes, at);
  at += 2;
  if (at + extensions > declared) return invalid("malformed", at);
  if (at + extensions < declared) return invalid("trailing", at - 2);
  return readExtensions(bytes, at, come, declared, hello);
}

/** Fill `hello` from the extensions in [start, end). Something: why they are not complete, or never will be. */
function readExtensions(bytes: Uint8Array, start: number, come: number, end: number, hello: Hello): Stop | undefined {
  let count = 0;
  for (let at = start; at < end;) {
    const type = at + 2 > come ? undefined : u16(bytes, at);
    for (let i = 0; i < count; i++) {
      if (SEEN[i] === type)
        return invalid(type === Extension.SERVER_NAME ? "two-server-names" : "duplicate-extension", at);
    }
    if (type !== undefined && count > 0 && SEEN[count - 1] === Extension.PRE_SHARED_KEY)
      return invalid("psk-not-last", at);
    if (count === MAX_EXTENSIONS) return invalid("too-many-extensions", at);
    if (type === undefined) return missing(at, 2, end);
    if (at + 4 > come) return missing(at + 2, 2, end);
    const body = at + 4;
    const bodyEnd = body + u16(bytes, at + 2);
    if (bodyEnd > end) return invalid("malformed", body);
    SEEN[count++] = type;
    const read = readExtension(type, bytes, at, come, bodyEnd, hello);
    if (typeof read !== "number") return read;
    if (read !== bodyEnd) return invalid("trailing", read);
    if (bodyEnd > come) return needMore;
    at = bodyEnd;
  }
  return undefined;
}
