/**
 * IPv4 CIDRs as eBPF looks them up (bpf/lookup.h, `find_cidr4`): the sorted ranges of each policy, and an index by the top bits of an address, so
 * that the search is among the few ranges there. A trie of 100,000 CIDRs costs 90 ns a packet, this 10 to 20.
 */
import { intervals4 } from "./intervals.js";
import type { KernelCidr, KernelTables } from "./types.js";

export interface RangeTables {
  /** By policy id. */
  readonly policies: ReadonlyMap<number, RangePlace>;
  /** Map `cidr4_index`: of each entry the first range, and how many. */
  readonly at: Uint32Array;
  readonly count: Uint32Array;
  /** Map `cidr4`: where each range begins (host order), and what is said of it; undefined: nothing. */
  readonly first: Uint32Array;
  readonly cidr: readonly (KernelCidr | undefined)[];
}

export interface RangePlace {
  /** First of the policy's entries in the index. */
  readonly index: number;
  /** An address shifted right by so many bits is its entry's number among them. 32: there is only one. */
  readonly shift: number;
}

/** 8 MiB of index: wider gives nothing, for networks are seldom closer than /20. */
const MAX_INDEX_BITS = 20;

/** n CIDRs make at most 2n + 1 ranges and 4n + 2 entries of the index (as many as 2^20), for each policy. O(n log n). */
export function rangeTables(tables: KernelTables): RangeTables {
  const byPolicy = new Map<number, KernelCidr[]>(tables.policies.map(({ id }) => [id, []]));
  for (const cidr of tables.cidrs) if (cidr.addr.length === 4) byPolicy.get(cidr.policy)?.push(cidr);

  const places = new Map<number, RangePlace>();
  const parts = [...byPolicy].map(([policy, cidrs]) => ({ policy, ...intervals4(cidrs) }));
  const indexSize = parts.reduce((sum, { entry }) => sum + 2 ** indexBits(entry.length), 0);
  const ranges = parts.reduce((sum, { entry }) => sum + entry.length, 0);
  const out = { at: new Uint32Array(indexSize), count: new Uint32Array(indexSize), first: new Uint32Array(ranges) };
  let index = 0;
  let range = 0;
  for (const { policy, start, entry } of parts) {
    const bits = indexBits(entry.length);
    places.set(policy, { index, shift: 32 - bits });
    fillIndex(out, index, bits, start, range);
    out.first.set(start, range);
    index += 2 ** bits;
    range += entry.length;
  }
  return { policies: places, ...out, cidr: parts.flatMap(({ entry }) => entry) };
}

/** One or two entries of the index for each range. */
function indexBits(ranges: number): number {
  return ranges === 1 ? 0 : Math.min(MAX_INDEX_BITS, 32 - Math.clz32(ranges));
}

/** `base`: number of the range that begins with start[0]. */
function fillIndex(
  out: Pick<RangeTables, "at" | "count">,
  index: number,
  bits: number,
  start: Uint32Array,
  base: number,
): void {
  const slices = 2 ** bits;
  const width = 2 ** (32 - bits);
  let at = 0;
  for (let slice = 0; slice < slices; slice++) {
    // From the range that holds the slice's first address to the one that holds its last.
    while (at + 1 < start.length && (start[at + 1] as number) <= slice * width) at++;
    let last = at;
    while (last + 1 < start.length && (start[last + 1] as number) < (slice + 1) * width) last++;
    out.at[index + slice] = base + at;
    out.count[index + slice] = last - at + 1;
    at = last;
  }
}
