/**
 * eBPF and TypeScript read the same mutated questions and answers. Two engines judge: `strict` sees every packet, as if eBPF let no DNS pass, and is the yardstick;
 * `real` sees only what climbs, and its commands fill the kernel's maps. The kernel may pass nothing that `strict` would not release without learning, and
 * `real` must judge what climbs as `strict` does, though it never saw the question.
 */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { CommandList } from "../../src/core/engine/commandList.js";
import type { Command } from "../../src/core/engine/commands.js";
import { Engine } from "../../src/core/engine/engine.js";
import type { ClientId, PacketEvent, PacketId } from "../../src/core/engine/events.js";
import { defaultLimits } from "../../src/core/engine/limits.js";
import type { AskedLookup } from "../../src/core/engine/asked.js";
import { formatAddr } from "../../src/core/net/address.js";
import { compilePolicies } from "../../src/core/policy/compile.js";
import { parsePolicy } from "../../src/core/policy/parse.js";
import { parseDns } from "../../src/core/wire/dns.js";
import { monotonicMs } from "../../src/edge/clock.js";
import { KernelMaps } from "../../src/edge/kernelMaps.js";
import { KernelQuestions } from "../../src/edge/kernelQuestions.js";
import { udp } from "../packets.js";
import { A, AAAA, cookie, message, opt, question, record, reply } from "./dnsMessages.js";
import { DnsRouter, hasher, v4, v6 } from "./dnsRouter.js";
import { makeRouter, ownNamespace } from "./harness.js";
import { address16 } from "./packets.js";

ownNamespace(import.meta.url);
const router = makeRouter();
let path: DnsRouter;
let maps: KernelMaps;
let questions: KernelQuestions;

beforeEach(() => {
  path?.object.close();
  path = new DnsRouter(router, { names4: 4096, names6: 4096, bindings: 4096 });
  const [names4, names6, bindings] = [path.map("names4"), path.map("names6"), path.map("bindings")];
  maps = new KernelMaps({ names4, names6, bindings }, hasher);
  questions = new KernelQuestions({ questions: path.map("questions"), asked: path.map("asked") }, hasher, 1);
});

const policy = (() => {
  const parsed = parsePolicy({
    cidr: [],
    denyCidr: [],
    cn: [],
    domain: ["www.x.io", "*.y.io"],
    resolver: [v4.dst, v6.dst],
    port: [],
    namePort: [],
    verify: "both",
    reject: "rst",
    dnsDeny: "drop",
  });
  assert.ok(parsed.ok);
  return parsed.spec;
})();

class Judge {
  readonly #engine: Engine;
  #id = 0;

  constructor(lookupAsked: AskedLookup) {
    this.#engine = new Engine({
      policies: compilePolicies([policy]).policies,
      // A moment that is not over on the slowest machine.
      limits: { ...defaultLimits, questionMs: 600_000 },
      lookupFlow: () => undefined,
      lookupAsked,
      hashSeed: Buffer.from("differential"),
    });
  }

  /** What the engine says of a packet from the LAN, or (`back`) to it. */
  judge(bytes: Uint8Array, now: number, back = false): Command[] {
    const out = new CommandList();
    const event: PacketEvent = {
      type: "packet",
      id: ++this.#id as PacketId,
      hook: "forward",
      ifindexIn: back ? router.wan0.ifindex : router.lan0.ifindex,
      ifindexOut: back ? router.lan0.ifindex : router.wan0.ifindex,
      mark: back ? 0 : 0x10,
      client: back ? undefined : clientOf(bytes),
      policy: back ? undefined : 1,
      bytes,
      wireLength: bytes.length,
      merged: false,
      checksumPending: false,
    };
    this.#engine.handle(event, now, out);
    return [...out];
  }
}

/** The kernel tells clients apart by address here. */
function clientOf(packet: Uint8Array): ClientId {
  const source = (packet[0] as number) >> 4 === 4 ? v4.src : v6.src;
  return Buffer.from(address16(source)).toString("latin1") as ClientId;
}

const accepts = (commands: readonly Command[]) =>
  commands.some((command) => command.type === "verdict" && command.action === "accept");
const taught = (commands: readonly Command[]) =>
  commands.flatMap((one) => (one.type === "learn" ? [`${one.name} ${formatAddr(one.address)} ${one.expires}`] : []));

function carryOut(commands: readonly Command[]): void {
  for (const command of commands) {
    if (command.type === "learn") maps.learn(command);
    else if (command.type === "forget") maps.forget(command);
    else if (command.type === "allowQuestion") questions.allow(command);
    else if (command.type === "answered") questions.answered(command);
  }
}

let state = 20_261_125;
/** xorshift32: the same messages each time. */
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;

function mutate(base: Buffer): Buffer {
  let out = Buffer.from(base);
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
        out[at] = pick([0, 1, 0xff, 0xc0, 0x0c, 41]);
        break;
      case 3: // a length or a count that is off by one
        out[at] = (out[at]! + (random(2) ? 1 : 255)) & 0xff;
        break;
      case 4:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at + 1 + random(4))]);
        break;
      case 5:
        out = Buffer.concat([out.subarray(0, at), Buffer.alloc(1 + random(4), random(256)), out.subarray(at)]);
        break;
      case 6: // a count or flag of the header
        out[2 + random(10)] = pick([0, 1, 2, 0x80, 0x81, 0x83, 0x01]);
        break;
      case 7: // letters in another case
        for (let i = 12; i < out.length; i++) if (random(4) === 0 && /[a-z]/i.test(String.fromCharCode(out[i]!))) out[i]! ^= 0x20; // prettier-ignore
        break;
    }
  }
  return out;
}

