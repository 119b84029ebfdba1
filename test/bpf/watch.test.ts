/** Replies: counted in the flow that they answer, and proof that the server has the judged bytes. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as abi from "../../src/core/abi.generated.js";
import type { FlowKey } from "./flowKey.js";
import { Datapath, makeRouter, ownNamespace, TC_ACT_UNSPEC, type DeviceName } from "./harness.js";
import { address16, icmp, ip, PROTO, TCP, tcp, udp } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: Datapath;

const CLIENT = "10.1.0.10";
const SERVER = "198.51.100.7";
const END = 5000;
const key = (src = CLIENT, dst = SERVER, proto: number = PROTO.TCP): FlowKey => ({
  policy: 1,
  src: address16(src),
  dst: address16(dst),
  proto,
  sport: 40000,
  dport: 443,
});
const judged = { flags: abi.FLOW_BY_HELLO, judgedStart: END - 500, judgedEnd: END };

beforeEach(() => {
  path?.object.close();
  path = new Datapath(router);
  path.governed(router.lan0.ifindex);
  path.policy(1, abi.Verify.BOTH);
  path.flow(key(), judged);
});

function reply(ack: number, flags: number = TCP.ACK, src = SERVER, dst = CLIENT, sport = 443): Buffer {
  return ip({ src, dst, proto: PROTO.TCP, body: tcp({ sport, dport: 40000, flags, ack, payload: 10 }) });
}
function seen(packet: Buffer, at: DeviceName = "lan0", from: DeviceName = "wan0"): void {
  const outcome = path.watch(packet, at, from);
  assert.equal(outcome.value, TC_ACT_UNSPEC);
  assert.deepEqual(outcome.counted, {});
}
const isFinal = (of = key()) => ((path.getFlow(of)?.flags ?? 0) & abi.FLOW_FINAL) !== 0;

test("replies are counted in their flow", () => {
  seen(reply(1));
  seen(reply(1));
  const flow = path.getFlow(key());
  assert.deepEqual([flow?.replyPackets, flow?.replyBytes, flow?.packets], [2n, 100n, 0n]);
});

test("an acknowledgement of all judged bytes makes the allow final, one byte less doesn't", () => {
  seen(reply(END - 1));
  assert.equal(isFinal(), false);
  seen(reply(END));
  assert.equal(isFinal(), true);
  assert.equal(path.getFlow(key())!.flags & abi.FLOW_BY_HELLO, abi.FLOW_BY_HELLO);
});

test("an absurd acknowledgement, one without ACK, of another port, or not from a way out proves nothing", () => {
  seen(reply(END + 2 ** 30));
  seen(reply(END + 2 ** 31));
  seen(reply(END, TCP.PSH));
  seen(reply(END, TCP.ACK, SERVER, CLIENT, 444));
  seen(reply(END, TCP.ACK, "198.51.100.8"));
  seen(reply(END), "lan0", "lan1");
  seen(reply(END), "lan1");
  assert.equal(isFinal(), false);
  seen(reply(END + 2 ** 30 - 1));
  assert.equal(isFinal(), true);
});

test("sequence numbers wrap", () => {
  path.flow(key(), { ...judged, judgedStart: 0xffffff00, judgedEnd: 0x10 });
  seen(reply(0xfffffff0));
  seen(reply(0xf));
  assert.equal(isFinal(), false);
  seen(reply(0x10));
  assert.equal(isFinal(), true);
});

test("a denied flow never becomes final, nor by a fragment or a truncated reply", () => {
  path.flow(key(), { ...judged, verdict: abi.Verdict.DENY });
  seen(reply(END));
  assert.equal(isFinal(), false);
  path.flow(key(), judged);
  seen(reply(END).subarray(0, 45));
  const body = tcp({ sport: 443, dport: 40000, flags: TCP.ACK, ack: END });
  seen(ip({ src: SERVER, dst: CLIENT, proto: PROTO.TCP, body, fragment: 0x2000 }));
  assert.equal(isFinal(), false);
});

test("an answer to the SYN opens a flow: exactly its next byte, from a way out, and nothing else", () => {
  const pending = { verdict: abi.Verdict.PENDING, flags: 0, judgedStart: END, judgedEnd: END };
  const flags = () => path.getFlow(key())?.flags;
  path.flow(key(), pending);
  for (const ack of [END - 1, END + 1, END + 500]) seen(reply(ack, TCP.SYN | TCP.ACK));
  seen(reply(END, TCP.RST));
  seen(reply(END, TCP.SYN | TCP.ACK), "lan0", "lan1");
  assert.equal(flags(), 0);
  seen(reply(END, TCP.SYN | TCP.ACK));
  assert.equal(flags(), abi.FLOW_OPENED);
  seen(reply(END + 500));
  assert.equal(flags(), abi.FLOW_OPENED, "nothing was judged, so nothing is final");
  path.flow(key(), { ...pending, flags: abi.FLOW_CLIMBED });
  seen(reply(END));
  assert.equal(flags(), abi.FLOW_CLIMBED | abi.FLOW_OPENED);
});

test("the whole circle: judged bytes climb, the server acknowledges, they don't climb any more", () => {
  const again = ip({
    src: CLIENT,
    dst: SERVER,
    proto: PROTO.TCP,
    body: tcp({ dport: 443, flags: TCP.ACK, seq: END - 1, payload: 9 }),
  });
  assert.deepEqual(path.classify(again).counted, { inspect: 1 });
  seen(reply(END));
  assert.deepEqual(path.classify(again).counted, { "allow-flow": 1 });
});

test("IPv6, UDP and ping", () => {
  const [client, server] = ["fd00:1::10", "2001:db8:1::7"];
  path.flow(key(client, server), judged);
  seen(reply(END, TCP.ACK, server, client));
  assert.equal(isFinal(key(client, server)), true);
  path.flow(key(CLIENT, SERVER, PROTO.UDP), {});
  seen(ip({ src: SERVER, dst: CLIENT, proto: PROTO.UDP, body: udp(443, 40000) }));
  assert.equal(path.getFlow(key(CLIENT, SERVER, PROTO.UDP))?.replyPackets, 1n);
  const echo = { ...key(CLIENT, SERVER, PROTO.ICMP), sport: 77, dport: 77 };
  path.flow(echo, {});
  seen(ip({ src: SERVER, dst: CLIENT, proto: PROTO.ICMP, body: icmp(0) }));
  assert.equal(path.getFlow(echo)?.replyPackets, 1n);
});

test("the client's policy is found by its address", () => {
  path.source(router.lan0.ifindex, CLIENT, 32, 2);
  path.governed(router.lan0.ifindex, { hasSources: 1 });
  path.flow({ ...key(), policy: 2 }, judged);
  seen(reply(END));
  assert.equal(isFinal({ ...key(), policy: 2 }), true);
  assert.equal(isFinal(), false);
});

test("this box's own flows, seen where eface lets replies in", () => {
  const own = key("192.0.2.2");
  path.flow(own, judged);
  seen(reply(END, TCP.ACK, SERVER, "192.0.2.2"), "wan0");
  assert.equal(isFinal(own), false, "interface 0 isn't governed");
  path.governed(0);
  seen(reply(END, TCP.ACK, SERVER, "192.0.2.2"), "wan0");
  assert.equal(isFinal(own), true);
});

test("one interface that is both LAN and eface serves both", () => {
  path.governed(0);
  path.governed(router.wan0.ifindex);
  const own = key("192.0.2.2");
  path.flow(own, judged);
  path.flow(key("192.0.2.1"), judged);
  seen(reply(END, TCP.ACK, SERVER, "192.0.2.2"), "wan0");
  seen(reply(END, TCP.ACK, SERVER, "192.0.2.1"), "wan0");
  assert.deepEqual([isFinal(own), isFinal(key("192.0.2.1"))], [true, true]);
});
