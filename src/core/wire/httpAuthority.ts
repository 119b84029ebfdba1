/**
 * `host[:port]` as it stands in Host and in an absolute URI (RFC 9110 7.2, RFC 3986 3.2), without user information.
 */
import { parseAddr, type Addr } from "../net/address.js";
import { normalizeHostBytes } from "./dnsName.js";

/** Either a name in normal form or an address, or neither if no host was said at all. */
export interface Authority {
  readonly name: string | undefined;
  readonly address: Addr | undefined;
  /** 1–65535; undefined: none was said. */
  readonly port: number | undefined;
}

/**
 * undefined: not an authority. Stricter than RFC 3986: no percent-encoding, no empty port, no user information, no address in any other
 * spelling than a dotted quad or brackets.
 */
export function parseAuthority(text: string): Authority | undefined {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::([1-9]\d{0,4}))?$/.exec(text);
  if (!match) return undefined;
  const host = match[1]!;
  const port = match[2] === undefined ? undefined : Number(match[2]);
  if (port !== undefined && port > 65535) return undefined;
  const address = parseAddr(host.startsWith("[") ? host.slice(1, -1) : host);
  if (address) return { name: undefined, address, port };
  const bytes = Buffer.from(host, "latin1");
  const name = normalizeHostBytes(bytes, 0, bytes.length);
  return name.kind === "done" ? { name: name.value, address: undefined, port } : undefined;
}

/** The same host, and the same port, where none means 80. */
export function sameAuthority(a: Authority, b: Authority): boolean {
  return a.name === b.name && a.address === b.address && (a.port ?? 80) === (b.port ?? 80);
}
