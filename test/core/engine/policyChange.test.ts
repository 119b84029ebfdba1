/** Another policy while the engine runs: which flows go on, and what becomes of names and questions that are under way. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import dnsPacket from "dns-packet";
import { FLOW_BY_HELLO, FLOW_OPENED, FLOW_QUIC, Reason } from "../../../src/core/abi.generated.js";
import { carryOver, type OldFlow } from "../../../src/core/engine/policyChange.js";
import { compilePolicies } from "../../../src/core/policy/compile.js";
import type { CompiledPolicy } from "../../../src/core/policy/compiledPolicy.js";
import type { PolicyFlags } from "../../../src/core/policy/flags.js";
import { hello } from "../../lab/hello.js";
import { PROTO, tcp, udp } from "../../packets.js";
import { DCID, flight, quicHello, shortPacket, longPacket } from "../../quic.js";
import { specOf } from "../policy/random.js";
import { addr, CLIENT, CLIENT_ID, Playbook, RESOLVER, SITE } from "./playbook.js";

const TCP = 6;

function policyFrom(flags: Partial<PolicyFlags>, firstRule = 1): CompiledPolicy {
  return compilePolicies([specOf(flags)], { firstRule, portSetBase: 0 }).policies[0] as CompiledPolicy;
}

describe("carryOver", () => {
  const site = addr(SITE);
  const old: Partial<PolicyFlags> = {
    domain: ["www.x.io", "*.y.io", ".z.io", "suffix:ome.com"],
    cidr: ["192.0.2.0/24"],
  };
  const rules = { cidr: 1, www: 2, below: 3, apex: 4, suffix: 5 };
  const byName: OldFlow = {
    verdict: "allow",
    reason: Reason.ALLOW_NAME,
    rule: rules.www,
    dst: site,
    proto: TCP,
    dport: 443,
  };
  const asked = (flow: OldFlow, flags: Partial<PolicyFlags>, before: Partial<PolicyFlags> = old) => {
    const was = policyFrom(before);
    const found = carryOver(
      flow,
      { verify: was.spec.verify, patternOf: (rule) => was.patternOf(rule) },
      policyFrom(flags, 101),
    );
    return found && [found.rule, found.reason];
  };

  it("by name: the new policy has a rule that covers the old one", () => {
    assert.deepEqual(asked(byName, { domain: ["other.io", "www.x.io"] }), [102, 0]);
    assert.deepEqual(asked(byName, { domain: ["*.x.io"] }), [101, 0]);
    assert.deepEqual(asked(byName, { domain: [".x.io"] }), [101, 0]);
    assert.deepEqual(asked(byName, { cn: ["x.io"] }), [101, 0]);
    assert.equal(asked(byName, { domain: ["www.x.io.evil.io", "ww.x.io"] }), undefined);
    for (const [rule, covering, not] of [
      [rules.below, ["*.y.io", ".y.io", "suffix:.y.io", "suffix:y.io", "*.io"], ["www.y.io", "y.io", "*.www.y.io"]],
      [rules.apex, [".z.io", "suffix:z.io", ".io"], ["*.z.io", "z.io", "suffix:.z.io"]],
      [rules.suffix, ["suffix:ome.com", "suffix:me.com"], [".ome.com", "*.ome.com", "ome.com", "suffix:.ome.com"]],
    ] as const) {
      for (const one of covering) assert.deepEqual(asked({ ...byName, rule }, { domain: [one] }), [101, 0], one);
      for (const one of not) assert.equal(asked({ ...byName, rule }, { domain: [one] }), undefined, one);
    }
    assert.deepEqual(asked({ ...byName, rule: rules.apex }, { domain: ["*.z.io", "z.io"] }), [101, 0], "two together");
  });

  it("the ports are the new ones", () => {
    assert.deepEqual(asked(byName, { domain: ["www.x.io"], port: ["tcp/443"] }), [101, 0]);
    assert.equal(asked(byName, { domain: ["www.x.io"], port: ["tcp/444", "udp/443"] }), undefined);
    assert.equal(asked({ ...byName, dport: 444 }, { domain: ["www.x.io"], port: ["tcp/443"] }), undefined);
  });

  it("QUIC that is to be denied from now on is, where a name belongs", () => {
    const quic: OldFlow = { ...byName, proto: PROTO.UDP };
    assert.deepEqual(asked(quic, { domain: ["www.x.io"] }), [101, 0]);
    assert.equal(asked(quic, { domain: ["www.x.io"], quic: "deny" }), undefined);
    assert.equal(asked({ ...quic, verdict: "pending" }, { domain: ["www.x.io"], quic: "deny" }), undefined);
    assert.deepEqual(asked(quic, { domain: ["www.x.io"], quic: "deny", verify: "dns" }), [101, 0]);
    assert.deepEqual(asked(byName, { domain: ["www.x.io"], quic: "deny" }), [101, 0], "TCP");
  });

  it("networks are asked first, as ever", () => {
    const inside: OldFlow = { ...byName, reason: Reason.ALLOW_CIDR, rule: rules.cidr, dst: addr("192.0.2.7") };
    assert.deepEqual(asked(inside, { cidr: ["192.0.2.0/25"] }), [101, Reason.ALLOW_CIDR]);
    assert.equal(asked(inside, { cidr: ["192.0.2.128/25"] }), undefined);
    assert.equal(asked(inside, { domain: ["www.x.io"] }), undefined, "no name is known of it");
    assert.equal(asked(inside, { cidr: ["192.0.2.0/24"], port: ["tcp/80"] }), undefined);
    assert.deepEqual(asked(byName, { domain: ["www.x.io"], cidr: ["198.51.100.0/24"] }), [101, Reason.ALLOW_CIDR]);
    assert.equal(asked(byName, { domain: ["www.x.io"], denyCidr: [`${SITE}/32`] }), undefined);
    assert.equal(asked({ ...byName, dport: 53 }, { domain: ["www.x.io"], resolver: [SITE] }), undefined, "DNS now");
  });

  it("a proof that the old policy didn't ask for is not taken for granted", () => {
    const byAddress: OldFlow = { ...byName, reason: Reason.ALLOW_ADDRESS, dport: 5432 };
    const table: [OldFlow, string, string, boolean][] = [
      [byName, "both", "both", true],
      [byName, "both", "dns", true],
      [byName, "both", "sni", true],
      [byName, "sni", "sni", true],
      [byName, "sni", "both", false],
      [byName, "sni", "dns", false],
      [byAddress, "both", "both", true],
      [byAddress, "both", "sni", false],
      [byAddress, "dns", "dns", true],
      [byAddress, "dns", "both", false],
      [byAddress, "dns", "sni", false],
      [{ ...byAddress, dport: 443 }, "both", "both", false],
      [{ ...byAddress, dport: 443 }, "dns", "dns", true],
    ];
    for (const [flow, before, now, goesOn] of table) {
      const found = asked(flow, { domain: ["www.x.io"], verify: now }, { ...old, verify: before });
      assert.equal(found !== undefined, goesOn, `${flow.reason} ${flow.dport}: ${before} -> ${now}`);
    }
    assert.equal(asked({ ...byAddress }, { domain: ["www.x.io"], namePort: ["5432"] }), undefined, "a name port now");
  });

  it("a handshake goes on where its first bytes will be judged", () => {
    const pending: OldFlow = { ...byName, verdict: "pending", reason: Reason.PENDING };
    assert.deepEqual(asked(pending, { domain: ["www.x.io"] }), [101, 0]);
    assert.deepEqual(asked(pending, { domain: ["other.io"] }), [0, 0]);
    assert.equal(asked(pending, { domain: ["www.x.io"], cidr: ["198.51.100.0/24"] }), undefined);
    assert.equal(asked(pending, { domain: ["www.x.io"], verify: "dns" }), undefined);
  });

  it("a rule of nobody's carries nothing", () => {
    assert.equal(asked({ ...byName, rule: 0 }, old), undefined);
    assert.equal(asked({ ...byName, rule: 77 }, old), undefined);
  });
});

describe("the engine under another policy", () => {
  const key = { policy: 1, src: addr(CLIENT), dst: addr(SITE), proto: TCP, sport: 40_000, dport: 443 };
  const ends = { src: CLIENT, dst: SITE };
  const change = (play: Playbook, flags: Partial<PolicyFlags>, firstRule = 1001) =>
    play.event({ type: "policies", policies: [policyFrom({ resolver: [RESOLVER], ...flags }, firstRule)], firstRule });
  const learn = (play: Playbook, name: string, address = SITE, seconds = 300) =>
    play.event({
      type: "restored",
      policy: 1,
      client: CLIENT_ID,
      name,
      address: addr(address),
      chain: [name],
      expires: play.now + seconds * 1000,
    });
  const outdated = (verdict: "allow" | "pending", rule: number) =>
    ({
      verdict,
      reason: verdict === "allow" ? Reason.ALLOW_NAME : Reason.PENDING,
      final: verdict === "allow",
      opened: true,
      released: false,
      fast: false,
      openedAt: 0,
      judgedStart: 1000,
      judgedEnd: 1000,
      outdated: { rule, flags: FLOW_OPENED | FLOW_BY_HELLO },
    }) as const;

  it("learned names: what isn't allowed any more goes, and holds its address no longer", () => {
    const play = new Playbook({ domain: ["www.x.io", "*.y.io"], resolver: [RESOLVER] });
    learn(play, "www.x.io", SITE, 100);
    learn(play, "a.y.io", SITE, 1000);
    learn(play, "b.y.io", "198.51.100.9");
    assert.deepEqual(change(play, { domain: ["*.y.io", "c.io"] }), [
      "forget www.x.io 198.51.100.7",
      "learn a.y.io 198.51.100.7",
    ]);
    assert.deepEqual(change(play, { domain: ["www.x.io"] }, 2001), [
      "forget a.y.io 198.51.100.7 last",
      "forget b.y.io 198.51.100.9 last",
    ]);
    assert.equal(play.engine.stats().learned, 0);
  });

  it("learned names: the longest-lived name goes, the address lives as long as the other", () => {
    const play = new Playbook({ domain: ["www.x.io", "*.y.io"], resolver: [RESOLVER] });
    learn(play, "www.x.io", SITE, 100);
    learn(play, "a.y.io", SITE, 1000);
    change(play, { domain: ["www.x.io"] });
    assert.deepEqual(
      [...play.engine.learnedCommands()].map(({ name, rule, shared, addressExpires }) => [
        name,
        rule,
        shared,
        addressExpires - play.now,
      ]),
      [["www.x.io", 1001, false, 100_000]],
    );
    assert.equal(play.engine.learnedAt(1, CLIENT_ID, addr(SITE))?.name, "www.x.io");
  });

  it("learned names: other ports are written at once, other rules only counted", () => {
    const play = new Playbook({ domain: ["www.x.io"], resolver: [RESOLVER] });
    learn(play, "www.x.io");
    assert.deepEqual(change(play, { domain: ["first.io", "www.x.io"] }), []);
    assert.deepEqual(
      [...play.engine.learnedCommands()].map(({ rule }) => rule),
      [1002],
    );
    assert.deepEqual(change(play, { domain: ["www.x.io"], port: ["tcp/443"] }, 2001), ["learn www.x.io 198.51.100.7"]);
  });

  it("learned names: what only the client said, under verify sni, is no proof for another verify", () => {
    for (const [verify, lines] of [
      ["sni", []],
      ["both", ["forget www.x.io 198.51.100.7 last"]],
      ["dns", ["forget www.x.io 198.51.100.7 last"]],
    ] as const) {
      const play = new Playbook({ domain: ["www.x.io"], resolver: [RESOLVER], verify: "sni" });
      for (const sport of [40_001, 40_002]) {
        play.cache({ ...key, sport }, { ...outdated("pending", 0), outdated: undefined });
        play.packet(tcp(ends, { sport, seq: 1000, flags: "A" }, hello("www.x.io")));
      }
      const [entry] = [...play.engine.learned()];
      assert.equal(entry?.name, "www.x.io");
      assert.deepEqual(change(play, { domain: ["www.x.io"], verify }), lines, verify);
      // A worker's news that comes late, or a journal.
      const { policy, client, name, address, chain, expires } = entry;
      const restored = play.event({ type: "restored", policy, client, name, address, chain, expires });
      assert.deepEqual(restored, [], verify);
      assert.equal(play.engine.stats().learned, verify === "sni" ? 1 : 0);
      play.finish();
    }
  });

  it("an answer to a question of a name that is denied by now teaches nothing", () => {
    for (const [domain, taught] of [
      [["www.x.io", "more.io"], true],
      [["more.io"], false],
    ] as const) {
      const play = new Playbook({ domain: ["www.x.io"], resolver: [RESOLVER] });
      const question = { type: "A", name: "www.x.io", class: "IN" } as const;
      play.packet(
        udp(
          { src: CLIENT, dst: RESOLVER },
          {},
          dnsPacket.encode({ type: "query", id: 77, flags: 256, questions: [question] }),
        ),
      );
      change(play, { domain });
      const answers = [{ type: "A", name: "www.x.io", data: SITE, ttl: 300, class: "IN" }] as const;
      const answer = dnsPacket.encode({
        type: "response",
        id: 77,
        flags: 256 | 128,
        questions: [question],
        answers: [...answers],
      });
      const lines = play.packet(udp({ src: RESOLVER, dst: CLIENT }, { sport: 53, dport: 40_000 }, answer), {
        towardsClient: true,
      });
      if (taught) assert.deepEqual(lines.slice(0, 2), ["learn www.x.io 198.51.100.7", "accept 2"]);
      else assert.deepEqual(lines, ["drop 2", "count dns-unsolicited"]);
      play.finish();
    }
  });

  it("a flow that nobody has looked at yet goes on by a covering rule, under its new number", () => {
    const play = new Playbook({ domain: ["www.x.io"], resolver: [RESOLVER] });
    change(play, { domain: ["*.x.io"] });
    play.cache(key, outdated("allow", 1));
    assert.deepEqual(play.packet(tcp(ends, { seq: 5000, flags: "A" }, Buffer.from("x"))), [
      "flow allow allow-name",
      "accept 1 mark=allow",
    ]);
    assert.equal(play.all.find((command) => command.type === "flowPut")?.rule, 1001);
    play.finish();
  });

  it("one that isn't allowed is denied, says why, and both ends hear of it", () => {
    const play = new Playbook({ domain: ["www.x.io"], resolver: [RESOLVER] });
    change(play, { domain: ["other.io"] });
    play.cache(key, outdated("allow", 1));
    const lines = play.packet(tcp(ends, { seq: 5000, flags: "A" }, Buffer.from("x")));
    assert.deepEqual(lines, [
      "flow deny mid-flow",
      "drop 1",
      "DENY mid-flow",
      `send rst to ${CLIENT}`,
      `send rst to ${SITE}`,
    ]);
    assert.equal(play.all.find((command) => command.type === "decision")?.detail, "the policy was changed");
    play.finish();
  });

  it("once it is settled, what is left of the policy before is denied", () => {
    const play = new Playbook({ domain: ["www.x.io"], resolver: [RESOLVER] });
    change(play, { domain: ["www.x.io"] });
    play.event({ type: "settled" });
    play.cache(key, outdated("allow", 1));
    assert.equal(play.packet(tcp(ends, { seq: 5000, flags: "A" }, Buffer.from("x")))[0], "flow deny mid-flow");
    play.finish();
  });

  it("bytes that were judged under the policy before prove nothing without the kernel's word", () => {
    const play = new Playbook({ domain: ["www.x.io"], resolver: [RESOLVER] });
    learn(play, "www.x.io");
    play.cache(key, { ...outdated("pending", 1), outdated: undefined });
    const bytes = hello("www.x.io");
    assert.match(play.packet(tcp(ends, { seq: 1000, flags: "A" }, bytes)).join(), /ALLOW allow-name www\.x\.io/);
    change(play, { domain: ["other.io"] });
    play.evict();
    assert.equal(play.packet(tcp(ends, { seq: 1000, flags: "A" }, bytes))[0], "flow deny mid-flow");
    play.finish();
  });

  it("bytes that climb on a flow that goes on don't bring the old rule's number back: the change after this one would cut it", () => {
    const play = new Playbook({ domain: ["www.x.io"], resolver: [RESOLVER] });
    learn(play, "www.x.io");
    play.cache(key, { ...outdated("pending", 1), outdated: undefined });
    const bytes = hello("www.x.io");
    play.packet(tcp(ends, { seq: 1000, flags: "A" }, bytes));
    change(play, { domain: ["*.x.io"] });
    play.cache(key, outdated("allow", 1));
    assert.equal(play.packet(tcp(ends, { seq: 1000 + bytes.length, flags: "A" }, Buffer.from("x")))[0], "flow allow allow-name"); // prettier-ignore
    assert.equal(play.all.findLast((command) => command.type === "flowPut")?.rule, 1001);
    play.finish();
  });

  it("a hello in pieces is judged by the policy that is there at its end", () => {
    for (const [domain, last] of [
      [["*.x.io"], /ALLOW allow-name www\.x\.io/],
      [["other.io"], /DENY name-denied www\.x\.io/],
    ] as const) {
      const play = new Playbook({ domain: ["www.x.io"], resolver: [RESOLVER] });
      learn(play, "www.x.io");
      play.cache(key, { ...outdated("pending", 1), outdated: undefined });
      const bytes = hello("www.x.io");
      assert.deepEqual(play.packet(tcp(ends, { seq: 1000, flags: "A" }, bytes.subarray(0, 50))), []);
      change(play, { domain });
      play.cache(key, outdated("pending", 1));
      assert.match(play.packet(tcp(ends, { seq: 1050, flags: "A" }, bytes.subarray(50))).join(), last);
      play.finish();
    }
  });

  describe("QUIC", () => {
    const quicKey = { ...key, proto: PROTO.UDP };
    const initial = (name: string, dcid = DCID) => flight(quicHello({ name }), { dcid })[0]!;
    const send = (play: Playbook, payload: Uint8Array) =>
      play.packet(udp(ends, { sport: 40_000, dport: 443 }, payload));
    const handshake = longPacket(Buffer.alloc(40, 2), { type: "handshake" });
    const opened = () => {
      const play = new Playbook({ domain: ["www.x.io", "a.y.io"], resolver: [RESOLVER] });
      for (const name of ["www.x.io", "a.y.io"]) learn(play, name);
      assert.equal(send(play, initial("www.x.io"))[0], "flow allow allow-name quic");
      return play;
    };
    const old = (rule: number) => ({ ...outdated("allow", rule), outdated: { rule, flags: FLOW_QUIC } });

    it("a flow goes on by a covering rule, and stays one of QUIC", () => {
      const play = opened();
      change(play, { domain: ["*.x.io"] });
      play.cache(quicKey, old(1));
      assert.deepEqual(send(play, handshake), ["flow allow allow-name quic", "accept 2 mark=allow"]);
      assert.equal(play.all.findLast((one) => one.type === "flowPut")?.rule, 1001);
      play.finish();
    });

    it("one that isn't allowed: what is judged again is denied, what isn't doesn't pass", () => {
      for (const [payload, first] of [
        [initial("www.x.io"), "flow deny name-denied"],
        [handshake, "drop 2"],
        [shortPacket(), "drop 2"],
      ] as const) {
        const play = opened();
        change(play, { domain: ["a.y.io"] });
        play.cache(quicKey, old(1));
        assert.equal(send(play, payload)[0], first);
        play.finish();
      }
    });

    it("connections of two names on the same ports go on together or not at all: the kernel's entry names no rule for both", () => {
      const play = opened();
      send(play, initial("a.y.io", Buffer.from("another1")));
      const rule = play.all.findLast((one) => one.type === "flowPut")?.rule;
      const before = policyFrom({ domain: ["www.x.io", "a.y.io"] });
      const flow = {
        verdict: "allow",
        reason: Reason.ALLOW_NAME,
        dst: addr(SITE),
        proto: PROTO.UDP,
        dport: 443,
      } as const;
      const predecessor = { verify: before.spec.verify, patternOf: (one: number) => before.patternOf(one) };
      const next = policyFrom({ domain: ["www.x.io", "a.y.io"] }, 1001);
      assert.ok(carryOver({ ...flow, rule: 1 }, predecessor, next));
      assert.equal(rule, 0);
      assert.equal(carryOver({ ...flow, rule }, predecessor, next), undefined);
      play.finish();
    });

    it("a hello in pieces is judged by the policy that is there at its end", () => {
      for (const [domain, last] of [
        [["*.x.io"], "ALLOW allow-name www.x.io"],
        [["a.y.io"], "DENY name-denied www.x.io"],
      ] as const) {
        const play = new Playbook({ domain: ["www.x.io", "a.y.io"], resolver: [RESOLVER] });
        for (const name of ["www.x.io", "a.y.io"]) learn(play, name);
        const [one, two] = flight(quicHello({ name: "www.x.io", more: 1_500 })) as [Buffer, Buffer];
        assert.deepEqual(send(play, one), []);
        change(play, { domain });
        assert.ok(send(play, two).includes(last));
        play.finish();
      }
    });
  });

  it("first bytes without a name, at an address that was forgotten meanwhile, are denied", () => {
    const database = { ...key, dport: 5432 };
    for (const [domain, verdict] of [
      [["*.x.io"], /ALLOW allow-address www\.x\.io/],
      [["other.io"], /DENY unlearned/],
    ] as const) {
      const play = new Playbook({ domain: ["www.x.io"], resolver: [RESOLVER] });
      learn(play, "www.x.io");
      change(play, { domain });
      play.cache(database, outdated("pending", 1));
      assert.match(
        play.packet(tcp(ends, { seq: 1000, dport: 5432, flags: "A" }, Buffer.from("SELECT"))).join(),
        verdict,
      );
      play.finish();
    }
  });
});
