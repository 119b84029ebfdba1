import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { MAX_PORT_SETS, PORT_RANGES, Reason } from "../../../src/core/abi.generated.js";
import { addrFromBytes, formatAddr, parseAddr, type Addr } from "../../../src/core/net/address.js";
import { contains, formatCidr } from "../../../src/core/policy/cidr.js";
import { compilePolicies } from "../../../src/core/policy/compile.js";
import { PolicyError } from "../../../src/core/policy/policyError.js";
import { formatRange, rangeMatches } from "../../../src/core/policy/ports.js";
import { pushDown, type CidrRule, type Entry } from "../../../src/core/policy/pushDown.js";
import type { AddressDecision, KernelTables, PolicySpec, PortRange, RuleSpec } from "../../../src/core/policy/types.js";
import { addressVectors, interestingAddresses, randomCidr, reference } from "./addressVectors.js";
import { policyOf, Random, specOf } from "./random.js";

const TCP = 6;
const UDP = 17;
const ICMP = 1;

function addr(text: string): Addr {
  return parseAddr(text) as Addr;
}

/** The eBPF program's algorithm on the tables: longest match, then the first range that matches. Linear and obvious. */
function kernelAnswer(tables: KernelTables, policy: number, to: Addr, proto: number, port: number): AddressDecision {
  const host = { addr: to, length: to.length * 8 };
  const entry = tables.cidrs
    .filter((one) => one.policy === policy && contains(one, host))
    .sort((a, b) => b.length - a.length)[0];
  if (!entry) return { kind: "names" };
  const ranges = entry.verdict === "ports" ? (tables.portSets[entry.ports] ?? []) : [];
  return entryAnswer(entry, ranges, proto, port);
}

function entryAnswer(
  entry: { verdict: string; strict: boolean; rule: number },
  ranges: Entry["ranges"],
  proto: number,
  port: number,
): AddressDecision {
  if (entry.verdict === "allow") return { kind: "allow", rule: entry.rule, reason: Reason.ALLOW_CIDR };
  if (entry.verdict === "deny") return { kind: "deny", rule: entry.rule, reason: Reason.DENY_CIDR };
  const range = ranges.find((one) => rangeMatches(one, proto, port));
  if (!range) return entry.strict ? { kind: "deny", rule: entry.rule, reason: Reason.PORT } : { kind: "names" };
  const rule = range.rule || entry.rule;
  if (range.verdict === "inspect") return { kind: "dns" };
  if (range.verdict === "allow") return { kind: "allow", rule, reason: Reason.ALLOW_CIDR };
  return { kind: "deny", rule, reason: Reason.DENY_CIDR };
}

test("property: decideAddress, the kernel's algorithm on the tables, and the reference agree", () => {
  const kinds = new Map<string, number>();
  for (let seed = 0; seed < 60; seed++) {
    const { compiled, vectors } = addressVectors(seed, 3, 200);
    for (const { policy, addr: to, proto, port, expect } of vectors) {
      const what = `seed ${seed}, policy ${policy}: ${formatAddr(to)} protocol ${proto} port ${port}`;
      assert.deepEqual(kernelAnswer(compiled.tables, policy, to, proto, port), expect, what);
      assert.deepEqual(compiled.policies[policy - 1]?.decideAddress(to, proto, port), expect, what);
      const key = expect.kind === "allow" || expect.kind === "deny" ? `${expect.kind} ${expect.reason}` : expect.kind;
      kinds.set(key, (kinds.get(key) ?? 0) + 1);
    }
  }
  // Every kind of answer was asked for often enough to mean something.
  for (const key of ["allow 3", "deny 32", "deny 33", "dns", "names"]) {
    assert.ok((kinds.get(key) ?? 0) > 200, `${key}: ${kinds.get(key)}`);
  }
});

