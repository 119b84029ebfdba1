/** The name on the wire, read in the kernel: what it confirms, each with its neighbour, and that it is never more than the parser in TypeScript. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as abi from "../../src/core/abi.generated.js";
import { readFirstBytes } from "../../src/core/engine/firstBytes.js";
import { defaultLimits } from "../../src/core/engine/limits.js";
import { native } from "../../src/native/index.js";
import { clientHello, tcp, type TcpOptions } from "../packets.js";
import type { FlowKey } from "./flowKey.js";
import { byAddress, Datapath, makeRouter, marked, now, ownNamespace } from "./harness.js";
import { address16 } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: Datapath;

const v4 = { src: "10.1.0.10", dst: "198.51.100.7" };
const v6 = { src: "fd00:1::10", dst: "2001:db8:1::7" };
const NAME = "www.x.io";
const START = 1000;
const hello = clientHello([NAME]);
const timestamps = Buffer.from([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);

const keyOf = (ends = v4): FlowKey => ({
  policy: 1,
  src: address16(ends.src),
  dst: address16(ends.dst),
  proto: 6,
  sport: 40_000,
  dport: 443,
});

/** A flow whose SYN the server has answered. */
function open(ends = v4, value: Partial<abi.AbiFlow> = {}): void {
  const opened = { verdict: abi.Verdict.PENDING, flags: abi.FLOW_OPENED, judgedStart: START, judgedEnd: START };
  path.flow(keyOf(ends), { ...opened, reason: abi.Reason.PENDING, ...value });
}

function send(payload: Uint8Array, options: TcpOptions = {}, ends = v4, gsoSegs = 0): string {
  const outcome = path.classify(tcp(ends, { seq: START, ...options }, payload), "lan0", 0, {}, gsoSegs);
  const reasons = Object.keys(outcome.counted);
  assert.equal(reasons.length, 1);
  const [reason] = reasons as [string];
  const verdict = reason.startsWith("allow") ? abi.Verdict.ALLOW : abi.Verdict.INSPECT;
  assert.equal(outcome.mark, marked(verdict), reason);
  return reason;
}

beforeEach(() => {
  path?.object.close();
  path = new Datapath(router);
  path.governed(router.lan0.ifindex);
  path.policy(1, abi.Verify.BOTH);
  for (const ends of [v4, v6]) {
    path.name(1, byAddress(ends.src), ends.dst);
    path.binding(1, byAddress(ends.src), ends.dst, NAME, { rule: 9 });
    open(ends);
  }
});

test("a whole hello with the bound name is allowed, and remembered until the server has it", () => {
  for (const [ends, options] of [
    [v4, {}],
    [v6, {}],
    [v4, { tcpOptions: timestamps }],
    [v6, { tcpOptions: timestamps, flags: "A" }],
  ] as const) {
    open(ends);
    assert.equal(send(hello, options, ends), "allow-name");
    const flow = path.getFlow(keyOf(ends))!;
    const { verdict, reason, rule, flags, judgedStart, judgedEnd, packets } = flow;
    assert.deepEqual(
      { verdict, reason, rule, flags, judgedStart, judgedEnd, packets },
      {
        verdict: abi.Verdict.ALLOW,
        reason: abi.Reason.ALLOW_NAME,
        rule: 9,
        flags: abi.FLOW_BY_HELLO | abi.FLOW_OPENED,
        judgedStart: START,
        judgedEnd: START + hello.length,
        packets: 1n,
      },
    );
  }
});

test("the whole circle: SYN, answer, hello, data, acknowledgement", () => {
  for (const ends of [v4, v6]) {
    path.forgetFlows();
    const back = { src: ends.dst, dst: ends.src };
    const reply = (flags: string, ack: number) => path.watch(tcp(back, { sport: 443, dport: 40_000, flags, ack }));
    const syn = path.classify(tcp(ends, { seq: START - 1, flags: "S" }));
    assert.deepEqual([syn.counted, syn.mark], [{ pending: 1 }, marked(abi.Verdict.PENDING)]);
    assert.equal(send(hello, {}, ends), "inspect", "the server has not answered");
    path.forgetFlows();
    path.classify(tcp(ends, { seq: START - 1, flags: "S" }));
    reply("SA", START);
    assert.deepEqual(path.classify(tcp(ends, { seq: START, flags: "A" })).counted, { pending: 1 });
    assert.equal(send(hello, {}, ends), "allow-name");
    assert.equal(send(Buffer.from("early"), { seq: START + hello.length }, ends), "allow-flow");
    assert.equal(send(Buffer.from("rewritten"), { seq: START + 5 }, ends), "inspect");
    reply("A", START + hello.length);
    assert.equal(send(Buffer.from("nobody reads this"), { seq: START + 5 }, ends), "allow-flow");
  }
});

