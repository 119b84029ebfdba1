import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PolicyFlags } from "../../../src/core/policy/parse.js";
import { CommandList } from "../../../src/core/engine/commandList.js";
import type { ClientId } from "../../../src/core/engine/events.js";
import type { EngineLimits } from "../../../src/core/engine/limits.js";
import { clientHello, ip, ping, tcp, udp } from "../../packets.js";
import { addr, CLIENT, CLIENT6, CLIENT_ID, Playbook, SITE, SITE6 } from "./playbook.js";

const v4 = { src: CLIENT, dst: SITE };
const v6 = { src: CLIENT6, dst: SITE6 };
const hello = clientHello(["www.x.io"]);
const evil = clientHello(["www.evil.io"]);
const http = Buffer.from("GET / HTTP/1.1\r\nHost: www.x.io\r\n\r\n");

/** A playbook in which the client has learned the site's addresses for www.x.io. */
function learned(flags: Partial<PolicyFlags> = {}, limits: Partial<EngineLimits> = {}): Playbook {
  const play = new Playbook(flags, limits);
  for (const address of [SITE, SITE6]) {
    play.event({
      type: "restored",
      policy: play.policy,
      client: CLIENT_ID,
      name: "www.x.io",
      address: addr(address),
      chain: ["www.x.io"],
      expires: play.now + 300_000,
    });
  }
  return play;
}

/** Handshake: SYN (packet 1) with ISN 999; the first payload byte is 1000. */
function opened(play: Playbook, ends = v4, dport = 443): Playbook {
  const syn = tcp(ends, { seq: 999, flags: "S", dport });
  assert.deepEqual(play.packet(syn), ["flow pending pending", "accept 1 mark=pending"]);
  play.answer();
  return play;
}

const allowedHello = (ids: number[], bytes: Uint8Array) => [
  `flow allow allow-name judged=${bytes.length}`,
  ...ids.map((id) => `accept ${id} mark=allow`),
  "ALLOW allow-name www.x.io",
];

