/** The IPv6 tables against a model that looks at every CIDR, and what they may cost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CIDR6_LEVELS } from "../../../src/core/abi.generated.js";
import { addrFromBytes, formatAddr, parseAddr, type Addr } from "../../../src/core/net/address.js";
import { contains, formatCidr, maskAddr, parseCidr, sortCidrs } from "../../../src/core/policy/cidr.js";
import { rangeTables6, type RangeTables6 } from "../../../src/core/policy/rangeTables6.js";
import type { KernelCidr, KernelPolicy } from "../../../src/core/policy/types.js";
import { interestingAddresses } from "./addressVectors.js";
import { Random } from "./random.js";

const policyOf = (id: number): KernelPolicy => ({ id, verify: "both", quic: "inspect", namePorts: 0 });
const last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";

function cidrOf(policy: number, addr: Addr, length: number, rule: number): KernelCidr {
  return { policy, addr: maskAddr(addr, length), length, verdict: "allow", strict: false, rule, ports: 0 };
}

function written(texts: readonly string[]): KernelCidr[] {
  const cidrs = texts.map((text, i) => {
    const parsed = parseCidr(text);
    assert.ok(parsed.ok, text);
    return cidrOf(1, parsed.value.addr, parsed.value.length, i + 1);
  });
  return sortCidrs(cidrs);
}

function built(cidrs: readonly KernelCidr[], policies = [1]): RangeTables6 {
  return rangeTables6({ portSets: [], portSetBase: 0, cidrs, policies: policies.map(policyOf) });
}

/** Upper and lower half. */
function halvesOf(addr: Addr): [bigint, bigint] {
  const bytes = Buffer.from(addr, "latin1");
  return [bytes.readBigUInt64BE(0), bytes.readBigUInt64BE(8)];
}

/** `find_cidr6` of bpf/lookup.h, line by line; throws where it would find the tables damaged. */
function find(tables: RangeTables6, policy: number, addr: Addr): { rule: number; levels: number; steps: number } {
  const [high, low] = halvesOf(addr);
  let at = tables.policies.get(policy)!;
  let count = 0;
  let levels = 0;
  for (; levels < CIDR6_LEVELS && count === 0; levels++) {
    const node = tables.nodes[at]!;
    assert.ok(node.shift >= 0 && node.shift < 64, `node ${at}: shift ${node.shift}`);
    const key = !node.byLow ? high : high === node.high ? low : high < node.high ? 0n : 2n ** 64n - 1n;
    const far = key < node.first ? 0n : (key - node.first) >> BigInt(node.shift);
    const slot = node.index + (far > BigInt(node.last) ? node.last : Number(far));
    [at, count] = [tables.at[slot]!, tables.count[slot]!];
  }
  assert.ok(count >= 1 && at + count <= tables.cidr.length, `${at}, ${count}`);
  let steps = 0;
  for (; count > 1; steps++) {
    const half = count >>> 1;
    const [first, second] = [tables.high[at + half]!, tables.low[at + half]!];
    if (first < high || (first === high && second <= low)) at += half;
    count -= half;
  }
  return { rule: tables.cidr[at]?.rule ?? 0, levels, steps };
}

/** Linear and obvious. */
function naive(cidrs: readonly KernelCidr[], policy: number, addr: Addr): number {
  let best: KernelCidr | undefined;
  for (const cidr of cidrs) {
    const asked = cidr.policy === policy && contains(cidr, { addr, length: 128 });
    if (asked && (best === undefined || cidr.length > best.length)) best = cidr;
  }
  return best?.rule ?? 0;
}

/** Many share their beginnings, so that places are crowded on every level. */
function randomAddr(random: Random): Addr {
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) {
    if (random.chance(3)) bytes[i] = random.chance(3) ? random.int(256) : random.pick([0, 1, 127, 128, 254, 255]);
  }
  if (random.chance(2)) bytes.set(random.pick([[0x2a, 0], [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1], [255, 255]])); // prettier-ignore
  return addrFromBytes(bytes, 0, 16);
}

/** No prefix twice in a policy, as push-down gives them. */
function randomSet(random: Random, policies: readonly number[]): KernelCidr[] {
  return policies.flatMap((policy) => {
    const size = random.pick([0, 1, 2, 5, 20, 60, 200]);
    const all = Array.from({ length: size }, (_, i) => {
      const length = random.chance(2) ? random.pick([0, 1, 32, 48, 63, 64, 65, 127, 128]) : random.int(129);
      return cidrOf(policy, randomAddr(random), length, policy * 1000 + i + 1);
    });
    return sortCidrs([...new Map(all.map((cidr) => [formatCidr(cidr), cidr])).values()]);
  });
}

test("property: 400 random sets, several policies each, answer as the model does", () => {
  const seen = { found: 0, none: 0, byLow: 0, deep: 0 };
  for (let seed = 0; seed < 400; seed++) {
    const random = new Random(seed);
    const policies = Array.from({ length: 1 + random.int(3) }, (_, i) => i * 7 + 1);
    const cidrs = randomSet(random, policies);
    const tables = built(cidrs, policies);
    seen.byLow += tables.nodes.filter(({ byLow }) => byLow).length;
    const places = [...interestingAddresses(random, cidrs), ...Array.from({ length: 10 }, () => randomAddr(random))];
    for (const addr of [...places.filter(({ length }) => length === 16), parseAddr("::")!, parseAddr(last)!])
      for (const policy of policies) {
        const { rule, levels } = find(tables, policy, addr);
        assert.equal(rule, naive(cidrs, policy, addr), `seed ${seed}, policy ${policy}: ${formatAddr(addr)}`);
        if (rule === 0) seen.none++;
        else seen.found++;
        if (levels > 2) seen.deep++;
      }
  }
  assert.ok(seen.found > 50_000 && seen.none > 50_000 && seen.byLow > 50 && seen.deep > 1_000, JSON.stringify(seen));
});

