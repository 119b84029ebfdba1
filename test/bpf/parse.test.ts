/** Headers: what is read, what is refused, and that nothing is read that isn't there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as abi from "../../src/core/abi.generated.js";
import { Datapath, makeRouter, marked, ownNamespace, type Outcome } from "./harness.js";
import {
  address16,
  fragmentHeader,
  icmp,
  ip,
  optionsHeader,
  ports,
  PROTO,
  routingHeader,
  TCP,
  tcp,
  udp,
  type Extension,
  type Ip,
} from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
const path = new Datapath(router);
path.governed(router.lan0.ifindex);
path.policy(1, abi.Verify.BOTH);
// 198.51.100.0/24 and its IPv6 twin: tcp/443, udp/443 and sctp/443 allowed, the rest strictly denied. 198.51.101.1: everything.
const only443 = [PROTO.TCP, PROTO.UDP, PROTO.SCTP, PROTO.DCCP].map((proto) => ({
  proto,
  verdict: abi.Verdict.ALLOW,
  low: 443,
  high: 443,
  rule: 0,
}));
path.portSet(1, only443);
path.cidr(1, "198.51.100.0", 24, { verdict: abi.Verdict.NONE, strict: 1, ports: 1 });
path.cidr(1, "2001:db8:1::", 48, { verdict: abi.Verdict.NONE, strict: 1, ports: 1 });
path.cidr(1, "198.51.101.1", 32, { verdict: abi.Verdict.ALLOW });
path.cidr(1, "2001:db8:2::1", 128, { verdict: abi.Verdict.ALLOW });

const FOUR = { src: "10.1.0.10", dst: "198.51.100.7" } as const;
const SIX = { src: "fd00:1::10", dst: "2001:db8:1::7" } as const;
const ack = tcp({ dport: 443, flags: TCP.ACK, payload: 32 });
const four = (change: Partial<Ip> = {}) => ip({ ...FOUR, proto: PROTO.TCP, body: ack, ...change });
const six = (change: Partial<Ip> = {}) => ip({ ...SIX, proto: PROTO.TCP, body: ack, ...change });

function denied(outcome: Outcome, reason: string): void {
  assert.deepEqual(outcome.counted, { [reason]: 1 });
  assert.equal(outcome.dropped, true);
}
function allowed(outcome: Outcome, reason = "allow-cidr"): void {
  assert.deepEqual(outcome.counted, { [reason]: 1 });
  assert.equal(outcome.dropped, false);
  assert.equal(outcome.mark, marked(abi.Verdict.ALLOW));
}

test("TCP, port and port+1, both families", () => {
  allowed(path.classify(four()));
  allowed(path.classify(six()));
  denied(path.classify(four({ body: tcp({ dport: 444, flags: TCP.ACK, payload: 32 }) })), "port");
  denied(path.classify(six({ body: tcp({ dport: 444, flags: TCP.ACK, payload: 32 }) })), "port");
});

test("the port is read behind IPv4 options and TCP options, too", () => {
  const options = Buffer.from([1, 1, 7, 3, 4, 0, 0, 0]); // NOP, NOP, record route of 3 bytes, end
  allowed(path.classify(four({ options })));
  denied(path.classify(four({ options, body: tcp({ dport: 444, flags: TCP.ACK, payload: 32 }) })), "port");
  allowed(path.classify(four({ options: Buffer.alloc(40, 1) })));
  allowed(path.classify(four({ body: tcp({ dport: 443, flags: TCP.ACK, payload: 40, words: 15 }) })));
});

test("UDP, SCTP and DCCP have ports; SCTP has no other port's leave", () => {
  for (const body of [udp(5000, 443), udp(5001, 443, 0)]) allowed(path.classify(four({ proto: PROTO.UDP, body })));
  denied(path.classify(four({ proto: PROTO.UDP, body: udp(5000, 442) })), "port");
  for (const proto of [PROTO.SCTP, PROTO.DCCP]) {
    allowed(path.classify(four({ proto, body: ports(5000, 443) })));
    allowed(path.classify(six({ proto, body: ports(5000, 443) })));
    denied(path.classify(four({ proto, body: ports(443, 5000) })), "port");
    denied(path.classify(six({ proto, body: ports(443, 5000) })), "port");
  }
});

test("every truncation of a frame is denied as malformed, and only the whole is allowed", () => {
  for (const packet of [
    four(),
    six(),
    four({ options: Buffer.alloc(8, 1) }),
    six({ extensions: [optionsHeader(0)] }),
  ]) {
    // The test run itself refuses what has no whole IP header; ip_rcv and ip6_rcv drop it.
    const header = packet[0] === 0x60 ? 40 : 20;
    assert.throws(() => path.classify(packet.subarray(0, header - 1)), { code: "EINVAL" });
    for (let cut = header; cut < packet.length; cut++) denied(path.classify(packet.subarray(0, cut)), "malformed");
    allowed(path.classify(packet));
  }
});

test("bytes behind the packet (Ethernet padding) change nothing", () => {
  allowed(path.classify(Buffer.concat([four({ body: tcp({ dport: 443, flags: TCP.ACK }) }), Buffer.alloc(6, 0xff)])));
  const outcome = path.classify(Buffer.concat([four({ proto: PROTO.UDP, body: udp(5000, 443, 2) }), Buffer.alloc(16)]));
  assert.equal(outcome.bytes, 30);
});

test("every packet whose body ends inside its transport header is denied as malformed", () => {
  const cases: [number, Buffer, number][] = [
    [PROTO.TCP, ack, 20],
    [PROTO.UDP, udp(5000, 443, 0), 8],
    [PROTO.SCTP, ports(5000, 443), 8],
    [PROTO.ICMP, icmp(8), 8],
  ];
  for (const [proto, body, header] of cases) {
    for (let cut = 0; cut < header; cut++) {
      denied(path.classify(four({ proto, body: body.subarray(0, cut) })), "malformed");
      const other = proto === PROTO.ICMP ? PROTO.ICMP6 : proto;
      denied(path.classify(six({ proto: other, body: body.subarray(0, cut) })), "malformed");
    }
  }
});

test("header fields that contradict each other are malformed", () => {
  for (const words of [0, 1, 2, 3, 4]) denied(path.classify(four({ words })), "malformed");
  denied(path.classify(four({ words: 15, body: ack.subarray(0, 20) })), "malformed"); // header longer than the packet
  denied(path.classify(four({ length: 19 })), "malformed");
  denied(path.classify(four({ length: 0 })), "malformed");
  denied(path.classify(four({ length: four().length + 1 })), "malformed");
  denied(path.classify(six({ length: ack.length + 1 })), "malformed");
  denied(path.classify(six({ length: 0 })), "malformed");
  for (const version of [0, 3, 5, 6, 15]) {
    denied(path.classify(four({ version }), "lan0", 0, { etherType: 0x0800 }), "malformed");
  }
  for (const version of [0, 4, 5, 7, 15]) {
    denied(path.classify(six({ version }), "lan0", 0, { etherType: 0x86dd }), "malformed");
  }
  denied(path.classify(four(), "lan0", 0, { etherType: 0x86dd }), "malformed");
  denied(path.classify(six(), "lan0", 0, { etherType: 0x0800 }), "malformed");
  for (const words of [0, 1, 4])
    denied(path.classify(four({ body: tcp({ dport: 443, flags: TCP.ACK, words }) })), "malformed");
  denied(path.classify(four({ body: tcp({ dport: 443, flags: TCP.ACK, words: 6 }) })), "malformed");
  for (const length of [0, 7, 29]) {
    denied(path.classify(four({ proto: PROTO.UDP, body: udp(5000, 443, 20, length) })), "malformed");
  }
  allowed(path.classify(four({ proto: PROTO.UDP, body: udp(5002, 443, 20, 28) })));
});

test("IPv4 source routes are denied, other options aren't", () => {
  for (const type of [131, 137]) {
    denied(path.classify(four({ options: Buffer.from([type, 7, 4, 1, 2, 3, 4, 0]) })), "ext-header");
    denied(path.classify(four({ options: Buffer.from([1, type, 7, 4, 1, 2, 3, 4]) })), "ext-header");
  }
  for (const type of [130, 132, 136, 138])
    allowed(path.classify(four({ options: Buffer.from([type, 7, 4, 1, 2, 3, 4, 0]) })));
  // Behind the end of options nothing counts; an option must fit.
  allowed(path.classify(four({ options: Buffer.from([0, 131, 7, 4]) })));
  for (const length of [0, 1, 5]) denied(path.classify(four({ options: Buffer.from([7, length, 0, 0]) })), "malformed");
  denied(path.classify(four({ options: Buffer.from([1, 1, 1, 7]) })), "malformed");
});

test("IPv6 extension headers: eight are walked, nine are denied, and the port behind them counts", () => {
  const chain = (count: number): Extension[] =>
    Array.from({ length: count }, (_, i) => optionsHeader(i === 0 ? 0 : 60));
  for (const count of [1, 2, 8]) {
    allowed(path.classify(six({ extensions: chain(count) })));
    denied(
      path.classify(six({ extensions: chain(count), body: tcp({ dport: 444, flags: TCP.ACK, payload: 32 }) })),
      "port",
    );
  }
  denied(path.classify(six({ extensions: chain(9) })), "ext-header");
  allowed(path.classify(six({ extensions: [optionsHeader(60, 256)] })));
  // RFC 8200 4.1: hop-by-hop only comes first.
  denied(path.classify(six({ extensions: [optionsHeader(60), optionsHeader(0)] })), "ext-header");
});

test("IPv6 routing headers: type 0 and segments left are denied", () => {
  denied(path.classify(six({ extensions: [routingHeader(0, 1)] })), "ext-header");
  denied(path.classify(six({ extensions: [routingHeader(0, 0)] })), "ext-header");
  for (const type of [2, 3, 4]) {
    denied(path.classify(six({ extensions: [routingHeader(type, 1)] })), "ext-header");
    allowed(path.classify(six({ extensions: [routingHeader(type, 0)] })));
  }
  denied(path.classify(six({ extensions: [optionsHeader(0), routingHeader(0, 1)] })), "ext-header");
});

test("an extension header that ends behind the packet is denied", () => {
  const long = Buffer.from([0, 200, 1, 4, 0, 0, 0, 0]);
  denied(path.classify(six({ extensions: [{ type: 60, bytes: long }] })), "ext-header");
  denied(path.classify(six({ proto: 60, body: Buffer.alloc(4) })), "ext-header");
  denied(path.classify(six({ proto: 0, body: Buffer.alloc(0) })), "ext-header");
});

test("AH, ESP and unknown protocols are protocols of their own: no port in them is read", () => {
  for (const proto of [PROTO.AH, PROTO.ESP, PROTO.GRE, 59, 135, 253]) {
    denied(path.classify(four({ proto, body: ack })), "port");
    denied(path.classify(six({ proto, body: ack })), "port");
    allowed(path.classify(four({ dst: "198.51.101.1", proto, body: Buffer.alloc(0) })), "allow-cidr");
    path.forgetFlows();
  }
});

test("fragments: ports in them are not trusted; an address that is wholly allowed needs none", () => {
  const cases: [string, (dst: string, body?: Buffer) => Buffer][] = [
    ["first", (dst, body = ack) => four({ dst, fragment: 0x2000, body })],
    ["middle", (dst, body = ack) => four({ dst, fragment: 0x2001, body })],
    ["last", (dst, body = ack) => four({ dst, fragment: 0x00b9, body })],
    ["six first", (dst, body = ack) => six({ dst, extensions: [fragmentHeader(0, true)], body })],
    ["six last", (dst, body = ack) => six({ dst, extensions: [fragmentHeader(9, false)], body })],
    ["six atomic", (dst, body = ack) => six({ dst, extensions: [fragmentHeader(0, false)], body })],
    [
      "six behind options",
      (dst, body = ack) => six({ dst, extensions: [optionsHeader(0), fragmentHeader(9, true)], body }),
    ],
  ];
  for (const [name, make] of cases) {
    const v6 = name.startsWith("six");
    const portBound = path.classify(make(v6 ? SIX.dst : FOUR.dst));
    assert.deepEqual(portBound.counted, { inspect: 1 }, name);
    assert.equal(portBound.mark, marked(abi.Verdict.INSPECT), name);
    allowed(path.classify(make(v6 ? "2001:db8:2::1" : "198.51.101.1")));
    // Tiny ones, too.
    assert.deepEqual(path.classify(make(v6 ? SIX.dst : FOUR.dst, Buffer.alloc(1))).counted, { inspect: 1 }, name);
    // At the gate, unmarked: nobody put it together.
    denied(path.gate(make(v6 ? SIX.dst : FOUR.dst), "lan0"), "fragment");
  }
  assert.equal(path.flowCount(), 0);
  // Don't-fragment and the reserved bit are no fragments.
  allowed(path.classify(four({ fragment: 0x4000 })));
  allowed(path.classify(four({ fragment: 0x8000 })));
});

test("a flow's key holds what the packet says", () => {
  path.forgetFlows();
  path.classify(four({ body: tcp({ sport: 1234, dport: 443, flags: TCP.SYN }) }));
  path.classify(six({ proto: PROTO.UDP, body: udp(4321, 443) }));
  path.classify(four({ dst: "198.51.101.1", proto: PROTO.ICMP, body: icmp(8, 0xabcd) }));
  const key = { policy: 1, src: address16(FOUR.src), dst: address16(FOUR.dst) };
  const flow = path.getFlow({ ...key, sport: 1234, dport: 443, proto: PROTO.TCP });
  assert.equal(flow?.packets, 1n);
  assert.equal(flow?.bytes, 40n);
  const sixth = { policy: 1, src: address16(SIX.src), dst: address16(SIX.dst) };
  assert.ok(path.getFlow({ ...sixth, sport: 4321, dport: 443, proto: PROTO.UDP }));
  const ping = { ...key, dst: address16("198.51.101.1"), proto: PROTO.ICMP };
  assert.ok(path.getFlow({ ...ping, sport: 0xabcd, dport: 0xabcd }));
  assert.equal(path.flowCount(), 3);
});

test("ICMP other than echo requests makes no flow and finds none", () => {
  path.forgetFlows();
  for (const type of [0, 3, 11, 13]) {
    allowed(path.classify(four({ dst: "198.51.101.1", proto: PROTO.ICMP, body: icmp(type, 0) })));
  }
  assert.equal(path.flowCount(), 0);
  // An echo request with identifier 0 has the key that they would have.
  allowed(path.classify(four({ dst: "198.51.101.1", proto: PROTO.ICMP, body: icmp(8, 0) })));
  allowed(path.classify(four({ dst: "198.51.101.1", proto: PROTO.ICMP, body: icmp(8, 0) })), "allow-flow");
  allowed(path.classify(four({ dst: "198.51.101.1", proto: PROTO.ICMP, body: icmp(13, 0) })));
});
