/**
 * HTTP/1 request heads (RFC 9112), read so strictly that no two servers can read them differently.
 *
 * A line is judged when it is complete; before that only bytes that no head may hold are refused.
 */
import type { Addr } from "../net/address.js";
import { parseAuthority, sameAuthority, type Authority } from "./httpAuthority.js";
import { done, invalid, needMore, type Invalid, type Parsed } from "./result.js";

export interface RequestHead {
  readonly method: string;
  /** As it stands. */
  readonly target: string;
  readonly version: "1.0" | "1.1";
  /** Normal form, without port. undefined: an address (see `hostIsAddress`), or HTTP/1.0 without Host. */
  readonly host: string | undefined;
  /** undefined: none was said. */
  readonly hostPort: number | undefined;
  /** Host is an address, not a name. */
  readonly hostIsAddress: Addr | undefined;
  /** Content-Length; undefined: none. */
  readonly contentLength: number | undefined;
  /** Transfer-Encoding: chunked. */
  readonly chunked: boolean;
  /** The connection may change its protocol after this request (Upgrade). */
  readonly upgrade: boolean;
  /** Bytes of the stream, the empty line included. */
  readonly length: number;
}

export interface HttpLimits {
  /** Most bytes of a head, its empty line included. Default 16384. */
  readonly maxBytes: number;
  /** Most header lines. Default 100. */
  readonly maxHeaders: number;
}

export const defaultHttpLimits: HttpLimits = { maxBytes: 16384, maxHeaders: 100 };

export type HttpCode =
  /** empty line in front of the request (RFC 9112 2.2 lets servers skip one) */
  | "leading-empty-line"
  /** LF without CR */
  | "bare-lf"
  /** CR without LF */
  | "bare-cr"
  /** NUL or another control character */
  | "control-character"
  /** request line that isn't method, target and version with one space between */
  | "request-line"
  /** method with other characters than capitals and `-` */
  | "method"
  /** CONNECT: what follows goes to another name */
  | "connect"
  /** target that is neither a path, nor `*` for OPTIONS, nor an http URI; or has other than printable ASCII */
  | "target"
  /** other than HTTP/1.0 and HTTP/1.1 */
  | "version"
  /** header line that begins with a space or tab (RFC 9112 5.2) */
  | "obs-fold"
  /** header line without a colon, or with a name that isn't a token; space before the colon too */
  | "header-name"
  | "too-many-headers"
  /** no end within `maxBytes` */
  | "too-large"
  /** two Host headers */
  | "two-hosts"
  /** HTTP/1.1 without Host */
  | "no-host"
  /** Host without a value (RFC 9112 3.2 allows it where the target has no authority) */
  | "empty-host"
  /** Host that is neither a name nor an address, with or without a port from 1 to 65535 */
  | "host"
  /** target says one host and Host another (RFC 9112 3.2.2 lets the target win) */
  | "target-host-mismatch"
  /** Content-Length that isn't a number, or stands there twice */
  | "content-length"
  /** Transfer-Encoding other than chunked alone, twice, or in HTTP/1.0 */
  | "transfer-encoding"
  /** Content-Length together with Transfer-Encoding (RFC 9112 6.1) */
  | "length-conflict"
  /** Upgrade to h2c (RFC 7540 3.2, gone from RFC 9113): later requests would not be seen */
  | "upgrade-h2c"
  /** a later request on the same connection names another host (only `parsePipelined`) */
  | "pipelined-host";

/** `stream`: what the client sent, from its first byte. */
export function parseRequestHead(
  stream: Uint8Array,
  limits: HttpLimits = defaultHttpLimits,
): Parsed<RequestHead, HttpCode> {
  return parseHeadAt(stream, 0, limits);
}

/**
 * Judge what stands behind a first head (from the same `stream`): every further head that is complete must name the same host and
 * port. Bodies of a known length are skipped; behind a chunked body, or a request that may change the protocol, nothing is judged.
 *
 * done: `heads` in all, the first included, and the `length` they and their bodies take, as far as they have come. needMore: another head has begun.
 */
export function parsePipelined(
  stream: Uint8Array,
  first: RequestHead,
  limits: HttpLimits = defaultHttpLimits,
): Parsed<{ readonly heads: number; readonly length: number }, HttpCode> {
  let head = first;
  let heads = 1;
  let at = 0;
  for (;;) {
    at += head.length;
    if (head.chunked || head.upgrade) return done({ heads, length: at });
    at += head.contentLength ?? 0;
    if (at >= stream.length) return done({ heads, length: Math.min(at, stream.length) });
    const next = parseHeadAt(stream, at, limits);
    if (next.kind !== "done") return next;
    if (!sameAuthority(authorityOf(next.value), authorityOf(first))) return invalid("pipelined-host", at);
    head = next.value;
    heads++;
  }
}

