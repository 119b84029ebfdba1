/** What the classifier says at TC ingress, rule by rule, each with its neighbour. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { beforeEach, test } from "node:test";
import * as abi from "../../src/core/abi.generated.js";
import type { FlowKey } from "./flowKey.js";
import {
  byAddress,
  byInterface,
  byMac,
  Datapath,
  MAC_A,
  MAC_B,
  makeRouter,
  marked,
  now,
  ownNamespace,
  TC_ACT_UNSPEC,
  type DeviceName,
  type Outcome,
  SECOND,
} from "./harness.js";
import { address16, frame, icmp, ip, PROTO, TCP, tcp, udp } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: Datapath;

const CLIENT = "10.1.0.10";
const CLIENT6 = "fd00:1::10";
const SERVER = "198.51.100.7";
const SERVER6 = "2001:db8:1::7";

beforeEach(() => {
  path?.object.close();
  path = new Datapath(router);
  path.governed(router.lan0.ifindex);
  path.policy(1, abi.Verify.BOTH);
});

interface What {
  readonly src?: string;
  readonly dst?: string;
  readonly sport?: number;
  readonly port?: number;
}
const send = (proto: number, body: Buffer, what: What) =>
  ip({ src: what.src ?? CLIENT, dst: what.dst ?? SERVER, proto, body });
const syn = (what: What = {}) =>
  send(PROTO.TCP, tcp({ sport: what.sport ?? 40000, dport: what.port ?? 443, flags: TCP.SYN }), what);
const ack = (what: What = {}) =>
  send(PROTO.TCP, tcp({ sport: what.sport ?? 40000, dport: what.port ?? 443, flags: TCP.ACK }), what);
const data = (what: What & { seq?: number; payload?: number } = {}) =>
  send(
    PROTO.TCP,
    tcp({
      sport: what.sport ?? 40000,
      dport: what.port ?? 443,
      flags: TCP.ACK | TCP.PSH,
      seq: what.seq ?? 1001,
      payload: what.payload ?? 100,
    }),
    what,
  );
const datagram = (what: What = {}) => send(PROTO.UDP, udp(what.sport ?? 40000, what.port ?? 443), what);
const ping = (what: What = {}) =>
  what.dst?.includes(":") ? send(PROTO.ICMP6, icmp(128), what) : send(PROTO.ICMP, icmp(8), what);
const v6 = { src: CLIENT6, dst: SERVER6 };
const tcpKey = (what: What = {}): FlowKey => ({
  policy: 1,
  src: address16(what.src ?? CLIENT),
  dst: address16(what.dst ?? SERVER),
  proto: PROTO.TCP,
  sport: what.sport ?? 40000,
  dport: what.port ?? 443,
});

/** The verdict in the mark (or the drop), and the one counter that says why. */
function is(outcome: Outcome, verdict: "none" | "inspect" | "pending" | "allow" | "deny", reason: string): void {
  assert.deepEqual(outcome.counted, { [reason]: 1 });
  assert.equal(outcome.dropped, verdict === "deny");
  if (verdict === "deny") return;
  assert.equal(outcome.value, TC_ACT_UNSPEC);
  assert.equal(outcome.mark, marked({ none: 0, inspect: 1, pending: 2, allow: 3 }[verdict]));
}

test("an interface that isn't governed is left alone, mark and all", () => {
  const outcome = path.classify(syn(), "lan1", 0x33);
  assert.deepEqual(outcome.counted, {});
  assert.equal(outcome.value, TC_ACT_UNSPEC);
  assert.equal(outcome.mark, 0x33);
});

test("an interface that isn't governed any more is left alone, and one of a large number is governed", () => {
  is(path.classify(syn()), "deny", "unlearned");
  path.ungoverned(router.lan0.ifindex);
  assert.deepEqual(path.classify(syn()).counted, {});
  execFileSync("ip", ["link", "add", "far0", "index", "70000", "type", "veth", "peer", "name", "far0p"]);
  execFileSync("ip", ["link", "set", "far0", "up"]);
  execFileSync("ip", ["link", "set", "far0p", "up"]);
  execFileSync("ip", ["addr", "add", "10.3.0.1/24", "dev", "far0"]);
  const [link] = JSON.parse(execFileSync("ip", ["-j", "link", "show", "far0"], { encoding: "utf8" })) as {
    address: string;
  }[];
  const far = () =>
    path.run("classify", frame(syn({ src: "10.3.0.10" }), { to: link!.address, from: MAC_A }), 70000, 70000, 0);
  assert.deepEqual(far().counted, {});
  path.governed(70000);
  is(far(), "deny", "unlearned");
  path.ungoverned(70000);
  assert.deepEqual(far().counted, {});
});

