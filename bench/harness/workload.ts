/** The names and addresses that all scenarios use, and the policies that systems are given. */
import { server, type Both } from "../lab.js";
import { dotted, manyCidrs } from "../cidrs.js";
import type { Workload } from "./types.js";

/** A thousand names under one allowed pattern, in turns, so that a cache of the last name helps nobody. Name n lives on address n modulo 64. */
export const names = {
  count: 1_024,
  allowed: "host-%.bench.example",
  denied: "host-%.bench.example.evil.test",
  one: "host-0000.bench.example",
  pattern: "*.bench.example",
} as const;

/** By name only. */
export const byName: Workload = { key: "names", cidrs: [], domains: [names.pattern] };

/** The same with real handshakes. */
export const byNameEndToEnd: Workload = { ...byName, key: "names, real TLS", realServer: true };

/** By address: the server's networks, and `count` others. */
export function byAddress(count: number): Workload {
  const others = manyCidrs(count).map(({ address, prefix }) => `${dotted(address)}/${prefix}`);
  return { key: `${count} CIDRs`, cidrs: [server.allowed.v4, server.allowed.v6, ...others], domains: [] };
}

/**
 * `count` whole names besides the pattern. They are short, because a command line holds no more than 6 MiB: name n is three characters,
 * a dot and a letter.
 */
export function manyNames(count: number): Workload {
  const others = Array.from({ length: count }, (_, n) => shortName(n));
  return { key: `${count} names`, cidrs: [], domains: [names.pattern, ...others] };
}

/** For n below 1,213,056 (36 × 36 × 36 × 26). */
export function shortName(n: number): string {
  const [letter, rest] = [n % 26, Math.floor(n / 26)];
  return `${rest.toString(36).padStart(3, "0")}.${String.fromCharCode(97 + letter)}`;
}

export const families = ["v4", "v6"] as const;
export const familyTitle: Both = { v4: "IPv4", v6: "IPv6" };
