/** Which packets skip netfilter, each with its neighbour. (Where they go is test/e2e/fastPath.test.ts' business.) */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { beforeEach, test } from "node:test";
import * as abi from "../../src/core/abi.generated.js";
import { parseIp } from "../../src/core/wire/ip.js";
import { clientHello, ping, tcp, udp, type TcpOptions } from "../packets.js";
import type { FlowKey } from "./flowKey.js";
import { byAddress, Datapath, MAC_A, makeRouter, marked, ownNamespace, TC_ACT_UNSPEC } from "./harness.js";
import { address16, frame } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: Datapath;

const REDIRECT = 7; // TC_ACT_REDIRECT
const v4 = { src: "10.1.0.10", dst: "198.51.100.7" };
const v6 = { src: "fd00:1::10", dst: "2001:db8:1::7" };
const back = (ends: typeof v4) => ({ src: ends.dst, dst: ends.src });
const keyOf = (ends: typeof v4, proto = 6): FlowKey => ({
  policy: 1,
  src: address16(ends.src),
  dst: address16(ends.dst),
  proto,
  sport: 40_000,
  dport: 443,
});
const isFast = (ends: typeof v4, proto = 6) => ((path.getFlow(keyOf(ends, proto))?.flags ?? 0) & abi.FLOW_FAST) !== 0;
const syn = (ends: typeof v4, options: TcpOptions = {}) => tcp(ends, { seq: 999, flags: "S", ...options });
const reply = (ends: typeof v4, options: TcpOptions = {}, data?: Uint8Array) =>
  tcp(back(ends), { sport: 443, dport: 40_000, flags: "SA", ack: 1000, ...options }, data);

/** TC ingress of wan0. */
function comesBack(packet: Uint8Array, gsoSegs = 0, gsoSize = 0): number {
  const { ifindex, mac } = router.wan0;
  return path.run("back", frame(packet, { to: mac }), ifindex, ifindex, 0, gsoSegs, gsoSize).value;
}

beforeEach(() => {
  path?.object.close();
  path = new Datapath(router);
  path.config({ fast: 1 });
  path.governed(router.lan0.ifindex);
  path.policy(1, abi.Verify.BOTH);
  for (const ends of [v4, v6]) path.name(1, byAddress(ends.src), ends.dst);
});

test("an allowed flow and one that waits for its name skip it, both ways, from the first packet on", () => {
  path.cidr(1, "198.51.100.8", 32, {});
  const byCidr = { src: v4.src, dst: "198.51.100.8" };
  for (const ends of [v4, v6, byCidr]) {
    const first = path.classify(syn(ends));
    assert.equal(first.value, REDIRECT);
    assert.equal(first.mark, marked(ends === byCidr ? abi.Verdict.ALLOW : abi.Verdict.PENDING), "the gate knows it");
    assert.ok(isFast(ends));
    assert.equal(comesBack(reply(ends)), REDIRECT);
    assert.equal(path.classify(tcp(ends, { seq: 1000, flags: "A" })).value, REDIRECT);
    assert.equal(path.classify(syn(ends)).value, REDIRECT, "the SYN again");
  }
  assert.equal(path.classify(udp(byCidr, { dport: 443 }, Buffer.from("x"))).value, REDIRECT);
  assert.equal(comesBack(udp(back(byCidr), { sport: 443, dport: 40_000 }, Buffer.from("x"))), REDIRECT);
});

test("merged datagrams take it, too, unless one is longer than the way allows", () => {
  path.cidr(1, v4.dst, 32, {});
  const many = udp(v4, { dport: 443 }, Buffer.alloc(2_400));
  const reply = udp(back(v4), { sport: 443, dport: 40_000 }, Buffer.alloc(2_400));
  assert.equal(path.classify(many, "lan0", 0, {}, 2, 1_200).value, REDIRECT);
  assert.equal(comesBack(reply, 2, 1_200), REDIRECT);
  for (const [size, value] of [
    [1_472, REDIRECT],
    [1_473, TC_ACT_UNSPEC],
  ] as const) {
    // prettier-ignore
    assert.equal(path.classify(many, "lan0", 0, {}, 2, size).value, value);
    assert.equal(comesBack(reply, 2, size), value);
  }
});

