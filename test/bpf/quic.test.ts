/** QUIC as far as the kernel sees it: what climbs, what is denied, what passes, each with its neighbour. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as abi from "../../src/core/abi.generated.js";
import { datagram, ipPacket } from "../packets.js";
import type { FlowKey } from "./flowKey.js";
import { byAddress, Datapath, makeRouter, marked, ownNamespace, type Outcome } from "./harness.js";
import { address16 } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: Datapath;

const v4 = { src: "10.1.0.10", dst: "198.51.100.7" };
const v6 = { src: "fd00:1::10", dst: "2001:db8:1::7" };
type Ends = typeof v4;
const UDP = 17;
const NAME_PORTS = 7;

beforeEach(() => {
  path?.object.close();
  path = new Datapath(router);
  path.governed(router.lan0.ifindex);
  path.portSet(NAME_PORTS, [{ proto: UDP, verdict: abi.Verdict.ALLOW, low: 443, high: 443, rule: 0 }]);
  path.policy(1, abi.Verify.BOTH, NAME_PORTS);
  for (const ends of [v4, v6]) path.name(1, byAddress(ends.src), ends.dst, { rule: 3 });
});

const versions = { v1: "00000001", v2: "6b3343cf", draft29: "ff00001d", none: "00000000" };
/** The beginning of a long header, padded to `length` bytes. */
const long = (version: keyof typeof versions = "v1", length = 1200, first = 0xc3) =>
  Buffer.concat([Buffer.from([first]), Buffer.from(versions[version], "hex"), Buffer.alloc(length - 5, 0x08)]);
const short = (length = 1200) => Buffer.alloc(length, 0x41);
const packet = (ends: Ends, payload: Buffer, port = 443) =>
  ipPacket({ ...ends, proto: UDP, body: datagram(40_000, port, payload, 8 + payload.length) });
const says = (ends: Ends, payload: Buffer, port = 443) => verdictOf(path.classify(packet(ends, payload, port)));
/** Merged into one skb, of `size` bytes each (the last may be shorter). */
const merged = (ends: Ends, size: number, ...payloads: Buffer[]) =>
  verdictOf(path.classify(packet(ends, Buffer.concat(payloads)), "lan0", 0, {}, payloads.length, size));
const keyOf = (ends: Ends): FlowKey => ({
  policy: 1,
  src: address16(ends.src),
  dst: address16(ends.dst),
  proto: UDP,
  sport: 40_000,
  dport: 443,
});

function verdictOf(outcome: Outcome): string {
  const [reason] = Object.keys(outcome.counted);
  if (outcome.dropped) return `deny ${reason}`;
  const verdict = Object.entries(abi.Verdict).find(([, value]) => marked(value) === outcome.mark);
  return `${verdict?.[0].toLowerCase()} ${reason}`;
}

/** As user space writes it when a name was allowed. */
function allow(ends: Ends, flags = 0): void {
  path.flow(keyOf(ends), { verdict: abi.Verdict.ALLOW, reason: abi.Reason.ALLOW_NAME, flags: abi.FLOW_QUIC | flags });
}

test("a long header of versions 1 and 2 climbs, from the first packet on; all else is denied", () => {
  for (const ends of [v4, v6]) {
    for (const before of ["no flow", "pending"]) {
      assert.equal(says(ends, long("v1")), "inspect inspect", before);
      assert.equal(says(ends, long("v2")), "inspect inspect", before);
      assert.equal(says(ends, long("v1", 1200, 0x80)), "inspect inspect", "any type, also without the fixed bit");
      assert.equal(says(ends, long("draft29")), "deny quic", before);
      assert.equal(says(ends, long("none")), "deny quic", "version negotiation");
      assert.equal(says(ends, short()), "deny quic", before);
      assert.equal(says(ends, Buffer.alloc(0)), "deny quic", before);
      assert.equal(says(ends, long("v1", 5)), "inspect inspect", before);
      assert.equal(says(ends, long("v1", 5).subarray(0, 4)), "deny quic", "no room for a version");
      assert.equal(says(ends, short(1)), "deny quic", before);
    }
    const flow = path.getFlow(keyOf(ends));
    assert.deepEqual([flow?.verdict, flow?.flags], [abi.Verdict.PENDING, abi.FLOW_QUIC]);
  }
});

