/**
 * What the first bytes of a flow say: the name on the wire, or that there is none. Pure: bytes in, finding out.
 */
import { Reason } from "../abi.generated.js";
import { parsePipelined, parseRequestHead } from "../wire/http.js";
import { sniffFirstBytes } from "../wire/sniff.js";
import type { ClientHello } from "../wire/clientHello.js";
import type { QuicHelloCode } from "../wire/quicCodes.js";
import type { Invalid, Parsed } from "../wire/result.js";
import { readClientHello } from "../wire/tls.js";
import { emptyHello } from "../wire/tlsExtensions.js";
import type { Writable } from "../writable.js";

export type FirstBytes =
  | { readonly kind: "needMore" }
  /** `name` in normal form. */
  | { readonly kind: "name"; readonly name: string; readonly protocol: "tls" | "http" | "quic" }
  /** TLS or HTTP that should carry a name and doesn't. */
  | { readonly kind: "nameless"; readonly detail: string }
  /** A protocol that carries no name at all. */
  | { readonly kind: "other" }
  | { readonly kind: "bad"; readonly reason: number; readonly detail: string };

/** What the hello in QUIC's CRYPTO stream says. */
export type QuicHello = Extract<FirstBytes, { kind: "needMore" | "name" | "nameless" | "bad" }>;

/** Header fields of one request; more is denied as malformed. */
const MAX_HEADERS = 100;
const NEED_MORE = { kind: "needMore" } as const;

/** What was found last: overwritten by the next name. */
const NAME: Writable<Extract<FirstBytes, { kind: "name" }>> = { kind: "name", name: "", protocol: "tls" };
/** Filled and read within one call. */
const HELLO = emptyHello();

/**
 * `bytes` [start, end) are the first of the flow; at most `maxBytes` of them are looked at. What is returned is valid until the next call: a name comes with
 * nearly every connection, so it makes no garbage.
 */
export function readFirstBytes(bytes: Uint8Array, start: number, end: number, maxBytes: number): FirstBytes {
  switch (sniffFirstBytes(bytes, start, end)) {
    case "needMore":
      return NEED_MORE;
    case "tls":
      return readTls(bytes, start, end, maxBytes);
    case "http":
      return readHttp(bytes.subarray(start, end), maxBytes);
    case "http2-prior":
      return { kind: "bad", reason: Reason.HTTP2_PRIOR, detail: "HTTP/2 preface in clear text" };
    case "other":
      return { kind: "other" };
  }
}

function named(name: string, protocol: "tls" | "http" | "quic"): Extract<FirstBytes, { kind: "name" }> {
  NAME.name = name;
  NAME.protocol = protocol;
  return NAME;
}

/** Valid until the next call, as above. */
export function sayQuicHello(hello: Parsed<ClientHello, QuicHelloCode>): QuicHello {
  switch (hello.kind) {
    case "needMore":
      return NEED_MORE;
    case "invalid":
      return badHello(hello);
    case "done":
      return sayHello(hello.value, "quic");
  }
}

function readTls(bytes: Uint8Array, start: number, end: number, maxBytes: number): FirstBytes {
  const stop = readClientHello(bytes, start, end, maxBytes, HELLO);
  if (stop?.kind === "needMore") return NEED_MORE;
  return stop ? badHello(stop) : sayHello(HELLO, "tls");
}

function badHello({ code, offset }: Invalid<QuicHelloCode>): Extract<FirstBytes, { kind: "bad" }> {
  const reason = code === "too-large" ? Reason.HELLO_TOO_LARGE : Reason.HELLO_MALFORMED;
  return { kind: "bad", reason, detail: `ClientHello: ${code} at byte ${offset}` };
}

function sayHello({ serverName, noNameWhy }: ClientHello, protocol: "tls" | "quic"): QuicHello {
  if (serverName === undefined) return { kind: "nameless", detail: `ClientHello: SNI ${noNameWhy ?? "absent"}` };
  return named(serverName, protocol);
}

function readHttp(stream: Uint8Array, maxBytes: number): FirstBytes {
  const head = parseRequestHead(stream, { maxBytes, maxHeaders: MAX_HEADERS });
  if (head.kind === "needMore") return NEED_MORE;
  if (head.kind === "invalid") {
    const reason = head.code === "too-large" ? Reason.HELLO_TOO_LARGE : Reason.HELLO_MALFORMED;
    return { kind: "bad", reason, detail: `request head: ${head.code} at byte ${head.offset}` };
  }
  const { host } = head.value;
  if (host === undefined) return { kind: "nameless", detail: "request head: no host name" };
  const next = parsePipelined(stream, head.value);
  // Half a second head may name anybody.
  if (next.kind === "needMore") return NEED_MORE;
  if (next.kind === "invalid") {
    return { kind: "bad", reason: Reason.HELLO_MALFORMED, detail: `pipelined request: ${next.code}` };
  }
  return named(host, "http");
}
