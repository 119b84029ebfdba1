/** The IPv6 tables as the gateway writes them, asked by the real program; what must come out is said by the core and by models of their own. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import * as abi from "../../src/core/abi.generated.js";
import { addrFromBytes, formatAddr, parseAddr, type Addr } from "../../src/core/net/address.js";
import { formatCidr, maskAddr } from "../../src/core/policy/cidr.js";
import { compilePolicies } from "../../src/core/policy/compile.js";
import { manyCidrs6 } from "../../bench/cidrs.js";
import { addressVectors, interestingAddresses } from "../core/policy/addressVectors.js";
import { Random, specOf } from "../core/policy/random.js";
import { cidrTables, reasonOf } from "./cidrTables.js";
import { makeRouter, ownNamespace, u32 } from "./harness.js";
import { PROTO } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
const { load, ask, close } = cidrTables(router);
afterEach(close);

/** Groups are nobody's egress; an IPv4-mapped address is none that a rule can name. */
const isAsked = (addr: Addr) =>
  addr.length === 16 && addr.charCodeAt(0) !== 0xff && !addr.startsWith("\0".repeat(10) + "\xff\xff");

/** Few different bytes at the front, in the middle and at the end: prefixes that nest, and many that differ in the lower half only. */
function clustered(random: Random): Addr {
  const bytes = new Uint8Array(16);
  bytes.set(random.pick([[0x2a, 0], [0x2a, 1], [0x26, 6], [0x20, 1], [0xfe, 0xff], [0, 0]])); // prettier-ignore
  for (let i = 2; i < 16; i++) if (random.chance(3)) bytes[i] = random.pick([0, 1, 127, 128, 255]);
  return addrFromBytes(bytes, 0, 16);
}

test("property: nested IPv6 CIDRs with and without ports answer as the core does, first and last addresses and their neighbours, too", () => {
  const kinds: Record<string, number> = {};
  let levels = 0;
  for (let seed = 0; seed < 6; seed++) {
    const random = new Random(seed);
    const networks = Array.from({ length: random.pick([0, 1, 3, 200, 600]) + 1 }, () => {
      const length = random.pick([0, 12, 29, 32, 48, 56, 63, 64, 65, 96, 127, 128, 128, random.int(129)]);
      return { addr: maskAddr(clustered(random), length), length };
    }).filter(({ addr }) => isAsked(addr));
    const [cidr, denyCidr]: [string[], string[]] = [[], []];
    for (const text of new Set(networks.map(formatCidr))) (random.chance(3) ? denyCidr : cidr).push(text);
    const port = random.chance(2) ? ["tcp/443"] : [];
    const { policies, tables } = compilePolicies([
      specOf({ cidr, denyCidr, port, domain: ["x.io"] }),
      specOf({ cidr: denyCidr, denyCidr: cidr, domain: ["x.io"] }, 2),
    ]);
    const datapath = load(tables);
    levels = Math.max(levels, datapath.map("cidr6_nodes").maxEntries);
    const places = [
      ...interestingAddresses(random, networks),
      ...Array.from({ length: 100 }, () => clustered(random)),
    ].filter(isAsked);
    for (const addr of new Set(places)) {
      for (const [i, policy] of policies.entries()) {
        const asked = random.pick([80, 443]);
        const expect = policy.decideAddress(addr, PROTO.TCP, asked);
        const { counted, dropped } = ask(datapath, formatAddr(addr), PROTO.TCP, asked, i === 0 ? "lan0" : "lan1");
        const what = `seed ${seed}, policy ${policy.id}: ${formatAddr(addr)} port ${asked}`;
        assert.match(Object.keys(counted).join(), reasonOf(expect), what);
        assert.equal(dropped, expect.kind !== "allow", what);
        kinds[expect.kind] = (kinds[expect.kind] ?? 0) + 1;
      }
    }
  }
  assert.ok(levels > 10, `${levels} nodes`);
  for (const kind of ["allow", "deny", "names"]) assert.ok(kinds[kind]! > 500, JSON.stringify(kinds));
});

