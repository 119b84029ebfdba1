/** Questions that eBPF lets pass by itself: when it may, and what becomes of their answers here. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import dnsPacket from "dns-packet";
import type { AskedKey, AskedQuestion } from "../../../src/core/engine/asked.js";
import type { AllowQuestionCommand } from "../../../src/core/engine/commands.js";
import { defaultLimits } from "../../../src/core/engine/limits.js";
import { udp } from "../../packets.js";
import { addr, CLIENT, CLIENT_ID, Playbook, RESOLVER, SITE, SITE6 } from "./playbook.js";

const out = { src: CLIENT, dst: RESOLVER };
const ports = { sport: 53, dport: 40_000 };

type Type = "A" | "AAAA" | "TXT";

function query(name: string, type: Type = "A", id = 77): Uint8Array {
  const flags = dnsPacket.RECURSION_DESIRED;
  return udp(out, {}, dnsPacket.encode({ type: "query", id, flags, questions: [{ type, name, class: "IN" }] }));
}

function answer(
  name: string,
  answers: dnsPacket.Answer[],
  type: Type = "A",
  options: { id?: number; flags?: number } = {},
): Uint8Array {
  const bytes = dnsPacket.encode({
    type: "response",
    id: options.id ?? 77,
    flags: options.flags ?? 0,
    questions: [{ type, name, class: "IN" }],
    answers,
  });
  return udp({ src: RESOLVER, dst: CLIENT }, ports, bytes);
}

const a = (name: string, data = SITE, ttl = 300): dnsPacket.Answer => ({ type: "A", name, data, ttl, class: "IN" });
const back = { towardsClient: true };
const name = "www.x.io";

/** As it stands in the packet. */
const bytesOf = (packet: Uint8Array) => packet.slice(20 + 8 + 12);

/** eBPF has let this question pass. */
function asked(play: Playbook, change: Partial<AskedKey & AskedQuestion> = {}, packet = query(name)): void {
  const key: AskedKey = {
    source: addr(CLIENT),
    port: change.port ?? 40_000,
    resolver: addr(RESOLVER),
    id: change.id ?? 77,
    ifindex: change.ifindex ?? 3,
  };
  play.asked.set(JSON.stringify(key), {
    policy: change.policy ?? 1,
    client: CLIENT_ID,
    question: change.question ?? bytesOf(packet),
    askedAt: change.askedAt ?? play.now,
  });
}

describe("what eBPF may let pass", () => {
  it("is a question whose answer taught nothing new, for ten seconds", () => {
    const play = new Playbook();
    const once = (answers: dnsPacket.Answer[]) => {
      play.packet(query(name));
      return play.packet(answer(name, answers), back);
    };
    assert.ok(!once([a(name)]).some((line) => line.startsWith("question")), "the first time");
    assert.deepEqual(once([a(name)]).slice(-1), ["question www.x.io 1"]);
    const command = play.all.at(-1) as AllowQuestionCommand;
    assert.deepEqual(
      { ...command },
      {
        type: "allowQuestion",
        policy: 1,
        client: CLIENT_ID,
        resolver: addr(RESOLVER),
        name,
        questionType: 1,
        rule: [...play.engine.learned()][0]!.rule,
        ports: 0,
        expires: play.now + 10_000,
      },
    );
    assert.ok(!once([a(name), a(name, "198.51.100.8")]).some((line) => line.startsWith("question")), "one is new");
    play.wait(5_000);
    assert.deepEqual(once([a(name)]), [
      `learn www.x.io ${SITE}`,
      "accept 8",
      "ALLOW allow-answer www.x.io",
      "question www.x.io 1",
    ]);
    play.finish();
  });

  it("is one for an address, and no answer without one", () => {
    const play = new Playbook();
    const aaaa: dnsPacket.Answer = { type: "AAAA", name, data: SITE6, ttl: 300, class: "IN" };
    const txt: dnsPacket.Answer = { type: "TXT", name, data: "x", ttl: 300, class: "IN" };
    const lines = (type: Type, answers: dnsPacket.Answer[], flags = 0) => {
      let last: string[] = [];
      for (let i = 0; i < 3; i++) {
        play.packet(query(name, type));
        last = play.packet(answer(name, answers, type, { flags }), back);
      }
      return last.filter((line) => line.startsWith("question"));
    };
    assert.deepEqual(lines("AAAA", [aaaa]), ["question www.x.io 28"]);
    assert.deepEqual(lines("A", []), []);
    assert.deepEqual(lines("TXT", [txt]), []);
    assert.deepEqual(lines("A", [a(name)], 3), [], "NXDOMAIN");
    assert.deepEqual(lines("A", [a(name)], dnsPacket.TRUNCATED_RESPONSE), [], "truncated");
    assert.deepEqual(lines("A", [a(name, "10.0.0.1")]), [], "private");
  });

  it("is none that doesn't leave by eface", () => {
    const play = new Playbook();
    for (let i = 0; i < 3; i++) {
      play.packet(query(name), { hook: "input" });
      const lines = play.packet(answer(name, [a(name)]), { ...back, ifindexIn: 0 });
      assert.ok(!lines.some((line) => line.startsWith("question")), lines.join());
    }
  });
});

