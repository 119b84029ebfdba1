/** The last word at TC egress, this box's own traffic, and the socket filter that asks for it in OUTPUT. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as abi from "../../src/core/abi.generated.js";
import {
  byAddress,
  byMac,
  Datapath,
  MAC_A,
  makeRouter,
  marked,
  ownNamespace,
  TC_ACT_UNSPEC,
  type Outcome,
} from "./harness.js";
import { address16, fragmentHeader, icmp, ip, PROTO, TCP, tcp, udp } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: Datapath;

const CLIENT = "10.1.0.10";
const CLIENT6 = "fd00:1::10";
const BOX = "192.0.2.2";
const BOX6 = "2001:db8:ffff::2";
const SERVER = "198.51.100.7";
const SERVER6 = "2001:db8:1::7";
/** The client of this box's own traffic. */
const SELF = new Uint8Array(16);

beforeEach(() => {
  path?.object.close();
  path = new Datapath(router);
  path.governed(router.lan0.ifindex);
  path.policy(1, abi.Verify.BOTH);
});

const syn = (src = CLIENT, dst = SERVER, dport = 443) =>
  ip({ src, dst, proto: PROTO.TCP, body: tcp({ dport, flags: TCP.SYN }) });
const ack = (src = CLIENT, dst = SERVER) =>
  ip({ src, dst, proto: PROTO.TCP, body: tcp({ dport: 443, flags: TCP.ACK }) });
const data = (src = CLIENT, dst = SERVER) =>
  ip({ src, dst, proto: PROTO.TCP, body: tcp({ dport: 443, flags: TCP.ACK, payload: 50 }) });
const datagram = (src = CLIENT, dst = SERVER, sport = 40000, dport = 443) =>
  ip({ src, dst, proto: PROTO.UDP, body: udp(sport, dport) });

function passes(outcome: Outcome, counted: Record<string, number> = {}): void {
  assert.deepEqual(outcome.counted, counted);
  assert.equal(outcome.value, TC_ACT_UNSPEC);
}
function denied(outcome: Outcome, reason: string): void {
  assert.deepEqual(outcome.counted, { [reason]: 1 });
  assert.equal(outcome.dropped, true);
}

test("forwarded: marked ALLOW or PENDING passes, whatever the maps say, and keeps its mark", () => {
  path.cidr(1, SERVER, 32, { verdict: abi.Verdict.DENY });
  for (const verdict of [abi.Verdict.ALLOW, abi.Verdict.PENDING]) {
    const outcome = path.gate(syn(), "lan0", marked(verdict) | 0x1);
    passes(outcome);
    assert.equal(outcome.mark, marked(verdict) | 0x1);
  }
});

test("forwarded: marked INSPECT was not inspected, and is denied; with failMode open it passes, counted", () => {
  path.cidr(1, SERVER, 32, {});
  denied(path.gate(syn(), "lan0", marked(abi.Verdict.INSPECT)), "not-inspected");
  path.config({ failOpen: 1 });
  passes(path.gate(syn(), "lan0", marked(abi.Verdict.INSPECT)), { "allow-fail-open": 1 });
});

test("forwarded without a mark: judged by its headers, undecided is denied", () => {
  path.cidr(1, "198.51.100.8", 32, {});
  path.cidr(1, "198.51.100.9", 32, { verdict: abi.Verdict.DENY });
  path.cidr(1, SERVER6, 128, {});
  passes(path.gate(syn(CLIENT, "198.51.100.8"), "lan0"), { "allow-cidr": 1 });
  passes(path.gate(syn(CLIENT6, SERVER6), "lan0"), { "allow-cidr": 1 });
  denied(path.gate(syn(CLIENT, "198.51.100.9"), "lan0"), "deny-cidr");
  denied(path.gate(syn(), "lan0"), "unlearned");
  for (const packet of [ack(), data(), datagram()]) denied(path.gate(packet, "lan0"), "not-inspected");
  path.name(1, byAddress(CLIENT), SERVER);
  denied(path.gate(data(), "lan0"), "not-inspected");
  passes(path.gate(ack(), "lan0"), { pending: 1 });
  path.config({ failOpen: 1 });
  passes(path.gate(data(), "lan0"), { "allow-fail-open": 1 });
  // failMode opens what is undecided, not what is denied.
  denied(path.gate(syn(CLIENT, "198.51.100.9"), "lan0"), "deny-cidr");
});

test("forwarded without a mark: a MAC isn't known behind the routing step, so nothing is learned by it", () => {
  path.governed(router.lan0.ifindex, { clientBy: abi.ClientBy.MAC });
  path.name(1, byMac(router.lan0.ifindex, MAC_A), SERVER);
  denied(path.gate(syn(), "lan0"), "unlearned");
});