test("property: push-down with ports of its own for each rule", () => {
  const choices: readonly (readonly PortRange[])[] = [
    [],
    [{ proto: TCP, low: 443, high: 443 }],
    [{ proto: TCP, low: 80, high: 443 }],
    [{ proto: 0, low: 443, high: 443 }],
    [
      { proto: UDP, low: 53, high: 53 },
      { proto: ICMP, low: 0, high: 65535 },
    ],
    [{ proto: 0, low: 0, high: 65535 }],
  ];
  let nested = 0;
  for (let seed = 0; seed < 200; seed++) {
    const random = new Random(seed);
    const rules: CidrRule[] = Array.from({ length: 1 + random.int(12) }, (_, i) => {
      const action = random.chance(4) ? "deny" : "allow";
      const ports = action === "deny" ? [] : random.pick(choices);
      return { ...randomCidr(random), action, ports, rule: i + 1 };
    });
    const resolvers = random.chance(2) ? [random.pick(interestingAddresses(random, rules))] : [];
    const entries = pushDown(rules, resolvers);
    for (const to of interestingAddresses(random, rules)) {
      for (const proto of [TCP, UDP, ICMP]) {
        const port = proto === ICMP ? 0 : random.pick([53, 80, 443, 444]);
        const host = { addr: to, length: to.length * 8 };
        const entry = entries.filter((one) => contains(one, host)).sort((a, b) => b.length - a.length)[0];
        const got: AddressDecision = entry ? entryAnswer(entry, entry.ranges, proto, port) : { kind: "names" };
        const expect = reference(rules, resolvers, to, proto, port);
        assert.deepEqual(got, expect, `seed ${seed}: ${formatAddr(to)} protocol ${proto} port ${port}`);
        if (entry && entry.ranges.length > 2) nested++;
      }
    }
  }
  assert.ok(nested > 500, `${nested} answers out of pushed-down lists`);
});

/** Entries as text: "10.0.0.0/8 allow tcp/443 …". */
function entriesOf(spec: PolicySpec): string[] {
  const { tables, rules } = compilePolicies([spec]);
  const text = (rule: number) => rules[rule - 1]?.text ?? "-";
  return tables.cidrs.map((entry) => {
    const ranges = (tables.portSets[entry.ports] ?? []).map(
      (range) => `${range.verdict} ${formatRange(range)}${range.rule ? ` by ${text(range.rule)}` : ""}`,
    );
    const said = entry.verdict === "ports" ? ranges.join(", ") : entry.verdict;
    return `${formatCidr(entry)}: ${said}${entry.strict ? ", else deny" : ""} [${text(entry.rule)}]`;
  });
}