test("edges: the first and the last address, everything, hosts, neighbours, nests", () => {
  const sets: [string[], [string, number][]][] = [
    [[], [["::", 0], ["8000::", 0], [last, 0]]],
    [["::/0"], [["::", 1], ["8000::", 1], [last, 1]]],
    [["::"], [["::", 1], ["::1", 0], [last, 0]]],
    [[last], [["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 0], [last, 1], ["::", 0]]],
    [["::/1", "8000::/1"], [["::", 1], ["7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1], ["8000::", 2], [last, 2]]],
    [["2001:db8::/64", "2001:db8:0:1::/64"], [["2001:db8::", 1], ["2001:db8::ffff:ffff:ffff:ffff", 1], ["2001:db8:0:1::", 2], ["2001:db8:0:2::", 0]]],
    [["2001:db8::/65", "2001:db8::8000:0:0:0/65"], [["2001:db8::7fff:ffff:ffff:ffff", 1], ["2001:db8::8000:0:0:0", 2], ["2001:db8:0:1::", 0], ["2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", 0]]],
    [
      ["::/0", "2001:db8::/32", "2001:db8::/64", "2001:db8::", "2001:db8::ff"],
      [["2001:db7::", 1], ["2001:db8::", 4], ["2001:db8::1", 3], ["2001:db8::ff", 5], ["2001:db8:0:1::", 2], ["2001:db9::", 1]],
    ],
  ]; // prettier-ignore
  for (const [texts, expected] of sets) {
    const tables = built(written(texts));
    for (const [text, rule] of expected) {
      assert.equal(find(tables, 1, parseAddr(text)!).rule, rule, `${texts.join(" ")}: ${text}`);
    }
  }
});

test("IPv4 and policies that aren't there are left out; a policy without CIDRs has one range", () => {
  const tables = built([...written(["10.0.0.0/8", "2001:db8::/32"]), cidrOf(2, parseAddr("2a00::")!, 16, 7)]);
  assert.deepEqual([...tables.policies.keys()], [1]);
  assert.deepEqual(
    tables.cidr.map((cidr) => cidr?.rule),
    [undefined, 2, undefined],
  );
  assert.equal(built([], []).cidr.length, 0);
  const two = built([], [1, 2]);
  assert.deepEqual([two.cidr.length, two.nodes.length, two.at], [2, 2, [0, 1]]);
});

test("n CIDRs make at most 2n + 1 ranges, two entries of the index for each and level", () => {
  const sets: ((i: number) => string)[] = [
    (i) => `2a00:${hex(i)}::/32`,
    (i) => `2001:db8::${hex(i * 2)}`,
    // Twice as close together each time: where one index has one crowded slot.
    (i) => `${hex(0x8000 >>> (i & 15))}:${hex(0x8000 >>> ((i >>> 4) & 15))}::${hex(i)}`,
  ];
  for (const [number, make] of sets.entries()) {
    for (const n of [0, 1, 2, 7, 8, 9, 1_000, 30_000]) {
      const texts = [...new Set(Array.from({ length: n }, (_, i) => make(i)))];
      const { cidr, at, nodes } = built(written(texts));
      assert.ok(cidr.length <= 2 * n + 1, `${number}, ${n}: ${cidr.length}`);
      assert.ok(at.length <= Math.max(1, 2 * cidr.length * CIDR6_LEVELS), `${number}, ${n}: ${at.length}`);
      assert.ok(nodes.length <= 1 + cidr.length / 4, `${number}, ${n}: ${nodes.length} nodes`);
    }
  }
});

test("networks of several registries, in clusters: found by two nodes and few halvings; hosts of one /64 by one", () => {
  const random = new Random(3);
  const blocks = [0x2001, 0x2400, 0x2600, 0x2804, 0x2a00, 0x2c0f];
  const some = Array.from({ length: 20_000 }, () => {
    const net = `${hex(random.pick(blocks) + random.int(4))}:${hex(random.int(200) * 8)}:${hex(random.int(64))}`;
    return `${net}::/48`;
  });
  const spread = costOf([...new Set(some)]);
  assert.ok(spread.levels <= 3 && spread.mean < 3, JSON.stringify(spread));
  const hosts = costOf(Array.from({ length: 20_000 }, (_, i) => `2001:db8::${hex(i * 2)}`));
  assert.deepEqual(hosts, { levels: 1, mean: hosts.mean });
  assert.ok(hosts.mean <= 2, JSON.stringify(hosts));
});

/** Most nodes on the way to a CIDR's first address, and halvings in the mean. */
function costOf(texts: readonly string[]): { levels: number; mean: number } {
  const cidrs = written(texts);
  const tables = built(cidrs);
  let levels = 0;
  let steps = 0;
  for (const { addr, rule } of cidrs) {
    const found = find(tables, 1, addr);
    assert.equal(found.rule, rule);
    levels = Math.max(levels, found.levels);
    steps += found.steps;
  }
  return { levels, mean: steps / cidrs.length };
}

function hex(number: number): string {
  return number.toString(16);
}
