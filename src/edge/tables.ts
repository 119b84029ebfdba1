/** From `KernelTables` to the bytes of the maps, in batches. The maps are new and attached to nothing yet: order doesn't matter. */
import {
  CIDR4_INDEX_SIZE,
  CIDR4_SIZE,
  CIDR6_KEY_SIZE,
  CIDR_SIZE,
  MAX_PORT_SETS,
  Verdict,
  Verify,
  encodeCidr,
  encodeCidr4,
  encodeCidr4Index,
  encodeCidr6Key,
  encodePolicy,
  encodePortSet,
  type AbiCidr,
} from "../core/abi.generated.js";
import { addrToBytes } from "../core/net/address.js";
import { rangeTables, type RangePlace, type RangeTables } from "../core/policy/rangeTables.js";
import type { KernelCidr, KernelTables } from "../core/policy/types.js";
import type { BpfMap } from "../native/types.js";

export interface PolicyMaps {
  readonly cidr4Index: BpfMap;
  readonly cidr4: BpfMap;
  readonly cidr6: BpfMap;
  readonly portSets: BpfMap;
  readonly policies: BpfMap;
}

const batch = 8192;

/** Tables as the maps hold them. */
export interface Layout {
  readonly tables: KernelTables;
  readonly ranges: RangeTables;
  /** Entries that arrays need which have nothing to spare. */
  readonly maxEntries: { readonly cidr4: number; readonly cidr4_index: number };
}

export function layOut(tables: KernelTables): Layout {
  const ranges = rangeTables(tables);
  // No policy, no range; but there is no map without an entry.
  const size = (entries: { length: number }) => Math.max(1, entries.length);
  return { tables, ranges, maxEntries: { cidr4: size(ranges.cidr), cidr4_index: size(ranges.at) } };
}

/** Throws if something doesn't fit: `checkTables` has said so before. */
export function fillTables(maps: PolicyMaps, { tables, ranges }: Layout): void {
  fillArray(maps.cidr4Index, ranges.at.length, CIDR4_INDEX_SIZE, (i, values, offset) =>
    encodeCidr4Index({ at: ranges.at[i] as number, count: ranges.count[i] as number }, values, offset),
  );
  fillArray(maps.cidr4, ranges.cidr.length, CIDR4_SIZE, (i, values, offset) => {
    const cidr = ranges.cidr[i];
    encodeCidr4({ first: ranges.first[i] as number, cidr: cidr ? abiCidr(cidr) : nothing }, values, offset);
  });
  fillCidrs6(
    maps.cidr6,
    tables.cidrs.filter(({ addr }) => addr.length === 16),
  );
  tables.portSets.forEach((ranges, number) => {
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
    maps.portSets.put(u32(number), value);
  });
  for (const policy of tables.policies) {
    const verify = { dns: Verify.DNS, sni: Verify.SNI, both: Verify.BOTH }[policy.verify];
    const place = ranges.policies.get(policy.id) as RangePlace;
    const value = { present: 1, verify, namePorts: policy.namePorts, cidr4Index: place.index, cidr4Shift: place.shift };
    maps.policies.put(u32(policy.id), encodePolicy(value));
  }
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

/** What the kernel takes for no CIDR. */
const nothing: AbiCidr = { verdict: Verdict.NONE, strict: 0, rule: 0, ports: 0 };

function abiCidr({ verdict, strict, rule, ports }: KernelCidr): AbiCidr {
  return { verdict: verdicts[verdict], strict: strict ? 1 : 0, rule, ports };
}

function fillCidrs6(map: BpfMap, cidrs: readonly KernelCidr[]): void {
  fill(map, cidrs.length, CIDR6_KEY_SIZE, CIDR_SIZE, (i, keys, values, slot) => {
    const cidr = cidrs[i] as KernelCidr;
    const key = { prefixlen: 32 + cidr.length, policy: cidr.policy, addr: addrToBytes(cidr.addr) };
    encodeCidr6Key(key, keys, slot * CIDR6_KEY_SIZE);
    encodeCidr(abiCidr(cidr), values, slot * CIDR_SIZE);
  });
}

function fillArray(
  map: BpfMap,
  count: number,
  valueSize: number,
  encode: (i: number, values: Buffer, offset: number) => void,
): void {
  fill(map, count, 4, valueSize, (i, keys, values, slot) => {
    keys.writeUInt32LE(i, slot * 4);
    encode(i, values, slot * valueSize);
  });
}

/** `encode` writes entry `i` into place `slot` of its batch. */
function fill(
  map: BpfMap,
  count: number,
  keySize: number,
  valueSize: number,
  encode: (i: number, keys: Buffer, values: Buffer, slot: number) => void,
): void {
  for (let from = 0; from < count; from += batch) {
    const size = Math.min(batch, count - from);
    const keys = Buffer.alloc(size * keySize);
    const values = Buffer.alloc(size * valueSize);
    for (let slot = 0; slot < size; slot++) encode(from + slot, keys, values, slot);
    const stored = map.putBatch(keys, values, size);
    if (stored !== size) throw new Error(`map ${map.name}: ${stored} of ${size} entries stored`);
  }
}