test("marks: our bits are set, cleared when nothing was decided, and other bits stay", () => {
  path.cidr(1, SERVER, 32, {});
  assert.equal(path.classify(ack(), "lan0", 0xffff_ff0f).mark, 0xffff_ff3f);
  assert.equal(path.classify(data({ dst: "198.51.100.8" }), "lan0", 0xffff_ffff).mark, 0xffff_ffdf);
  // Somebody set our bits before: a packet for the box itself loses them.
  assert.equal(path.classify(syn({ dst: "10.1.0.1" }), "lan0", 0xffff_ffff).mark, 0xffff_ffcf);
  path.config({ markMask: 0xc000_0000, markShift: 30 });
  assert.equal(path.classify(ack(), "lan0", 0x3fff_ffff).mark, 0xffff_ffff);
  path.config({ markMask: 3, markShift: 0 });
  assert.equal(path.classify(ack(), "lan0", 0xf0).mark, 0xf3);
});

test("what isn't IP passes: ARP, and a frame for somebody else", () => {
  const arp = path.classify(Buffer.alloc(46), "lan0", marked(3), { etherType: 0x0806 });
  is(arp, "none", "not-egress");
  const foreign = path.classify(syn(), "lan0", marked(3), { to: "02:00:00:00:00:99" });
  assert.deepEqual(foreign.counted, {});
  assert.equal(foreign.mark, 0);
});

test("only what would leave by eface is judged", () => {
  const elsewhere: [string, string][] = [
    ["this box", "10.1.0.1"],
    ["this box, its far address", "192.0.2.2"],
    ["another LAN", "10.2.0.5"],
    ["another way out", "203.0.113.9"],
    ["multicast", "239.1.1.1"],
    ["broadcast", "255.255.255.255"],
    ["the LAN's broadcast", "10.1.0.255"],
    ["this box", "fd00:1::1"],
    ["this box, link-local", "fe80::1"],
    ["another LAN", "fd00:2::5"],
    ["another way out", "2001:db8:9::9"],
    ["multicast", "ff02::1"],
    ["multicast, wide", "ff0e::1"],
  ];
  for (const [what, dst] of elsewhere) {
    const src = dst.includes(":") ? CLIENT6 : CLIENT;
    for (const packet of [
      syn({ src, dst }),
      ack({ src, dst }),
      data({ src, dst }),
      datagram({ src, dst }),
      ping({ src, dst }),
    ]) {
      const outcome = path.classify(packet);
      assert.deepEqual(outcome.counted, { "not-egress": 1 }, `${what} ${dst}`);
      assert.equal(outcome.mark, 0);
      assert.equal(outcome.dropped, false);
    }
  }
  // One address beside "another way out" leaves by eface.
  is(path.classify(syn({ dst: "203.0.114.0" })), "deny", "unlearned");
  is(path.classify(syn({ src: CLIENT6, dst: "2001:db8:a::" })), "deny", "unlearned");
  assert.equal(path.flowCount(), 0);
});

test("a denial that isn't egress isn't one, a malformed packet for this box neither", () => {
  path.cidr(1, "10.2.0.0", 16, { verdict: abi.Verdict.DENY });
  is(path.classify(syn({ dst: "10.2.0.5" })), "none", "not-egress");
  const bad = ip({
    src: CLIENT,
    dst: "10.1.0.1",
    proto: PROTO.TCP,
    body: tcp({ dport: 22, flags: TCP.SYN, words: 4 }),
  });
  is(path.classify(bad), "none", "not-egress");
});