test("one hop less, with a checksum that holds; without hops left the stack answers", () => {
  for (const ends of [v4, v6]) {
    const { ifindex, mac } = router.lan0;
    for (const ttl of [64, 255, 2]) {
      const data = frame(syn(ends, { ttl }), { to: mac });
      const out = path.object.program("classify").testRun({ data, ifindex, ingressIfindex: ifindex });
      const packet = out.data.subarray(14);
      const parsed = parseIp(packet, packet.length);
      assert.equal(parsed.kind, "done", "the header's checksum too");
      assert.equal(packet[ends === v4 ? 8 : 7], ttl - 1);
      if (ends === v4) assert.equal(sum16(packet.subarray(0, 20)), 0xffff);
    }
    for (const ttl of [1, 0]) assert.equal(path.classify(syn(ends, { ttl })).value, TC_ACT_UNSPEC);
    assert.equal(comesBack(reply(ends, { ttl: 1 })), TC_ACT_UNSPEC);
  }
});

test("what climbs, what is denied and what is no TCP or UDP goes the long way", () => {
  assert.equal(path.classify(syn(v4)).value, REDIRECT);
  const hello = path.classify(tcp(v4, { seq: 1000 }, clientHello(["www.x.io"])));
  assert.deepEqual([hello.value, hello.mark], [TC_ACT_UNSPEC, marked(abi.Verdict.INSPECT)]);
  assert.equal(path.classify(syn({ ...v4, dst: "198.51.100.9" })).dropped, true);
  path.cidr(1, v4.dst, 32, {});
  assert.equal(path.classify(ping(v4)).value, TC_ACT_UNSPEC);
  assert.equal(path.classify(tcp(v4, { sport: 40_001, flags: "A" })).value, TC_ACT_UNSPEC, "no flow, no short way");
});

test("a hello that the kernel allows keeps its flow's way, short or long", () => {
  path.binding(1, byAddress(v4.src), v4.dst, "www.x.io");
  for (const fast of [1, 0]) {
    path.forgetFlows();
    path.config({ fast });
    path.classify(syn(v4));
    path.watch(reply(v4));
    path.config({ fast: 1 });
    const outcome = path.classify(tcp(v4, { seq: 1000 }, clientHello(["www.x.io"])));
    assert.deepEqual(outcome.counted, { "allow-name": 1 });
    assert.equal(outcome.value, fast ? REDIRECT : TC_ACT_UNSPEC);
    assert.equal(isFast(v4), fast === 1);
  }
});

test("switched off, everything goes the long way, also what began on the short one; and back", () => {
  path.classify(syn(v4));
  path.config({ fast: 0 });
  assert.equal(path.classify(tcp(v4, { seq: 1000, flags: "A" })).value, TC_ACT_UNSPEC);
  assert.equal(comesBack(reply(v4)), TC_ACT_UNSPEC);
  assert.equal(path.classify(syn(v6)).value, TC_ACT_UNSPEC);
  assert.ok(!isFast(v6));
  path.config({ fast: 1 });
  assert.equal(path.classify(tcp(v4, { seq: 1000, flags: "A" })).value, REDIRECT);
  assert.equal(path.classify(tcp(v6, { seq: 1000, flags: "A" })).value, TC_ACT_UNSPEC);
  assert.equal(comesBack(reply(v6)), TC_ACT_UNSPEC);
});

test("a source that doesn't belong to this interface is the stack's business", () => {
  path.policy(1, abi.Verify.SNI);
  assert.equal(path.classify(syn({ src: "10.2.0.10", dst: v4.dst })).value, TC_ACT_UNSPEC);
  assert.ok(!isFast({ src: "10.2.0.10", dst: v4.dst }));
  assert.equal(path.classify(syn({ src: "fd00:2::10", dst: v6.dst })).value, TC_ACT_UNSPEC);
});

test("what is longer than the way allows is the stack's business: it says so", () => {
  path.cidr(1, v4.dst, 32, {});
  path.classify(syn(v4));
  const long = (size: number) => tcp(v4, { seq: 1000, flags: "A" }, Buffer.alloc(size));
  assert.equal(path.classify(long(1460)).value, REDIRECT);
  assert.equal(path.classify(long(1461)).value, TC_ACT_UNSPEC);
  assert.equal(comesBack(reply(v4, { flags: "A" }, Buffer.alloc(1460))), REDIRECT);
  assert.equal(comesBack(reply(v4, { flags: "A" }, Buffer.alloc(1461))), TC_ACT_UNSPEC);
});

/** Longer than a kernel's tick at 100 Hz. */
const nextTick = () => new Promise((done) => setTimeout(done, 25));