test("what is bound otherwise climbs: another name, address, client, policy, time, port", () => {
  const client = byAddress(v4.src);
  const others: (() => void)[] = [
    () => path.binding(1, client, v4.dst, "ww.x.io"),
    () => path.binding(1, client, "198.51.100.8", NAME),
    () => path.binding(1, byAddress("10.1.0.11"), v4.dst, NAME),
    () => path.binding(2, client, v4.dst, NAME),
    () => path.binding(1, client, v4.dst, NAME, { expiresNs: now() }),
    () => path.binding(1, client, v4.dst, NAME, { ports: 5 }),
  ];
  path.portSet(5, [{ proto: 6, verdict: abi.Verdict.ALLOW, low: 444, high: 444, rule: 0 }]);
  for (const bind of others) {
    path.clear("bindings");
    bind();
    open();
    assert.equal(send(hello), "inspect", String(bind));
    assert.equal(path.getFlow(keyOf())!.flags, abi.FLOW_OPENED | abi.FLOW_CLIMBED);
  }
  path.portSet(5, [{ proto: 6, verdict: abi.Verdict.ALLOW, low: 443, high: 443, rule: 0 }]);
  open();
  assert.equal(send(hello), "allow-name");
});

test("under sni a binding is as good", () => {
  path.policy(1, abi.Verify.SNI);
  assert.equal(send(hello), "allow-name");
  open(v4, {});
  assert.equal(send(clientHello(["www.y.io"])), "inspect");
});

test("what is not whole, not at the beginning or not opened climbs, and from then on everything does", () => {
  for (const [state, payload, options] of [
    [{}, hello.subarray(0, hello.length - 1), {}],
    [{}, hello.subarray(1), {}],
    [{}, hello, { seq: START + 1 }],
    [{}, hello, { seq: START - 1 }],
    [{ flags: 0 }, hello, {}],
    [{ flags: abi.FLOW_OPENED | abi.FLOW_CLIMBED }, hello, {}],
    [{}, Buffer.from("GET / HTTP/1.1\r\nHost: www.x.io\r\n\r\n".padEnd(200)), {}],
    [{}, hello.subarray(0, 1), {}],
  ] as const) {
    open(v4, state);
    assert.equal(send(payload, options), "inspect");
    assert.equal(send(hello), "inspect", "user space holds a part by now");
  }
});

test("segments that a stack may read in another way climb", () => {
  const option = (...bytes: number[]) => ({ tcpOptions: Buffer.from(bytes) });
  for (const options of [
    { flags: "P" },
    { flags: "FPA" },
    { flags: "UPA" },
    { flags: "RA" },
    { flags: "SA" },
    option(19, 18, ...Array<number>(16).fill(7), 1, 1),
    option(1, 1, 1, 1),
    option(8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1),
    option(1, 1, 8, 9, 0, 0, 0, 1, 0, 0, 0, 2),
  ]) {
    open();
    assert.equal(send(hello, options), "inspect", JSON.stringify(options));
  }
  open();
  assert.equal(send(hello, {}, v4, 2), "inspect", "two segments that were merged");
  open();
  assert.equal(send(hello, {}, v4, 1), "allow-name");
});

test("before the server has acknowledged it, only a whole allowed hello may come again", () => {
  path.binding(1, byAddress(v4.src), v4.dst, "api.x.io");
  assert.equal(send(hello), "allow-name");
  assert.equal(send(hello), "allow-name");
  assert.equal(send(Buffer.concat([hello, Buffer.from("early data in one segment")])), "allow-name");
  assert.equal(send(clientHello(["api.x.io"])), "allow-name");
  assert.equal(path.getFlow(keyOf())!.judgedEnd, START + hello.length);
  for (const [payload, options] of [
    [clientHello(["www.evil.io"]), {}],
    [hello.subarray(0, 60), {}],
    [hello, { seq: START + 1 }],
    [hello, { flags: "UPA" }],
  ] as const) {
    assert.equal(send(payload, options), "inspect");
    assert.equal(path.getFlow(keyOf())!.verdict, abi.Verdict.ALLOW, "user space revokes it");
  }
});