test("CIDR: first and last address, and the ones beside them", () => {
  path.cidr(1, "198.51.100.64", 26, { rule: 5 });
  path.cidr(1, "2001:db8:1:8000::", 49, { rule: 6 });
  for (const [inside, outside] of [
    ["198.51.100.64", "198.51.100.63"],
    ["198.51.100.127", "198.51.100.128"],
  ] as const) {
    is(path.classify(syn({ dst: inside })), "allow", "allow-cidr");
    is(path.classify(syn({ dst: outside })), "deny", "unlearned");
  }
  for (const [inside, outside] of [
    ["2001:db8:1:8000::", "2001:db8:1:7fff:ffff:ffff:ffff:ffff"],
    ["2001:db8:1:ffff:ffff:ffff:ffff:ffff", "2001:db8:2::"],
  ] as const) {
    is(path.classify(syn({ src: CLIENT6, dst: inside })), "allow", "allow-cidr");
    is(path.classify(syn({ src: CLIENT6, dst: outside })), "deny", "unlearned");
  }
});

test("CIDR: the other family's bytes don't count", () => {
  path.cidr(1, "::", 0, {});
  is(path.classify(syn()), "deny", "unlearned");
  is(path.classify(syn(v6)), "allow", "allow-cidr");
  // An IPv4-mapped prefix in the IPv6 trie is not IPv4.
  path.cidr(1, "::ffff:198.51.100.0", 120, {});
  is(path.classify(syn()), "deny", "unlearned");
});

test("CIDR: longest prefix wins, whoever was first", () => {
  path.cidr(1, "198.51.100.0", 24, { verdict: abi.Verdict.DENY });
  path.cidr(1, "198.51.100.7", 32, {});
  path.cidr(1, "198.51.0.0", 16, {});
  is(path.classify(syn()), "allow", "allow-cidr");
  is(path.classify(syn({ dst: "198.51.100.8" })), "deny", "deny-cidr");
  is(path.classify(syn({ dst: "198.51.101.8" })), "allow", "allow-cidr");
  // A denial is for every packet, not only the first.
  is(path.classify(ack({ dst: "198.51.100.8", sport: 2 })), "deny", "deny-cidr");
  is(path.classify(datagram({ dst: "198.51.100.8", sport: 2 })), "deny", "deny-cidr");
});

test("CIDR with ports: the first range that matches decides, protocol by protocol", () => {
  path.portSet(3, [
    { proto: PROTO.TCP, verdict: abi.Verdict.DENY, low: 445, high: 445, rule: 21 },
    { proto: PROTO.TCP, verdict: abi.Verdict.ALLOW, low: 440, high: 450, rule: 0 },
    { proto: PROTO.UDP, verdict: abi.Verdict.INSPECT, low: 53, high: 53, rule: 0 },
    { proto: PROTO.ICMP, verdict: abi.Verdict.ALLOW, low: 1, high: 0, rule: 0 },
  ]);
  path.cidr(1, "198.51.100.0", 24, { verdict: abi.Verdict.NONE, strict: 1, rule: 20, ports: 3 });
  for (const port of [440, 443, 450]) is(path.classify(syn({ port })), "allow", "allow-cidr");
  for (const port of [439, 451, 0, 65535]) is(path.classify(syn({ port })), "deny", "port");
  is(path.classify(syn({ port: 445 })), "deny", "deny-cidr");
  is(path.classify(datagram({ port: 53 })), "inspect", "inspect");
  is(path.classify(datagram({ port: 54 })), "deny", "port");
  is(path.classify(datagram({ port: 443 })), "deny", "port");
  is(path.classify(ping()), "allow", "allow-cidr"); // no ports: low and high don't matter
  assert.equal(path.getFlow(tcpKey())?.rule, 20);
  // Not strict: the names go on where no range speaks.
  path.cidr(1, "198.51.100.0", 24, { verdict: abi.Verdict.NONE, strict: 0, rule: 20, ports: 3 });
  is(path.classify(syn({ port: 439 })), "deny", "unlearned");
});

test("port sets: all 16 ranges are read, not the 17th; any protocol; set 0 and unknown sets are empty", () => {
  const range = (port: number) => ({ proto: 0, verdict: abi.Verdict.ALLOW, low: port, high: port, rule: port });
  path.portSet(
    4,
    Array.from({ length: 16 }, (_, i) => range(100 + i)),
  );
  const set = abi.encodePortSet({ count: 15, ranges: Array.from({ length: 16 }, (_, i) => range(100 + i)) });
  path.cidr(1, SERVER, 32, { verdict: abi.Verdict.NONE, strict: 1, ports: 4 });
  is(path.classify(syn({ port: 115 })), "allow", "allow-cidr");
  is(path.classify(datagram({ port: 115 })), "allow", "allow-cidr");
  assert.equal(path.getFlow(tcpKey({ port: 115 }))?.rule, 115);
  is(path.classify(syn({ port: 116 })), "deny", "port");
  path.put("port_sets", Buffer.from([4, 0, 0, 0]), set);
  is(path.classify(syn({ port: 115 })), "deny", "port");
  for (const ports of [0, 9, 5000]) {
    path.cidr(1, SERVER, 32, { verdict: abi.Verdict.NONE, strict: 1, ports });
    is(path.classify(syn({ port: 100 })), "deny", "port");
  }
});

