/**
 * Longest-prefix match, the same answer as the kernel's tries. Nested prefixes are flattened into intervals that don't overlap;
 * a lookup is one binary search over numbers (17 steps for 100,000 CIDRs), whatever prefix lengths are in use.
 */
import type { Addr } from "../net/address.js";
import { addrAfter, contains } from "./cidr.js";
import type { KernelCidr } from "./types.js";

export class AddressTable {
  readonly #v4: Intervals;
  readonly #v6: Intervals;

  /** `entries` sorted by compareCidrs, no prefix twice. */
  constructor(entries: readonly KernelCidr[]) {
    const firstV6 = entries.findIndex((entry) => entry.addr.length === 16);
    this.#v4 = flatten(entries.slice(0, firstV6 < 0 ? entries.length : firstV6), 1);
    this.#v6 = flatten(firstV6 < 0 ? [] : entries.slice(firstV6), 4);
  }

  /** The entry with the longest prefix that contains the address. */
  find(addr: Addr): KernelCidr | undefined {
    return addr.length === 4 ? find4(this.#v4, addr) : find6(this.#v6, addr);
  }
}

/** Interval i begins at start[i * words] (big-endian words) and ends where the next one begins. */
interface Intervals {
  readonly start: Uint32Array;
  readonly entry: readonly (KernelCidr | undefined)[];
}

function flatten(sorted: readonly KernelCidr[], words: 1 | 4): Intervals {
  const starts: Addr[] = ["\0".repeat(words * 4) as Addr];
  const entry: (KernelCidr | undefined)[] = [undefined];
  const begin = (addr: Addr, what: KernelCidr | undefined) => {
    if (starts[starts.length - 1] === addr) {
      entry[entry.length - 1] = what;
    } else {
      starts.push(addr);
      entry.push(what);
    }
  };
  const open: KernelCidr[] = [];
  const close = () => {
    const after = addrAfter(open.pop() as KernelCidr);
    if (after !== undefined) begin(after, open[open.length - 1]);
  };
  for (const cidr of sorted) {
    while (open.length > 0 && !contains(open[open.length - 1] as KernelCidr, cidr)) close();
    begin(cidr.addr, cidr);
    open.push(cidr);
  }
  while (open.length > 0) close();

  const start = new Uint32Array(starts.length * words);
  starts.forEach((addr, i) => {
    for (let word = 0; word < words; word++) start[i * words + word] = wordAt(addr, word);
  });
  return { start, entry };
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

function wordAt(addr: Addr, word: number): number {
  const at = word * 4;
  return (
    ((addr.charCodeAt(at) << 24) |
      (addr.charCodeAt(at + 1) << 16) |
      (addr.charCodeAt(at + 2) << 8) |
      addr.charCodeAt(at + 3)) >>>
    0
  );
}
