/** `output` asked in POSTROUTING, where the mark INSPECT means the other question: must this not leave, because its device has no gate? */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as abi from "../../src/core/abi.generated.js";
import { Datapath, makeRouter, marked, ownNamespace, type DeviceName } from "./harness.js";
import { address16, frame, ip, PROTO, TCP, tcp, udp } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: Datapath;

const BOX = "192.0.2.2";
const BOX6 = "2001:db8:ffff::2";
const SERVER = "198.51.100.7";
const SERVER6 = "2001:db8:1::7";
const ALLOWED = "198.51.100.8";
const STRANGER = "198.51.100.9";
const question = marked(abi.Verdict.INSPECT) | 0x1;

const syn = (src: string, dst: string) => ip({ src, dst, proto: PROTO.TCP, body: tcp({ dport: 443, flags: TCP.SYN }) });
const data = (dst: string) =>
  ip({ src: BOX, dst, proto: PROTO.TCP, body: tcp({ dport: 443, flags: TCP.ACK, payload: 50 }) });
const datagram = (dst: string, sport = 40000, dport = 7) =>
  ip({ src: BOX, dst, proto: PROTO.UDP, body: udp(sport, dport) });

beforeEach(() => {
  path?.object.close();
  path = new Datapath(router);
  path.governed(0);
  path.policy(1, abi.Verify.BOTH);
  path.name(1, new Uint8Array(16), SERVER);
  path.name(1, new Uint8Array(16), SERVER6);
  path.cidr(1, ALLOWED, 32, {});
});

/** 1: drop. `out`: the device that it leaves by; wan0 has a gate. `from`: where a forwarded one came in. */
function ask(packet: Uint8Array, out: DeviceName, mark = question, from?: DeviceName): number {
  const outcome = path.run("output", frame(packet), router[out].ifindex, from ? router[from].ifindex : 0, mark);
  assert.deepEqual(outcome.counted, {}, "the gate counts, not this");
  return outcome.value;
}

const denied = [
  syn(BOX, STRANGER),
  syn(BOX6, "2001:db8:1::9"),
  syn(BOX, SERVER).subarray(0, 39),
  Buffer.concat([Buffer.of(0xf5), syn(BOX, ALLOWED).subarray(1)]), // no version of IP
];
const undecided = [data(SERVER), data(STRANGER), datagram(STRANGER)];
const fine = [
  syn(BOX, SERVER), // pending: what would name it climbs
  syn(BOX6, SERVER6),
  syn(BOX, ALLOWED),
  datagram(ALLOWED),
  datagram("198.51.100.67", 68, 67), // DHCP, or the new device never gets an address
  ip({ src: "fe80::1", dst: "ff02::1", proto: PROTO.UDP, body: udp(1, 2) }),
];

test("a device without a gate: what the gate would drop doesn't leave", () => {
  for (const packet of [...denied, ...undecided]) assert.equal(ask(packet, "dmz0"), 1, packet.toString("hex"));
  for (const packet of fine) assert.equal(ask(packet, "dmz0"), 0, packet.toString("hex"));
  assert.equal(path.flowCount(), 0);
});

test("a cached flow's verdict counts, and the packet is not counted in it", () => {
  const key = { policy: 1, src: address16(BOX), dst: address16(SERVER), proto: 6, sport: 40000, dport: 443 };
  path.flow(key, { packets: 7n });
  assert.equal(ask(data(SERVER), "dmz0"), 0);
  path.flow(key, { verdict: abi.Verdict.DENY, reason: abi.Reason.NAME_DENIED, packets: 7n });
  assert.equal(ask(data(SERVER), "dmz0"), 1);
  assert.equal(path.getFlow(key)?.packets, 7n);
});

test("a device with a gate: the gate has the word about everything", () => {
  for (const packet of [...denied, ...undecided, ...fine]) assert.equal(ask(packet, "wan0"), 0, packet.toString("hex"));
});

test("a device that was given up, and one that has just got its gate", () => {
  path.map("egress").delete(Buffer.from(Uint32Array.of(router.wan0.ifindex).buffer));
  assert.equal(ask(syn(BOX, STRANGER), "wan0"), 1);
  path.put("egress", Buffer.from(Uint32Array.of(router.dmz0.ifindex).buffer), Buffer.from(Uint32Array.of(1).buffer));
  assert.equal(ask(syn(BOX, STRANGER), "dmz0"), 0);
});

test("what is forwarded, and what isn't governed, is not held", () => {
  for (const packet of [...denied, ...undecided]) assert.equal(ask(packet, "dmz0", question, "lan1"), 0);
  path.ungoverned(0);
  for (const packet of denied) assert.equal(ask(packet, "dmz0"), 0);
});

test("fail mode open: what can't be judged passes, what is denied doesn't", () => {
  path.config({ failOpen: 1 });
  for (const packet of denied) assert.equal(ask(packet, "dmz0"), 1, packet.toString("hex"));
  for (const packet of [...undecided, ...fine]) assert.equal(ask(packet, "dmz0"), 0, packet.toString("hex"));
});

test("any other mark is OUTPUT's question, whatever device the packet remembers (a tunnel's, say)", () => {
  for (const mark of [0, 0x1, marked(abi.Verdict.PENDING), marked(abi.Verdict.ALLOW)]) {
    for (const out of ["dmz0", "wan0"] as const) {
      for (const packet of [...denied, ...fine]) assert.equal(ask(packet, out, mark), 0, packet.toString("hex"));
      for (const packet of undecided) assert.equal(ask(packet, out, mark), 1, packet.toString("hex"));
    }
  }
});