test("CIDR: policies don't see each other's", () => {
  path.cidr(2, "198.51.100.0", 24, {});
  is(path.classify(syn()), "deny", "unlearned");
  path.governed(router.lan0.ifindex, { policy: 2 });
  is(path.classify(syn()), "deny", "no-policy");
  path.policy(2, abi.Verify.BOTH);
  is(path.classify(syn()), "allow", "allow-cidr");
  path.noPolicy(2);
  is(path.classify(syn({ sport: 2 })), "deny", "no-policy");
});

test("CIDR: an opening packet makes a flow, a TCP packet amid a connection doesn't", () => {
  path.cidr(1, SERVER, 32, { rule: 9 });
  for (const packet of [ack(), data()]) is(path.classify(packet), "allow", "allow-cidr");
  assert.equal(path.flowCount(), 0);
  is(path.classify(syn()), "allow", "allow-cidr");
  is(path.classify(ack()), "allow", "allow-flow");
  is(path.classify(data()), "allow", "allow-flow");
  is(path.classify(datagram()), "allow", "allow-cidr");
  is(path.classify(datagram()), "allow", "allow-flow");
  is(path.classify(ping()), "allow", "allow-cidr");
  is(path.classify(ping()), "allow", "allow-flow");
  const flow = path.getFlow(tcpKey());
  assert.deepEqual(
    { packets: flow?.packets, bytes: flow?.bytes, rule: flow?.rule, flags: flow?.flags, reason: flow?.reason },
    { packets: 3n, bytes: 40n + 40n + 140n, rule: 9, flags: abi.FLOW_FINAL, reason: abi.Reason.ALLOW_CIDR },
  );
});

test("both: to a learned address a handshake pends, its first payload climbs", () => {
  path.name(1, byAddress(CLIENT), SERVER);
  path.name(1, byAddress(CLIENT6), SERVER6);
  for (const what of [{}, v6]) {
    is(path.classify(syn(what)), "pending", "pending");
    is(path.classify(data(what)), "inspect", "inspect");
    is(path.classify(ack(what)), "pending", "pending");
    is(path.classify(ping(what)), "allow", "allow-address");
  }
  for (const flags of [TCP.FIN | TCP.ACK, TCP.RST, TCP.SYN | TCP.ACK]) {
    is(path.classify(send(PROTO.TCP, tcp({ dport: 443, flags }), {})), "pending", "pending");
  }
  const withData = send(PROTO.TCP, tcp({ dport: 443, flags: TCP.FIN | TCP.ACK, payload: 1 }), {});
  is(path.classify(withData), "inspect", "inspect");
  path.forgetFlows();
  for (const odd of [{ flags: TCP.SYN | TCP.FIN }, { flags: TCP.SYN | TCP.RST }, { flags: TCP.SYN, payload: 1 }]) {
    is(path.classify(send(PROTO.TCP, tcp({ dport: 443, ...odd }), {})), "inspect", "inspect");
  }
  assert.equal(path.flowCount(), 0);
});

