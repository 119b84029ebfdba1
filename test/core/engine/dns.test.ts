import assert from "node:assert/strict";
import { describe, it } from "node:test";
import dnsPacket from "dns-packet";
import { ip, tcp, udp } from "../../packets.js";
import { CLIENT, CLIENT6, Playbook, RESOLVER, SITE, SITE6 } from "./playbook.js";

const out = { src: CLIENT, dst: RESOLVER };
const back = { src: RESOLVER, dst: CLIENT };

function query(name: string, options: { id?: number; type?: "A" | "AAAA"; edns?: boolean } = {}): Buffer {
  return dnsPacket.encode({
    type: "query",
    id: options.id ?? 77,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type: options.type ?? "A", name, class: "IN" }],
    ...(options.edns
      ? { additionals: [{ type: "OPT", name: ".", udpPayloadSize: 1232, flags: 0, options: [] } as never] }
      : {}),
  });
}

function answer(
  name: string,
  answers: dnsPacket.Answer[],
  options: { id?: number; type?: "A" | "AAAA"; flags?: number } = {},
): Buffer {
  return dnsPacket.encode({
    type: "response",
    id: options.id ?? 77,
    flags: (options.flags ?? 0) | dnsPacket.RECURSION_DESIRED | dnsPacket.RECURSION_AVAILABLE,
    questions: [{ type: options.type ?? "A", name, class: "IN" }],
    answers,
  });
}

const a = (name: string, data: string, ttl = 300): dnsPacket.Answer => ({ type: "A", name, data, ttl, class: "IN" });
const aaaa = (name: string, data: string): dnsPacket.Answer => ({ type: "AAAA", name, data, ttl: 300, class: "IN" });
const cname = (name: string, data: string): dnsPacket.Answer => ({ type: "CNAME", name, data, ttl: 300, class: "IN" });