describe("entries", () => {
  test("without ports an entry is a verdict", () => {
    assert.deepEqual(entriesOf(specOf({ cidr: ["10.0.0.0/8", "2001:db8::/32"], denyCidr: ["10.1.0.0/16"] })), [
      "10.0.0.0/8: allow [--cidr 10.0.0.0/8]",
      "10.1.0.0/16: deny [--deny-cidr 10.1.0.0/16]",
      "2001:db8::/32: allow [--cidr 2001:db8::/32]",
    ]);
  });
  test("ports limit allows, not denials", () => {
    assert.deepEqual(entriesOf(specOf({ cidr: ["10.0.0.0/8"], denyCidr: ["10.1.0.0/16"], port: ["tcp/443"] })), [
      "10.0.0.0/8: allow tcp/443, else deny [--cidr 10.0.0.0/8]",
      "10.1.0.0/16: deny [--deny-cidr 10.1.0.0/16]",
    ]);
  });
  test("a resolver stands in front of what surrounds it", () => {
    const dns = "inspect udp/53, inspect tcp/53";
    const resolver = ["10.0.0.53"];
    assert.deepEqual(entriesOf(specOf({ domain: ["x.io"], resolver })), [`10.0.0.53/32: ${dns} [-]`]);
    assert.equal(
      entriesOf(specOf({ cidr: ["10.0.0.0/8"], resolver }))[1],
      `10.0.0.53/32: ${dns}, allow any [--cidr 10.0.0.0/8]`,
    );
    assert.equal(
      entriesOf(specOf({ denyCidr: ["10.0.0.0/8"], resolver }))[1],
      `10.0.0.53/32: ${dns}, deny any [--deny-cidr 10.0.0.0/8]`,
    );
    assert.equal(
      entriesOf(specOf({ cidr: ["10.0.0.0/8"], resolver, port: ["tcp/443"] }))[1],
      `10.0.0.53/32: ${dns}, allow tcp/443, else deny [--cidr 10.0.0.0/8]`,
    );
    assert.deepEqual(entriesOf(specOf({ denyCidr: ["10.0.0.53"], resolver })), [
      `10.0.0.53/32: ${dns}, deny any [--deny-cidr 10.0.0.53]`,
    ]);
  });
  test("narrow first, then what the wider ones add, until one speaks of everything", () => {
    const rule = (network: string, n: number, ports: PortRange[], action: "allow" | "deny" = "allow"): CidrRule => {
      const [at, length] = network.split("/") as [string, string];
      return { addr: addr(at), length: Number(length), action, ports, rule: n };
    };
    const tcp = (port: number) => ({ proto: TCP, low: port, high: port });
    const last = (...rules: CidrRule[]) =>
      pushDown(rules, [])
        .at(-1)
        ?.ranges.map((r) => `${formatRange(r)} ${r.rule}`);
    const ssh = rule("10.1.0.0/16", 1, [tcp(22)]);
    assert.deepEqual(last(ssh, rule("10.0.0.0/8", 2, [tcp(443)]), rule("0.0.0.0/0", 3, [tcp(80)])), [
      "tcp/22 0",
      "tcp/443 2",
      "tcp/80 3",
    ]);
    assert.deepEqual(last(ssh, rule("10.0.0.0/8", 2, []), rule("0.0.0.0/0", 3, [tcp(80)])), ["tcp/22 0", "any 2"]);
    assert.deepEqual(last(ssh, rule("10.0.0.0/8", 2, [], "deny"), rule("0.0.0.0/0", 3, [tcp(80)])), ["tcp/22 0"]);
    assert.deepEqual(last(ssh, rule("10.0.0.0/8", 2, [tcp(22)])), ["tcp/22 0"]);
    assert.deepEqual(last(ssh, rule("11.0.0.0/8", 2, [tcp(443)]), rule("10.1.0.0/16", 3, [tcp(80)])), ["tcp/443 0"]);
    assert.deepEqual(pushDown([ssh, rule("10.1.0.0/16", 3, [tcp(80)])], [])[0]?.ranges.map(formatRange), [
      "tcp/22",
      "tcp/80",
    ]);
  });
  test("of equal prefixes deny wins, in either order", () => {
    const rules: RuleSpec[] = (["allow", "deny"] as const).map((action) => ({
      kind: "cidr",
      action,
      cidr: { addr: addr("10.0.0.0"), length: 8 },
      text: action,
    }));
    for (const order of [rules, [...rules].reverse()]) {
      const { policies } = compilePolicies([{ ...specOf({ domain: ["x.io"] }), rules: order }]);
      const decision = policies[0]?.decideAddress(addr("10.1.2.3"), TCP, 443);
      assert.deepEqual(decision, {
        kind: "deny",
        rule: order.findIndex((one) => one.text === "deny") + 1,
        reason: Reason.DENY_CIDR,
      });
    }
  });
});