test("a SYN that pends says where the stream begins; sent again it changes nothing, another one begins anew", () => {
  path.name(1, byAddress(CLIENT), SERVER);
  const at = (seq: number) => path.classify(send(PROTO.TCP, tcp({ dport: 443, flags: TCP.SYN, seq }), {}));
  is(at(0xffffffff), "pending", "pending");
  const opened = path.getFlow(tcpKey())!;
  assert.deepEqual(
    [opened.verdict, opened.judgedStart, opened.judgedEnd, opened.flags],
    [abi.Verdict.PENDING, 0, 0, 0],
  );
  assert.ok(Math.abs(opened.openedS - Number(now() / 1_000_000_000n)) <= 1);
  path.flow(tcpKey(), { ...opened, flags: abi.FLOW_OPENED | abi.FLOW_CLIMBED });
  is(at(0xffffffff), "pending", "pending");
  assert.equal(path.getFlow(tcpKey())!.flags, abi.FLOW_OPENED | abi.FLOW_CLIMBED);
  is(at(1000), "pending", "pending");
  assert.deepEqual([path.getFlow(tcpKey())!.judgedStart, path.getFlow(tcpKey())!.flags], [1001, 0]);
  // A judged connection's late SYN, and one of a denied or final flow.
  const judged = { judgedStart: 1001, judgedEnd: 1500, flags: abi.FLOW_BY_HELLO };
  path.flow(tcpKey(), judged);
  is(at(1000), "pending", "pending");
  assert.equal(path.getFlow(tcpKey())!.judgedEnd, 1500);
  for (const old of [{ verdict: abi.Verdict.DENY }, { flags: abi.FLOW_FINAL }, { generation: 7 }]) {
    path.flow(tcpKey(), { ...judged, ...old });
    is(at(1000), "pending", "pending");
    assert.equal(path.getFlow(tcpKey())!.judgedEnd, 1001);
  }
});

test("a SYN that pends but doesn't leave by a governed way out opens no flow", () => {
  path.policy(1, abi.Verify.SNI);
  is(path.classify(syn({ dst: "203.0.113.5" })), "none", "not-egress");
  assert.equal(path.flowCount(), 0);
  is(path.classify(syn()), "pending", "pending");
  assert.equal(path.flowCount(), 1);
});

test("both: not learned, learned by another client, for another policy, for a neighbour: denied at the SYN", () => {
  path.name(1, byAddress("10.1.0.11"), SERVER);
  path.name(2, byAddress(CLIENT), SERVER);
  path.name(1, byAddress(CLIENT), "198.51.100.8");
  path.name(1, byAddress(CLIENT), "::ffff:198.51.100.7");
  is(path.classify(syn()), "deny", "unlearned");
  is(path.classify(syn({ dst: "198.51.100.8" })), "pending", "pending");
  is(path.classify(syn({ src: "10.1.0.11" })), "pending", "pending");
  // Everything but an opening SYN could be the reply of a connection from outside.
  for (const packet of [ack(), data(), datagram(), ping()]) is(path.classify(packet), "inspect", "inspect");
  is(path.classify(send(PROTO.TCP, tcp({ dport: 443, flags: TCP.SYN | TCP.ACK }), {})), "inspect", "inspect");
});

test("expired by a nanosecond is expired", () => {
  for (const verify of [abi.Verify.DNS, abi.Verify.BOTH]) {
    path.policy(1, verify);
    path.name(1, byAddress(CLIENT), SERVER, { expiresNs: now() });
    is(path.classify(syn()), "deny", "expired");
    is(path.classify(data()), "inspect", "inspect");
    is(path.classify(datagram()), "inspect", "inspect");
    path.name(1, byAddress(CLIENT), SERVER, { expiresNs: now() + 10_000_000_000n });
    is(
      path.classify(syn()),
      verify === abi.Verify.DNS ? "allow" : "pending",
      verify === abi.Verify.DNS ? "allow-address" : "pending",
    );
    path.forgetFlows();
  }
});

test("an expired name keeps existing flows and stops new ones", () => {
  path.policy(1, abi.Verify.DNS);
  path.name(1, byAddress(CLIENT), SERVER);
  is(path.classify(syn()), "allow", "allow-address");
  path.name(1, byAddress(CLIENT), SERVER, { expiresNs: now() });
  is(path.classify(data()), "allow", "allow-flow");
  is(path.classify(syn({ sport: 40001 })), "deny", "expired");
});

test("both: UDP on a name port that isn't QUIC's beginning is denied, beside it the address decides", () => {
  path.portSet(7, [{ proto: PROTO.UDP, verdict: abi.Verdict.INSPECT, low: 443, high: 443, rule: 0 }]);
  path.policy(1, abi.Verify.BOTH, 7);
  path.name(1, byAddress(CLIENT), SERVER);
  is(path.classify(datagram({ port: 443 })), "deny", "quic");
  is(path.classify(datagram({ port: 444 })), "allow", "allow-address");
  is(path.classify(datagram({ port: 442 })), "allow", "allow-address");
  path.policy(1, abi.Verify.DNS, 7);
  is(path.classify(datagram({ port: 443 })), "allow", "allow-address");
});