describe("verify both", () => {
  for (const [family, ends] of [
    ["IPv4", v4],
    ["IPv6", v6],
  ] as const) {
    it(`allows the bound name over ${family}, in one packet`, () => {
      const play = opened(learned(), ends);
      assert.deepEqual(play.packet(tcp(ends, { seq: 1000 }, hello)), allowedHello([2], hello));
      play.finish();
    });
  }

  it("gives the same verdict wherever the hello is cut in two, in order or not", () => {
    for (let cut = 1; cut < hello.length; cut++) {
      const inOrder = opened(learned());
      assert.deepEqual(inOrder.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, cut))), []);
      assert.deepEqual(inOrder.packet(tcp(v4, { seq: 1000 + cut }, hello.subarray(cut))), allowedHello([2, 3], hello));
      const swapped = opened(learned());
      assert.deepEqual(swapped.packet(tcp(v4, { seq: 1000 + cut }, hello.subarray(cut))), []);
      assert.deepEqual(swapped.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, cut))), allowedHello([2, 3], hello));
    }
  });

  it("judges one-byte segments, letting the sender's window open", () => {
    for (const [bytes, verdict] of [
      [hello, "ALLOW allow-name www.x.io"],
      [evil, "DENY name-denied www.evil.io"],
    ] as const) {
      const play = opened(learned());
      const seen: string[] = [];
      for (let i = 0; i < bytes.length; i++) {
        const lines = play.packet(tcp(v4, { seq: 1000 + i }, bytes.subarray(i, i + 1)));
        seen.push(...lines);
        assert.ok(play.engine.stats().heldPackets <= 4);
        if (lines.some((one) => one.startsWith("flow") && !one.endsWith("released"))) break;
      }
      assert.ok(seen.includes(verdict), seen.slice(-4).join("; "));
      assert.ok(seen.filter((one) => one.endsWith("mark=pending")).length > 50);
      play.finish();
    }
  });

  it("lets the beginning of a hello go on when its sender repeats it instead of going on", () => {
    const play = opened(learned());
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, 40))), []);
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, 40))), [
      "flow pending pending released",
      "accept 2 mark=pending",
      "drop 3",
    ]);
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, 40))), ["accept 4 mark=pending"]);
    assert.deepEqual(play.packet(tcp(v4, { seq: 1040 }, hello.subarray(40))), allowedHello([5], hello));
    // Behind a gap nothing goes on.
    const gap = opened(learned());
    assert.deepEqual(gap.packet(tcp(v4, { seq: 1010 }, hello.subarray(10, 40))), []);
    assert.deepEqual(gap.packet(tcp(v4, { seq: 1010 }, hello.subarray(10, 40))), ["drop 3"]);
    gap.finish();
  });

  it("denies a sibling, a parent and a child of the allowed name, and resets both ends", () => {
    for (const name of ["ww2.x.io", "x.io", "a.www.x.io", "y.io"]) {
      const play = opened(learned());
      assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, clientHello([name]))), [
        "drop 2",
        "flow deny name-denied",
        `DENY name-denied ${name}`,
        `send rst to ${CLIENT}`,
        `send rst to ${SITE}`,
      ]);
      play.finish();
    }
  });

  it("keeps silent if the policy says drop", () => {
    const play = opened(learned({ reject: "drop" }));
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, evil)), [
      "drop 2",
      "flow deny name-denied",
      "DENY name-denied www.evil.io",
    ]);
  });

  it("denies an allowed name on an address that was learned for another one", () => {
    const play = opened(learned());
    const lines = play.packet(tcp(v4, { seq: 1000 }, clientHello(["a.y.io"])));
    assert.deepEqual(lines.slice(0, 3), ["drop 2", "flow deny name-ip-mismatch", "DENY name-ip-mismatch a.y.io"]);
  });

  it("denies what another client learned", () => {
    const play = learned();
    const lines = play.packet(tcp(v4, { seq: 999, flags: "S" }), { client: "another client 1" as ClientId });
    assert.deepEqual(lines, ["drop 1", "DENY unlearned", `send rst to ${CLIENT}`]);
  });

  it("denies a SYN to an address that was never learned, or too long ago", () => {
    const play = learned();
    assert.equal(play.packet(tcp({ src: CLIENT, dst: "198.51.100.8" }, { flags: "S" }))[1], "DENY unlearned");
    play.now += 300_000;
    assert.equal(play.packet(tcp(v4, { flags: "S" }))[1], "DENY expired www.x.io");
  });

  it("keeps a flow whose name expires between SYN and hello", () => {
    const play = opened(learned());
    play.now += 300_000;
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, hello)), allowedHello([2], hello));
  });

  it("allows HTTP by its Host, denies another Host", () => {
    assert.deepEqual(
      opened(learned(), v4, 80).packet(tcp(v4, { seq: 1000, dport: 80 }, http)),
      allowedHello([2], http),
    );
    const other = Buffer.from("GET / HTTP/1.1\r\nHost: www.evil.io\r\n\r\n");
    assert.equal(
      opened(learned(), v4, 80).packet(tcp(v4, { seq: 1000, dport: 80 }, other))[2],
      "DENY name-denied www.evil.io",
    );
  });

  it("waits for the whole of a second request that has begun, and denies it for another Host", () => {
    const more = (host: string) => Buffer.concat([http, Buffer.from(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)]);
    for (const [bytes, line] of [
      [more("www.x.io"), "ALLOW allow-name www.x.io"],
      [more("evil.io"), "DENY hello-malformed"],
    ] as const) {
      const play = opened(learned(), v4, 80);
      const half = http.length + 20;
      assert.deepEqual(play.packet(tcp(v4, { seq: 1000, dport: 80 }, bytes.subarray(0, half))), []);
      assert.ok(play.packet(tcp(v4, { seq: 1000 + half, dport: 80 }, bytes.subarray(half))).includes(line));
    }
  });

  it("allows a request whose body in the same packet is larger than the bound", () => {
    const head = Buffer.from("POST / HTTP/1.1\r\nHost: www.x.io\r\nContent-Length: 40000\r\n\r\n");
    const request = Buffer.concat([head, Buffer.alloc(40_000, 0x61)]);
    const lines = opened(learned(), v4, 80).packet(tcp(v4, { seq: 1000, dport: 80 }, request));
    assert.deepEqual(lines, ["flow allow allow-name judged=16384", "accept 2 mark=allow", "ALLOW allow-name www.x.io"]);
  });

  it("wants a name on the ports where one belongs, and only there", () => {
    const raw = Buffer.from("SSH-2.0-OpenSSH_9.2\r\n");
    assert.deepEqual(
      opened(learned())
        .packet(tcp(v4, { seq: 1000 }, raw))
        .slice(0, 3),
      ["drop 2", "flow deny no-name", "DENY no-name"],
    );
    assert.deepEqual(opened(learned(), v4, 22).packet(tcp(v4, { seq: 1000, dport: 22 }, raw)), [
      `flow allow allow-address judged=${raw.length}`,
      "accept 2 mark=allow",
      "ALLOW allow-address www.x.io",
    ]);
    // TLS is recognised on any port.
    assert.equal(
      opened(learned(), v4, 22).packet(tcp(v4, { seq: 1000, dport: 22 }, evil))[2],
      "DENY name-denied www.evil.io",
    );
  });

  it("denies a hello without a name, with two, with an address, with a NUL", () => {
    const cases: [Buffer, string][] = [
      [clientHello([]), "no-name"],
      [clientHello(["www.x.io", "www.evil.io"]), "hello-malformed"],
      [clientHello(["198.51.100.7"]), "no-name"],
      [clientHello(["www.x.io\0.evil.io"]), "hello-malformed"],
    ];
    for (const [bytes, reason] of cases) {
      assert.equal(opened(learned()).packet(tcp(v4, { seq: 1000 }, bytes))[1], `flow deny ${reason}`);
    }
  });

  it("treats case and a trailing dot as the same name", () => {
    assert.equal(
      opened(learned())
        .packet(tcp(v4, { seq: 1000 }, clientHello(["WwW.x.IO"])))
        .at(-1),
      "ALLOW allow-name www.x.io",
    );
  });

  it("denies overlapping segments that disagree, chooses neither", () => {
    const play = opened(learned());
    play.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, 60)));
    assert.deepEqual(play.packet(tcp(v4, { seq: 1030 }, evil.subarray(31, 90))).slice(0, 4), [
      "drop 2",
      "flow deny overlap",
      "drop 3",
      "DENY overlap",
    ]);
    play.finish();
  });

  it("discards decoys that the server would discard: no ACK, reset with data, MD5 option", () => {
    const md5 = Buffer.from([19, 18, ...Array<number>(16).fill(7), 1, 1]);
    for (const [options, line] of [
      [{ flags: "P" }, "DENY malformed"],
      [{ flags: "RPA" }, "count malformed"],
      [{ tcpOptions: md5 }, "count malformed"],
    ] as const) {
      const play = opened(learned());
      assert.deepEqual(play.packet(tcp(v4, { seq: 1000, ...options }, hello)), ["drop 2", line]);
      assert.equal(play.packet(tcp(v4, { seq: 1000 }, evil))[2], "DENY name-denied www.evil.io");
    }
    const play = opened(learned());
    const bad = Buffer.from(tcp(v4, { seq: 1000 }, hello));
    bad[37]! ^= 0xff;
    assert.deepEqual(play.packet(bad), ["drop 2", "count checksum"]);
    assert.deepEqual(play.packet(tcp(v4, { seq: 200_000 }, hello)), ["drop 3", "count malformed"]);
  });

  it("denies urgent bytes", () => {
    assert.equal(
      opened(learned()).packet(tcp(v4, { seq: 1000, flags: "PAU", urgent: 5 }, hello))[2],
      "DENY hello-malformed",
    );
  });

  it("cuts off data in the SYN, judges it when it comes again", () => {
    for (const ends of [v4, v6]) {
      const play = learned();
      const lines = play.packet(tcp(ends, { seq: 999, flags: "S" }, evil));
      assert.deepEqual(lines, ["flow pending pending", "accept 1 mark=pending changed"]);
      const passed = play.all.find((one) => one.type === "verdict")!.bytes!;
      assert.deepEqual(Buffer.from(passed), tcp(ends, { seq: 999, flags: "S" }));
      play.answer();
      assert.equal(play.packet(tcp(ends, { seq: 1000 }, evil))[2], "DENY name-denied www.evil.io");
    }
  });

  it("judges nothing before the server has said where the stream begins", () => {
    const play = learned();
    play.packet(tcp(v4, { seq: 999, flags: "S" }));
    assert.equal(play.packet(tcp(v4, { seq: 1000 }, hello))[2], "DENY mid-flow");
    // A second SYN, which the server ignores, so that what it will read lies behind the judged range.
    const moved = opened(learned());
    assert.deepEqual(moved.packet(tcp(v4, { seq: 999 - hello.length, flags: "S" })), [
      "flow pending pending",
      "accept 2 mark=pending",
    ]);
    assert.equal(moved.packet(tcp(v4, { seq: 1000 - hello.length }, hello))[2], "DENY mid-flow");
    assert.deepEqual(moved.packet(tcp(v4, { seq: 1000 }, evil)), ["drop 4", "count mid-flow"]);
  });

  it("denies a SYN with FIN or RST", () => {
    for (const flags of ["SF", "SR"]) {
      assert.equal(learned().packet(tcp(v4, { seq: 999, flags }))[1], "DENY malformed");
    }
  });

  it("accepts a retransmitted SYN, begins anew at another one", () => {
    const play = opened(learned());
    assert.deepEqual(play.packet(tcp(v4, { seq: 999, flags: "S" })), ["accept 2 mark=pending"]);
    play.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, 10)));
    assert.deepEqual(play.packet(tcp(v4, { seq: 70_000, flags: "S" })), [
      "flow pending pending",
      "accept 4 mark=pending",
    ]);
    play.answer();
    assert.deepEqual(play.packet(tcp(v4, { seq: 70_001 }, hello)), ["drop 3", ...allowedHello([5], hello)]);
    play.finish();
  });

  it("loses no state to a reset or FIN", () => {
    const play = opened(learned());
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000, flags: "R" })), ["accept 2 mark=pending"]);
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000, flags: "FA" })), ["accept 3 mark=pending"]);
    assert.equal(play.packet(tcp(v4, { seq: 1000 }, evil))[2], "DENY name-denied www.evil.io");
  });

  it("accepts the judged bytes again, revokes the flow at others", () => {
    const play = opened(learned());
    play.packet(tcp(v4, { seq: 1000 }, hello));
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, hello)), ["accept 3 mark=allow"]);
    assert.deepEqual(play.packet(tcp(v4, { seq: 1010 }, Buffer.concat([hello.subarray(10), Buffer.from("more")]))), [
      "accept 4 mark=allow",
    ]);
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, evil)), [
      "flow deny rewritten",
      "drop 5",
      "DENY rewritten",
      `send rst to ${CLIENT}`,
      `send rst to ${SITE}`,
    ]);
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, hello)), ["drop 6", "count rewritten"]);
  });

  it("denies the middle of a flow that it has not seen begin", () => {
    assert.deepEqual(learned().packet(tcp(v4, { seq: 1000 }, hello)), [
      "flow deny mid-flow",
      "drop 1",
      "DENY mid-flow",
      `send rst to ${CLIENT}`,
    ]);
  });

  it("puts an evicted flow back while its judged bytes are remembered", () => {
    const play = opened(learned());
    play.packet(tcp(v4, { seq: 1000 }, hello));
    play.evict();
    const later = tcp(v4, { seq: 1000 + hello.length }, Buffer.from("application data"));
    assert.deepEqual(play.packet(later), [`flow allow allow-name judged=${hello.length}`, "accept 3 mark=allow"]);
  });

  it("denies what isn't QUIC on its port, lets other UDP and echo through to a learned address, denies their neighbours", () => {
    const play = learned();
    assert.deepEqual(play.packet(udp(v4, { dport: 443 }, Buffer.from("x"))).slice(0, 2), ["drop 1", "DENY quic"]);
    assert.equal(play.packet(udp(v4, { dport: 444 }, Buffer.from("x"))).at(-1), "ALLOW allow-address www.x.io");
    assert.equal(
      play.packet(udp({ src: CLIENT, dst: "198.51.100.8" }, { dport: 444 }, Buffer.from("x")))[0],
      "flow deny unlearned",
    );
    assert.equal(play.packet(ping(v4)).at(-1), "ALLOW allow-address www.x.io");
    assert.equal(play.packet(ping(v6)).at(-1), "ALLOW allow-address www.x.io");
    assert.equal(play.packet(ping({ src: CLIENT, dst: "198.51.100.8" }))[0], "flow deny unlearned");
  });

  it("holds to the ports that the rules allow", () => {
    const play = learned({ port: ["tcp/443"] });
    assert.equal(play.packet(tcp(v4, { seq: 999, flags: "S", dport: 444 }))[1], "DENY port www.x.io");
    assert.equal(play.packet(udp(v4, { dport: 444 }, Buffer.from("x")))[0], "flow deny port");
    assert.equal(
      opened(learned({ port: ["tcp/443"] }))
        .packet(tcp(v4, { seq: 1000 }, hello))
        .at(-1),
      "ALLOW allow-name www.x.io",
    );
  });
});