describe("a policy's answers", () => {
  const policy = policyOf({
    cidr: ["10.0.0.0/8"],
    denyCidr: ["10.9.0.0/16"],
    domain: ["x.io"],
    resolver: ["9.9.9.9"],
    port: ["tcp/443-444", "icmp"],
    namePort: ["tcp/9443"],
  });
  test("an address, its neighbours, ports and protocols", () => {
    const allow = { kind: "allow", rule: 1, reason: Reason.ALLOW_CIDR };
    const port = { kind: "deny", rule: 1, reason: Reason.PORT };
    const deny = { kind: "deny", rule: 2, reason: Reason.DENY_CIDR };
    assert.deepEqual(policy.decideAddress(addr("10.1.2.3"), TCP, 443), allow);
    assert.deepEqual(policy.decideAddress(addr("10.1.2.3"), TCP, 444), allow);
    assert.deepEqual(policy.decideAddress(addr("10.1.2.3"), TCP, 442), port);
    assert.deepEqual(policy.decideAddress(addr("10.1.2.3"), TCP, 445), port);
    assert.deepEqual(policy.decideAddress(addr("10.1.2.3"), UDP, 443), port);
    assert.deepEqual(policy.decideAddress(addr("10.1.2.3"), ICMP, 0), allow);
    assert.deepEqual(policy.decideAddress(addr("10.1.2.3"), ICMP, 77), allow);
    assert.deepEqual(policy.decideAddress(addr("10.1.2.3"), 47, 0), port);
    assert.deepEqual(policy.decideAddress(addr("10.1.2.3"), 132, 443), port);
    assert.deepEqual(policy.decideAddress(addr("10.9.255.255"), TCP, 443), deny);
    assert.deepEqual(policy.decideAddress(addr("10.10.0.0"), TCP, 443), allow);
    for (const outside of ["9.255.255.255", "11.0.0.0", "::a00:1", "::ffff:10.0.0.1"]) {
      assert.deepEqual(policy.decideAddress(addr(outside), TCP, 443), { kind: "names" }, outside);
    }
    assert.deepEqual(policy.decideAddress(addr("9.9.9.9"), UDP, 53), { kind: "dns" });
    assert.deepEqual(policy.decideAddress(addr("9.9.9.9"), TCP, 53), { kind: "dns" });
    assert.deepEqual(policy.decideAddress(addr("9.9.9.9"), TCP, 853), { kind: "names" });
    assert.deepEqual(policy.decideAddress(addr("9.9.9.8"), UDP, 53), { kind: "names" });
  });
  test("port sets of names, name ports, resolvers, rule texts", () => {
    const name = policy.matchName("x.io");
    assert.equal(name?.rule, 3);
    const ports = name.ports;
    assert.ok(ports > 0);
    assert.ok(policy.portAllowed(ports, TCP, 443));
    assert.ok(!policy.portAllowed(ports, TCP, 445));
    assert.ok(!policy.portAllowed(ports, UDP, 443));
    assert.ok(policy.portAllowed(0, 47, 0));
    assert.ok(policy.isNamePort(TCP, 9443));
    assert.ok(!policy.isNamePort(TCP, 443));
    assert.ok(!policy.isNamePort(UDP, 9443));
    assert.ok(policy.isResolver(addr("9.9.9.9")));
    assert.ok(!policy.isResolver(addr("9.9.9.8")));
    assert.equal(policy.ruleText(3), "--domain x.io");
    assert.equal(policy.ruleText(0), "no rule");
    assert.equal(policy.ruleText(4), "no rule");
  });
  test("SCTP and DCCP have ports as TCP has, ICMP has none", () => {
    const sctp = policyOf({ cidr: ["10.0.0.0/8"], port: ["sctp/2905"] });
    assert.equal(sctp.decideAddress(addr("10.0.0.1"), 132, 2905).kind, "allow");
    assert.equal(sctp.decideAddress(addr("10.0.0.1"), 132, 2906).kind, "deny");
    const any = compilePolicies([{ ...specOf({ cidr: ["10.0.0.0/8"] }), ports: [{ proto: 0, low: 443, high: 443 }] }])
      .policies[0];
    for (const proto of [TCP, UDP, 33, 132, 136]) {
      assert.equal(any?.decideAddress(addr("10.0.0.1"), proto, 443).kind, "allow", `protocol ${proto}`);
      assert.equal(any.decideAddress(addr("10.0.0.1"), proto, 444).kind, "deny", `protocol ${proto}`);
    }
    for (const proto of [ICMP, 58, 47]) assert.equal(any?.decideAddress(addr("10.0.0.1"), proto, 444).kind, "allow");
  });
  test("without --port a name goes everywhere", () => {
    assert.equal(policyOf({ domain: ["x.io"] }).matchName("x.io")?.ports, 0);
  });
});

describe("several policies", () => {
  test("rule ids run on; each policy knows its own", () => {
    const specs = [
      specOf({ cidr: ["10.0.0.0/8"], domain: ["x.io"] }, 3),
      specOf({ cidr: ["10.0.0.0/8"], domain: ["x.io", "y.io"] }, 5),
    ];
    const { policies, rules, tables } = compilePolicies(specs);
    assert.deepEqual(
      rules.map((rule) => [rule.id, rule.text]),
      [
        [1, "--cidr 10.0.0.0/8"],
        [2, "--domain x.io"],
        [3, "--cidr 10.0.0.0/8"],
        [4, "--domain x.io"],
        [5, "--domain y.io"],
      ],
    );
    assert.equal(policies[0]?.matchName("x.io")?.rule, 2);
    assert.equal(policies[0].matchName("y.io"), undefined);
    assert.equal(policies[1]?.matchName("x.io")?.rule, 4);
    assert.equal(policies[0].ruleText(4), "no rule");
    assert.equal(policies[1].ruleText(5), "--domain y.io");
    assert.deepEqual(
      tables.cidrs.map((entry) => [entry.policy, entry.rule]),
      [
        [3, 1],
        [5, 3],
      ],
    );
    assert.deepEqual(tables.policies, [
      { id: 3, verify: "both", quic: "inspect", namePorts: 1 },
      { id: 5, verify: "both", quic: "inspect", namePorts: 1 },
    ]);
  });
  test("nothing at all", () => {
    assert.deepEqual(compilePolicies([]), {
      policies: [],
      rules: [],
      tables: { portSets: [[]], portSetBase: 0, cidrs: [], policies: [] },
    });
  });
});