test("a name's ports: the set must allow, else denied for the port", () => {
  path.portSet(8, [{ proto: PROTO.TCP, verdict: abi.Verdict.ALLOW, low: 443, high: 443, rule: 0 }]);
  path.name(1, byAddress(CLIENT), SERVER, { ports: 8, rule: 4 });
  is(path.classify(syn({ port: 443 })), "pending", "pending");
  is(path.classify(syn({ port: 444 })), "deny", "port");
  is(path.classify(datagram({ port: 443 })), "deny", "port");
  path.portSet(8, [{ proto: PROTO.TCP, verdict: abi.Verdict.DENY, low: 443, high: 443, rule: 0 }]);
  is(path.classify(syn({ port: 443 })), "deny", "port");
});

test("dns: the learned address is enough, for TCP, UDP and echo requests only", () => {
  path.policy(1, abi.Verify.DNS);
  path.name(1, byAddress(CLIENT), SERVER, { rule: 3 });
  is(path.classify(data({ sport: 1 })), "allow", "allow-address");
  assert.equal(path.flowCount(), 0);
  is(path.classify(syn()), "allow", "allow-address");
  is(path.classify(data()), "allow", "allow-flow");
  is(path.classify(datagram()), "allow", "allow-address");
  is(path.classify(ping()), "allow", "allow-address");
  assert.equal(path.getFlow(tcpKey())?.rule, 3);
  for (const proto of [PROTO.GRE, PROTO.ESP, PROTO.SCTP]) {
    is(path.classify(send(proto, Buffer.alloc(20), {})), "inspect", "inspect");
  }
  is(path.classify(send(PROTO.ICMP, icmp(0), {})), "inspect", "inspect");
  is(path.classify(send(PROTO.ICMP, icmp(128), {})), "inspect", "inspect");
  is(path.classify(send(PROTO.ICMP6, icmp(128), {})), "inspect", "inspect"); // ICMPv6 in IPv4 is nothing
});

test("sni: the address doesn't matter, the handshake pends, the first payload climbs", () => {
  path.policy(1, abi.Verify.SNI);
  path.name(1, byAddress(CLIENT), SERVER);
  for (const dst of [SERVER, "198.51.100.8"]) {
    is(path.classify(syn({ dst })), "pending", "pending");
    is(path.classify(ack({ dst })), "pending", "pending");
    is(path.classify(data({ dst })), "inspect", "inspect");
    is(path.classify(datagram({ dst })), "inspect", "inspect");
    is(path.classify(ping({ dst })), "inspect", "inspect");
  }
});

test("clients by MAC: the same host over both families, not its neighbour, not on another interface", () => {
  const { ifindex } = router.lan0;
  path.governed(ifindex, { clientBy: abi.ClientBy.MAC });
  path.governed(router.lan1.ifindex, { clientBy: abi.ClientBy.MAC });
  path.name(1, byMac(ifindex, MAC_A), SERVER);
  path.name(1, byMac(ifindex, MAC_A), SERVER6);
  is(path.classify(syn()), "pending", "pending");
  is(path.classify(syn({ src: "10.1.0.99" })), "pending", "pending");
  is(path.classify(syn(v6)), "pending", "pending");
  is(path.classify(syn(), "lan0", 0, { from: MAC_B }), "deny", "unlearned");
  is(path.classify(syn(), "lan1"), "deny", "unlearned");
});

test("clients by interface: whoever is behind it, not behind another", () => {
  const { ifindex } = router.lan0;
  path.governed(ifindex, { clientBy: abi.ClientBy.INTERFACE });
  path.governed(router.lan1.ifindex, { clientBy: abi.ClientBy.INTERFACE });
  path.name(1, byInterface(ifindex), SERVER);
  is(path.classify(syn({ src: "10.1.0.99" }), "lan0", 0, { from: MAC_B }), "pending", "pending");
  is(path.classify(syn(), "lan1"), "deny", "unlearned");
});