test("a flow that user space judged stays with it", () => {
  const flags = abi.FLOW_BY_HELLO | abi.FLOW_CLIMBED;
  open(v4, { verdict: abi.Verdict.ALLOW, flags, judgedEnd: START + hello.length });
  assert.equal(send(hello), "inspect");
  assert.equal(send(Buffer.from("x"), { seq: START + hello.length }), "allow-flow");
});

test("a name in another spelling is the same name; one that could be an address, or is none, climbs", () => {
  for (const spelling of ["WWW.X.io", "www.x.io."]) {
    open();
    assert.equal(send(clientHello([spelling])), "allow-name", spelling);
  }
  for (const odd of ["1.2.3.4", "www.x.1o", "www..io", ".x.io", "www.x.io..", "w w", "x".repeat(64) + ".io", "."]) {
    path.binding(1, byAddress(v4.src), v4.dst, odd);
    open();
    assert.equal(send(clientHello([odd])), "inspect", odd);
  }
  for (const names of [[], [NAME, NAME], [NAME, "www.evil.io"]]) {
    open();
    assert.equal(send(clientHello(names)), "inspect");
  }
});

test("names of every length are hashed as in TypeScript, under every seed of the table", () => {
  const file = new URL("../vectors/name-hash.json", import.meta.url);
  const vectors = JSON.parse(readFileSync(file, "utf8")) as { seed: string; name: string; hash: string }[];
  let used = 0;
  for (const { seed, name, hash } of vectors) {
    if (!/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(name) || /(^|\.)\d[^.]*$/.test(name) || name.length > 253) continue;
    path.config({ hashSeed: Buffer.from(seed, "hex") });
    const key = { policy: 1, client: byAddress(v4.src), addr: address16(v4.dst), nameHash: Buffer.from(hash, "hex") };
    const value = { expiresNs: now() + 60_000_000_000n, rule: 0, ports: 0 };
    path.put("bindings", abi.encodeBindingKey(key), abi.encodeBinding(value));
    open();
    assert.equal(send(clientHello([name])), "allow-name", name);
    path.clear("bindings");
    used++;
  }
  assert.ok(used > 20, String(used));
  path.config({});
  for (let length = 1; length <= 253; length++) {
    if (length % 64 === 0) continue; // it would end with a dot
    const name = Array.from({ length }, (_, i) => (i % 64 === 63 && i < length - 1 ? "." : "n")).join("");
    path.binding(1, byAddress(v4.src), v4.dst, name);
    open();
    assert.equal(send(clientHello([name])), "allow-name", name);
    path.clear("bindings");
  }
});

test("this box's own hello: OUTPUT lets it by, the gate judges it; what climbs is marked as climbed in OUTPUT", () => {
  const own = { src: "192.0.2.2", dst: v4.dst };
  const self = new Uint8Array(16);
  path.governed(0);
  path.name(1, self, own.dst);
  path.binding(1, self, own.dst, NAME, { rule: 4 });
  const bytes = tcp(own, { seq: START }, hello);
  open(own);
  assert.equal(path.output(bytes).value, 0);
  assert.equal(path.getFlow(keyOf(own))!.verdict, abi.Verdict.PENDING, "OUTPUT only asks");
  assert.deepEqual(path.gate(bytes, undefined).counted, { "allow-name": 1 });
  assert.deepEqual([path.getFlow(keyOf(own))!.verdict, path.getFlow(keyOf(own))!.rule], [abi.Verdict.ALLOW, 4]);
  assert.equal(path.output(bytes).value, 0);
  const evil = tcp(own, { seq: START }, clientHello(["www.evil.io"]));
  assert.equal(path.output(evil).value, 1);
  assert.deepEqual(path.gate(evil, undefined).counted, { "not-inspected": 1 });
  open(own);
  assert.equal(path.output(evil).value, 1);
  assert.equal(path.output(bytes).value, 1, "user space holds a part by now");
});