test("property: the reference of the policy tests and the program agree", () => {
  const kinds: Record<string, number> = {};
  for (let seed = 200; seed < 210; seed++) {
    const { compiled, vectors } = addressVectors(seed, 2, 300);
    const datapath = load(compiled.tables);
    for (const { policy, addr, proto, port, expect } of vectors) {
      if (!isAsked(addr) || proto === PROTO.ICMP) continue;
      // UDP and ICMP make a flow, which would answer the next one.
      datapath.forgetFlows();
      const what = `seed ${seed}, policy ${policy}: ${formatAddr(addr)} protocol ${proto} port ${port}`;
      const { counted, dropped } = ask(datapath, formatAddr(addr), proto, port, policy === 1 ? "lan0" : "lan1");
      assert.match(Object.keys(counted).join(), reasonOf(expect), what);
      assert.equal(dropped, expect.kind !== "allow", what);
      kinds[expect.kind] = (kinds[expect.kind] ?? 0) + 1;
    }
  }
  for (const kind of ["allow", "deny", "dns", "names"]) assert.ok(kinds[kind]! > 5, JSON.stringify(kinds));
});

test("100,000 CIDRs: first and last addresses, their neighbours and some in between, as the core says", () => {
  const cidrs = manyCidrs6(100_000);
  const denyCidr = ["2a01::/16", "2a02:1000::/20", "2001:db8::1/128", "::/0"];
  const { policies, tables } = compilePolicies([specOf({ cidr: cidrs, denyCidr })]);
  const datapath = load(tables);
  const random = new Random(9);
  const some = Array.from({ length: 600 }, () => random.pick(cidrs)).map((text) => {
    const [addr, length] = text.split("/") as [string, string];
    return { addr: parseAddr(addr)!, length: Number(length) };
  });
  const seen: Record<string, number> = {};
  for (const addr of new Set(interestingAddresses(random, some).filter(isAsked))) {
    const expect = policies[0]!.decideAddress(addr, PROTO.TCP, 443);
    assert.match(Object.keys(ask(datapath, formatAddr(addr)).counted).join(), reasonOf(expect), formatAddr(addr));
    seen[expect.kind] = (seen[expect.kind] ?? 0) + 1;
  }
  for (const kind of ["allow", "deny"]) assert.ok(seen[kind]! > 500, JSON.stringify(seen));
});

test("an address is in its policy's ranges only: first and last of the neighbours in the map", () => {
  const everything = { cidr: ["::/0"] };
  const specs = [specOf(everything, 1), specOf({ domain: ["x.io"] }, 2), specOf(everything, 3)];
  const datapath = load(compilePolicies(specs).tables);
  for (const dst of ["::1:0", "2001:db8::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]) {
    assert.deepEqual(ask(datapath, dst).counted, { "allow-cidr": 1 });
    assert.deepEqual(ask(datapath, dst, PROTO.TCP, 443, "lan1").counted, { "not-inspected": 1 });
  }
});

test("tables that contradict themselves are closed, nothing is read beyond them, and a node that leads to itself ends", () => {
  const { tables } = compilePolicies([specOf({ cidr: ["::/0"] })]);
  const datapath = load(tables);
  const good = { high: 0n, first: 0n, index: 0, last: 0, shift: 0, byLow: 0 };
  const node = (change: Partial<abi.AbiCidr6Node>) =>
    datapath.put("cidr6_nodes", u32(0), abi.encodeCidr6Node({ ...good, ...change }));
  const index = (at: number, count: number) => datapath.put("cidr6_index", u32(0), abi.encodeCidr6Index({ at, count }));
  const place = (cidr6Node: number) =>
    datapath.put(
      "policies",
      u32(1),
      abi.encodePolicy({ present: 1, verify: 0, quic: 0, namePorts: 0, cidr4Index: 0, cidr4Shift: 32, cidr6Node }),
    );
  const says = (reason: string) => {
    const { counted, dropped } = ask(datapath, "2001:db8::7");
    assert.deepEqual({ counted, dropped }, { counted: { [reason]: 1 }, dropped: reason !== "allow-cidr" });
  };
  says("allow-cidr");
  for (const [at, count] of [[1, 1], [0xffffffff, 1], [0, 1000], [0, 0xffffffff], [0xffffffff, 0xffffffff], [0, 0], [1, 0]] as const) {
    index(at, count);
    says("no-policy");
  } // prettier-ignore
  index(0, 1);
  says("allow-cidr");
  for (const change of [{ index: 1 }, { index: 0xffffffff }, { last: 0xffffffff }, { last: 1, shift: 255 }]) {
    node(change);
    says(change.shift ? "allow-cidr" : "no-policy");
  }
  node({});
  place(1);
  says("no-policy");
  place(0);
  says("allow-cidr");
});
