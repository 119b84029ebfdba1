/**
 * From `KernelTables` to the bytes of the maps, in batches. Nothing refers to what is written here until the generation changes (or the new programs are
 * attached): order doesn't matter.
 */
import {
  CIDR4_INDEX_SIZE,
  CIDR4_SIZE,
  CIDR6_INDEX_SIZE,
  CIDR6_NODE_SIZE,
  CIDR6_SIZE,
  MAX_POLICIES,
  MAX_PORT_SETS,
  Verdict,
  Verify,
  encodeCidr4,
  encodeCidr4Index,
  encodeCidr6,
  encodeCidr6Index,
  encodeCidr6Node,
  encodePolicy,
  encodePortSet,
  type AbiCidr,
} from "../core/abi.generated.js";
import { rangeTables, type RangePlace, type RangeTables } from "../core/policy/rangeTables.js";
import { rangeTables6, type RangeNode, type RangeTables6 } from "../core/policy/rangeTables6.js";
import type { KernelCidr, KernelTables } from "../core/policy/types.js";
import type { BpfMap } from "../native/types.js";

export const tableNames = [
  "cidr4_index",
  "cidr4",
  "cidr6_nodes",
  "cidr6_index",
  "cidr6",
  "port_sets",
  "policies",
] as const;
export type TableName = (typeof tableNames)[number];
/** Each of the maps by its name. */
export type TableMaps = (name: TableName) => BpfMap;

const batch = 8192;

export type TableArrays = Readonly<Record<"cidr4" | "cidr4_index" | "cidr6" | "cidr6_index" | "cidr6_nodes", number>>;

/** Tables as the maps hold them. */
export interface Layout {
  readonly tables: KernelTables;
  readonly ranges: RangeTables;
  readonly ranges6: RangeTables6;
  /** Entries that arrays need which have nothing to spare. */
  readonly maxEntries: TableArrays;
}

/** Where the tables of one generation begin: two of them have room in the maps beside each other. */
export interface Place {
  readonly policies: number;
  readonly arrays: TableArrays;
}

/** `room`: of each half of the arrays; undefined: there is only one, and it begins at 0. */
export function placeOf(generation: number, room: TableArrays | undefined): Place {
  const half = generation & 1 ? 0 : 1;
  return { policies: half * MAX_POLICIES, arrays: mapArrays(room ?? none, (n) => n * half) };
}

/** What each half needs so that rules of `maxCidrs` CIDRs of each family fit, but for IPv6 lists made to be crowded. */
export function roomFor(maxCidrs: number): TableArrays {
  const ranges = 2 * maxCidrs + 1;
  return {
    cidr4: ranges,
    cidr4_index: Math.min(2 * ranges, 2 ** 20),
    cidr6: ranges,
    cidr6_index: 2 * ranges,
    cidr6_nodes: 1 + Math.ceil(ranges / 9),
  };
}

export function mapArrays(arrays: TableArrays, of: (entries: number, name: keyof TableArrays) => number): TableArrays {
  return {
    cidr4: of(arrays.cidr4, "cidr4"),
    cidr4_index: of(arrays.cidr4_index, "cidr4_index"),
    cidr6: of(arrays.cidr6, "cidr6"),
    cidr6_index: of(arrays.cidr6_index, "cidr6_index"),
    cidr6_nodes: of(arrays.cidr6_nodes, "cidr6_nodes"),
  };
}

const none: TableArrays = { cidr4: 0, cidr4_index: 0, cidr6: 0, cidr6_index: 0, cidr6_nodes: 0 };

export function layOut(tables: KernelTables): Layout {
  const ranges = rangeTables(tables);
  const ranges6 = rangeTables6(tables);
  // No policy, no range; but there is no map without an entry.
  const size = (entries: { length: number }) => Math.max(1, entries.length);
  const maxEntries = {
    cidr4: size(ranges.cidr),
    cidr4_index: size(ranges.at),
    cidr6: size(ranges6.cidr),
    cidr6_index: size(ranges6.at),
    cidr6_nodes: size(ranges6.nodes),
  };
  return { tables, ranges, ranges6, maxEntries };
}

/** Throws if something doesn't fit: `checkTables` has said so before. */
export function fillTables(map: TableMaps, { tables, ranges, ranges6 }: Layout, place = placeOf(1, undefined)): void {
  const { arrays } = place;
  fillCidrs4(map, ranges, arrays);
  fillCidrs6(map, ranges6, arrays);
  const sets = tables.portSets.map((ranges, i) => ({ number: i === 0 ? 0 : tables.portSetBase + i, ranges }));
  for (const { number, ranges } of [...sets, ...tables.policies.flatMap((policy) => policy.namesPortSet ?? [])]) {
    const value = encodePortSet({
      count: ranges.length,
      ranges: ranges.map(({ proto, low, high, verdict, rule }) => ({
        proto,
        low,
        high,
        rule,
        verdict: verdicts[verdict],
      })),
    });
    map("port_sets").put(u32(number), value);
  }
  for (const policy of tables.policies) {
    const verify = { dns: Verify.DNS, sni: Verify.SNI, both: Verify.BOTH }[policy.verify];
    const range = ranges.policies.get(policy.id) as RangePlace;
    const value = {
      present: 1,
      verify,
      quic: policy.quic === "inspect" ? 1 : 0,
      namePorts: policy.namePorts,
      cidr4Index: arrays.cidr4_index + range.index,
      cidr4Shift: range.shift,
      cidr6Node: arrays.cidr6_nodes + (ranges6.policies.get(policy.id) as number),
    };
    map("policies").put(u32(place.policies + policy.id), encodePolicy(value));
  }
}