describe("DNS over UDP", () => {
  it("learns the addresses of an allowed name before the answer is released", () => {
    const play = new Playbook();
    assert.deepEqual(play.packet(udp(out, {}, query("www.x.io"))), ["count allow-query", "accept 1 mark=allow"]);
    const reply = udp(
      back,
      { sport: 53, dport: 40_000 },
      answer("www.x.io", [a("www.x.io", SITE), a("www.x.io", "198.51.100.8")]),
    );
    assert.deepEqual(play.packet(reply, { towardsClient: true }), [
      "learn www.x.io 198.51.100.7",
      "learn www.x.io 198.51.100.8",
      "accept 2",
      "ALLOW allow-answer www.x.io",
    ]);
    play.finish();
  });

  it("refuses a sibling name at once, with an answer", () => {
    const play = new Playbook();
    assert.deepEqual(play.packet(udp(out, {}, query("ww2.x.io", { edns: true }))), [
      "drop 1",
      "DENY dns-name ww2.x.io",
      `send dns rcode=5 to ${CLIENT}`,
    ]);
    play.finish();
  });

  it("answers NXDOMAIN or nothing if the policy says so", () => {
    assert.deepEqual(
      new Playbook({ dnsDeny: "nxdomain" }).packet(udp(out, {}, query("evil.io")))[2],
      `send dns rcode=3 to ${CLIENT}`,
    );
    assert.deepEqual(new Playbook({ dnsDeny: "drop" }).packet(udp(out, {}, query("evil.io"))), [
      "drop 1",
      "DENY dns-name evil.io",
    ]);
  });

  it("follows the CNAME chain from the question and learns nothing beside it", () => {
    const play = new Playbook();
    play.packet(udp(out, {}, query("www.x.io")));
    const records = [
      a("edge.cdn.net", SITE),
      cname("www.x.io", "x.cdn.net"),
      a("other.net", "198.51.100.9"),
      cname("x.cdn.net", "edge.cdn.net"),
    ];
    assert.deepEqual(
      play.packet(udp(back, { sport: 53, dport: 40_000 }, answer("www.x.io", records)), { towardsClient: true }),
      [`learn www.x.io ${SITE}`, "count dns-chain", "accept 2", "ALLOW allow-answer www.x.io"],
    );
    const learned = [...play.engine.learned()][0];
    assert.deepEqual(learned?.chain, ["www.x.io", "x.cdn.net", "edge.cdn.net"]);
  });

  for (const [what, reply] of [
    ["another id", udp(back, { sport: 53, dport: 40_000 }, answer("www.x.io", [a("www.x.io", SITE)], { id: 78 }))],
    ["another port", udp(back, { sport: 53, dport: 40_001 }, answer("www.x.io", [a("www.x.io", SITE)]))],
    [
      "another client",
      udp(
        { src: RESOLVER, dst: "192.168.77.3" },
        { sport: 53, dport: 40_000 },
        answer("www.x.io", [a("www.x.io", SITE)]),
      ),
    ],
  ] as const) {
    it(`drops an answer with ${what}, and still takes the real one`, () => {
      const play = new Playbook();
      play.packet(udp(out, {}, query("www.x.io")));
      assert.deepEqual(play.packet(reply, { towardsClient: true }), ["drop 2", "count dns-unsolicited"]);
      const real = udp(back, { sport: 53, dport: 40_000 }, answer("www.x.io", [a("www.x.io", SITE)]));
      assert.equal(play.packet(real, { towardsClient: true })[0], `learn www.x.io ${SITE}`);
    });
  }

  it("drops an answer to another question or in other letters (0x20)", () => {
    for (const name of ["y.y.io", "WWW.x.io"]) {
      const play = new Playbook();
      play.packet(udp(out, {}, query("www.x.io")));
      const reply = udp(back, { sport: 53, dport: 40_000 }, answer(name, [a(name, SITE)]));
      assert.deepEqual(play.packet(reply, { towardsClient: true }), ["drop 2", "DENY dns-unsolicited www.x.io"]);
    }
  });

  it("keeps a name asked in mixed case, and learns it in normal form", () => {
    const play = new Playbook();
    play.packet(udp(out, {}, query("wWw.X.io")));
    const reply = udp(back, { sport: 53, dport: 40_000 }, answer("wWw.X.io", [a("wWw.X.io", SITE)]));
    assert.equal(play.packet(reply, { towardsClient: true })[0], `learn www.x.io ${SITE}`);
  });

  it("passes answers of an untrusted resolver and learns nothing", () => {
    const play = new Playbook();
    const reply = udp(
      { src: "203.0.113.54", dst: CLIENT },
      { sport: 53, dport: 40_000 },
      answer("www.x.io", [a("www.x.io", SITE)]),
    );
    assert.deepEqual(play.packet(reply, { towardsClient: true }), ["accept 1"]);
  });

  it("denies a query to an untrusted resolver as an ordinary flow", () => {
    const play = new Playbook();
    assert.deepEqual(play.packet(udp({ src: CLIENT, dst: "203.0.113.54" }, {}, query("www.x.io"))), [
      "flow deny unlearned",
      "drop 1",
      "DENY unlearned",
      `send icmp 3/13 to ${CLIENT}`,
    ]);
  });

  it("does not learn addresses that a public name must not have, unless a CIDR rule allows them", () => {
    const records = [
      a("www.x.io", "10.1.2.3"),
      a("www.x.io", "169.254.169.254"),
      a("www.x.io", "127.0.0.1"),
      a("www.x.io", SITE),
    ];
    const reply = udp(back, { sport: 53, dport: 40_000 }, answer("www.x.io", records));
    const play = new Playbook();
    play.packet(udp(out, {}, query("www.x.io")));
    assert.deepEqual(play.packet(reply, { towardsClient: true }).slice(0, 4), [
      "count dns-rebind",
      "count dns-rebind",
      "count dns-rebind",
      `learn www.x.io ${SITE}`,
    ]);
    const open = new Playbook({ cidr: ["10.1.2.0/24"] });
    open.packet(udp(out, {}, query("www.x.io")));
    assert.deepEqual(open.packet(reply, { towardsClient: true })[0], "learn www.x.io 10.1.2.3");
  });

  it("does not learn IPv4 embedded in IPv6", () => {
    for (const address of [
      "::ffff:198.51.100.7",
      "64:ff9b::c633:6407",
      "2002:c633:6407::1",
      "fe80::1",
      "fd00::1",
      "::1",
    ]) {
      const play = new Playbook();
      play.packet(udp(out, {}, query("www.x.io", { type: "AAAA" })));
      const reply = udp(
        back,
        { sport: 53, dport: 40_000 },
        answer("www.x.io", [aaaa("www.x.io", address)], { type: "AAAA" }),
      );
      assert.equal(play.packet(reply, { towardsClient: true })[0], "count dns-rebind", address);
    }
  });

  it("releases a truncated or empty answer and learns nothing from it", () => {
    for (const flags of [dnsPacket.TRUNCATED_RESPONSE, 3]) {
      const play = new Playbook();
      play.packet(udp(out, {}, query("www.x.io")));
      const reply = udp(back, { sport: 53, dport: 40_000 }, answer("www.x.io", [a("www.x.io", SITE)], { flags }));
      assert.deepEqual(play.packet(reply, { towardsClient: true }), ["accept 2", "ALLOW allow-answer www.x.io"]);
    }
  });

  it("denies two questions, a response as a query, and bytes that are no message", () => {
    const two = dnsPacket.encode({
      type: "query",
      id: 1,
      questions: [
        { type: "A", name: "www.x.io" },
        { type: "A", name: "evil.io" },
      ],
    });
    for (const payload of [two, answer("www.x.io", []), Buffer.from("hello"), query("www.x.io").subarray(0, -1)]) {
      assert.deepEqual(new Playbook().packet(udp(out, {}, payload)), ["drop 1", "DENY dns-malformed"]);
    }
  });

  it("clamps the time to live: 0 lives a minute, a year a day and a minute", () => {
    for (const [ttl, alive] of [
      [0, 60_000],
      [31_536_000, 86_460_000],
    ] as const) {
      const play = new Playbook();
      play.packet(udp(out, {}, query("www.x.io")));
      play.packet(udp(back, { sport: 53, dport: 40_000 }, answer("www.x.io", [a("www.x.io", SITE, ttl)])), {
        towardsClient: true,
      });
      assert.equal([...play.engine.learned()][0]?.expires, play.now + alive);
    }
  });

  it("forgets an expired name in the kernel too, one minute later", () => {
    const play = new Playbook();
    play.packet(udp(out, {}, query("www.x.io")));
    play.packet(udp(back, { sport: 53, dport: 40_000 }, answer("www.x.io", [a("www.x.io", SITE, 60)])), {
      towardsClient: true,
    });
    assert.deepEqual(play.wait(179_999), []);
    assert.deepEqual(play.wait(1_001), [`forget www.x.io ${SITE} last`]);
  });

  it("does not let a decoy query with a bad checksum count", () => {
    const play = new Playbook();
    const bytes = Buffer.from(udp(out, {}, query("www.x.io")));
    bytes[27]! ^= 1;
    assert.deepEqual(play.packet(bytes), ["drop 1", "count checksum"]);
    assert.equal(play.packet(bytes, { checksumPending: true })[1], "accept 2 mark=allow");
  });

  it("gives packets to a resolver on this box no mark", () => {
    const play = new Playbook({ resolver: ["192.168.77.1"] });
    const bytes = udp({ src: CLIENT, dst: "192.168.77.1" }, {}, query("www.x.io"));
    assert.deepEqual(play.packet(bytes, { hook: "input" }), ["count allow-query", "accept 1"]);
    const other = udp({ src: CLIENT, dst: "192.168.77.254" }, {}, query("evil.io"));
    assert.deepEqual(play.packet(other, { hook: "input" }), ["accept 2"]);
  });

  it("learns from a resolver in another LAN, and passes what else goes there untouched", () => {
    const inside = "192.168.78.53";
    const play = new Playbook({ resolver: [inside] });
    const question = udp({ src: CLIENT, dst: inside }, {}, query("www.x.io"));
    assert.deepEqual(play.packet(question, { hook: "input" }), ["count allow-query", "accept 1"]);
    const other = udp({ src: CLIENT, dst: "192.168.78.54" }, {}, query("evil.io"));
    assert.deepEqual(play.packet(other, { hook: "input" }), ["accept 2"]);
    // It is a client itself, and so its answers come as a client's packets that are not on their way out.
    const reply = (src: string, bytes: Buffer) => udp({ src, dst: CLIENT }, { sport: 53, dport: 40_000 }, bytes);
    const good = answer("www.x.io", [a("www.x.io", SITE)]);
    assert.deepEqual(play.packet(reply("192.168.78.54", good), { hook: "input" }), ["accept 3"]);
    assert.deepEqual(play.packet(reply(inside, answer("www.x.io", [], { id: 9 })), { hook: "input", ifindexIn: 0 }), [
      "drop 4",
      "count dns-unsolicited",
    ]);
    assert.equal(play.packet(reply(inside, good), { hook: "input", ifindexIn: 0 })[0], `learn www.x.io ${SITE}`);
    // And it may ask somebody else.
    const asks = udp({ src: inside, dst: "192.168.77.1" }, { sport: 5300 }, query("evil.io"));
    assert.deepEqual(play.packet(asks, { hook: "input" }), ["accept 6"]);
  });

  it("takes an answer only from where the question went", () => {
    const play = new Playbook();
    play.packet(udp(out, {}, query("www.x.io")));
    const reply = udp(back, { sport: 53, dport: 40_000 }, answer("www.x.io", [a("www.x.io", SITE)]));
    assert.deepEqual(play.packet(reply, { towardsClient: true, ifindexIn: 2 }), ["drop 2", "count dns-unsolicited"]);
    assert.deepEqual(play.packet(reply, { towardsClient: true, ifindexIn: 0 }), ["drop 3", "count dns-unsolicited"]);
    assert.equal(play.packet(reply, { towardsClient: true })[0], `learn www.x.io ${SITE}`);
  });

  it("binds an AAAA answer that came over IPv4 to the same client", () => {
    const play = new Playbook();
    play.packet(udp(out, {}, query("www.x.io", { type: "AAAA" })));
    const reply = udp(
      back,
      { sport: 53, dport: 40_000 },
      answer("www.x.io", [aaaa("www.x.io", SITE6)], { type: "AAAA" }),
    );
    assert.equal(play.packet(reply, { towardsClient: true })[0], `learn www.x.io ${SITE6}`);
    const syn = tcp({ src: CLIENT6, dst: SITE6 }, { flags: "S" });
    assert.deepEqual(play.packet(syn), ["flow pending pending", "accept 3 mark=pending"]);
  });
});

