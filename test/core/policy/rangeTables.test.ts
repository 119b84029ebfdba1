/** The IPv4 tables against a model that looks at every CIDR: wherever an address lies, the same one must speak of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { addrFromBytes, formatAddr, parseAddr, type Addr } from "../../../src/core/net/address.js";
import { contains, formatCidr, maskAddr, parseCidr, sortCidrs } from "../../../src/core/policy/cidr.js";
import { rangeTables, type RangeTables } from "../../../src/core/policy/rangeTables.js";
import type { KernelCidr, KernelPolicy } from "../../../src/core/policy/types.js";
import { interestingAddresses } from "./addressVectors.js";
import { Random } from "./random.js";

const policyOf = (id: number): KernelPolicy => ({ id, verify: "both", quic: "inspect", namePorts: 0 });

function cidrOf(policy: number, addr: Addr, length: number, rule: number): KernelCidr {
  return { policy, addr: maskAddr(addr, length), length, verdict: "allow", strict: false, rule, ports: 0 };
}

function written(...texts: string[]): KernelCidr[] {
  const cidrs = texts.map((text, i) => {
    const parsed = parseCidr(text);
    assert.ok(parsed.ok, text);
    return cidrOf(1, parsed.value.addr, parsed.value.length, i + 1);
  });
  return sortCidrs(cidrs);
}

function built(cidrs: readonly KernelCidr[], policies = [1]): RangeTables {
  return rangeTables({ portSets: [], portSetBase: 0, cidrs, policies: policies.map(policyOf) });
}

/** `find_cidr4` of bpf/lookup.h, line by line; throws where it would find the tables damaged. */
function find(tables: RangeTables, policy: number, addr: Addr): { rule: number; steps: number } {
  const { index, shift } = tables.policies.get(policy)!;
  const number = Buffer.from(addr, "latin1").readUInt32BE(0);
  const slice = index + Math.floor(number / 2 ** shift);
  let at = tables.at[slice]!;
  let count = tables.count[slice]!;
  let steps = 0;
  assert.ok(count >= 1 && at + count <= tables.cidr.length, `entry ${slice}: ${at}, ${count}`);
  for (; count > 1; steps++) {
    const half = count >>> 1;
    if (tables.first[at + half]! <= number) at += half;
    count -= half;
  }
  return { rule: tables.cidr[at]?.rule ?? 0, steps };
}

/** Linear and obvious. */
function naive(cidrs: readonly KernelCidr[], policy: number, addr: Addr): number {
  let best: KernelCidr | undefined;
  for (const cidr of cidrs) {
    const asked = cidr.policy === policy && contains(cidr, { addr, length: addr.length * 8 });
    if (asked && (best === undefined || cidr.length > best.length)) best = cidr;
  }
  return best?.rule ?? 0;
}

function randomAddr(random: Random): Addr {
  const bytes = Uint8Array.from({ length: 4 }, () =>
    random.chance(4) ? random.int(256) : random.pick([0, 1, 10, 127, 128, 254, 255]),
  );
  return addrFromBytes(bytes, 0, 4);
}

/** No prefix twice in a policy, as push-down gives them. */
function randomSet(random: Random, policies: readonly number[]): KernelCidr[] {
  const cidrs = policies.flatMap((policy) => {
    const size = random.pick([0, 1, 2, 5, 20, 60]);
    const all = Array.from({ length: size }, (_, i) => {
      const length = random.chance(3) ? random.pick([0, 1, 8, 16, 24, 31, 32]) : random.int(33);
      return cidrOf(policy, randomAddr(random), length, policy * 1000 + i + 1);
    });
    return [...new Map(all.map((cidr) => [formatCidr(cidr), cidr])).values()];
  });
  return policies.flatMap((policy) => sortCidrs(cidrs.filter((cidr) => cidr.policy === policy)));
}

test("property: 3,000 random sets, several policies each, answer as the model does", () => {
  let found = 0;
  let none = 0;
  for (let seed = 0; seed < 3000; seed++) {
    const random = new Random(seed);
    const policies = Array.from({ length: 1 + random.int(3) }, (_, i) => i * 7 + 1);
    const cidrs = randomSet(random, policies);
    const tables = built(cidrs, policies);
    const places = [...interestingAddresses(random, cidrs), ...Array.from({ length: 10 }, () => randomAddr(random))];
    for (const addr of [...places.filter(({ length }) => length === 4), "\0\0\0\0" as Addr, "\xff\xff\xff\xff" as Addr])
      for (const policy of policies) {
        const expected = naive(cidrs, policy, addr);
        const { rule } = find(tables, policy, addr);
        assert.equal(rule, expected, `seed ${seed}, policy ${policy}: ${formatAddr(addr)}`);
        if (rule === 0) none++;
        else found++;
      }
  }
  assert.ok(found > 50_000 && none > 50_000, `${found} in a CIDR, ${none} in none`);
});