test("beside the name ports and at addresses that were not learned nothing changes", () => {
  assert.equal(says(v4, short(), 444), "allow allow-address");
  assert.equal(says(v4, long(), 442), "allow allow-address");
  const elsewhere = { ...v4, dst: "198.51.100.8" };
  assert.equal(says(elsewhere, long()), "inspect inspect", "user space knows whether it is a reply");
  assert.equal(path.getFlow(keyOf(elsewhere)), undefined);
  path.cidr(1, "198.51.100.8", 32, {});
  assert.equal(says(elsewhere, short()), "allow allow-cidr");
});

test("--quic deny: denied whatever it is; verify dns: allowed whatever it is", () => {
  path.policy(1, abi.Verify.BOTH, NAME_PORTS, "deny");
  for (const payload of [long(), short()]) assert.equal(says(v4, payload), "deny quic");
  path.policy(1, abi.Verify.DNS, NAME_PORTS);
  for (const payload of [short(), long("draft29"), long()])
    assert.match(says(v4, payload), /^allow allow-(address|flow)$/);
});

test("sni: climbs at any address; only a beginning has an entry", () => {
  path.policy(1, abi.Verify.SNI, NAME_PORTS);
  const elsewhere = { ...v4, dst: "198.51.100.8" };
  assert.equal(says(elsewhere, short()), "inspect inspect", "a reply, perhaps");
  assert.equal(path.getFlow(keyOf(elsewhere)), undefined);
  assert.equal(says(elsewhere, long()), "inspect inspect");
  assert.equal(path.getFlow(keyOf(elsewhere))?.verdict, abi.Verdict.PENDING);
  assert.equal(says(elsewhere, short()), "deny quic", "and then it isn't");
  path.policy(1, abi.Verify.SNI, NAME_PORTS, "deny");
  assert.equal(says({ ...v4, dst: "198.51.100.9" }, long()), "inspect inspect", "user space denies it");
  assert.equal(path.getFlow(keyOf({ ...v4, dst: "198.51.100.9" })), undefined);
});

test("an allowed flow: short headers pass, long ones climb for as long as it lives, other versions are denied", () => {
  for (const ends of [v4, v6]) {
    allow(ends);
    for (let round = 0; round < 3; round++) {
      assert.equal(says(ends, short()), "allow allow-flow");
      assert.equal(says(ends, Buffer.alloc(0)), "allow allow-flow");
      assert.equal(says(ends, long()), "inspect inspect");
      assert.equal(says(ends, long("v2", 60, 0xe0)), "inspect inspect", "a handshake packet");
      assert.equal(says(ends, long("draft29")), "deny quic");
    }
    const flow = path.getFlow(keyOf(ends));
    assert.deepEqual([flow?.verdict, flow?.flags], [abi.Verdict.ALLOW, abi.FLOW_QUIC], "nothing changed it");
  }
});

test("a denied flow stays denied, whatever comes", () => {
  path.flow(keyOf(v4), { verdict: abi.Verdict.DENY, reason: abi.Reason.NAME_DENIED, flags: 0 });
  for (const payload of [short(), long(), long("draft29")]) assert.equal(says(v4, payload), "deny name-denied");
});

test("other UDP flows aren't looked into", () => {
  path.flow(keyOf(v4), { verdict: abi.Verdict.ALLOW, reason: abi.Reason.ALLOW_ADDRESS, flags: 0 });
  assert.equal(says(v4, long()), "allow allow-flow");
  path.flow(keyOf(v4), { verdict: abi.Verdict.ALLOW, reason: abi.Reason.ALLOW_ADDRESS, flags: abi.FLOW_FINAL });
  assert.equal(says(v4, long()), "allow allow-flow");
});