const framed = (message: Buffer) => Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);

describe("DNS over TCP", () => {
  const c = { sport: 41_000, dport: 53 };
  const s = { sport: 53, dport: 41_000 };

  it("takes answers only from where the connection goes", () => {
    const play = new Playbook();
    play.packet(tcp(out, { ...c, seq: 999, flags: "S" }));
    const synAck = tcp(back, { ...s, seq: 4999, flags: "SA" });
    assert.deepEqual(play.packet(synAck, { towardsClient: true, ifindexIn: 2 }), ["drop 2", "count dns-unsolicited"]);
    assert.deepEqual(play.packet(synAck, { towardsClient: true }), ["accept 3"]);
    play.packet(tcp(out, { ...c, seq: 1000 }, framed(query("www.x.io"))));
    const reply = tcp(back, { ...s, seq: 5000 }, framed(answer("www.x.io", [a("www.x.io", SITE)])));
    assert.deepEqual(play.packet(reply, { towardsClient: true, ifindexIn: 2 }), ["drop 5", "count dns-unsolicited"]);
    assert.equal(play.packet(reply, { towardsClient: true })[0], `learn www.x.io ${SITE}`);
  });

  function connected(play: Playbook): Playbook {
    assert.deepEqual(play.packet(tcp(out, { ...c, seq: 999, flags: "S" })), ["accept 1 mark=allow"]);
    assert.deepEqual(play.packet(tcp(back, { ...s, seq: 4999, flags: "SA" }), { towardsClient: true }), ["accept 2"]);
    return play;
  }

  it("judges queries and learns answers, also split at every byte and pipelined", () => {
    const question = framed(query("www.x.io"));
    for (let cut = 1; cut < question.length; cut++) {
      const play = connected(new Playbook());
      assert.deepEqual(play.packet(tcp(out, { ...c, seq: 1000 }, question.subarray(0, cut))), []);
      assert.deepEqual(play.packet(tcp(out, { ...c, seq: 1000 + cut }, question.subarray(cut))), [
        "accept 3 mark=allow",
        "accept 4 mark=allow",
      ]);
    }
    const play = connected(new Playbook());
    play.packet(tcp(out, { ...c, seq: 1000 }, Buffer.concat([question, framed(query("a.y.io", { id: 78 }))])));
    const replies = Buffer.concat([
      framed(answer("a.y.io", [a("a.y.io", "198.51.100.9")], { id: 78 })),
      framed(answer("www.x.io", [a("www.x.io", SITE)])),
    ]);
    assert.deepEqual(
      play.packet(tcp(back, { ...s, seq: 5000 }, replies.subarray(0, 50)), { towardsClient: true }),
      ["learn a.y.io 198.51.100.9", "ALLOW allow-answer a.y.io"].slice(
        0,
        replies.subarray(0, 50).length >= 2 + answer("a.y.io", [a("a.y.io", "198.51.100.9")]).length ? 2 : 0,
      ),
    );
    const rest = play.packet(tcp(back, { ...s, seq: 5050 }, replies.subarray(50)), { towardsClient: true });
    assert.ok(rest.includes(`learn www.x.io ${SITE}`));
    assert.deepEqual(rest.slice(-2), ["accept 4", "accept 5"]);
    play.finish();
  });

  it("answers a denied name in the stream, ends it, and resets the resolver's side", () => {
    const play = connected(new Playbook());
    const lines = play.packet(tcp(out, { ...c, seq: 1000 }, framed(query("evil.io"))));
    assert.deepEqual(lines.slice(0, 2), ["drop 3", "DENY dns-name evil.io"]);
    assert.match(lines[2] ?? "", /^send tcp \d+ bytes to 192\.168\.77\.2$/);
    assert.equal(lines[3], `send rst to ${RESOLVER}`);
    play.finish();
  });

  it("holds an allowed query back if a denied one is pipelined behind it", () => {
    const play = connected(new Playbook());
    const both = Buffer.concat([framed(query("www.x.io")), framed(query("evil.io", { id: 9 }))]);
    assert.deepEqual(play.packet(tcp(out, { ...c, seq: 1000 }, both)).slice(0, 2), ["drop 3", "DENY dns-name evil.io"]);
  });

  it("denies the middle of a connection that it has not seen begin", () => {
    const play = new Playbook();
    assert.deepEqual(play.packet(tcp(out, { ...c, seq: 1000 }, framed(query("www.x.io")))), [
      "drop 1",
      "DENY mid-flow",
      `send rst to ${CLIENT}`,
    ]);
    assert.deepEqual(
      play.packet(tcp(back, { ...s }, framed(answer("www.x.io", [a("www.x.io", SITE)]))), { towardsClient: true }),
      ["drop 2", "count dns-unsolicited"],
    );
  });

  it("lets a long answer's beginning go on, never its end", () => {
    const play = connected(new Playbook());
    play.packet(tcp(out, { ...c, seq: 1000 }, framed(query("www.x.io"))));
    const many = Array.from({ length: 60 }, (_, i) => a("www.x.io", `198.51.100.${i + 1}`));
    const reply = framed(answer("www.x.io", many));
    const step = Math.ceil(reply.length / 10);
    let released = 0;
    for (let i = 0; i < 10; i++) {
      const lines = play.packet(tcp(back, { ...s, seq: 5000 + i * step }, reply.subarray(i * step, (i + 1) * step)), {
        towardsClient: true,
      });
      if (i < 9) {
        assert.equal(lines.filter((one) => one.startsWith("learn")).length, 0);
        released += lines.filter((one) => one.startsWith("accept")).length;
      } else {
        assert.equal(lines.filter((one) => one.startsWith("learn")).length, 60);
        assert.equal(lines.filter((one) => one.startsWith("accept")).length, 10 - released);
        assert.ok(
          lines.findLastIndex((one) => one.startsWith("learn")) < lines.findIndex((one) => one.startsWith("accept")),
        );
      }
    }
    assert.equal(released, 5);
    play.finish();
  });
});

describe("what is no DNS", () => {
  it("drops a fragment that was not put together", () => {
    const play = new Playbook();
    assert.deepEqual(play.packet(ip(out, 17, Buffer.alloc(32), undefined, { fragment: 0x2000 }))[1], "DENY fragment");
  });
});