/** What doesn't fit into a half of the maps; one line each. */
export function checkRoom(layout: Layout, room: TableArrays): string[] {
  const over = (Object.keys(room) as (keyof TableArrays)[]).filter((name) => layout.maxEntries[name] > room[name]);
  return over.map(
    (name) =>
      `the rules need ${layout.maxEntries[name]} entries of ${name}, there is room for ${room[name]}: restart with more --max-cidrs`,
  );
}

/** What doesn't fit into maps of `maxCidrs` entries a family; one line each, with the option that helps. */
export function checkTables(tables: KernelTables, maxCidrs: number): string[] {
  const out: string[] = [];
  for (const [family, length] of [
    ["IPv4", 4],
    ["IPv6", 16],
  ] as const) {
    const count = tables.cidrs.filter((cidr) => cidr.addr.length === length).length;
    if (count > maxCidrs)
      out.push(`the rules need ${count} ${family} table entries, there is room for ${maxCidrs}: raise --max-cidrs`);
  }
  if (tables.portSets.length > MAX_PORT_SETS) {
    out.push(`the rules need ${tables.portSets.length} port sets, there is room for ${MAX_PORT_SETS}`);
  }
  return out;
}

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

const verdicts = { allow: Verdict.ALLOW, deny: Verdict.DENY, inspect: Verdict.INSPECT, ports: Verdict.NONE } as const;

/** undefined, no CIDR: all zeroes. */
function abiCidr(cidr: KernelCidr | undefined): AbiCidr {
  if (!cidr) return nothing;
  const { verdict, strict, rule, ports } = cidr;
  return { verdict: verdicts[verdict], strict: strict ? 1 : 0, rule, ports };
}

const nothing: AbiCidr = { verdict: Verdict.NONE, strict: 0, rule: 0, ports: 0 };

function fillCidrs4(map: TableMaps, { at, count, first, cidr }: RangeTables, base: TableArrays): void {
  fillArray(map("cidr4_index"), base.cidr4_index, at.length, CIDR4_INDEX_SIZE, (i, values, offset) =>
    encodeCidr4Index({ at: base.cidr4 + (at[i] as number), count: count[i] as number }, values, offset),
  );
  fillArray(map("cidr4"), base.cidr4, cidr.length, CIDR4_SIZE, (i, values, offset) =>
    encodeCidr4({ first: first[i] as number, cidr: abiCidr(cidr[i]) }, values, offset),
  );
}

function fillCidrs6(map: TableMaps, { nodes, at, count, high, low, cidr }: RangeTables6, base: TableArrays): void {
  fillArray(map("cidr6_nodes"), base.cidr6_nodes, nodes.length, CIDR6_NODE_SIZE, (i, values, offset) => {
    const node = nodes[i] as RangeNode;
    encodeCidr6Node({ ...node, index: base.cidr6_index + node.index, byLow: node.byLow ? 1 : 0 }, values, offset);
  });
  fillArray(map("cidr6_index"), base.cidr6_index, at.length, CIDR6_INDEX_SIZE, (i, values, offset) => {
    const to = count[i] === 0 ? base.cidr6_nodes : base.cidr6;
    encodeCidr6Index({ at: to + (at[i] as number), count: count[i] as number }, values, offset);
  });
  fillArray(map("cidr6"), base.cidr6, cidr.length, CIDR6_SIZE, (i, values, offset) =>
    encodeCidr6({ high: high[i] as bigint, low: low[i] as bigint, cidr: abiCidr(cidr[i]) }, values, offset),
  );
}

/** In batches, from key `base` on; `encode` writes entry `i` at `offset`. */
function fillArray(
  map: BpfMap,
  base: number,
  count: number,
  valueSize: number,
  encode: (i: number, values: Buffer, offset: number) => void,
): void {
  for (let from = 0; from < count; from += batch) {
    const size = Math.min(batch, count - from);
    const keys = Buffer.alloc(size * 4);
    const values = Buffer.alloc(size * valueSize);
    for (let slot = 0; slot < size; slot++) {
      keys.writeUInt32LE(base + from + slot, slot * 4);
      encode(from + slot, values, slot * valueSize);
    }
    const stored = map.putBatch(keys, values, size);
    if (stored !== size) throw new Error(`map ${map.name}: ${stored} of ${size} entries stored`);
  }
}
