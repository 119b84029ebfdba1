/**
 * The resolvers to trust when none were given: those of resolv.conf, and a resolver on this box (any address of the box).
 */
import { readFileSync } from "node:fs";
import type { Addr } from "../core/net/address.js";
import { formatAddr, parseAddr } from "../core/net/address.js";
import { errnoOf } from "./errors.js";

/** systemd-resolved's stub: the resolvers that it asks itself are in a file of its own. */
const stub = "127.0.0.53";
const stubFile = "/run/systemd/resolve/resolv.conf";

/** As text, in order, each once. `box`: the addresses of this box. */
export function defaultResolvers(box: readonly Addr[], read: (path: string) => string = readIfThere): string[] {
  const listed = nameservers(read("/etc/resolv.conf"));
  if (listed.includes(stub)) listed.push(...nameservers(read(stubFile)));
  return [...new Set([...listed, ...box.map(formatAddr)])];
}

/** `nameserver` lines of resolv.conf(5); a zone (`%eth0`) is cut off: addresses in packets have none. */
export function nameservers(text: string): string[] {
  const out: string[] = [];
  for (const line of text.split("\n")) {
    const match = /^\s*nameserver\s+([^\s%]+)/.exec(line);
    const addr = match && parseAddr(match[1] as string);
    if (addr) out.push(formatAddr(addr));
  }
  return out;
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return "";
    throw error;
  }
}