test("forwarded without a mark from an interface with sources: who sent it may be lost to NAT", () => {
  const { ifindex } = router.lan0;
  path.policy(2, abi.Verify.BOTH);
  path.cidr(1, SERVER, 32, {});
  path.cidr(2, SERVER, 32, {});
  path.source(ifindex, CLIENT, 32, 2);
  for (const defaultGoverned of [0, 1]) {
    path.governed(ifindex, { hasSources: 1, defaultGoverned });
    passes(path.gate(ack(), "lan0"), { "allow-cidr": 1 });
    denied(path.gate(ack(BOX), "lan0"), "not-inspected");
    // Those that the classifier let go as not governed carry its mark.
    passes(path.gate(ack(BOX), "lan0", marked(abi.Verdict.ALLOW)));
  }
});

test("forwarded from an interface that isn't governed passes, whatever the mark", () => {
  for (const mark of [0, marked(abi.Verdict.INSPECT)]) {
    passes(path.gate(syn("10.2.0.10"), "lan1", mark));
    passes(path.gate(syn("10.9.0.10"), "dmz0", mark));
  }
});

test("this box's own traffic passes unless interface 0 is governed", () => {
  passes(path.gate(syn(BOX), undefined));
  passes(path.gate(data(BOX), undefined, marked(abi.Verdict.INSPECT)));
  assert.equal(path.output(data(BOX)).value, 0);
});

test("forwarded multicast without a mark is denied", () => {
  path.cidr(1, "0.0.0.0", 0, {});
  path.cidr(1, "::", 0, {});
  denied(path.gate(datagram(CLIENT, "239.1.2.3"), "lan0"), "multicast-egress");
  denied(path.gate(datagram(CLIENT6, "ff0e::1"), "lan0"), "multicast-egress");
  passes(path.gate(datagram(CLIENT, "238.255.255.255"), undefined));
  passes(path.gate(datagram(CLIENT, "223.255.255.255"), "lan0"), { "allow-cidr": 1 });
});

test("what isn't IP passes", () => {
  passes(
    path.run(
      "gate",
      Buffer.concat([Buffer.alloc(12), Buffer.from("0806", "hex"), Buffer.alloc(46)]),
      router.wan0.ifindex,
      router.lan0.ifindex,
      0,
    ),
  );
});

test("malformed at the gate is denied, a fragment without a mark, too", () => {
  denied(path.gate(syn().subarray(0, 39), "lan0"), "malformed");
  const fragment = ip({ src: CLIENT, dst: SERVER, proto: PROTO.UDP, body: udp(1, 2), fragment: 0x2000 });
  denied(path.gate(fragment, "lan0"), "fragment");
  passes(path.gate(fragment, "lan0", marked(abi.Verdict.ALLOW)));
  const six = { src: CLIENT6, dst: SERVER6, proto: PROTO.UDP, body: udp(1, 2), extensions: [fragmentHeader(3, false)] };
  denied(path.gate(ip(six), "lan0"), "fragment");
});

test("own: judged at the gate, flows made and counted there", () => {
  path.governed(0);
  path.cidr(1, "198.51.100.8", 32, { rule: 2 });
  passes(path.gate(syn(BOX, "198.51.100.8"), undefined), { "allow-cidr": 1 });
  passes(path.gate(data(BOX, "198.51.100.8"), undefined), { "allow-flow": 1 });
  const key = { policy: 1, src: address16(BOX), dst: address16("198.51.100.8"), proto: 6, sport: 40000, dport: 443 };
  assert.equal(path.getFlow(key)?.packets, 2n);
  denied(path.gate(syn(BOX), undefined), "unlearned");
  path.name(1, SELF, SERVER);
  passes(path.gate(syn(BOX), undefined), { pending: 1 });
  assert.equal(path.getFlow({ ...key, dst: address16(SERVER) })?.verdict, abi.Verdict.PENDING);
  passes(path.gate(syn(BOX), undefined, marked(abi.Verdict.PENDING)));
  passes(path.gate(ack(BOX), undefined), { pending: 1 });
  denied(path.gate(data(BOX), undefined), "not-inspected");
  passes(path.gate(data(BOX), undefined, marked(abi.Verdict.ALLOW)));
  // A LAN's client is another one.
  path.governed(router.lan0.ifindex, { clientBy: abi.ClientBy.INTERFACE });
  denied(path.gate(syn(), "lan0"), "unlearned");
});