const names = ["www.x.io", "a.y.io", "b.c.y.io", "www.denied.io"];
const ends = [v4, v6] as const;

function someQuestion(id: number, name: string, type: number): Buffer {
  const asks = question(random(4) ? name : name.toUpperCase(), type);
  const additional = random(2) ? [opt(random(2) ? cookie : Buffer.alloc(0))] : [];
  return message({ id, question: asks, additional, flags: pick([0x0100, 0x0120, 0]) });
}

/** One to four addresses of a few, with the time to live of a few. */
function someAnswer(asked: Buffer, type: number): Buffer {
  const answers = Array.from({ length: 1 + random(4) }, () => {
    const last = 1 + random(3);
    const ttl = pick([0, 60, 60, 60, 61, 62, 300]);
    return record(type === A ? `198.51.100.${last}` : `2001:db8:1::${last}`, { ttl });
  });
  if (random(12) === 0) answers.push(record(pick(["10.0.0.1", "fd00::1", "127.0.0.1"]), { ttl: 60 }));
  const end = asked.indexOf(0, 12) + 5;
  return reply({ id: asked.readUInt16BE(0), question: asked.subarray(12, end), answers, additional: random(2) ? [opt()] : [] }); // prettier-ignore
}

test("whatever comes and goes, nothing passes that TypeScript would not release, and it judges what climbs as if it had seen all", () => {
  const strict = new Judge(() => undefined);
  const real = new Judge((key) => questions.lookup(key));
  const seen = { asked: 0, climbedQuestions: 0, answered: 0, answersToKernel: 0, denied: 0 };
  for (let round = 0; round < 4_000; round++) {
    const [at, type] = random(2) ? [v4, A] : [v6, AAAA];
    const plain = someQuestion(round & 0xffff, pick(names), type);
    const asks = random(5) === 0 ? mutate(plain) : plain;
    const ask = udp(at, { sport: 40_000 }, asks);
    // One time for all three, and not later than the kernel's: what it takes for known long enough they do, too.
    const now = monotonicMs();
    const wanted = strict.judge(ask, now);
    const passed = path.classify(ask).counted["allow-query"] === 1;
    if (passed) {
      seen.asked++;
      assert.ok(accepts(wanted), `round ${round}: ${asks.toString("hex")}`);
      const parsed = parseDns(asks, 0, asks.length);
      assert.ok(parsed.kind === "done");
      const id = asks.readUInt16BE(0);
      const found = path.asked().find(({ key }) => key.id === id && key.source[0] === address16(at.src)[0])!.value;
      const [one] = parsed.value.questions;
      assert.deepEqual([...found.nameHash], [...hasher.hash(one!.name)]);
      assert.deepEqual([...found.question.subarray(0, found.length)], [...parsed.value.questionBytes]);
    } else {
      seen.climbedQuestions++;
      const judged = real.judge(ask, now);
      assert.equal(accepts(judged), accepts(wanted), `round ${round}: ${asks.toString("hex")}`);
      carryOut(judged);
    }
    if (!accepts(wanted)) continue;
    // One answer, or a few of which the first may be wrong.
    for (let n = random(3); n >= 0; n--) {
      const whole = someAnswer(asks, type);
      const bytes = random(3) === 0 ? mutate(whole) : whole;
      const packet = udp({ src: at.dst, dst: at.src }, { sport: 53, dport: 40_000 }, bytes);
      const then = monotonicMs();
      const judgement = strict.judge(packet, then, true);
      const where = `round ${round}: ${asks.toString("hex")} ${bytes.toString("hex")}`;
      if (path.answerPacket(packet)) {
        seen.answered++;
        assert.ok(passed, where);
        assert.ok(accepts(judgement), where);
        assert.deepEqual(taught(judgement), [], where);
        continue;
      }
      const judged = real.judge(packet, then, true);
      assert.equal(accepts(judged), accepts(judgement), where);
      assert.deepEqual(taught(judged), taught(judgement), where);
      if (judged.some((command) => command.type === "answered")) seen.answersToKernel++;
      if (!accepts(judged)) seen.denied++;
      carryOut(judged);
    }
  }
  // Each happens often, or nothing was compared.
  for (const [what, times] of Object.entries(seen)) assert.ok(times > 150, `${what}: ${JSON.stringify(seen)}`);
});

test("whatever a question looks like, the kernel finds no other name in it than TypeScript does", () => {
  let passed = 0;
  for (let round = 0; round < 3_000; round++) {
    const at = pick(ends);
    const type = at === v4 ? A : AAAA;
    const bytes = mutate(
      message({ question: question(pick(names), type), additional: random(3) ? [] : [opt(cookie)] }),
    );
    const parsed = parseDns(bytes, 0, bytes.length);
    const read = parsed.kind === "done" ? parsed.value.questions[0]?.name : undefined;
    // What a reader that takes less care could find there.
    const text = bytes.toString("latin1", 12).replace(/[\0-\x1f]/g, ".").toLowerCase(); // prettier-ignore
    const found = new Set([
      ...names,
      ...(read === undefined ? [] : [read]),
      ...(text.match(/[\w-][\w.-]*[\w-]/g) ?? []),
    ]);
    const all = [...found].slice(0, 12);
    path.clear("questions");
    all.forEach((name, rule) => path.allow({ name, rule, type }, at));
    const counted = path.classify(udp(at, {}, bytes)).counted;
    if (counted["allow-query"] !== 1) continue;
    passed++;
    const { value } = path.asked().find(({ key }) => key.id === bytes.readUInt16BE(0))!;
    assert.equal(all[value.rule], read, `round ${round}: ${bytes.toString("hex")}`);
    path.clear("asked");
  }
  assert.ok(passed > 150, String(passed));
});