describe("verify sni", () => {
  it("decides by the name alone", () => {
    const play = opened(new Playbook({ verify: "sni" }));
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, hello)), allowedHello([2], hello));
    assert.equal(
      opened(new Playbook({ verify: "sni" })).packet(tcp(v4, { seq: 1000 }, evil))[1],
      "flow deny name-denied",
    );
  });

  it("binds a name that comes twice from one client to one address, for the kernel; once, or with others, is not twice", () => {
    const play = new Playbook({ verify: "sni" });
    let sport = 40_000;
    const connect = (bytes: Uint8Array, ends = v4, client = CLIENT_ID) => {
      sport++;
      play.packet(tcp(ends, { seq: 999, flags: "S", sport }), { client });
      play.answer();
      return play.packet(tcp(ends, { seq: 1000, sport }, bytes), { client }).filter((line) => line.startsWith("learn"));
    };
    const other = "\x01\0\0\0\0\0\x02\0\0\0\0\x09\0\0\0\0" as ClientId;
    for (const once of [
      () => connect(hello),
      () => connect(hello, v4, other),
      () => connect(hello, { ...v4, dst: "198.51.100.8" }),
      () => connect(hello, v6),
      () => connect(clientHello(["a.y.io"])),
      () => connect(evil),
      () => connect(evil),
    ]) {
      assert.deepEqual(once(), []);
    }
    assert.deepEqual(connect(hello), [`learn www.x.io ${SITE}`]);
    assert.deepEqual(connect(hello), [], "within a second nothing is new");
    play.now += 600_001;
    assert.deepEqual(connect(hello), [], "forgotten");
    assert.deepEqual(connect(hello), [`learn www.x.io ${SITE}`]);
    // It opens nothing but what its name opens.
    assert.equal(play.packet(udp(v4, { dport: 9000 }, Buffer.from("x")))[0], "flow deny no-name");
    assert.equal(connect(evil).length, 0);
  });

  it("denies what carries no name, on any port", () => {
    assert.equal(
      opened(new Playbook({ verify: "sni" }), v4, 22).packet(
        tcp(v4, { seq: 1000, dport: 22 }, Buffer.from("SSH-2.0-x\r\n")),
      )[1],
      "flow deny no-name",
    );
    assert.deepEqual(new Playbook({ verify: "sni" }).packet(udp(v4, { dport: 443 }, Buffer.from("x"))).slice(0, 2), [
      "drop 1",
      "DENY quic",
    ]);
    assert.equal(
      new Playbook({ verify: "sni", quic: "deny" }).packet(udp(v4, { dport: 443 }, Buffer.from("x")))[0],
      "flow deny quic",
    );
    assert.equal(
      new Playbook({ verify: "sni" }).packet(udp(v4, { dport: 9000 }, Buffer.from("x")))[0],
      "flow deny no-name",
    );
  });
});