test("an allowed hello is told with its name", async () => {
  path.config({ eventsPerSecond: 1000 });
  const events: abi.AbiEvent[] = [];
  const ring = native.openRingBuffer(path.map("events"), (record) => events.push(abi.decodeEvent(record)));
  assert.equal(send(clientHello(["WWW.x.IO"])), "allow-name");
  for (let i = 0; i < 200 && events.length < 1; i++) await sleep(10);
  ring.close();
  const [event] = events as [abi.AbiEvent];
  assert.equal(Buffer.from(event.name.subarray(0, event.nameLen)).toString(), NAME);
  assert.deepEqual([event.verdict, event.reason, event.rule], [abi.Verdict.ALLOW, abi.Reason.ALLOW_NAME, 9]);
});

test("whatever a hello looks like, the kernel allows none that TypeScript would not", () => {
  let state = 20_261_125;
  const random = (below: number) => {
    // xorshift32: the same hellos each time.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  const grease = Buffer.from([0x0a, 0x0a, 0, 0]);
  const alpn = Buffer.from([0, 16, 0, 14, 0, 12, 2, 104, 50, 8, 104, 116, 116, 112, 47, 49, 46, 49]);
  const bases = [
    hello,
    clientHello([NAME], { pad: 300 }),
    withExtensions(hello, Buffer.concat([grease, alpn])),
    withExtensions(clientHello(["a.b.c.example"]), alpn),
  ];
  for (const base of bases) assert.equal(readFirstBytes(base, 0, base.length, defaultLimits.helloBytes).kind, "name");
  let [allowed, climbed] = [0, 0];
  for (let round = 0; round < 6000; round++) {
    const base = bases[round % bases.length]!;
    const mutated = mutate(base, random);
    const found = readFirstBytes(mutated, 0, mutated.length, defaultLimits.helloBytes);
    // What a reader that takes less care could find there.
    const names = new Set([NAME, "a.b.c.example", ...(found.kind === "name" ? [found.name] : [])]);
    for (const run of mutated.toString("latin1").match(/[\w.-]{2,253}/g) ?? []) names.add(run.toLowerCase());
    const bound = [...names].slice(0, 8);
    bound.forEach((name, rule) => path.binding(1, byAddress(v4.src), v4.dst, name, { rule }));
    open();
    const reason = send(mutated.length > 0 ? mutated : Buffer.from([0]));
    if (reason === "allow-name") {
      allowed++;
      const read = bound[path.getFlow(keyOf())!.rule];
      assert.equal(found.kind === "name" && found.name, read, `round ${round}: ${mutated.toString("hex")}`);
    } else {
      climbed++;
    }
    path.clear("bindings");
  }
  // Both happen often, or nothing was compared.
  assert.ok(allowed > 500 && climbed > 1500, `${allowed} allowed, ${climbed} climbed`);
});

/** `hello` with `extra` behind its extensions. */
function withExtensions(base: Buffer, extra: Buffer): Buffer {
  const out = Buffer.concat([base, extra]);
  out.writeUInt16BE(out.length - 5, 3);
  out.writeUInt16BE(out.length - 9, 7);
  const at = 5 + 4 + 34 + 1 + 2 + 4 + 2;
  out.writeUInt16BE(out.length - at - 2, at);
  return out;
}

function mutate(base: Buffer, random: (below: number) => number): Buffer {
  let out: Buffer = Buffer.from(base);
  for (let n = random(3); n >= 0; n--) {
    const at = random(out.length);
    switch (random(8)) {
      case 0:
        out[at] = random(256);
        break;
      case 1:
        out[at]! ^= 1 << random(8);
        break;
      case 2:
        out[at] = [0, 1, 0xff, 0x2e, 0x80][random(5)]!;
        break;
      case 3: // a length that is off by one
        out[at] = (out[at]! + (random(2) ? 1 : 255)) & 0xff;
        break;
      case 4:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at + 1 + random(4))]);
        break;
      case 5:
        out = Buffer.concat([out.subarray(0, at), Buffer.alloc(1 + random(4), random(256)), out.subarray(at)]);
        break;
      case 6: // an extension twice, with lengths to match
        out = out.length === base.length ? withExtensions(out, out.subarray(52, 52 + random(30))) : out;
        break;
      case 7: // outside the lengths
        out = Buffer.concat([out, Buffer.alloc(random(20), random(256))]);
        break;
    }
    if (out.length === 0) return Buffer.from([22]);
  }
  return out;
}
