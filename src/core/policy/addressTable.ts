/**
 * Longest-prefix match, the same answer as the kernel's tables. Nested prefixes are flattened into intervals that don't overlap;
 * a lookup is one binary search over numbers (17 steps for 100,000 CIDRs), whatever prefix lengths are in use.
 */
import type { Addr } from "../net/address.js";
import { intervals4, intervals6, wordAt, type Intervals } from "./intervals.js";
import type { KernelCidr } from "./types.js";

export class AddressTable {
  readonly #v4: Intervals;
  readonly #v6: Intervals;

  /** `entries` sorted by compareCidrs, no prefix twice. */
  constructor(entries: readonly KernelCidr[]) {
    const firstV6 = entries.findIndex((entry) => entry.addr.length === 16);
    this.#v4 = intervals4(entries.slice(0, firstV6 < 0 ? entries.length : firstV6));
    this.#v6 = intervals6(firstV6 < 0 ? [] : entries.slice(firstV6));
  }

  /** The entry with the longest prefix that contains the address. */
  find(addr: Addr): KernelCidr | undefined {
    return addr.length === 4 ? find4(this.#v4, addr) : find6(this.#v6, addr);
  }
}

function find4({ start, entry }: Intervals, addr: Addr): KernelCidr | undefined {
  const word = wordAt(addr, 0);
  let low = 0;
  let high = entry.length;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if ((start[middle] as number) <= word) low = middle;
    else high = middle;
  }
  return entry[low];
}

function find6({ start, entry }: Intervals, addr: Addr): KernelCidr | undefined {
  const w0 = wordAt(addr, 0);
  const w1 = wordAt(addr, 1);
  const w2 = wordAt(addr, 2);
  const w3 = wordAt(addr, 3);
  let low = 0;
  let high = entry.length;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    const at = middle * 4;
    const order =
      (start[at] as number) - w0 ||
      (start[at + 1] as number) - w1 ||
      (start[at + 2] as number) - w2 ||
      (start[at + 3] as number) - w3;
    if (order <= 0) low = middle;
    else high = middle;
  }
  return entry[low];
}