describe("answers to questions that eBPF let pass", () => {
  it("are judged and learned like others, once", () => {
    const play = new Playbook();
    asked(play);
    assert.deepEqual(play.packet(answer(name, [a(name)]), back), [
      `learn www.x.io ${SITE}`,
      "answered 77",
      "accept 1",
      "ALLOW allow-answer www.x.io",
    ]);
    assert.equal([...play.engine.learned()][0]!.client, CLIENT_ID);
    assert.equal(play.engine.stats().answersToKernel, 1);
    assert.deepEqual(play.packet(answer(name, [a(name)]), back), ["drop 2", "count dns-unsolicited"]);
    asked(play);
    assert.deepEqual(play.packet(answer(name, [a(name)]), back).slice(-1), ["question www.x.io 1"]);
    play.finish();
  });

  it("are dropped if they are to something else, or come from elsewhere; the real one may still come", () => {
    const play = new Playbook();
    asked(play);
    for (const [packet, options] of [
      [answer(name, [a(name)], "A", { id: 78 }), {}],
      [answer(name, [a(name)]), { ifindexIn: 2 }],
      [answer(name, [a(name)]), { ifindexIn: 9 }],
      [udp({ src: RESOLVER, dst: "192.168.77.3" }, ports, bytesOf(answer(name, []))), {}],
      [answer("WWW.x.io", [a(name)]), {}],
      [answer("www.y.io", [a(name)]), {}],
      [answer(name, [{ type: "AAAA", name, data: SITE6, ttl: 1, class: "IN" }], "AAAA"), {}],
    ] as const) {
      const lines = play.packet(packet, { ...back, ...options });
      assert.match(lines[0]!, /^drop/);
      assert.equal(play.asked.size, 1);
    }
    assert.equal([...play.engine.learned()].length, 0);
    assert.equal(play.packet(answer(name, [a(name)]), back)[0], `learn www.x.io ${SITE}`);
  });

  it("are nobody's once it is too long ago, or if the policy doesn't know the name", () => {
    for (const change of [
      { askedAt: 1_000_000 - defaultLimits.queryMs },
      { policy: 2 },
      { question: bytesOf(query("www.denied.io")) },
      { question: new Uint8Array(0) },
      { question: Buffer.from([5, 1, 2]) },
    ]) {
      const play = new Playbook();
      asked(play, change);
      const denied = answer("www.denied.io", [a("www.denied.io")]);
      for (const packet of [answer(name, [a(name)]), denied])
        assert.deepEqual(play.packet(packet, back).slice(-1), ["count dns-unsolicited"]);
    }
  });

  it("are found beside an older question of the engine's own with the same id", () => {
    const play = new Playbook();
    play.packet(query("a.y.io"));
    asked(play);
    assert.deepEqual(play.packet(answer(name, [a(name)]), back).slice(0, 2), [`learn www.x.io ${SITE}`, "answered 77"]);
    assert.equal(play.packet(answer("a.y.io", [a("a.y.io")]), back)[0], `learn a.y.io ${SITE} shared`);
  });

  it("are not asked for where the engine knows the question itself", () => {
    const play = new Playbook();
    asked(play);
    play.packet(query(name));
    assert.ok(!play.packet(answer(name, [a(name)]), back).includes("answered 77"));
    assert.equal(play.asked.size, 1, "two were asked");
  });
});
