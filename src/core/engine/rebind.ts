/**
 * Addresses that a public name has no business to point at (DNS rebinding, metadata services, IPv4 embedded in IPv6).
 * They are learned only where a CIDR rule allows them anyway. Documentation ranges are not among them: nothing is routed there.
 */
import { parseAddr, type Addr } from "../net/address.js";

/** Sources: RFC 6890 and the IANA special-purpose registries, RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo). */
const SPECIAL: readonly (readonly [string, number])[] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
  // ::/96 holds the unspecified address, loopback and the IPv4-compatible addresses.
  ["::", 96],
  ["::ffff:0:0", 96],
  ["::ffff:0:0:0", 96],
  ["64:ff9b::", 96],
  ["64:ff9b:1::", 48],
  ["100::", 64],
  ["2001::", 32],
  ["2002::", 16],
  ["fc00::", 7],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
];

const BLOCKS = SPECIAL.map(([text, length]) => ({ addr: parseAddr(text) as Addr, length }));

/** Does the address lie in a range that a public name must not point into? */
export function isSpecialAddress(addr: Addr): boolean {
  return BLOCKS.some((block) => block.addr.length === addr.length && contains(block.addr, block.length, addr));
}

function contains(network: Addr, length: number, addr: Addr): boolean {
  const whole = length >> 3;
  for (let i = 0; i < whole; i++) if (network.charCodeAt(i) !== addr.charCodeAt(i)) return false;
  const rest = length & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return (network.charCodeAt(whole) & mask) === (addr.charCodeAt(whole) & mask);
}
