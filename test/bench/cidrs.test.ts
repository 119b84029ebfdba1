/** The networks that CIDR tables are filled with: as many as are wanted, good ones, none inside another, the same in every run. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test from "node:test";
import { dotted, manyCidrs, manyCidrs6 } from "../../bench/cidrs.js";
import { parsePolicy } from "../../src/core/policy/parse.js";
import { compilePolicies } from "../../src/core/policy/compile.js";

const noFlags = { cidr: [], denyCidr: [], cn: [], domain: [], resolver: [], port: [], namePort: [] };
const count = 20_000;
const v4 = manyCidrs(count).map(({ address, prefix }) => `${dotted(address)}/${prefix}`);
const v6 = manyCidrs6(count);

test("every one of them is a rule of its own: parsed without an error, and none is swallowed by another", () => {
  const parsed = parsePolicy({ ...noFlags, cidr: [...v4, ...v6] });
  assert.ok(parsed.ok, parsed.ok ? "" : parsed.errors.slice(0, 3).join("\n"));
  const { tables } = compilePolicies([parsed.spec]);
  assert.equal(tables.cidrs.length, 2 * count);
});

test("none holds another", () => {
  const ranges = manyCidrs(count)
    .map(({ address, prefix }) => [address, address + 2 ** (32 - prefix)] as const)
    .sort(([a], [b]) => a - b);
  for (let i = 1; i < ranges.length; i++) assert.ok(ranges[i]![0] >= ranges[i - 1]![1], dotted(ranges[i]![0]));
  // IPv6: a /44 each.
  const blocks = v6.map((cidr) => {
    const [a, b, c] = cidr.split(":").map((group) => parseInt(group || "0", 16)) as [number, number, number];
    return `${a} ${b} ${c >> 4}`;
  });
  assert.equal(new Set(blocks).size, count);
});

test("none touches the addresses of the labs", () => {
  for (const { address } of manyCidrs(count)) {
    const first = address >>> 24;
    assert.ok(first !== 10 && first !== 127 && first >= 11 && first <= 190, dotted(address));
  }
  assert.ok(
    v6.every((cidr) => cidr.startsWith("2a0")),
    "all in 2a00::/12",
  );
});

test("the same in every run, and a longer list begins with the shorter one", () => {
  const hash = (list: readonly string[]) => createHash("sha256").update(list.join()).digest("hex").slice(0, 16);
  assert.deepEqual([hash(v4), hash(v6)], ["ee17d7c200e3a7a3", "a81e60060a6c1a0a"]);
  assert.deepEqual(manyCidrs6(100), v6.slice(0, 100));
});