test("edges: the first and the last address, everything, hosts, neighbours, nests", () => {
  const sets: [string[], [string, number][]][] = [
    [[], [["0.0.0.0", 0], ["128.0.0.0", 0], ["255.255.255.255", 0]]],
    [["0.0.0.0/0"], [["0.0.0.0", 1], ["127.255.255.255", 1], ["255.255.255.255", 1]]],
    [["0.0.0.0"], [["0.0.0.0", 1], ["0.0.0.1", 0]]],
    [["255.255.255.255"], [["255.255.255.254", 0], ["255.255.255.255", 1], ["0.0.0.0", 0]]],
    [["0.0.0.0/1", "128.0.0.0/1"], [["0.0.0.0", 1], ["127.255.255.255", 1], ["128.0.0.0", 2], ["255.255.255.255", 2]]],
    [["10.0.0.0/25", "10.0.0.128/25"], [["9.255.255.255", 0], ["10.0.0.127", 1], ["10.0.0.128", 2], ["10.0.1.0", 0]]],
    [
      ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.0/32", "10.0.0.255"],
      [["9.255.255.255", 1], ["10.0.0.0", 4], ["10.0.0.1", 3], ["10.0.0.255", 5], ["10.0.1.0", 2], ["11.0.0.0", 1]],
    ],
    [
      ["255.0.0.0/8", "255.255.255.0/24", "255.255.255.255"],
      [["254.255.255.255", 0], ["255.0.0.0", 1], ["255.255.255.0", 2], ["255.255.255.254", 2], ["255.255.255.255", 3]],
    ],
  ]; // prettier-ignore
  for (const [texts, expected] of sets) {
    const tables = built(written(...texts));
    for (const [text, rule] of expected) {
      assert.equal(find(tables, 1, parseAddr(text)!).rule, rule, `${texts.join(" ")}: ${text}`);
    }
  }
});

test("IPv6 and policies that aren't there are left out", () => {
  const six: KernelCidr = { ...cidrOf(1, parseAddr("2001:db8::")!, 32, 9), policy: 1 };
  const tables = built([...written("10.0.0.0/8"), six, cidrOf(2, parseAddr("11.0.0.0")!, 8, 7)]);
  assert.deepEqual([...tables.policies.keys()], [1]);
  assert.deepEqual(
    tables.cidr.map((cidr) => cidr?.rule),
    [undefined, 1, undefined],
  );
  assert.equal(built([], []).cidr.length, 0);
});

test("n CIDRs make at most 2n + 1 ranges, and at most two entries of the index for each", () => {
  for (const n of [0, 1, 2, 3, 7, 8, 100, 1000, 5000]) {
    // Hosts with a gap between them: as many ranges as there can be.
    const cidrs = Array.from({ length: n }, (_, i) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(0x0a000001 + i * 2);
      return cidrOf(1, addrFromBytes(bytes, 0, 4), 32, i + 1);
    });
    const { cidr, at, policies } = built(cidrs);
    assert.equal(cidr.length, 2 * n + 1);
    assert.ok(at.length <= Math.max(1, 2 * cidr.length), `${n}: ${at.length}`);
    assert.equal(at.length, 2 ** (32 - policies.get(1)!.shift));
  }
  // 2^19 hosts, 2^20 ranges: the index grows no more.
  const many = Array.from({ length: 2 ** 19 + 5 }, (_, i) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(i * 8191);
    return cidrOf(1, addrFromBytes(bytes, 0, 4), 32, i + 1);
  });
  assert.equal(built(many).at.length, 2 ** 20);
});

test("all in one place is the worst: a halving for each power of two, and no wrong answer", () => {
  const cidrs = Array.from({ length: 20_000 }, (_, i) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(0x0a000000 + i * 2);
    return cidrOf(1, addrFromBytes(bytes, 0, 4), 32, i + 1);
  });
  const tables = built(cidrs);
  let most = 0;
  for (let i = 0; i < 40_000; i++) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(0x0a000000 + i);
    const { rule, steps } = find(tables, 1, addrFromBytes(bytes, 0, 4));
    assert.equal(rule, i % 2 === 0 ? i / 2 + 1 : 0);
    most = Math.max(most, steps);
  }
  // 2^16 entries of 65,536 addresses each, so all 40,001 ranges are in one.
  assert.equal(most, 16);
});