test("merged datagrams: one long header anywhere makes all of them climb, one of another version denies them all", () => {
  for (const ends of [v4, v6]) {
    allow(ends);
    const many = Array.from({ length: 40 }, () => short(60));
    assert.equal(merged(ends, 60, ...many), "allow allow-flow");
    assert.equal(merged(ends, 60, ...many, short(3)), "allow allow-flow");
    for (const at of [0, 1, 20, 39]) {
      assert.equal(merged(ends, 60, ...many.with(at, long("v1", 60))), "inspect inspect", `datagram ${at}`);
      assert.equal(merged(ends, 60, ...many.with(at, long("draft29", 60))), "deny quic", `datagram ${at}`);
    }
    assert.equal(merged(ends, 60, ...many, long("v1", 30)), "inspect inspect", "the shorter last one");
    assert.equal(merged(ends, 60, ...many, Buffer.from([0xc0])), "deny quic", "too short for a version");
    assert.equal(merged(ends, 61, ...many.with(7, long("v1", 60))), "allow allow-flow", "no datagram begins there");
    assert.equal(merged(ends, 60, long("v1", 60), long("v2", 60), short(60)), "inspect inspect");
  }
});

test("merged datagrams: 128 of them are looked at, more are denied", () => {
  allow(v4);
  const tiny = (count: number) => Array.from({ length: count }, () => short(10));
  assert.equal(merged(v4, 10, ...tiny(128)), "allow allow-flow");
  assert.equal(merged(v4, 10, ...tiny(127), long("v1", 10)), "inspect inspect");
  assert.equal(merged(v4, 10, ...tiny(129)), "deny quic");
});

test("the short way: as for other flows, from the first packet on; what climbs goes the long one", () => {
  const REDIRECT = 7; // TC_ACT_REDIRECT
  path.config({ fast: 1 });
  for (const ends of [v4, v6]) {
    assert.notEqual(path.classify(packet(ends, long())).value, REDIRECT);
    assert.equal(path.getFlow(keyOf(ends))?.flags, abi.FLOW_QUIC | abi.FLOW_FAST);
    assert.equal(path.classify(packet(ends, short())).dropped, true);
    allow(ends, abi.FLOW_FAST);
    assert.equal(path.classify(packet(ends, short())).value, REDIRECT);
    assert.notEqual(path.classify(packet(ends, long())).value, REDIRECT);
    allow(ends);
    assert.notEqual(path.classify(packet(ends, short())).value, REDIRECT, "it began on the long way");
  }
});

test("an Initial that comes again keeps the entry; one after a long silence begins it anew", () => {
  path.config({ fast: 1 });
  says(v4, long());
  path.config({ fast: 0 });
  says(v4, long());
  assert.equal(path.getFlow(keyOf(v4))?.flags, abi.FLOW_QUIC | abi.FLOW_FAST);
  path.flow(keyOf(v4), { flags: abi.FLOW_QUIC, lastSeenNs: process.hrtime.bigint() - 61_000_000_000n });
  assert.equal(says(v4, short()), "deny quic", "idle: no connection is known any more");
  assert.equal(says(v4, long()), "inspect inspect");
  assert.equal(path.getFlow(keyOf(v4))?.verdict, abi.Verdict.PENDING);
});

test("output: user space must see what climbs of this box's own; the gate denies what doesn't and passes short headers", () => {
  path.governed(0, { clientBy: abi.ClientBy.INTERFACE });
  const client = Buffer.alloc(16);
  path.name(1, client, v4.dst);
  const at = { ...v4, src: "192.0.2.2" };
  const asked = (payload: Buffer) => path.output(packet(at, payload).subarray(0)).value;
  assert.equal(asked(long()), 1);
  assert.equal(asked(short()), 0);
  assert.equal(verdictOf(path.gate(packet(at, short()), undefined)), "deny quic");
  assert.equal(verdictOf(path.gate(packet(at, long()), undefined)), "deny not-inspected");
  allow(at);
  assert.equal(asked(long()), 1);
  assert.equal(asked(short()), 0);
  assert.equal(path.gate(packet(at, short()), undefined).dropped, false);
  assert.equal(verdictOf(path.gate(packet(at, long()), undefined)), "deny not-inspected");
});