const CR = 13;
const LF = 10;
const TAB = 9;
const TOKEN = /^[-!#$%&'*+.^_`|~0-9A-Za-z]+$/;

interface HeadState {
  readonly authorities: { readonly host: Authority | undefined }[];
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  upgrade: boolean;
}

function parseHeadAt(stream: Uint8Array, start: number, limits: HttpLimits): Parsed<RequestHead, HttpCode> {
  const limit = start + limits.maxBytes;
  const first = nextLine(stream, start, limit);
  if (first.kind !== "done") return first;
  if (first.value === "") return invalid("leading-empty-line", start);
  const request = parseRequestLine(first.value, start);
  if (request.kind !== "done") return request;

  const state: HeadState = { authorities: [], contentLength: undefined, transferEncoding: undefined, upgrade: false };
  let at = start + first.value.length + 2;
  for (let count = 0; ; count++) {
    const line = nextLine(stream, at, limit);
    if (line.kind !== "done") return line;
    if (line.value === "") break;
    if (count === limits.maxHeaders) return invalid("too-many-headers", at);
    const bad = readHeader(line.value, at, state);
    if (bad) return bad;
    at += line.value.length + 2;
  }
  return finish(request.value, state, start, at + 2 - start);
}

/** One line without its CR LF, as latin1. */
function nextLine(stream: Uint8Array, start: number, limit: number): Parsed<string, HttpCode> {
  for (let at = start; at < stream.length; at++) {
    // A line needs two more bytes to end.
    if (at >= limit) return invalid("too-large", at);
    const byte = stream[at]!;
    if (byte === CR) {
      if (at + 1 >= limit) return invalid("too-large", at);
      if (at + 1 >= stream.length) return needMore;
      if (stream[at + 1] !== LF) return invalid("bare-cr", at);
      return done(Buffer.from(stream.buffer, stream.byteOffset + start, at - start).toString("latin1"));
    }
    if (byte === LF) return invalid("bare-lf", at);
    if ((byte < 0x20 && byte !== TAB) || byte === 0x7f) return invalid("control-character", at);
  }
  return needMore;
}

interface RequestLine {
  readonly method: string;
  readonly target: string;
  readonly version: "1.0" | "1.1";
  readonly authority: Authority | undefined;
}

function parseRequestLine(line: string, offset: number): Parsed<RequestLine, HttpCode> {
  const parts = line.split(" ");
  if (parts.length !== 3 || parts.includes("")) return invalid("request-line", offset);
  const [method, target, protocol] = parts as [string, string, string];
  if (!/^[-A-Z]+$/.test(method)) return invalid("method", offset);
  if (method === "CONNECT") return invalid("connect", offset);
  const targetAt = offset + method.length + 1;
  if (protocol !== "HTTP/1.1" && protocol !== "HTTP/1.0") return invalid("version", targetAt + target.length + 1);
  if (!/^[\x21-\x7e]+$/.test(target)) return invalid("target", targetAt);
  const version = protocol === "HTTP/1.1" ? "1.1" : "1.0";
  if (target.startsWith("/") || (target === "*" && method === "OPTIONS")) {
    return done({ method, target, version, authority: undefined });
  }
  // RFC 9112 3.2.2, the absolute form.
  const match = /^http:\/\/([^/?#]*)([/?]|$)/i.exec(target);
  const authority = match ? parseAuthority(match[1]!) : undefined;
  return authority ? done({ method, target, version, authority }) : invalid("target", targetAt);
}

function readHeader(line: string, offset: number, state: HeadState): Invalid<HttpCode> | undefined {
  if (line.startsWith(" ") || line.startsWith("\t")) return invalid("obs-fold", offset);
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(colon, 0));
  if (!TOKEN.test(name)) return invalid("header-name", offset);
  const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "");
  switch (name.toLowerCase()) {
    case "host":
      if (state.authorities.length > 0) return invalid("two-hosts", offset);
      if (value === "") return invalid("empty-host", offset);
      state.authorities.push({ host: parseAuthority(value) });
      return state.authorities[0]?.host ? undefined : invalid("host", offset + colon + 1);
    case "content-length":
      if (state.contentLength !== undefined || !/^\d{1,15}$/.test(value)) return invalid("content-length", offset);
      state.contentLength = value;
      break;
    case "transfer-encoding":
      if (state.transferEncoding !== undefined || value.toLowerCase() !== "chunked") {
        return invalid("transfer-encoding", offset);
      }
      state.transferEncoding = value;
      break;
    case "upgrade":
      if (/(^|[,\s])h2c?($|[,\s/])/i.test(value)) return invalid("upgrade-h2c", offset);
      state.upgrade = true;
      break;
    default:
  }
  return undefined;
}

function finish(request: RequestLine, state: HeadState, start: number, length: number): Parsed<RequestHead, HttpCode> {
  const { method, target, version, authority } = request;
  const chunked = state.transferEncoding !== undefined;
  if (chunked && version === "1.0") return invalid("transfer-encoding", start);
  if (chunked && state.contentLength !== undefined) return invalid("length-conflict", start);
  const host = state.authorities[0]?.host;
  if (!host && version === "1.1") return invalid("no-host", start);
  if (host && authority && !sameAuthority(host, authority)) return invalid("target-host-mismatch", start);
  const named = host ?? authority;
  return done({
    method,
    target,
    version,
    host: named?.name,
    hostPort: named?.port,
    hostIsAddress: named?.address,
    contentLength: state.contentLength === undefined ? undefined : Number(state.contentLength),
    chunked,
    upgrade: state.upgrade,
    length,
  });
}

function authorityOf(head: RequestHead): Authority {
  return { name: head.host, address: head.hostIsAddress, port: head.hostPort };
}