describe("verify dns", () => {
  it("decides by the address alone, also in the middle of a flow", () => {
    assert.deepEqual(learned({ verify: "dns" }).packet(tcp(v4, { seq: 999, flags: "S" })), [
      "flow allow allow-address",
      "accept 1 mark=allow",
      "ALLOW allow-address www.x.io",
    ]);
    assert.equal(
      learned({ verify: "dns" })
        .packet(tcp(v4, { seq: 1000 }, evil))
        .at(-1),
      "ALLOW allow-address www.x.io",
    );
    assert.equal(
      learned({ verify: "dns" })
        .packet(udp(v4, { dport: 443 }, Buffer.from("x")))
        .at(-1),
      "ALLOW allow-address www.x.io",
    );
    assert.equal(
      learned({ verify: "dns" }).packet(tcp({ src: CLIENT, dst: "198.51.100.8" }, { flags: "S" }))[1],
      "DENY unlearned",
    );
  });
});

describe("what eBPF judged", () => {
  const key = { policy: 1, src: addr(CLIENT), dst: addr(SITE), proto: 6, sport: 40_000, dport: 443 };
  const judgedEnd = 1000 + hello.length;
  const allowed = {
    verdict: "allow",
    reason: 5,
    final: false,
    opened: true,
    released: false,
    fast: false,
    openedAt: 0,
    judgedStart: 1000,
    judgedEnd,
  } as const;

  it("is revoked when its beginning comes in other pieces, until the server has acknowledged it", () => {
    const play = learned();
    play.cache(key, allowed);
    const lines = play.packet(tcp(v4, { seq: 1001 }, evil.subarray(1)));
    assert.deepEqual(lines, [
      "flow deny rewritten",
      "drop 1",
      "DENY rewritten",
      `send rst to ${CLIENT}`,
      `send rst to ${SITE}`,
    ]);
    const final = learned();
    final.cache(key, { ...allowed, final: true });
    assert.deepEqual(final.packet(tcp(v4, { seq: 1001 }, hello.subarray(1))), ["accept 1 mark=allow"]);
  });

  it("while this engine held a part of it: the part is dropped, the flow revoked", () => {
    const play = opened(learned());
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, evil.subarray(0, 20))), []);
    play.cache(key, allowed);
    assert.deepEqual(play.packet(tcp(v4, { seq: 1020 }, evil.subarray(20))).slice(0, 3), [
      "drop 2",
      "flow deny rewritten",
      "drop 3",
    ]);
    play.finish();
  });

  it("keeps to netfilter's way or past it, whoever judged", () => {
    for (const fast of [true, false]) {
      const play = learned();
      play.cache(key, { ...allowed, verdict: "pending", judgedEnd: 1000, fast });
      const put = `flow allow allow-name judged=${hello.length}${fast ? " fast" : ""}`;
      assert.equal(play.packet(tcp(v4, { seq: 1000 }, hello))[0], put);
      play.evict();
      assert.equal(play.packet(tcp(v4, { seq: 1000 + hello.length }, hello))[0], put);
    }
  });

  it("lets an ICMP error about it go to its server, and no other", () => {
    const tooBig = (ends: typeof v4, quoted: Uint8Array, type = ends === v4 ? 3 : 2) => {
      const body = Buffer.concat([Buffer.alloc(8), quoted.subarray(0, ends === v4 ? 28 : 80)]);
      body[0] = type;
      return ip(ends, ends === v4 ? 1 : 58, body, 2);
    };
    for (const ends of [v4, v6]) {
      const back = { src: ends.dst, dst: ends.src };
      const quoted = tcp(back, { sport: 443, dport: 40_000 }, Buffer.alloc(100));
      const play = learned();
      const flow = { ...key, src: addr(ends.src), dst: addr(ends.dst) };
      assert.equal(play.packet(tooBig(ends, quoted)).includes("DENY protocol"), true, "nothing is known");
      play.cache(flow, allowed);
      assert.deepEqual(play.packet(tooBig(ends, quoted)), ["count allow-reply", "accept 2 mark=allow"]);
      // Another port, another server, a direct message, a truncated one, another type.
      for (const bytes of [
        tooBig(ends, tcp(back, { sport: 443, dport: 40_001 }, Buffer.alloc(100))),
        tooBig({ ...ends, dst: ends === v4 ? "198.51.100.8" : "2001:db8:51::8" }, quoted),
        tooBig(ends, tcp(ends, { sport: 40_000, dport: 443 }, Buffer.alloc(100))),
        tooBig(ends, quoted.subarray(0, ends === v4 ? 23 : 43)),
        tooBig(ends, quoted, ends === v4 ? 5 : 135),
      ]) {
        assert.ok(!play.packet(bytes).some((line) => line.startsWith("accept")));
      }
      play.cache(flow, { ...allowed, verdict: "pending" });
      assert.ok(!play.packet(tooBig(ends, quoted)).some((line) => line.startsWith("accept")));
    }
  });

  it("counts a binding's time from the SYN", () => {
    const play = opened(learned());
    play.now += 300_001;
    assert.equal(play.packet(tcp(v4, { seq: 1000 }, hello)).at(-1), "ALLOW allow-name www.x.io");
    const late = learned();
    late.now += 300_001;
    late.cache(key, { ...allowed, verdict: "pending", openedAt: late.now, judgedEnd: 1000 });
    assert.equal(late.packet(tcp(v4, { seq: 1000 }, hello))[2], "DENY name-ip-mismatch www.x.io");
  });
});

