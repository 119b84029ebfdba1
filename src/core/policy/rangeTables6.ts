/**
 * IPv6 CIDRs as eBPF looks them up (bpf/lookup.h, `find_cidr6`): sorted ranges as for IPv4 (rangeTables.ts). But what is in use of IPv6 lies in few
 * places, close together, so an index by the top bits of an address would be mostly empty: each crowded place has an index of its own. A trie of
 * 100,000 CIDRs costs 90 ns a packet, this about 10.
 */
import { CIDR6_LEVELS } from "../abi.generated.js";
import { intervals6, type Intervals } from "./intervals.js";
import type { KernelCidr, KernelTables } from "./types.js";

export interface RangeTables6 {
  /** By policy id: number of the node where the search begins. */
  readonly policies: ReadonlyMap<number, number>;
  /** Map `cidr6_nodes`. */
  readonly nodes: readonly RangeNode[];
  /** Map `cidr6_index`: of each entry the first range, and how many; 0: a node in the range's place. */
  readonly at: readonly number[];
  readonly count: readonly number[];
  /** Map `cidr6`: halves of the address where each range begins, and what is said of it; undefined: nothing. */
  readonly high: BigUint64Array;
  readonly low: BigUint64Array;
  readonly cidr: readonly (KernelCidr | undefined)[];
}

export interface RangeNode {
  readonly byLow: boolean;
  /** The half that is the same for all; 0n unless `byLow`. */
  readonly high: bigint;
  /** Where the first slot begins, in the half that the slots are made of. */
  readonly first: bigint;
  /** The first slot's entry in the index. */
  readonly index: number;
  readonly last: number;
  readonly shift: number;
}

/** As many ranges are found by halving as quickly as by one more node. */
const FEW = 8;
const MAX_INDEX_BITS = 20;

/** n CIDRs make at most 2n + 1 ranges for each policy, and these at most two entries of the index a level. O(n log n). */
export function rangeTables6(tables: KernelTables): RangeTables6 {
  const byPolicy = new Map<number, KernelCidr[]>(tables.policies.map(({ id }) => [id, []]));
  for (const cidr of tables.cidrs) if (cidr.addr.length === 16) byPolicy.get(cidr.policy)?.push(cidr);

  const parts = [...byPolicy].map(([policy, cidrs]) => ({ policy, ...intervals6(cidrs) }));
  const starts = new Starts(parts);
  const index = new Index(starts);
  const policies = new Map<number, number>();
  let base = 0;
  for (const { policy, entry } of parts) {
    // The first range begins at address 0: nothing is before it, so nobody needs to be told where it begins.
    policies.set(policy, index.node(base + 1, base + entry.length, 1));
    base += entry.length;
  }
  const { nodes, at, count } = index;
  return { policies, nodes, at, count, high: starts.high, low: starts.low, cidr: parts.flatMap(({ entry }) => entry) };
}

/** Where the ranges of all policies begin. */
class Starts {
  readonly high: BigUint64Array;
  readonly low: BigUint64Array;

  constructor(parts: readonly Intervals[]) {
    const length = parts.reduce((sum, { entry }) => sum + entry.length, 0);
    this.high = new BigUint64Array(length);
    this.low = new BigUint64Array(length);
    let at = 0;
    for (const { start } of parts) {
      for (let i = 0; i < start.length; i += 4, at++) {
        this.high[at] = bigOf(start[i] as number, start[i + 1] as number);
        this.low[at] = bigOf(start[i + 2] as number, start[i + 3] as number);
      }
    }
  }
}

class Index {
  readonly nodes: RangeNode[] = [];
  readonly at: number[] = [];
  readonly count: number[] = [];
  readonly #starts: Starts;

  constructor(starts: Starts) {
    this.#starts = starts;
  }

  /** Tells the ranges [from, to) and the one before them apart. Returns the node's number. */
  node(from: number, to: number, level: number): number {
    const number = this.nodes.length;
    const { half, ...node } = this.#place(from, to);
    this.nodes.push(node);
    for (let slot = 0; slot <= node.last; slot++) {
      this.at.push(0);
      this.count.push(0);
    }
    const width = 1n << BigInt(node.shift);
    let next = node.first;
    let begin = from;
    for (let slot = 0; slot <= node.last; slot++) {
      next += width;
      let end = begin;
      while (end < to && (half[end] as bigint) < next) end++;
      this.#fill(node.index + slot, begin, end, level);
      begin = end;
    }
    return number;
  }

  /** One or two slots for each range, or one for each address. */
  #place(from: number, to: number): RangeNode & { readonly half: BigUint64Array } {
    const { high, low } = this.#starts;
    const index = this.at.length;
    if (from === to) return { byLow: false, high: 0n, first: 0n, index, last: 0, shift: 0, half: high };
    const byLow = high[from] === high[to - 1];
    const half = byLow ? low : high;
    const first = half[from] as bigint;
    const span = (half[to - 1] as bigint) - first;
    const shift = Math.max(0, bits(span) - Math.min(MAX_INDEX_BITS, bits(BigInt(to - from))));
    return {
      byLow,
      high: byLow ? (high[from] as bigint) : 0n,
      first,
      index,
      last: Number(span >> BigInt(shift)),
      shift,
      half,
    };
  }

  /** What an entry says of the ranges that begin in its slot. */
  #fill(entry: number, from: number, to: number, level: number): void {
    const crowded = to - from > FEW && level < CIDR6_LEVELS;
    this.at[entry] = crowded ? this.node(from, to, level + 1) : from - 1;
    this.count[entry] = crowded ? 0 : to - from + 1;
  }
}

/** Of two words, the upper one first. */
function bigOf(upper: number, lower: number): bigint {
  return (BigInt(upper) << 32n) | BigInt(lower);
}

/** How many bits a number takes. */
function bits(value: bigint): number {
  return value === 0n ? 0 : value.toString(2).length;
}
