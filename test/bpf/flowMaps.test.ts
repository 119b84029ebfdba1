/** The two flow maps: what belongs to one family, interface or policy is never found by another, and each has its own limit. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as abi from "../../src/core/abi.generated.js";
import { encodeFlowKey, type FlowKey } from "./flowKey.js";
import { Datapath, makeRouter, ownNamespace, type DeviceName } from "./harness.js";
import { address16, icmp, ip, PROTO, TCP, tcp, udp } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: Datapath;

const four = { src: "10.1.0.10", dst: "198.51.100.7", icmp: PROTO.ICMP, echo: 8 };
const six = { src: "fd00:1::10", dst: "2001:db8:1::7", icmp: PROTO.ICMP6, echo: 128 };
const families = [
  ["IPv4", four, "flows4"],
  ["IPv6", six, "flows6"],
] as const;

function build(sizes: Readonly<Record<string, number>> = {}): void {
  path?.object.close();
  path = new Datapath(router, sizes);
  path.governed(router.lan0.ifindex);
  path.governed(router.lan1.ifindex, { policy: 2 });
  for (const policy of [1, 2]) {
    path.policy(policy, abi.Verify.BOTH);
    path.cidr(policy, "198.51.100.0", 24, {});
    path.cidr(policy, "2001:db8:1::", 64, {});
  }
}
beforeEach(() => build());

type Ends = Readonly<Record<"src" | "dst", string>>;
const keyOf = (ends: Ends, change: Partial<FlowKey> = {}): FlowKey => ({
  policy: 1,
  src: address16(ends.src),
  dst: address16(ends.dst),
  proto: PROTO.TCP,
  sport: 40_000,
  dport: 443,
  ...change,
});
const segment = ({ src, dst }: Ends, flags: number, sport = 40_000) =>
  ip({ src, dst, proto: PROTO.TCP, body: tcp({ sport, dport: 443, flags }) });
const counted = (packet: Buffer, at: DeviceName = "lan0") => path.classify(packet, at).counted;
const deny = { verdict: abi.Verdict.DENY, reason: abi.Reason.NAME_DENIED };

for (const [name, ends, map] of families) {
  test(`${name}: the same addresses and ports in two policies are two flows`, () => {
    assert.deepEqual(counted(segment(ends, TCP.SYN)), { "allow-cidr": 1 });
    assert.equal(path.flowCount(map), 1);
    assert.deepEqual(counted(segment(ends, TCP.ACK), "lan1"), { "allow-cidr": 1 }, "a miss: the CIDR allows it");
    assert.deepEqual(counted(segment(ends, TCP.SYN), "lan1"), { "allow-cidr": 1 });
    assert.equal(path.flowCount(map), 2);
    path.flow(keyOf(ends, { policy: 2 }), deny);
    assert.deepEqual(counted(segment(ends, TCP.ACK), "lan1"), { "name-denied": 1 });
    assert.deepEqual(counted(segment(ends, TCP.ACK)), { "allow-flow": 1 });
    assert.equal(path.getFlow(keyOf(ends))?.packets, 2n);
    // A reply is the one's on whose interface it leaves.
    const reply = { src: ends.dst, dst: ends.src };
    path.watch(ip({ ...reply, proto: PROTO.TCP, body: tcp({ sport: 443, dport: 40_000, flags: TCP.ACK }) }), "lan1");
    assert.equal(path.getFlow(keyOf(ends))?.replyPackets, 0n);
    assert.equal(path.getFlow(keyOf(ends, { policy: 2 }))?.replyPackets, 1n);
  });

  test(`${name}: policy and protocol have their own bits in the key`, () => {
    // The last policy there is; and one whose number, moved by a byte, is the other's.
    for (const [policy, neighbour] of [
      [abi.MAX_POLICIES - 1, 255],
      [1, 257],
      [256, 1],
    ] as const) {
      path.forgetFlows();
      for (const id of [policy, neighbour]) path.policy(id, abi.Verify.BOTH);
      path.governed(router.lan0.ifindex, { policy });
      path.governed(router.lan1.ifindex, { policy: neighbour });
      path.flow(keyOf(ends, { policy }), {});
      assert.deepEqual(counted(segment(ends, TCP.ACK)), { "allow-flow": 1 });
      assert.equal(counted(segment(ends, TCP.ACK), "lan1")["allow-flow"], undefined);
      const datagram = ip({ src: ends.src, dst: ends.dst, proto: PROTO.UDP, body: udp(40_000, 443) });
      assert.equal(counted(datagram)["allow-flow"], undefined);
    }
  });

  test(`${name}: echo requests by their identifier`, () => {
    const echo = (identifier: number) =>
      ip({ src: ends.src, dst: ends.dst, proto: ends.icmp, body: icmp(ends.echo, identifier) });
    assert.deepEqual(counted(echo(7)), { "allow-cidr": 1 });
    assert.deepEqual(counted(echo(7)), { "allow-flow": 1 });
    assert.deepEqual(counted(echo(8)), { "allow-cidr": 1 });
    assert.equal(path.flowCount(map), 2);
  });
}

test("flows of both families are counted under one reason", () => {
  const before = path.counters()[abi.Reason.ALLOW_FLOW]!.packets;
  for (const ends of [four, six]) {
    path.flow(keyOf(ends), {});
    assert.deepEqual(counted(segment(ends, TCP.ACK)), { "allow-flow": 1 });
  }
  assert.equal(path.counters()[abi.Reason.ALLOW_FLOW]!.packets, before + 2);
  assert.deepEqual([path.flowCount("flows4"), path.flowCount("flows6"), path.flowCount()], [1, 1, 2]);
});

test("an IPv6 packet from ::ffff:a.b.c.d is not of the IPv4 flow", () => {
  path.flow(keyOf(four), {});
  assert.deepEqual(counted(segment(four, TCP.ACK)), { "allow-flow": 1 });
  const mapped = segment({ src: "::ffff:a01:a", dst: "::ffff:c633:6407" }, TCP.ACK);
  assert.equal(mapped[0]! >> 4, 6);
  assert.deepEqual(address16("::ffff:a01:a"), address16(four.src), "16 bytes that are the same");
  assert.equal(counted(mapped)["allow-flow"], undefined);
  // Nor the other way round, though its addresses are that flow's bytes.
  const at = encodeFlowKey(keyOf(four));
  path.map(at.map).delete(at.key);
  path.put("flows6", abi.encodeFlow6Key(keyOf(four)), path.flowValue({}));
  assert.deepEqual(counted(segment(four, TCP.ACK)), { "allow-cidr": 1 });
  assert.deepEqual(counted(mapped), { "allow-flow": 1 });
});

test("both at their limit: the longest unused go, of one family only, and are judged anew", () => {
  build({ flows4: 128, flows6: 64 });
  const fill = (ends: Ends) => {
    for (let sport = 1_000; sport < 2_500; sport++) {
      assert.deepEqual(counted(segment(ends, TCP.SYN, sport)), { "allow-cidr": 1 });
    }
  };
  fill(six);
  const sixes = path.flowCount("flows6");
  assert.ok(sixes > 0 && sixes <= 64, String(sixes));
  assert.equal(path.flowCount("flows4"), 0);
  fill(four);
  const fours = path.flowCount("flows4");
  assert.ok(fours > 0 && fours <= 128, String(fours));
  assert.equal(path.flowCount("flows6"), sixes, "the other family's entries stay");
  for (const ends of [four, six]) {
    assert.deepEqual(counted(segment(ends, TCP.ACK, 1_000)), { "allow-cidr": 1 }, "gone, and allowed by its rule");
    assert.deepEqual(counted(segment(ends, TCP.ACK, 2_499)), { "allow-flow": 1 }, "the newest is there");
  }
});