test("two policies by interface", () => {
  path.governed(router.lan1.ifindex, { policy: 2 });
  path.policy(2, abi.Verify.BOTH);
  path.cidr(1, SERVER, 32, {});
  path.cidr(2, "198.51.100.8", 32, {});
  const table: [DeviceName, string, string][] = [
    ["lan0", SERVER, "allow-cidr"],
    ["lan0", "198.51.100.8", "unlearned"],
    ["lan1", SERVER, "unlearned"],
    ["lan1", "198.51.100.8", "allow-cidr"],
  ];
  for (const [at, dst, reason] of table) {
    const outcome = path.classify(syn({ src: at === "lan0" ? CLIENT : "10.2.0.10", dst }), at);
    assert.deepEqual(outcome.counted, { [reason]: 1 }, `${at} ${dst}`);
  }
});

test("two policies by source address on one interface, the rest as the interface says", () => {
  const { ifindex } = router.lan0;
  for (const [id, dst] of [
    [1, SERVER],
    [2, "198.51.100.8"],
    [3, "198.51.100.9"],
  ] as const) {
    path.policy(id, abi.Verify.BOTH);
    path.cidr(id, dst, 32, {});
  }
  path.cidr(3, SERVER6, 128, {});
  path.source(ifindex, "10.1.0.16", 28, 2);
  path.source(ifindex, "10.1.0.20", 32, 3);
  path.source(ifindex, "fd00:1::20", 128, 3);
  path.source(router.lan1.ifindex, "10.1.0.10", 32, 2); // the same address elsewhere is somebody else
  path.governed(ifindex, { hasSources: 1, defaultGoverned: 1 });
  const allowed: [string, string][] = [
    ["10.1.0.15", SERVER],
    ["10.1.0.16", "198.51.100.8"],
    ["10.1.0.31", "198.51.100.8"],
    ["10.1.0.20", "198.51.100.9"],
    ["10.1.0.32", SERVER],
    [CLIENT, SERVER],
    ["fd00:1::20", SERVER6],
  ];
  for (const [src, dst] of allowed) is(path.classify(syn({ src, dst })), "allow", "allow-cidr");
  for (const [src] of allowed.slice(0, 6)) {
    for (const dst of [SERVER, "198.51.100.8", "198.51.100.9"]) {
      if (allowed.some((one) => one[0] === src && one[1] === dst)) continue;
      is(path.classify(syn({ src, dst })), "deny", "unlearned");
    }
  }
  is(path.classify(syn({ src: "fd00:1::21", dst: SERVER6 })), "deny", "unlearned");
  // Sources count only where the interface says so.
  path.governed(ifindex, { hasSources: 0 });
  is(path.classify(syn({ src: "10.1.0.16", dst: "198.51.100.8" })), "deny", "unlearned");
});

test("sources that are in no policy are not governed, and marked so that the gate knows them behind NAT", () => {
  const { ifindex } = router.lan0;
  path.governed(ifindex, { policy: 0, hasSources: 1, defaultGoverned: 0 });
  path.source(ifindex, "10.1.0.10", 32, 1);
  is(path.classify(syn()), "deny", "unlearned");
  is(path.classify(syn({ src: "10.1.0.11" })), "allow", "not-governed");
  is(path.classify(syn(v6)), "allow", "not-governed");
  const broken = ip({ src: "10.1.0.11", dst: SERVER, proto: PROTO.TCP, body: tcp({ dport: 1, flags: 2, words: 1 }) });
  is(path.classify(broken), "allow", "not-governed");
});

test("flows: another generation, port, protocol, policy or direction is a miss", () => {
  const hit = () => path.classify(ack());
  path.flow(tcpKey(), {});
  is(hit(), "allow", "allow-flow");
  is(path.classify(ack({ sport: 40001 })), "inspect", "inspect");
  is(path.classify(ack({ port: 444 })), "inspect", "inspect");
  is(path.classify(ack({ dst: "198.51.100.8" })), "inspect", "inspect");
  is(path.classify(datagram()), "inspect", "inspect");
  path.config({ generation: 2 });
  is(hit(), "inspect", "inspect");
  path.config({ generation: 1 });
  is(hit(), "allow", "allow-flow");
  path.governed(router.lan0.ifindex, { policy: 2 });
  path.policy(2, abi.Verify.BOTH);
  is(hit(), "inspect", "inspect");
});

