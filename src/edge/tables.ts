/** From `KernelTables` to the bytes of the maps, in batches. The maps are new and attached to nothing yet: order doesn't matter. */
import {
  CIDR4_KEY_SIZE,
  CIDR6_KEY_SIZE,
  CIDR_SIZE,
  MAX_PORT_SETS,
  Verdict,
  Verify,
  encodeCidr,
  encodeCidr4Key,
  encodeCidr6Key,
  encodePolicy,
  encodePortSet,
} from "../core/abi.generated.js";
import { addrToBytes } from "../core/net/address.js";
import type { KernelCidr, KernelTables } from "../core/policy/types.js";
import type { BpfMap } from "../native/types.js";

export interface PolicyMaps {
  readonly cidr4: BpfMap;
  readonly cidr6: BpfMap;
  readonly portSets: BpfMap;
  readonly policies: BpfMap;
}

const batch = 8192;

/** Throws if something doesn't fit: `checkTables` has said so before. */
export function fillTables(maps: PolicyMaps, tables: KernelTables): void {
  const of = (length: 4 | 16) => tables.cidrs.filter((cidr) => cidr.addr.length === length);
  fillCidrs(maps.cidr4, of(4), CIDR4_KEY_SIZE, (cidr, keys, offset) =>
    encodeCidr4Key({ prefixlen: 32 + cidr.length, policy: cidr.policy, addr: addrToBytes(cidr.addr) }, keys, offset),
  );
  fillCidrs(maps.cidr6, of(16), CIDR6_KEY_SIZE, (cidr, keys, offset) =>
    encodeCidr6Key({ prefixlen: 32 + cidr.length, policy: cidr.policy, addr: addrToBytes(cidr.addr) }, keys, offset),
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
    maps.policies.put(u32(policy.id), encodePolicy({ present: 1, verify, namePorts: policy.namePorts }));
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

function fillCidrs(
  map: BpfMap,
  cidrs: readonly KernelCidr[],
  keySize: number,
  encodeKey: (cidr: KernelCidr, keys: Buffer, offset: number) => void,
): void {
  for (let from = 0; from < cidrs.length; from += batch) {
    const part = cidrs.slice(from, from + batch);
    const keys = Buffer.alloc(part.length * keySize);
    const values = Buffer.alloc(part.length * CIDR_SIZE);
    part.forEach((cidr, i) => {
      encodeKey(cidr, keys, i * keySize);
      const { verdict, strict, rule, ports } = cidr;
      encodeCidr({ verdict: verdicts[verdict], strict: strict ? 1 : 0, rule, ports }, values, i * CIDR_SIZE);
    });
    const stored = map.putBatch(keys, values, part.length);
    if (stored !== part.length) throw new Error(`map ${map.name}: ${stored} of ${part.length} entries stored`);
  }
}