test("a way is remembered for its own flow only, however many flows share a slot", () => {
  path.cidr(1, "198.51.100.0", 24, {});
  const out = Array.from({ length: 64 }, (_, i) => ({ src: v4.src, dst: `198.51.100.${i + 1}` }));
  for (const ends of out) path.classify(syn(ends));
  // Allowed flows, but out by dmz0, which nobody governs.
  const other = out.map((_, i) => ({ src: v4.src, dst: `203.0.113.${i + 1}` }));
  for (const ends of other) path.flow(keyOf(ends), { flags: abi.FLOW_FINAL | abi.FLOW_FAST });
  const { ifindex, mac } = router.lan0;
  const program = path.object.program("classify");
  const frames = (list: typeof out) =>
    list.map((ends) => frame(tcp(ends, { seq: 1000, flags: "A" }), { to: mac, from: MAC_A }));
  const value = (data: Buffer) => program.testRun({ data, ifindex, ingressIfindex: ifindex }).returnValue >>> 0;
  // Each with each, a moment apart: some sixteen of the pairs share a slot.
  const others = frames(other);
  for (const [i, data] of frames(out).entries()) {
    for (const [k, there] of others.entries()) {
      assert.deepEqual([value(data), value(there)], [REDIRECT, TC_ACT_UNSPEC], `${out[i]!.dst}, ${other[k]!.dst}`);
    }
  }
});

test("a route that goes away and a way out that is governed no more count from the next tick on", async () => {
  for (const ends of [v4, v6]) assert.equal(path.classify(syn(ends)).value, REDIRECT);
  const ack = (ends: typeof v4) => path.classify(tcp(ends, { seq: 1000, flags: "A" })).value;
  const ip = (...args: string[]) => execFileSync("ip", args, { stdio: "pipe" });
  ip("route", "add", "unreachable", `${v4.dst}/32`);
  ip("route", "add", "unreachable", `${v6.dst}/128`);
  try {
    await nextTick();
    for (const ends of [v4, v6]) assert.equal(ack(ends), TC_ACT_UNSPEC);
  } finally {
    ip("route", "del", "unreachable", `${v4.dst}/32`);
    ip("route", "del", "unreachable", `${v6.dst}/128`);
  }
  await nextTick();
  for (const ends of [v4, v6]) assert.equal(ack(ends), REDIRECT);
  const wan = Buffer.alloc(4);
  wan.writeUInt32LE(router.wan0.ifindex);
  path.map("egress").delete(wan);
  await nextTick();
  for (const ends of [v4, v6]) assert.equal(ack(ends), TC_ACT_UNSPEC);
});

test("replies of no flow, of another port or policy, of a denied flow, or to nobody of ours go the long way", () => {
  path.classify(syn(v4));
  assert.equal(comesBack(reply(v4)), REDIRECT);
  assert.equal(comesBack(reply(v4, { sport: 444 })), TC_ACT_UNSPEC);
  assert.equal(comesBack(reply({ ...v4, src: "10.1.0.11" })), TC_ACT_UNSPEC);
  assert.equal(comesBack(reply({ ...v4, src: "10.2.0.10" })), TC_ACT_UNSPEC, "a LAN that nobody governs");
  path.flow(keyOf(v4), { verdict: abi.Verdict.DENY, flags: abi.FLOW_FAST });
  assert.equal(comesBack(reply(v4)), TC_ACT_UNSPEC);
  path.flow(keyOf(v4), { flags: abi.FLOW_FAST, generation: 9 });
  assert.equal(comesBack(reply(v4)), TC_ACT_UNSPEC);
  path.flow(keyOf(v4), { flags: 0 });
  assert.equal(comesBack(reply(v4)), TC_ACT_UNSPEC);
});

test("conntrack is not asked about what climbs from such a flow, and about everything else it is", () => {
  const past = (packet: Uint8Array) => path.run("past", frame(packet), router.lan0.ifindex, 0, 0).value;
  path.classify(syn(v4));
  const climbs = tcp(v4, { seq: 1000 }, Buffer.from("x"));
  assert.equal(past(climbs), 1);
  assert.equal(past(tcp(v4, { seq: 1000, sport: 40_001 }, Buffer.from("x"))), 0);
  assert.equal(past(tcp(v6, { seq: 1000 }, Buffer.from("x"))), 0);
  path.config({ fast: 0 });
  assert.equal(past(climbs), 0);
});

function sum16(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
