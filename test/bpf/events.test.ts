/** What user space is told: denials and the first packet of each allowed flow, within a budget. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as abi from "../../src/core/abi.generated.js";
import { native } from "../../src/native/index.js";
import { byAddress, byMac, Datapath, MAC_A, makeRouter, now, ownNamespace } from "./harness.js";
import { ip, PROTO, TCP, tcp, udp } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: Datapath;

const CLIENT = "10.1.0.10";
const SERVER = "198.51.100.7";

beforeEach(() => {
  path?.object.close();
  path = new Datapath(router);
  path.config({ eventsPerSecond: 1000 });
  path.governed(router.lan0.ifindex);
  path.policy(1, abi.Verify.BOTH);
});

const syn = (dst = SERVER, sport = 40000) =>
  ip({ src: CLIENT, dst, proto: PROTO.TCP, body: tcp({ sport, dport: 443, flags: TCP.SYN }) });

/** All events, of which there must be at least `atLeast` within 2 s, and what else comes in the next 20 ms. */
async function events(atLeast: number): Promise<abi.AbiEvent[]> {
  const out: abi.AbiEvent[] = [];
  const ring = native.openRingBuffer(path.object.map("events"), (record) => {
    assert.equal(record.length, abi.EVENT_SIZE);
    out.push(abi.decodeEvent(record));
  });
  for (let i = 0; i < 200 && out.length < atLeast; i++) await sleep(10);
  await sleep(20);
  ring.close();
  return out;
}

test("a denial carries all that a log line needs", async () => {
  const packet = syn();
  const before = now();
  path.classify(packet);
  const [event, ...more] = await events(1);
  assert.ok(event);
  assert.equal(more.length, 0);
  assert.ok(event.timeNs >= before && event.timeNs <= now());
  const { ifindex } = router.lan0;
  assert.deepEqual(
    { ...event, timeNs: 0n },
    {
      timeNs: 0n,
      ifindex,
      policy: 1,
      rule: 0,
      wireLen: 40,
      snapLen: 40,
      verdict: abi.Verdict.DENY,
      reason: abi.Reason.UNLEARNED,
      hook: abi.Hook.CLASSIFY,
      family: 4,
      nameLen: 0,
      client: new Uint8Array(byAddress(CLIENT)),
      name: new Uint8Array(256),
      data: new Uint8Array(Buffer.concat([packet], 128)),
    },
  );
});

test("a long packet is cut, a long IPv6 one, too; the client is the MAC where that is who it is", async () => {
  path.governed(router.lan0.ifindex, { clientBy: abi.ClientBy.MAC });
  path.cidr(1, "2001:db8:1::", 48, { verdict: abi.Verdict.DENY, rule: 17 });
  const packet = ip({ src: "fd00:1::10", dst: "2001:db8:1::7", proto: PROTO.UDP, body: udp(1, 2, 400) });
  path.classify(packet);
  const [event] = await events(1);
  assert.ok(event);
  assert.deepEqual([event.family, event.wireLen, event.snapLen, event.rule], [6, 448, 128, 17]);
  assert.deepEqual(event.data, new Uint8Array(packet.subarray(0, 128)));
  assert.deepEqual(event.client, new Uint8Array(byMac(router.lan0.ifindex, MAC_A)));
});

test("one event for each allowed flow, none for its other packets, none for what isn't ours or climbs", async () => {
  path.cidr(1, SERVER, 32, { rule: 5 });
  const rest = ip({
    src: CLIENT,
    dst: SERVER,
    proto: PROTO.TCP,
    body: tcp({ dport: 443, flags: TCP.ACK, payload: 5 }),
  });
  for (const packet of [syn(), rest, rest, syn(SERVER, 40001), syn("10.1.0.1"), syn("239.1.1.1")])
    path.classify(packet);
  path.classify(ip({ src: CLIENT, dst: "198.51.100.8", proto: PROTO.UDP, body: udp(1, 2) }));
  const got = await events(2);
  assert.deepEqual(
    got.map((event) => [event.verdict, event.reason, event.rule]),
    Array(2).fill([abi.Verdict.ALLOW, abi.Reason.ALLOW_CIDR, 5]),
  );
});

test("the gate reports its denials and its own flows with its hook", async () => {
  path.governed(0);
  path.cidr(1, SERVER, 32, {});
  path.gate(syn(), undefined);
  path.gate(syn("198.51.100.8"), undefined);
  path.gate(syn("198.51.100.8"), "lan0", 0x10);
  path.output(syn("198.51.100.8"));
  const got = await events(3);
  assert.deepEqual(
    got.map((event) => [event.hook, event.ifindex, event.verdict, event.reason]),
    [
      [abi.Hook.GATE, 0, abi.Verdict.ALLOW, abi.Reason.ALLOW_CIDR],
      [abi.Hook.GATE, 0, abi.Verdict.DENY, abi.Reason.UNLEARNED],
      [abi.Hook.GATE, router.lan0.ifindex, abi.Verdict.DENY, abi.Reason.NOT_INSPECTED],
    ],
  );
});

test("a flood of denials is cut to the budget, counted, and doesn't silence allows", async () => {
  path.config({ eventsPerSecond: 20 });
  path.cidr(1, "198.51.100.8", 32, {});
  const lost = () => path.counters()[abi.Reason.EVENTS_LOST]!.packets;
  const started = performance.now();
  for (let i = 0; i < 500; i++) path.classify(syn());
  path.classify(syn("198.51.100.8"));
  const seconds = (performance.now() - started) / 1000;
  const got = await events(21);
  const denials = got.filter((event) => event.verdict === abi.Verdict.DENY).length;
  // The test may move between CPUs, each of which has a budget of its own.
  const most = (20 + Math.ceil(20 * seconds)) * native.possibleCpus();
  assert.ok(denials >= 20 && denials <= most, `${denials} of at most ${most}`);
  assert.equal(lost(), 500 - denials);
  assert.equal(got.length - denials, 1);
});

test("no budget, no events, and none counted as lost", async () => {
  path.config({ eventsPerSecond: 0 });
  for (let i = 0; i < 10; i++) path.classify(syn());
  assert.equal((await events(0)).length, 0);
  assert.equal(path.counters()[abi.Reason.EVENTS_LOST]!.packets, 0);
  assert.equal(path.counters()[abi.Reason.UNLEARNED]!.packets, 10);
});

test("a full ring loses events, counted, and packets are judged all the same", async () => {
  path.object.close();
  path = new Datapath(router, { events: 4096 });
  path.config({ eventsPerSecond: 1_000_000 });
  path.governed(router.lan0.ifindex);
  path.policy(1, abi.Verify.BOTH);
  for (let i = 0; i < 100; i++) assert.equal(path.classify(syn()).dropped, true);
  const lost = path.counters()[abi.Reason.EVENTS_LOST]!.packets;
  const got = await events(100 - lost);
  assert.ok(lost > 50, String(lost));
  assert.equal(got.length, 100 - lost);
});