describe("bounds", () => {
  it("denies a hello that is not complete in time", () => {
    const play = opened(learned());
    play.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, 20)));
    assert.deepEqual(play.wait(9_999), []);
    assert.deepEqual(play.wait(1), [
      "drop 2",
      "flow deny hello-timeout",
      "DENY hello-timeout",
      "send rst to 192.168.77.2",
      "send rst to 198.51.100.7",
    ]);
    play.finish();
  });

  it("denies a hello beyond the bound", () => {
    const play = opened(learned({}, { helloBytes: 400 }));
    const long = clientHello(["www.x.io"], { pad: 500 });
    assert.equal(play.packet(tcp(v4, { seq: 1000 }, long))[1], "flow deny hello-too-large");
  });

  it("denies when too many packets would be held", () => {
    const play = opened(learned({}, { held: 2, heldPerFlow: 8 }));
    play.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, 1)));
    play.packet(tcp(v4, { seq: 1001 }, hello.subarray(1, 2)));
    assert.deepEqual(play.packet(tcp(v4, { seq: 1002 }, hello.subarray(2, 3))).slice(0, 5), [
      "drop 2",
      "drop 3",
      "flow deny overload",
      "drop 4",
      "DENY overload",
    ]);
    assert.equal(play.engine.stats().heldPackets, 0);
  });

  for (const [what, limits] of [
    ["flows", { judgedFlows: 1 }],
    ["bytes", { judgedBytes: 2 * hello.length - 1 }],
  ] as const) {
    it(`forgets the oldest judged flow when there is no room for the ${what} of another one: cut otherwise it is revoked`, () => {
      const play = opened(learned({}, limits));
      play.packet(tcp(v4, { sport: 40_001, seq: 999, flags: "S" }));
      play.answer();
      play.packet(tcp(v4, { seq: 1000 }, hello));
      const again = (sport: number) => play.packet(tcp(v4, { sport, seq: 1000 }, hello.subarray(0, 9)));
      assert.deepEqual(again(40_000), ["accept 4 mark=allow"]);
      play.packet(tcp(v4, { sport: 40_001, seq: 1000 }, hello));
      const { judgedFlows, judgedEvicted } = play.engine.stats();
      assert.deepEqual([judgedFlows, judgedEvicted], [1, 1]);
      assert.deepEqual(again(40_001), ["accept 6 mark=allow"]);
      assert.equal(again(40_000)[0], "flow deny rewritten");
    });
  }

  it("evicts the oldest undecided flow when the table is full", () => {
    const play = opened(learned({}, { pendingFlows: 1 }));
    play.packet(tcp(v4, { sport: 40_001, seq: 999, flags: "S" }));
    play.answer();
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, 9))), []);
    const other = tcp(v4, { sport: 40_001, seq: 1000 }, hello.subarray(0, 9));
    assert.deepEqual(play.packet(other), ["count overload", "drop 3"]);
    assert.equal(play.engine.stats().pendingEvicted, 1);
    // Never acknowledged, so it comes again, and the flow begins anew.
    assert.deepEqual(play.packet(tcp(v4, { seq: 1000 }, hello)), [
      "count overload",
      "drop 4",
      ...allowedHello([5], hello),
    ]);
  });

  it("denies a flow that had to go while a part of its first bytes was under way: others could be judged in their place", () => {
    for (const heldPerFlow of [1, 2]) {
      const play = opened(learned({}, { pendingFlows: 1, heldPerFlow }));
      play.packet(tcp(v4, { sport: 40_001, seq: 999, flags: "S" }));
      play.answer();
      play.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, 9)));
      const second = play.packet(tcp(v4, { seq: 1009 }, hello.subarray(9, 20)));
      assert.deepEqual(second, heldPerFlow === 1 ? ["flow pending pending released", "accept 3 mark=pending"] : []);
      play.packet(tcp(v4, { sport: 40_001, seq: 1000 }, hello.subarray(0, 9)));
      const again = play.packet(tcp(v4, { seq: 1000 }, hello));
      if (heldPerFlow === 1) assert.deepEqual(again.slice(0, 3), ["flow deny mid-flow", "drop 6", "DENY mid-flow"]);
      else assert.deepEqual(again.slice(2), allowedHello([6], hello));
    }
  });

  it("judges the rest of a flow of which a part went on, and a new one on its ports", () => {
    const play = opened(learned({}, { heldPerFlow: 1 }));
    const cut = [0, 9, 20, 30].map((at, i, all) => ({ at, bytes: hello.subarray(at, all[i + 1]) }));
    const lines = cut.map(({ at, bytes }) => play.packet(tcp(v4, { seq: 1000 + at }, bytes)));
    assert.deepEqual(lines.slice(0, 3), [
      [],
      ["flow pending pending released", "accept 2 mark=pending"],
      ["accept 3 mark=pending"],
    ]);
    assert.deepEqual(lines[3], allowedHello([4, 5], hello));
    const next = opened(learned({}, { heldPerFlow: 1 }));
    for (const { at, bytes } of cut.slice(0, 3)) next.packet(tcp(v4, { seq: 1000 + at }, bytes));
    next.packet(tcp(v4, { seq: 4999, flags: "S" }));
    next.answer();
    assert.deepEqual(next.packet(tcp(v4, { seq: 5000 }, hello)).at(-1), "ALLOW allow-name www.x.io");
  });

  it("writes one line for a denied flow, however often it is sent again", () => {
    const play = new Playbook({ reject: "drop" });
    const syn = tcp(v4, { flags: "S" });
    assert.deepEqual(play.packet(syn), ["drop 1", "DENY unlearned"]);
    assert.deepEqual(play.packet(syn), ["drop 2", "count unlearned"]);
    play.now += 5_001;
    assert.deepEqual(play.packet(syn), ["drop 3", "DENY unlearned"]);
  });

  it("evicts the oldest learned name when the table is full", () => {
    const play = learned({}, { learned: 2 });
    const lines = play.event({
      type: "restored",
      policy: 1,
      client: CLIENT_ID,
      name: "a.y.io",
      address: addr("198.51.100.9"),
      chain: ["a.y.io"],
      expires: play.now + 1000,
    });
    assert.deepEqual(lines, [`forget www.x.io ${SITE} last`, "learn a.y.io 198.51.100.9"]);
  });

  it("gives a verdict to every held packet at shutdown", () => {
    const play = opened(learned());
    play.packet(tcp(v4, { seq: 1000 }, hello.subarray(0, 20)));
    play.packet(tcp(v4, { seq: 1030 }, hello.subarray(30, 40)));
    play.finish();
  });
});

