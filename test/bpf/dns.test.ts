/** What eBPF lets pass of DNS: a question that was allowed a moment ago, an answer that teaches nothing new. Each rule with its neighbour. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as abi from "../../src/core/abi.generated.js";
import { native } from "../../src/native/index.js";
import { datagram, ip, ipPacket, udp } from "../packets.js";
import { A, AAAA, cookie, message, opt, option, question, record, reply, type Message } from "./dnsMessages.js";
import { DnsRouter, GRACE, hasher, NAME, v4, v6 } from "./dnsRouter.js";
import { makeRouter, now, ownNamespace } from "./harness.js";
import { address16, optionsHeader } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: DnsRouter;

const both = [
  [v4, A, ["198.51.100.7", "198.51.100.8"]],
  [v6, AAAA, ["2001:db8:1::7", "2001:db8:1::8"]],
] as const;

beforeEach(() => {
  path?.object.close();
  path = new DnsRouter(router);
});

test("a question that was allowed a moment ago passes, and its answer, once, if every address is known", () => {
  for (const [ends, type, [first, second]] of both) {
    path.allow({ type, rule: 9, ports: 0 }, ends);
    path.learn(first, NAME, 3_600, ends);
    path.learn(second, NAME, 3_600, ends);
    const asks = { question: question(NAME, type) };
    assert.ok(path.ask(message(asks), ends));
    const [{ key, value }] = path.asked() as [{ key: abi.AbiAskedKey; value: abi.AbiAsked }];
    const { port, id, ifindex } = key;
    assert.deepEqual([port, id, ifindex], [40_000, 77, router.wan0.ifindex]);
    assert.deepEqual([...key.source, ...key.resolver], [...address16(ends.src), ...address16(ends.dst)]);
    assert.deepEqual([...value.client], [...address16(ends.src)]);
    assert.deepEqual([...value.nameHash], [...hasher.hash(NAME)]);
    assert.deepEqual([value.policy, value.rule, value.type, value.length], [1, 9, type, asks.question.length]);
    const answer = reply({ ...asks, answers: [record(first), record(second)] });
    assert.ok(path.answer(answer, ends));
    assert.deepEqual(path.asked(), []);
    assert.ok(!path.answer(answer, ends), "nobody asked for a second one");
  }
});

test("what was not allowed climbs: another name, type, client, resolver, policy, generation, time", () => {
  const lan = router.lan0.ifindex;
  for (const [what, allow] of [
    ["name", () => path.allow({ name: "ww.x.io" })],
    ["a name above", () => path.allow({ name: "x.io" })],
    ["type", () => path.allow({ type: AAAA })],
    ["client", () => path.allow({ client: address16("10.1.0.11") })],
    ["resolver", () => path.allow({}, { ...v4, dst: "192.0.2.54" })],
    ["policy", () => path.allow({ policy: 2 })],
    ["generation", () => path.allow({ generation: 2 })],
    ["time", () => path.allow({ expiresNs: now() })],
  ] as const) {
    path.clear("questions");
    allow();
    assert.ok(!path.ask(message({})), what);
    assert.deepEqual(path.asked(), [], what);
  }
  path.allow();
  assert.ok(path.ask(message({})));
  path.config({ generation: 2 });
  assert.ok(!path.ask(message({})), "the policy changed");
  path.config({ generation: 1 });
  // Not where it would not leave by eface, and not what a CIDR rule decides.
  path.cidr(1, "203.0.113.53", 32, { verdict: abi.Verdict.NONE, ports: 3 });
  const dmz = { ...v4, dst: "203.0.113.53" };
  path.allow({}, dmz);
  assert.deepEqual(path.classify(udp(dmz, {}, message({}))).counted, { "not-egress": 1 });
  path.cidr(1, v4.dst, 32, { verdict: abi.Verdict.DENY });
  assert.deepEqual(path.classify(udp(v4, {}, message({}))).counted, { "deny-cidr": 1 });
  path.cidr(1, v4.dst, 32, { verdict: abi.Verdict.NONE, ports: 3 });
  // A client that can't be told.
  path.governed(lan, { clientBy: 9 });
  path.allow();
  assert.ok(!path.ask(message({})));
});

test("only port 53 of UDP: other ports and TCP are as ever", () => {
  path.allow();
  assert.deepEqual(path.classify(udp(v4, { dport: 54 }, message({}))).counted, { inspect: 1 });
  assert.ok(path.ask(message({}), v4, { sport: 53 }));
});

test("a question that is not plain climbs", () => {
  path.allow();
  const other = question("www.y.io");
  const compressed = Buffer.concat([Buffer.from("\x03www\xc0\x0c", "latin1"), Buffer.from([0, 1, 0, 1])]);
  for (const [what, bytes] of [
    ["a response", message({ flags: 0x8100 })],
    ["an update", message({ flags: 0x2900 })],
    ["truncated", message({ flags: 0x0300 })],
    ["authoritative", message({ flags: 0x0500 })],
    ["recursion available", message({ flags: 0x0180 })],
    ["the reserved bit", message({ flags: 0x0140 })],
    ["an rcode", message({ flags: 0x0101 })],
    ["no question", message({ counts: [0, 0, 0, 0] })],
    ["two questions", message({ counts: [2, 0, 0, 0], trailing: other })],
    ["two questions, one there", message({ counts: [2, 0, 0, 0] })],
    ["an answer", message({ answers: [record("198.51.100.7")] })],
    ["an authority", message({ authority: [record("198.51.100.7")] })],
    ["an additional that isn't OPT", message({ additional: [record("198.51.100.7")] })],
    ["two additional", message({ additional: [opt(), opt()] })],
    ["bytes behind", message({ trailing: Buffer.from([0]) })],
    ["bytes behind OPT", message({ additional: [opt()], trailing: Buffer.from([0]) })],
    ["an OPT that is announced only", message({ counts: [1, 0, 0, 1] })],
    ["an OPT that isn't announced", message({ counts: [1, 0, 0, 0], trailing: opt() })],
    ["another version of EDNS", message({ additional: [opt(Buffer.alloc(0), 0x10000)] })],
    ["an extended rcode", message({ additional: [opt(Buffer.alloc(0), 0x1000000)] })],
    ["an option that is cut", message({ additional: [opt(cookie.subarray(0, 11))] })],
    ["an option's head that is cut", message({ additional: [opt(Buffer.concat([cookie, Buffer.from([0, 10])]))] })],
    ["options longer than they say", message({ additional: [opt(cookie, 0, 11)] })],
    ["five options", message({ additional: [opt(Buffer.concat(Array<Buffer>(5).fill(cookie)))] })],
    ["class CH", message({ question: question(NAME, A, 3) })],
    ["type MX", message({ question: question(NAME, 15) })],
    ["type ANY", message({ question: question(NAME, 255) })],
    ["the root", message({ question: Buffer.from([0, 0, 1, 0, 1]) })],
    ["a pointer", message({ question: compressed })],
    ["an odd letter", message({ question: question("w w.x.io") })],
    ["a dot inside a label", message({ question: Buffer.concat([Buffer.from("\x05www.x\x02io\0", "latin1"), Buffer.from([0, 1, 0, 1])]) })], // prettier-ignore
    ["a label of 64", message({ question: question(`${"a".repeat(64)}.io`) })],
    ["no name's end", message({ question: Buffer.alloc(90, 1) })],
    ["an empty message", Buffer.alloc(0)],
  ] as const) {
    for (const name of [NAME, "w w.x.io", `${"a".repeat(64)}.io`]) path.allow({ name });
    assert.ok(!path.ask(bytes), what);
  }
  const whole = message({});
  for (let length = 0; length < whole.length; length++) assert.ok(!path.ask(whole.subarray(0, length)), String(length));
  assert.ok(path.ask(whole));
});

test("a plain question may carry EDNS with a few options, RD, AD and CD, and be written in any case", () => {
  path.allow();
  for (const parts of [
    { flags: 0 },
    { flags: 0x0130 },
    { additional: [opt()] },
    { additional: [opt(Buffer.alloc(0), 0x8000)] },
    { additional: [opt(Buffer.concat([cookie, option(12, Buffer.alloc(100)), option(3, Buffer.alloc(0)), cookie]))] },
    { question: question("wWw.X.iO") },
  ] satisfies Message[])
    assert.ok(path.ask(message(parts)), JSON.stringify(parts));
});

test("names of every length up to the longest that is read", () => {
  for (let length = 1; length <= 90; length++) {
    if (length % 64 === 0) continue; // it would end with a dot
    const name = Array.from({ length }, (_, i) => (i % 64 === 63 && i < length - 1 ? "." : "n")).join("");
    path.allow({ name });
    const asks = question(name);
    assert.equal(path.ask(message({ question: asks })), asks.length <= abi.QUESTION_BYTES, name);
  }
});

test("not one whole datagram: it climbs", () => {
  path.allow();
  path.allow({ type: AAAA }, v6);
  const bytes = message({});
  const asks6 = message({ question: question(NAME, AAAA) });
  assert.ok(!path.ask(bytes, v4, {}, 2), "two datagrams in one skb");
  assert.ok(path.ask(bytes, v4, {}, 1));
  const of = (body: Buffer, fields = {}) => ipPacket({ ...v4, proto: 17, body, ...fields });
  const plain = datagram(40_000, 53, bytes);
  assert.ok(path.askPacket(of(plain)));
  assert.ok(!path.askPacket(of(Buffer.concat([plain, Buffer.from("surplus")]))), "RFC 9868");
  assert.ok(!path.askPacket(of(datagram(40_000, 53, Buffer.concat([bytes, Buffer.from("x")]), plain.length))));
  assert.ok(!path.askPacket(of(datagram(40_000, 53, bytes, plain.length - 3))), "its end is no part of the datagram");
  assert.ok(!path.askPacket(of(plain, { options: Buffer.from([1, 1, 1, 0]) })), "IP options");
  assert.deepEqual(path.classify(of(plain, { fragment: 0x2000 })).counted, { inspect: 1 });
  assert.ok(path.ask(asks6, v6));
  const bare = datagram(40_000, 53, asks6);
  assert.ok(!path.askPacket(ipPacket({ ...v6, proto: 17, body: bare })), "no checksum over IPv6");
  bare.writeUInt16BE(1, 6);
  assert.ok(path.askPacket(ipPacket({ ...v6, proto: 17, body: bare })), "it isn't computed");
  assert.ok(!path.askPacket(ipPacket({ ...v6, proto: 17, body: bare, extensions: [optionsHeader(60)] })));
  // Ethernet padding isn't of the packet.
  assert.ok(path.askPacket(Buffer.concat([of(plain), Buffer.alloc(20)])));
});

test("an answer that is not to a question that passed climbs", () => {
  path.allow();
  path.learn("198.51.100.7");
  const bytes = reply({ answers: [record("198.51.100.7")] });
  assert.ok(!path.answer(bytes), "nobody asked");
  const asked = () => assert.ok(path.ask(message({})));
  asked();
  for (const [what, passes] of [
    ["another id", () => path.answer(reply({ id: 78, answers: [record("198.51.100.7")] }))],
    ["another port", () => path.answer(bytes, v4, { dport: 40_001 })],
    ["not from port 53", () => path.answer(bytes, v4, { sport: 54 })],
    ["another client", () => path.answer(bytes, { ...v4, src: "10.1.0.11" })],
    ["another resolver", () => path.answer(bytes, { ...v4, dst: "192.0.2.54" })],
    ["from a LAN", () => path.answer(bytes, v4, {}, "lan1")],
    ["from another network", () => path.answer(bytes, v4, {}, "dmz0")],
    ["another question", () => path.answer(reply({ question: question("www.y.io"), answers: [record("198.51.100.7")] }))], // prettier-ignore
    ["in other letters", () => path.answer(reply({ question: question("wwW.x.io"), answers: [record("198.51.100.7")] }))], // prettier-ignore
    ["a longer question", () => path.answer(reply({ question: question("www.x.io.io"), answers: [record("198.51.100.7")] }))], // prettier-ignore
    ["a shorter question", () => path.answer(reply({ question: question("www.x.i"), answers: [record("198.51.100.7")] }))], // prettier-ignore
    ["another class", () => path.answer(reply({ question: question(NAME, A, 3), answers: [record("198.51.100.7")] }))],
  ] as const) {
    assert.ok(!passes(), what);
  }
  assert.equal(path.asked().length, 1, "the real one may still come");
  path.config({ generation: 2 });
  assert.ok(!path.answer(bytes), "the policy changed");
  path.config({ generation: 1 });
  const [{ key, value }] = path.asked() as [{ key: abi.AbiAskedKey; value: abi.AbiAsked }];
  const old = { ...value, timeNs: now() - BigInt(abi.QUERY_MS) * 1_000_000n };
  path.put("asked", abi.encodeAskedKey(key), abi.encodeAsked(old));
  assert.ok(!path.answer(bytes), "asked too long ago");
  path.put("asked", abi.encodeAskedKey(key), abi.encodeAsked(value));
  assert.ok(path.answer(bytes));
});

test("an answer that is not plain climbs, and the question stays asked", () => {
  path.allow();
  for (const last of [7, 8]) path.learn(`198.51.100.${last}`);
  assert.ok(path.ask(message({})));
  const a = record("198.51.100.7");
  const many = Array.from({ length: 17 }, () => a);
  const name = (text: string) => Buffer.from(text, "latin1");
  for (const [what, bytes] of [
    ["a question", message({ answers: [a] })],
    ["an opcode", reply({ flags: 0x9180, answers: [a] })],
    ["truncated", reply({ flags: 0x8380, answers: [a] })],
    ["an rcode", reply({ flags: 0x8183, answers: [a] })],
    ["no record", reply({})],
    ["17 records", reply({ answers: many })],
    ["fewer than said", reply({ answers: [a], counts: [1, 2, 0, 0] })],
    ["more than said", reply({ answers: [a, a], counts: [1, 1, 0, 0] })],
    ["two questions", reply({ answers: [a], counts: [2, 1, 0, 0] })],
    ["no question", reply({ question: Buffer.alloc(0), answers: [a], counts: [0, 1, 0, 0] })],
    ["an authority", reply({ answers: [a], authority: [a] })],
    ["an additional that isn't OPT", reply({ answers: [a], additional: [a] })],
    ["two additional", reply({ answers: [a], additional: [opt(), opt()] })],
    ["an extended rcode", reply({ answers: [a], additional: [opt(Buffer.alloc(0), 0x1000000)] })],
    ["bytes behind", reply({ answers: [a], trailing: Buffer.from([0]) })],
    ["a CNAME", reply({ answers: [record("", { type: 5, data: Buffer.from([0xc0, 0x0c]) }), a] })],
    ["an owner that is written out", reply({ answers: [record("198.51.100.7", { owner: question(NAME).subarray(0, 10) })] })], // prettier-ignore
    ["an owner elsewhere", reply({ answers: [record("198.51.100.7", { owner: Buffer.from([0xc0, 0x10]) })] })],
    ["another owner", reply({ answers: [record("198.51.100.7", { owner: name("\x01a\0") })] })],
    ["another type", reply({ answers: [record("2001:db8::7")] })],
    ["another class", reply({ answers: [record("198.51.100.7", { cls: 3 })] })],
    ["a length that lies", reply({ answers: [record("198.51.100.7", { length: 5 })] })],
    ["an address that is cut", reply({ answers: [record("", { type: A, data: Buffer.from([198, 51, 100]) })] })],
  ] as const) {
    assert.ok(!path.answer(bytes), what);
    assert.equal(path.asked().length, 1, what);
  }
  const whole = reply({ answers: [a, record("198.51.100.8")], additional: [opt(cookie)] });
  for (let length = 0; length < whole.length; length++)
    assert.ok(!path.answer(whole.subarray(0, length)), String(length));
  const back = { src: v4.dst, dst: v4.src };
  const plain = datagram(53, 40_000, whole);
  assert.ok(!path.answerPacket(ip(back, 17, Buffer.concat([plain, Buffer.from("surplus")]))));
  assert.ok(!path.answerPacket(ip(back, 17, datagram(53, 40_000, whole, plain.length - 3))));
  assert.ok(!path.answerPacket(ip(back, 17, plain), "wan0", 2), "two datagrams in one skb");
  assert.ok(!path.answerPacket(ip(back, 17, plain, undefined, { fragment: 0x2000 })));
  assert.ok(!path.answerPacket(ip(back, 6, plain)));
  assert.ok(path.answer(whole));
});

test("a plain answer may be authoritative, authenticated, have EDNS, and up to 16 records", () => {
  path.allow();
  path.learn("198.51.100.7");
  const a = record("198.51.100.7");
  for (const parts of [
    { flags: 0x8180 },
    { flags: 0x85b0 },
    { additional: [opt()] },
    { additional: [opt(Buffer.concat([cookie, cookie]), 0x8000)] },
    { answers: Array.from({ length: 16 }, () => a), additional: [opt()] },
  ] satisfies Message[]) {
    assert.ok(path.ask(message({})));
    assert.ok(path.answer(reply({ answers: [a], ...parts })), JSON.stringify(parts));
  }
});

test("an address that teaches something new climbs: not known, for another name or client, not long enough, another rule", () => {
  const due = now() + GRACE;
  const client = address16(v4.src);
  const address = "198.51.100.7";
  const known = { expiresNs: due + 3_600_000_000_000n, rule: 9 };
  const sooner = { ...known, expiresNs: due - BigInt(abi.LEARN_AGAIN_MS + 1_000) * 1_000_000n };
  const bytes = (ttl = 0) => reply({ answers: [record(address, { ttl })] });
  type Taught = Partial<{ policy: number; client: Uint8Array; address: string; name: string }>;
  const teach = (at: Taught, name: Partial<abi.AbiName> | undefined, binding: Partial<abi.AbiBinding> | undefined) => {
    const to = { policy: 1, client, address, name: NAME, ...at };
    if (name) path.name(to.policy, to.client, to.address, name);
    if (binding) path.binding(to.policy, to.client, to.address, to.name, binding);
  };
  path.allow();
  for (const [what, at, name, binding] of [
    ["nothing learned", {}, undefined, undefined],
    ["no binding", {}, known, undefined],
    ["no address", {}, undefined, known],
    ["another name", { name: "ww.x.io" }, known, known],
    ["another client", { client: address16("10.1.0.11") }, known, known],
    ["another policy", { policy: 2 }, known, known],
    ["another address", { address: "198.51.100.8" }, known, known],
    ["the address ends sooner", {}, sooner, known],
    ["the binding ends sooner", {}, known, sooner],
    ["another rule", {}, known, { ...known, rule: 8 }],
    ["other ports", {}, known, { ...known, ports: 3 }],
  ] as const) {
    for (const map of ["names4", "names6", "bindings"]) path.clear(map);
    teach(at, name, binding);
    assert.ok(path.ask(message({})));
    assert.ok(!path.answer(bytes()), what);
    assert.equal(path.asked().length, 1, what);
  }
  // One address of two is enough to climb.
  path.learn(address, NAME, 300);
  assert.ok(!path.answer(bytes(306)));
  assert.ok(!path.answer(reply({ answers: [record(address), record("198.51.100.9")] })));
  assert.ok(!path.answer(reply({ answers: [record("198.51.100.9"), record(address)] })));
  // Five seconds are let go (L7_LEARN_AGAIN_MS).
  path.learn(address, NAME, 300);
  assert.ok(path.answer(bytes(302)));
  for (const [ttl, learned, passes] of [
    [0x7fffffff, 86_430, true], // no longer than a day
    [0x7fffffff, 86_394, false],
    [86_500, 86_430, true],
    [0x80000000, 30, true], // RFC 2181 8
    [0xffffffff, 30, true],
    [6, 0, false],
  ] as const) {
    for (const map of ["names4", "bindings"]) path.clear(map);
    path.learn(address, NAME, learned);
    assert.ok(path.ask(message({})));
    assert.equal(path.answer(bytes(ttl)), passes, `${ttl} ${learned}`);
  }
});

test("asked again with the same id, it is one question; another question with it takes its place", () => {
  path.allow();
  path.allow({ name: "api.x.io" });
  path.learn("198.51.100.7");
  path.learn("198.51.100.8", "api.x.io");
  const first = reply({ answers: [record("198.51.100.7")] });
  const second = reply({ question: question("api.x.io"), answers: [record("198.51.100.8")] });
  assert.ok(path.ask(message({})));
  assert.ok(path.ask(message({})));
  assert.equal(path.asked().length, 1);
  assert.ok(path.ask(message({ question: question("api.x.io") })));
  assert.ok(!path.answer(first));
  assert.ok(path.answer(second));
  assert.ok(!path.answer(first));
});

test("questions are told with their name, a tenth as often as others", async () => {
  path.config({ eventsPerSecond: 10 });
  path.allow();
  const events: abi.AbiEvent[] = [];
  const ring = native.openRingBuffer(path.map("events"), (record_) => events.push(abi.decodeEvent(record_)));
  const counted = path.classify(udp(v4, {}, message({ question: question("WWW.x.io") }))).counted;
  assert.deepEqual(counted, { "allow-query": 1 });
  assert.deepEqual(path.classify(udp(v4, {}, message({}))).counted, { "allow-query": 1, "events-lost": 1 });
  for (let i = 0; i < 200 && events.length < 1; i++) await sleep(10);
  ring.close();
  const [event, more] = events as [abi.AbiEvent, undefined];
  assert.equal(more, undefined);
  assert.equal(Buffer.from(event.name.subarray(0, event.nameLen)).toString(), NAME);
  assert.deepEqual([event.verdict, event.reason, event.rule], [abi.Verdict.ALLOW, abi.Reason.ALLOW_QUERY, 9]);
});