test("own: what the link needs passes, its neighbours don't", () => {
  path.governed(0);
  const icmp6 = (type: number, dst: string, ttl = 255) =>
    ip({ src: BOX6, dst, proto: PROTO.ICMP6, body: icmp(type), ttl });
  const upkeep = [
    datagram(BOX, "224.0.0.251", 5353, 5353),
    datagram("0.0.0.0", "255.255.255.255", 68, 67),
    datagram(BOX, "198.51.100.67", 68, 67),
    datagram(BOX6, "2001:db8:ffff::547", 546, 547),
    ip({ src: BOX, dst: "224.0.0.22", proto: 2, body: Buffer.alloc(8), ttl: 1 }),
    ...[133, 135, 136, 137].map((type) => icmp6(type, "2001:db8:ffff::1")),
    icmp6(143, "ff02::16", 1),
    icmp6(128, "fe80::1", 64),
    datagram(BOX6, "fe80::1", 1, 2),
  ];
  for (const packet of upkeep) {
    passes(path.gate(packet, undefined), { "not-egress": 1 });
    assert.equal(path.output(packet).value, 0);
  }
  const neighbours = [
    datagram(BOX, "198.51.100.67", 68, 68),
    datagram(BOX, "198.51.100.67", 67, 67),
    datagram(BOX, "198.51.100.67", 546, 547),
    datagram(BOX6, "2001:db8:ffff::547", 68, 67),
    datagram(BOX6, "2001:db8:ffff::547", 546, 546),
    icmp6(135, "2001:db8:ffff::1", 254),
    icmp6(132, "2001:db8:ffff::1"),
    icmp6(138, "2001:db8:ffff::1"),
    datagram(BOX6, "fec0::1", 1, 2),
    datagram(BOX6, "fe7f::1", 1, 2),
    datagram(BOX, "169.254.169.254", 1, 80),
  ];
  for (const packet of neighbours) {
    denied(path.gate(packet, undefined), "not-inspected");
    assert.equal(path.output(packet).value, 1);
  }
  // None of this is for a LAN's packets.
  denied(path.gate(datagram(CLIENT, "198.51.100.67", 68, 67), "lan0"), "not-inspected");
  const solicitation = ip({ src: CLIENT6, dst: SERVER6, proto: PROTO.ICMP6, body: icmp(135), ttl: 255 });
  denied(path.gate(solicitation, "lan0"), "not-inspected");
});

test("output: 1 only for what must climb; no flow is opened or counted here", () => {
  path.governed(0);
  path.name(1, SELF, SERVER);
  path.name(1, SELF, SERVER6);
  path.cidr(1, "198.51.100.8", 32, {});
  const asks: [Buffer, number][] = [
    [syn(BOX), 0], // pending
    [syn(BOX6, SERVER6), 0],
    [data(BOX), 1],
    [ack(BOX), 0], // pending
    [syn(BOX, "198.51.100.8"), 0], // allowed
    [data(BOX, "198.51.100.8"), 0],
    [syn(BOX, "198.51.100.9"), 0], // denied: the gate drops it
    [data(BOX, "198.51.100.9"), 1], // may be a reply
    [datagram(BOX, "198.51.100.9"), 1],
    [syn(BOX).subarray(0, 39), 0], // malformed: the gate drops it
  ];
  for (const [packet, value] of asks) {
    const outcome = path.output(packet);
    assert.equal(outcome.value, value);
    assert.deepEqual(outcome.counted, {});
  }
  assert.equal(path.flowCount(), 0);
  const key = { policy: 1, src: address16(BOX), dst: address16(SERVER), proto: 6, sport: 40000, dport: 443 };
  path.flow(key, { flags: abi.FLOW_BY_HELLO, judgedStart: 900, judgedEnd: 1100, packets: 7n });
  assert.equal(path.output(data(BOX)).value, 1); // sequence 1000 is amid the judged bytes
  path.flow(key, { flags: abi.FLOW_BY_HELLO | abi.FLOW_FINAL, judgedStart: 900, judgedEnd: 1100, packets: 7n });
  assert.equal(path.output(data(BOX)).value, 0);
  assert.equal(path.getFlow(key)?.packets, 7n);
});

test("own: two policies by source address", () => {
  path.governed(0, { hasSources: 1, defaultGoverned: 0 });
  path.source(0, BOX, 32, 1);
  denied(path.gate(syn(BOX), undefined), "unlearned");
  passes(path.gate(syn("192.0.2.1"), undefined), { "not-governed": 1 });
  assert.equal(path.output(data(BOX)).value, 1);
  assert.equal(path.output(data("192.0.2.1")).value, 0);
});