describe("decisions of the kernel", () => {
  const event = (verdict: "allow" | "deny", bytes: Uint8Array, name?: string) =>
    ({
      type: "kernelDecision",
      verdict,
      reason: 34,
      rule: 0,
      policy: 1,
      client: CLIENT_ID,
      ifindexIn: 2,
      name,
      bytes,
      wireLength: bytes.length,
    }) as const;

  it("are told to the client: reset for TCP, prohibited for the rest, nothing for a reset or an ICMP error", () => {
    const play = learned();
    assert.deepEqual(play.event(event("deny", tcp(v4, { flags: "S" }))), [
      "DENY unlearned www.x.io",
      `send rst to ${CLIENT}`,
    ]);
    assert.deepEqual(play.event(event("deny", tcp(v6, { flags: "S" }))), [
      "DENY unlearned www.x.io",
      `send rst to ${CLIENT6}`,
    ]);
    assert.deepEqual(play.event(event("deny", udp(v4, {}, Buffer.from("x")))), [
      "DENY unlearned www.x.io",
      `send icmp 3/13 to ${CLIENT}`,
    ]);
    assert.deepEqual(play.event(event("deny", udp(v6, {}, Buffer.from("x")))), [
      "DENY unlearned www.x.io",
      `send icmp 1/1 to ${CLIENT6}`,
    ]);
    assert.deepEqual(play.event(event("deny", tcp(v4, { flags: "R" }))), ["DENY unlearned www.x.io"]);
    assert.deepEqual(play.event(event("allow", tcp(v4, { flags: "S" }))), ["ALLOW unlearned www.x.io"]);
    const details = (bytes: Uint8Array) => {
      const out = new CommandList();
      play.engine.handle(event("deny", bytes), play.now, out);
      return [...out].flatMap((one) => (one.type === "decision" ? [one.detail] : []));
    };
    assert.deepEqual(details(udp(v4, { dport: 53 }, Buffer.from("x"))), ["not a trusted resolver (--resolver)"]);
    assert.deepEqual(details(udp(v4, { dport: 54 }, Buffer.from("x"))), [undefined]);
    // The name that eBPF read counts, not the one that the address was learned for last.
    assert.deepEqual(play.event(event("allow", tcp(v4, {}, hello), "a.y.io")), ["ALLOW unlearned a.y.io"]);
  });
});

describe("restored names", () => {
  it("come back only if today's policy allows them", () => {
    const play = new Playbook();
    const base = {
      type: "restored",
      policy: 1,
      client: CLIENT_ID,
      address: addr(SITE),
      chain: ["www.x.io"],
      expires: play.now + 1,
    } as const;
    assert.deepEqual(play.event({ ...base, name: "www.x.io" }), [`learn www.x.io ${SITE}`]);
    assert.deepEqual(play.event({ ...base, name: "evil.io" }), []);
    assert.deepEqual(play.event({ ...base, name: "www.x.io", expires: play.now }), []);
  });
});