test("flows: idle beyond its limit is a miss, by kind", () => {
  path.config({ flowIdleTcpNs: 100n * SECOND, flowIdleOtherNs: 20n * SECOND, flowIdleDenyNs: 10n * SECOND });
  const ago = (seconds: number) => now() - BigInt(seconds) * SECOND;
  const udpKey = { ...tcpKey(), proto: PROTO.UDP };
  path.flow(tcpKey(), { lastSeenNs: ago(99) });
  is(path.classify(ack()), "allow", "allow-flow");
  assert.ok((path.getFlow(tcpKey())?.lastSeenNs ?? 0n) > ago(1), "a hit renews it");
  path.flow(tcpKey(), { lastSeenNs: ago(101) });
  is(path.classify(ack()), "inspect", "inspect");
  path.flow(udpKey, { lastSeenNs: ago(19) });
  is(path.classify(datagram()), "allow", "allow-flow");
  path.flow(udpKey, { lastSeenNs: ago(21) });
  is(path.classify(datagram()), "inspect", "inspect");
  const deny = { verdict: abi.Verdict.DENY, reason: abi.Reason.NAME_DENIED };
  path.flow(tcpKey(), { ...deny, lastSeenNs: ago(9) });
  is(path.classify(ack()), "deny", "name-denied");
  path.flow(tcpKey(), { ...deny, lastSeenNs: ago(11) });
  is(path.classify(ack()), "inspect", "inspect");
  // User space's clock may be ahead of the kernel's coarse one. 0 seconds: never cached.
  path.flow(tcpKey(), { lastSeenNs: now() + 1_000_000_000n });
  is(path.classify(ack()), "allow", "allow-flow");
  path.config({ flowIdleTcpNs: 0n });
  path.flow(tcpKey(), {});
  is(path.classify(ack()), "inspect", "inspect");
});

test("flows: a new SYN is judged anew, whatever the old connection was", () => {
  path.flow(tcpKey(), {});
  is(path.classify(syn()), "deny", "unlearned");
  path.name(1, byAddress(CLIENT), SERVER);
  is(path.classify(syn()), "pending", "pending");
  path.flow(tcpKey(), { verdict: abi.Verdict.DENY, reason: abi.Reason.NAME_DENIED });
  path.cidr(1, SERVER, 32, {});
  is(path.classify(syn()), "allow", "allow-cidr");
  is(path.classify(data()), "allow", "allow-flow");
});

test("flows: until the server acknowledged the judged bytes, payload that touches them climbs again", () => {
  const end = 5000;
  path.flow(tcpKey(), { flags: abi.FLOW_BY_HELLO, judgedStart: end - 500, judgedEnd: end });
  const at = (seq: number, payload = 100) => path.classify(data({ seq, payload }));
  is(at(end - 1, 1), "inspect", "inspect");
  is(at(end - 500), "inspect", "inspect");
  is(at(end - 501), "inspect", "inspect");
  is(at(end), "allow", "allow-flow");
  is(at(end + 100000), "allow", "allow-flow");
  is(path.classify(ack()), "allow", "allow-flow"); // nothing in it that could be taken for the judged bytes
  // Sequence numbers wrap.
  path.flow(tcpKey(), { flags: abi.FLOW_BY_HELLO, judgedStart: 0xffffff00, judgedEnd: 0x100 });
  is(at(0xfffffff0), "inspect", "inspect");
  is(at(0xff), "inspect", "inspect");
  is(at(0x100), "allow", "allow-flow");
  path.flow(tcpKey(), { flags: abi.FLOW_BY_HELLO | abi.FLOW_FINAL, judgedStart: end - 500, judgedEnd: end });
  is(at(end - 500), "allow", "allow-flow");
});

test("flows: full, the oldest goes and its packets are judged anew", () => {
  path.object.close();
  path = new Datapath(router, { flows4: 128 });
  path.governed(router.lan0.ifindex);
  path.policy(1, abi.Verify.BOTH);
  path.cidr(1, SERVER, 32, {});
  for (let i = 0; i < 2000; i++) {
    assert.deepEqual(path.classify(syn({ sport: 1000 + i })).counted, { "allow-cidr": 1 });
  }
  assert.ok(path.flowCount() <= 128, String(path.flowCount()));
  is(path.classify(ack({ sport: 1000 })), "allow", "allow-cidr");
});

test("bytes are counted from the network header, without padding", () => {
  path.cidr(1, SERVER, 32, {});
  assert.equal(path.classify(data({ payload: 333 })).bytes, 373);
  assert.equal(path.classify(Buffer.concat([ack(), Buffer.alloc(6)])).bytes, 40);
});
