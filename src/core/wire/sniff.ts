/**
 * What do the first bytes of a client look like?
 */

export type FirstBytes = "tls" | "http" | "http2-prior" | "other" | "needMore";

/**
 * - `tls`: a handshake record of SSL 3.0 to TLS 1.3. An SSL 2 hello is `other`.
 * - `http`: a method that is registered with IANA and a space; line ends in front of it don't hide it (RFC 9112 2.2 lets a
 *   server skip them), so that the strict parser gets to refuse them.
 * - `http2-prior`: the connection preface of HTTP/2 without TLS (RFC 9113 3.4).
 * - `needMore`: a prefix of one of these, or nothing. The answer for a longer stream is never another than for a shorter one, but for
 *   `needMore`.
 */
export function sniffFirstBytes(bytes: Uint8Array, start = 0, end = bytes.length): FirstBytes {
  if (start === end) return "needMore";
  if (bytes[start] === 0x16) return sniffTls(bytes, start, end);
  let at = start;
  while (at < end && at - start < MAX_LINE_ENDS && isLineEnd(bytes[at]!)) at++;
  if (at - start === MAX_LINE_ENDS) return "other";
  if (at === end) return "needMore";
  // Read up to the first space; a method that isn't complete may still become one.
  const words = at === start ? WORDS : METHODS;
  let partial = false;
  for (const word of words) {
    const common = commonPrefix(bytes, at, end, word);
    if (common === word.length) return word === PREFACE ? "http2-prior" : "http";
    if (at + common === end) partial = true;
  }
  return partial ? "needMore" : "other";
}

const MAX_LINE_ENDS = 16;
const PREFACE = "PRI * HTTP/2.0\r\n";

/** RFC 9110 16.1.1 registry: HTTP itself, PATCH, WebDAV and its extensions; and what proxies and caches use without being there. */
const METHODS: readonly string[] = [
  ...["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"],
  ...["PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "ACL", "REPORT", "ORDERPATCH"],
  ...["BASELINE-CONTROL", "CHECKIN", "CHECKOUT", "LABEL", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKREDIRECTREF"],
  ...["MKWORKSPACE", "UNCHECKOUT", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL", "BIND", "REBIND", "UNBIND"],
  ...["LINK", "UNLINK", "PURGE"],
].map((method) => `${method} `);

/** What may stand at the very beginning. */
const WORDS: readonly string[] = [...METHODS, PREFACE];

function sniffTls(bytes: Uint8Array, start: number, end: number): FirstBytes {
  if (end - start >= 2 && bytes[start + 1] !== 3) return "other";
  if (end - start >= 3) return bytes[start + 2]! <= 4 ? "tls" : "other";
  return "needMore";
}

function isLineEnd(byte: number): boolean {
  return byte === 0x0d || byte === 0x0a;
}

function commonPrefix(bytes: Uint8Array, start: number, end: number, word: string): number {
  const longest = Math.min(word.length, end - start);
  let length = 0;
  while (length < longest && bytes[start + length] === word.charCodeAt(length)) length++;
  return length;
}