describe("what doesn't fit", () => {
  const range = (n: number): PortRange => ({ proto: TCP, low: 1000 + 2 * n, high: 1000 + 2 * n });
  const withPorts = (n: number, flags: Parameters<typeof specOf>[0]): PolicySpec => ({
    ...specOf(flags),
    ports: Array.from({ length: n }, (_, i) => range(i)),
  });
  test("16 ranges fit, 17 are an error that names the rule", () => {
    assert.equal(compilePolicies([withPorts(PORT_RANGES, { cidr: ["10.0.0.0/8"] })]).tables.portSets[1]?.length, 16);
    assert.throws(() => compilePolicies([withPorts(17, { cidr: ["11.0.0.0/8"] })]), {
      name: "PolicyError",
      message: "--cidr 11.0.0.0/8: needs 17 port ranges, with those of the networks around it; at most 16",
    });
    assert.throws(() => compilePolicies([withPorts(17, { domain: ["x.io"] })]), PolicyError);
    assert.throws(() => compilePolicies([withPorts(15, { cidr: ["10.0.0.0/8"], resolver: ["10.0.0.53"] })]), {
      message: "--resolver 10.0.0.53: needs 17 port ranges, with those of the networks around it; at most 16",
    });
  });
  test("1,023 different port sets fit, one more is an error", () => {
    const spec = (id: number): PolicySpec => ({ ...specOf({ domain: ["x.io"] }, id), ports: [range(id)] });
    // Each policy has a set of its own; that of the name ports is shared.
    const ids = Array.from({ length: MAX_PORT_SETS - 2 }, (_, i) => i + 1);
    assert.equal(compilePolicies(ids.map(spec)).tables.portSets.length, MAX_PORT_SETS);
    assert.throws(() => compilePolicies([...ids, MAX_PORT_SETS - 1].map(spec)), {
      name: "PolicyError",
      message: "--port: needs one more set of ports; at most 1023 different ones fit",
    });
  });
});

test("100,000 CIDRs with ports share their sets, also under a thousand denials", () => {
  const random = new Random(5);
  const rules: RuleSpec[] = [];
  for (let i = 0; i < 100_000; i++) {
    const bytes = Uint8Array.of(10 + (i >> 16), (i >> 8) & 255, i & 255, 0);
    rules.push({
      kind: "cidr",
      action: "allow",
      cidr: { addr: addrFromBytes(bytes, 0, 4), length: 24 + random.int(2) },
      text: "allow",
    });
  }
  for (let i = 0; i < 2000; i++) {
    const bytes = Uint8Array.of(10 + (i >> 8), i & 255, 0, 0);
    rules.push({ kind: "cidr", action: "deny", cidr: { addr: addrFromBytes(bytes, 0, 4), length: 16 }, text: "deny" });
  }
  const spec: PolicySpec = { ...specOf({ domain: ["x.io"], port: ["tcp/443", "udp/443"] }), rules };
  const { policies, tables } = compilePolicies([spec]);
  assert.equal(tables.cidrs.length, 102_000);
  assert.equal(tables.portSets.length, 3);
  assert.equal(policies[0]?.decideAddress(addr("10.1.2.3"), TCP, 443).kind, "allow");
  // Rule i + 1 is 10.(i >> 8).(i & 255).0.
  assert.deepEqual(policies[0].decideAddress(addr("10.1.2.3"), TCP, 444), {
    kind: "deny",
    rule: 0x0102 + 1,
    reason: Reason.PORT,
  });
});
