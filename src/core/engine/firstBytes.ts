/**
 * What the first bytes of a TCP flow say: the name on the wire, or that there is none. Pure: bytes in, finding out.
 */
import { Reason } from "../abi.generated.js";
import { parsePipelined, parseRequestHead } from "../wire/http.js";
import { sniffFirstBytes } from "../wire/sniff.js";
import { parseClientHello } from "../wire/tls.js";

export type FirstBytes =
  | { readonly kind: "needMore" }
  /** `name` in normal form. */
  | { readonly kind: "name"; readonly name: string; readonly protocol: "tls" | "http" }
  /** TLS or HTTP that should carry a name and doesn't. */
  | { readonly kind: "nameless"; readonly detail: string }
  /** A protocol that carries no name at all. */
  | { readonly kind: "other" }
  | { readonly kind: "bad"; readonly reason: number; readonly detail: string };

/** Header fields of one request; more is denied as malformed. */
const MAX_HEADERS = 100;
const NEED_MORE: FirstBytes = { kind: "needMore" };

/** `stream` starts at the first byte of the flow; at most `maxBytes` of it are looked at. */
export function readFirstBytes(stream: Uint8Array, maxBytes: number): FirstBytes {
  switch (sniffFirstBytes(stream)) {
    case "needMore":
      return NEED_MORE;
    case "tls":
      return readTls(stream, maxBytes);
    case "http":
      return readHttp(stream, maxBytes);
    case "http2-prior":
      return { kind: "bad", reason: Reason.HTTP2_PRIOR, detail: "HTTP/2 preface in clear text" };
    case "other":
      return { kind: "other" };
  }
}

function readTls(stream: Uint8Array, maxBytes: number): FirstBytes {
  const hello = parseClientHello(stream, { maxBytes });
  if (hello.kind === "needMore") return NEED_MORE;
  if (hello.kind === "invalid") {
    const reason = hello.code === "too-large" ? Reason.HELLO_TOO_LARGE : Reason.HELLO_MALFORMED;
    return { kind: "bad", reason, detail: `ClientHello: ${hello.code} at byte ${hello.offset}` };
  }
  const { serverName, noNameWhy } = hello.value;
  if (serverName === undefined) return { kind: "nameless", detail: `ClientHello: SNI ${noNameWhy ?? "absent"}` };
  return { kind: "name", name: serverName, protocol: "tls" };
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
  return { kind: "name", name: host, protocol: "http" };
}
