/** Two versions of a policy in the kernel's maps: which one counts, and which cached flows. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as abi from "../../src/core/abi.generated.js";
import { compilePolicies } from "../../src/core/policy/compile.js";
import { layOut, fillTables, mapArrays, placeOf } from "../../src/edge/tables.js";
import { specOf } from "../core/policy/random.js";
import { tcp, udp } from "../packets.js";
import { encodeFlowKey, type FlowKey } from "./flowKey.js";
import { byAddress, Datapath, makeRouter, ownNamespace, type Outcome } from "./harness.js";
import { address16 } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: Datapath;

const ends = { src: "10.1.0.10", dst: "198.51.100.7" };
const ends6 = { src: "fd00:1::10", dst: "2001:db8:1::7" };
const keyOf = (of: typeof ends, sport = 40_000): FlowKey => ({
  policy: 1,
  src: address16(of.src),
  dst: address16(of.dst),
  proto: 6,
  sport,
  dport: 443,
});
const amid = (of: typeof ends, sport = 40_000) => tcp(of, { sport, seq: 5000, flags: "A" }, Buffer.from("x"));

beforeEach(() => {
  path?.object.close();
  path = new Datapath(router, { cidr4: 512, cidr4_index: 2048, cidr6: 512, cidr6_index: 2048, cidr6_nodes: 512 });
  path.governed(router.lan0.ifindex);
});

function carry(of: typeof ends, more: Partial<abi.AbiFlowCarry>): number {
  const { key, map } = encodeFlowKey(keyOf(of));
  const context = Buffer.alloc(abi.FLOW_READS * abi.FLOW_CARRY_SIZE);
  const value = {
    family: map === "flows4" ? 4 : 6,
    carried: 0,
    key: Buffer.concat([key, Buffer.alloc(40 - key.length)]),
    from: 1,
    previous: 0,
    to: 2,
    rule: 9,
    reason: 0,
    verdict: abi.Verdict.ALLOW,
    now: 0,
    ...more,
  };
  const at = 7 * abi.FLOW_CARRY_SIZE;
  abi.encodeFlowCarry(value, context, at);
  path.object.program("carry_flows").run(context);
  return abi.decodeFlowCarry(context, at).carried;
}

function change(previous: number, generation: number): void {
  assert.equal(path.object.program("switch_policy").run(abi.encodeSwitch({ previous, generation, firstRule: 5 })), 0);
}

const reasonOf = (outcome: Outcome) => Object.keys(outcome.counted).join();

test("one write changes from one version's networks, ports and proof to the other's, and back", () => {
  const room = { cidr4: 256, cidr4_index: 1024, cidr6: 256, cidr6_index: 1024, cidr6_nodes: 256 };
  const versions = [
    [1, { cidr: ["198.51.100.0/25", "2001:db8:1::/48"] }, 0],
    [
      2,
      {
        denyCidr: ["198.51.100.0/25"],
        cidr: ["198.51.100.128/25", ...Array.from({ length: 90 }, (_, i) => `2001:db8:2:${i}::/64`)],
        port: ["tcp/80"],
      },
      abi.MAX_PORT_SETS,
    ],
  ] as const;
  for (const [generation, flags, portSetBase] of versions) {
    const { tables } = compilePolicies(
      [
        specOf({
          ...flags,
          cidr: [...flags.cidr],
          denyCidr: "denyCidr" in flags ? [...flags.denyCidr] : [],
          port: "port" in flags ? [...flags.port] : [],
        }),
      ],
      { firstRule: generation * 1000, portSetBase },
    );
    fillTables((name) => path.map(name), layOut(tables), placeOf(generation, room));
  }
  const said = () =>
    [
      tcp(ends, { flags: "S" }),
      tcp(ends6, { flags: "S" }),
      tcp({ ...ends, dst: "198.51.100.200" }, { dport: 80, flags: "S" }),
      tcp({ ...ends, dst: "198.51.100.200" }, { dport: 81, flags: "S" }),
      tcp({ ...ends6, dst: "2001:db8:2:7::1" }, { dport: 80, flags: "S" }),
    ].map((packet) => reasonOf(path.classify(packet)));
  const first = ["allow-cidr", "allow-cidr", "unlearned", "unlearned", "unlearned"];
  const second = ["deny-cidr", "unlearned", "allow-cidr", "port", "allow-cidr"];
  assert.deepEqual(said(), first);
  change(1, 2);
  assert.deepEqual(said(), second);
  assert.equal(path.getFlow({ ...keyOf({ ...ends, dst: "198.51.100.200" }), sport: 40_000, dport: 80 })?.generation, 2);
  change(2, 3);
  assert.deepEqual(said(), first);
  assert.equal(mapArrays(room, (n) => n).cidr4, 256);
  const config = abi.decodeConfig(path.map("config").get(Buffer.alloc(4)) as Buffer);
  assert.deepEqual([config.generation, config.previous, config.firstRule, config.markMask], [3, 2, 5, 0x30]);
});

test("a carried flow counts before and after the change, in both families; its neighbour doesn't", () => {
  path.policy(1, abi.Verify.BOTH);
  for (const of of [ends, ends6]) {
    path.config({ generation: 1, previous: 0 });
    path.flow(keyOf(of), { rule: 4 });
    path.flow(keyOf(of, 40_001), { rule: 4 });
    assert.equal(carry(of, {}), 1);
    assert.equal(path.getFlow(keyOf(of))?.rule, 4, "not before the change");
    for (const sport of [40_000, 40_001]) assert.equal(reasonOf(path.classify(amid(of, sport))), "allow-flow");
    change(1, 2);
    assert.equal(reasonOf(path.classify(amid(of))), "allow-flow");
    assert.equal(reasonOf(path.classify(amid(of, 40_001))), "inspect");
    assert.equal(carry(of, { now: 1, reason: abi.Reason.ALLOW_CIDR }), 1);
    const { generation, next, rule, reason } = path.getFlow(keyOf(of))!;
    assert.deepEqual([generation, next, rule, reason], [2, 0, 9, abi.Reason.ALLOW_CIDR]);
    assert.equal(reasonOf(path.classify(amid(of))), "allow-flow");
  }
});

test("a mark for one change says nothing about another", () => {
  path.policy(1, abi.Verify.BOTH);
  path.flow(keyOf(ends), {});
  assert.equal(carry(ends, {}), 1);
  // The change to 2 failed; the next one has another number.
  change(1, 4);
  assert.equal(reasonOf(path.classify(amid(ends))), "inspect");
  // And 256 later the same low byte, of another generation before.
  path.flow(keyOf(ends), { generation: 1, next: 2 });
  change(4, 258);
  assert.equal(reasonOf(path.classify(amid(ends))), "inspect");
  path.flow(keyOf(ends), { generation: 4, next: 2 });
  assert.equal(reasonOf(path.classify(amid(ends))), "allow-flow");
});

test("what was carried can be carried on before it is the new policy's own", () => {
  path.policy(1, abi.Verify.BOTH);
  path.flow(keyOf(ends), {});
  carry(ends, {});
  change(1, 2);
  assert.equal(carry(ends, { from: 2, previous: 1, to: 3 }), 1);
  assert.equal(reasonOf(path.classify(amid(ends))), "allow-flow");
  change(2, 3);
  assert.equal(reasonOf(path.classify(amid(ends))), "allow-flow");
});

test("not carried: none there, denied, another verdict, of another generation", () => {
  path.policy(1, abi.Verify.BOTH);
  assert.equal(carry(ends, {}), 0);
  path.flow(keyOf(ends), { verdict: abi.Verdict.DENY });
  assert.equal(carry(ends, {}), 0);
  path.flow(keyOf(ends), { verdict: abi.Verdict.PENDING });
  assert.equal(carry(ends, {}), 0);
  path.flow(keyOf(ends), { generation: 7 });
  assert.equal(carry(ends, {}), 0);
  path.flow(keyOf(ends), { generation: 7, next: 3 });
  assert.equal(carry(ends, { previous: 7 }), 0);
  assert.equal(path.getFlow(keyOf(ends))?.next, 3);
});

test("a handshake that was carried is judged by its hello; a SYN that comes again keeps it", () => {
  path.policy(1, abi.Verify.BOTH);
  path.name(1, byAddress(ends.src), ends.dst);
  assert.equal(reasonOf(path.classify(tcp(ends, { seq: 999, flags: "S" }))), "pending");
  path.watch(tcp({ src: ends.dst, dst: ends.src }, { sport: 443, dport: 40_000, flags: "SA", ack: 1000 }));
  assert.ok(path.getFlow(keyOf(ends))!.flags & abi.FLOW_OPENED);
  assert.equal(carry(ends, { verdict: abi.Verdict.PENDING }), 1);
  change(1, 2);
  assert.equal(reasonOf(path.classify(tcp(ends, { seq: 999, flags: "S" }))), "pending");
  assert.ok(path.getFlow(keyOf(ends))!.flags & abi.FLOW_OPENED, "it is the same entry");
  assert.equal(reasonOf(path.classify(udp(ends, { dport: 7 }, Buffer.from("x")))), "allow-address");
});
