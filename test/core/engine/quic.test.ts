/** Flows of QUIC: what their Initials say decides, however they come. Numbers in EVASIONS' sense stand with each case's words. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FLOW_QUIC } from "../../../src/core/abi.generated.js";
import type { EngineLimits } from "../../../src/core/engine/limits.js";
import { ConnectionKeys, openInitials } from "../../../src/core/engine/quicInitials.js";
import type { PolicyFlags } from "../../../src/core/policy/flags.js";
import { QuicDatagram, readDatagram } from "../../../src/core/wire/quicDatagram.js";
import { PROTO, udp, type Endpoints } from "../../packets.js";
import {
  DCID,
  flight,
  frame,
  keysOf,
  longPacket,
  quicHello,
  scattered,
  shortPacket,
  V2,
  type LongOptions,
} from "../../quic.js";
import { Random } from "../wire/bytes.js";
import { addr, CLIENT, CLIENT6, CLIENT_ID, Playbook, SITE, SITE6, type PacketOptions } from "./playbook.js";

const v4 = { src: CLIENT, dst: SITE };
const v6 = { src: CLIENT6, dst: SITE6 };
const NAMES = ["www.x.io", "a.y.io"];

/** A client that learned the site's addresses for two allowed names. */
class Quic extends Playbook {
  readonly ends: Endpoints;

  constructor(flags: Partial<PolicyFlags> = {}, limits: Partial<EngineLimits> = {}, ends: Endpoints = v4) {
    super(flags, limits);
    this.ends = ends;
    for (const name of NAMES) for (const address of [SITE, SITE6]) this.learn(name, address);
  }

  learn(name: string, address: string, expires = this.now + 60_000): void {
    const base = { type: "restored", policy: 1, client: CLIENT_ID, chain: [name] } as const;
    this.event({ ...base, name, address: addr(address), expires });
  }

  send(payload: Uint8Array, options: PacketOptions = {}, sport = 40_000): string[] {
    return this.packet(udp(this.ends, { sport, dport: 443 }, payload), options);
  }
}

const hello = (name: string, more = 0) => quicHello({ name, more });
/** One datagram with a whole hello. */
const initial = (name: string, options: LongOptions = {}) => flight(hello(name), options)[0]!;
/** An Initial with these frames, padded to a datagram of 1,200 bytes. */
function initialOf(frames: readonly Uint8Array[], options: LongOptions = {}): Buffer {
  const content = Buffer.concat(frames);
  const room = 1200 - longPacket(content, options).length;
  return longPacket(Buffer.concat([content, frame.padding(Math.max(room, 1))]), options);
}
const handshake = (options: LongOptions = {}) => longPacket(Buffer.alloc(40, 2), { type: "handshake", ...options });
const zeroRtt = (options: LongOptions = {}) => longPacket(Buffer.alloc(1000, 2), { type: "0-rtt", ...options });
/** A server knows a connection by its id, so none is used on two ports. */
const idOf = (i: number) => Buffer.from([1, 2, 3, 4, 5, 6, 7, i]);
const SERVER_CID = Buffer.from("5e12e12c1dc1d5e1", "hex");
const OTHER = Buffer.from("0011223344556677", "hex");

const ALLOWED = ["flow allow allow-name quic", "ALLOW allow-name www.x.io", "accept 1 mark=allow"];
const PROHIBITED = `send icmp 3/13 to ${CLIENT}`;
const denied = (reason: string, name = "", ...ids: number[]) => [
  ...ids.slice(0, -1).map((id) => `drop ${id}`),
  `flow deny ${reason}`,
  `drop ${ids.at(-1)}`,
  `DENY ${reason}${name && ` ${name}`}`,
  PROHIBITED,
];

describe("QUIC: the first flight", () => {
  it("an allowed name, bound to the address: allowed, and the kernel knows that its long headers climb on", () => {
    for (const [ends, version] of [
      [v4, 1],
      [v6, 1],
      [v4, V2],
      [v6, V2],
    ] as const) {
      // prettier-ignore
      const play = new Quic({}, {}, ends);
      assert.deepEqual(play.send(initial("www.x.io", { version })), ALLOWED);
      const put = play.all.find((command) => command.type === "flowPut");
      assert.ok(put?.type === "flowPut" && put.flags === FLOW_QUIC && put.judgedEnd === 0);
      play.finish();
    }
  });

  it("a name in no rule, one of another address, none, one that this client didn't learn: denied, and said", () => {
    const play = new Quic();
    assert.deepEqual(play.send(initial("evil.io")), denied("name-denied", "evil.io", 1));
    assert.deepEqual(play.send(initial("www.x.io")), ["drop 2", "count name-denied"], "the kernel would drop it");
    assert.deepEqual(play.send(initial("b.y.io"), {}, 40_001), denied("name-ip-mismatch", "b.y.io", 3));
    const nameless = quicHello({ extensions: quicHello().subarray(0, 0) });
    assert.equal(play.send(initialOf([frame.crypto(0, nameless)]), {}, 40_002)[0], "flow deny hello-malformed");
    const other = new Quic();
    const lines = other.send(initial("www.x.io"), { client: `${CLIENT_ID.slice(0, -1)}x` as typeof CLIENT_ID });
    assert.deepEqual(lines, denied("unlearned", "", 1));
    for (const one of [play, other]) one.finish();
  });

  it("verify sni: the name alone decides, at any address; seen twice it is bound", () => {
    const play = new Quic({ verify: "sni" }, {}, { src: CLIENT, dst: "198.51.100.99" });
    assert.deepEqual(play.send(initial("www.x.io")), ALLOWED);
    assert.equal(play.send(initial("www.x.io", { dcid: OTHER }), {}, 40_001)[0], "learn www.x.io 198.51.100.99");
    assert.deepEqual(play.send(initial("evil.io", { dcid: idOf(0) }), {}, 40_002), denied("name-denied", "evil.io", 3));
    play.finish();
  });

  it("verify dns and --quic deny don't look at it", () => {
    const dns = new Quic({ verify: "dns" });
    assert.equal(dns.send(initial("evil.io"))[0], "flow allow allow-address");
    const deny = new Quic({ quic: "deny" });
    assert.deepEqual(deny.send(initial("www.x.io")), denied("quic", "a.y.io", 1));
  });

  it("a port that the rule doesn't allow, an address whose time is over", () => {
    const play = new Quic({ port: ["tcp/443"] });
    assert.deepEqual(play.send(initial("www.x.io")), denied("port", "a.y.io", 1));
    const late = new Quic();
    late.wait(61_000);
    assert.equal(late.send(initial("www.x.io"))[0], "flow deny expired");
  });

  it("an expiry between the first Initial and the rest of the hello doesn't end it", () => {
    const play = new Quic();
    const [first, second] = flight(hello("www.x.io", 1_500)) as [Buffer, Buffer];
    play.wait(59_000);
    assert.deepEqual(play.send(first), []);
    play.wait(2_000);
    assert.equal(play.send(second)[0], "flow allow allow-name quic");
    play.finish();
  });

  it("what is held goes on in its order, all of it or nothing", () => {
    for (const [name, verdict] of [
      ["www.x.io", "accept"],
      ["evil.io", "drop"],
    ] as const) {
      // prettier-ignore
      const play = new Quic();
      const parts = flight(hello(name, 3_000));
      assert.ok(parts.length >= 3);
      for (const part of parts.slice(0, -1)) assert.deepEqual(play.send(part), []);
      assert.deepEqual(play.send(zeroRtt()), [], "early data waits with it");
      assert.equal(play.engine.stats().quicHeld, parts.length);
      const said = play.send(parts.at(-1)!).filter((line) => line.startsWith(verdict));
      assert.deepEqual(
        said.map((line) => Number(line.split(" ")[1])),
        Array.from({ length: parts.length + 1 }, (_, i) => (i < parts.length - 1 ? i + 1 : i + 1)),
      );
      assert.equal(play.engine.stats().quicHeld, 0);
      play.finish();
    }
  });

  it("CRYPTO frames in any order, cut anywhere, overlapping, over several Initials (22)", () => {
    const random = new Random(22);
    for (const [name, verdict] of [
      ["www.x.io", "flow allow allow-name quic"],
      ["evil.io", "flow deny name-denied"],
    ]) {
      // prettier-ignore
      for (let round = 0; round < 30; round++) {
        const play = new Quic();
        const frames = scattered(hello(name!), random, 8, 3);
        const cut = random.below(frames.length);
        const groups = [frames.slice(0, cut), frames.slice(cut)].filter((one) => one.length > 0);
        const lines = groups.flatMap((group, pn) => play.send(initialOf([frame.ping(), ...group], { pn })));
        assert.equal(lines.filter((line) => line.startsWith("flow")).join(), verdict);
        play.finish();
      }
    }
  });

  it("copies of a byte that disagree: neither is chosen", () => {
    const play = new Quic();
    const bytes = hello("www.x.io");
    const other = Buffer.from(bytes).fill(0x7a, 50, 60);
    play.send(initialOf([frame.crypto(0, bytes.subarray(0, 70))]));
    assert.deepEqual(
      play.send(initialOf([frame.crypto(40, other.subarray(40))], { pn: 1 })),
      denied("overlap", "", 1, 2),
    );
    play.finish();
  });

  it("coalesced with early data, a Handshake packet, a short header, zeros behind it", () => {
    for (const behind of [zeroRtt(), handshake(), shortPacket(), Buffer.alloc(100)]) {
      const play = new Quic();
      assert.deepEqual(play.send(Buffer.concat([initial("www.x.io"), behind])), ALLOWED);
      const evil = new Quic();
      assert.equal(evil.send(Buffer.concat([initial("evil.io"), behind]))[0], "flow deny name-denied");
      const hidden = new Quic();
      const lines = hidden.send(Buffer.concat([zeroRtt(), initial("evil.io")]));
      assert.equal(lines[0], "flow deny name-denied", "behind another packet");
    }
  });
});

describe("QUIC: what can't be judged", () => {
  it("junk before the Initial decides nothing and is not held (24)", () => {
    const junk = [
      Buffer.alloc(1200, 0xc3),
      Buffer.from(initial("www.x.io")).fill(0, 600, 700),
      shortPacket(),
      handshake(),
      zeroRtt(),
      longPacket(frame.padding(1100), { version: 0x1a2a3a4a }),
      longPacket(frame.padding(1100), { version: 0 }),
      longPacket(frame.padding(1100), { type: "retry" }),
      longPacket(frame.padding(1100), { reserved: 1 }),
      longPacket(frame.padding(1100), { lengthOff: 1 }),
      Buffer.alloc(0),
    ];
    for (const [i, one] of junk.entries()) {
      const play = new Quic();
      assert.deepEqual(play.send(one), ["drop 1", "DENY quic", PROHIBITED], `junk ${i}`);
      assert.equal(play.engine.stats().quicFlows, 0);
      assert.deepEqual(
        play.send(initial("www.x.io")),
        ALLOWED.map((line) => line.replace("1 mark", "2 mark")),
      );
      assert.deepEqual(
        play.send(one).slice(0, 1),
        [i === 3 || i === 4 ? "accept 3 mark=allow" : "drop 3"],
        `junk ${i}`,
      );
      play.finish();
    }
  });

  it("early data and junk between the parts of a hello", () => {
    const play = new Quic();
    const [first, second] = flight(hello("www.x.io", 1_500)) as [Buffer, Buffer];
    play.send(first);
    assert.deepEqual(play.send(Buffer.alloc(1200, 0xc3)), ["drop 2", "count quic"]);
    assert.deepEqual(play.send(handshake()), ["drop 3", "count quic"]);
    assert.deepEqual(play.send(zeroRtt()), []);
    assert.deepEqual(play.send(second), [
      "flow allow allow-name quic",
      "ALLOW allow-name www.x.io",
      "accept 1 mark=allow",
      "accept 4 mark=allow",
      "accept 5 mark=allow", // prettier-ignore
    ]);
    play.finish();
  });

  it("a wrong UDP checksum decides nothing", () => {
    const play = new Quic();
    const bad = Buffer.from(udp(v4, { sport: 40_000, dport: 443 }, initial("evil.io")));
    bad[bad.length - 1]! ^= 1;
    assert.deepEqual(play.packet(bad), ["drop 1", "count checksum"]);
    assert.deepEqual(play.send(initial("www.x.io")).slice(0, 1), ALLOWED.slice(0, 1));
  });

  it("a hello that never ends: denied when its time is over, with what it held", () => {
    const play = new Quic();
    play.send(flight(hello("www.x.io", 1_500))[0]!);
    assert.equal(play.engine.nextDeadline() <= play.now + 10_000, true);
    const lines = [...play.wait(9_999), ...play.wait(1)];
    assert.deepEqual(lines, ["drop 1", "flow deny hello-timeout", "DENY hello-timeout", PROHIBITED]);
    play.finish();
  });

  it("Initials without a hello, padded or acknowledging, are held, and denied in time", () => {
    const play = new Quic();
    assert.deepEqual(play.send(initialOf([frame.ping()])), []);
    assert.equal(play.wait(10_000)[1], "flow deny hello-timeout");
    play.finish();
  });

  it("a hello that is too long, or in too many pieces; frames that no Initial may carry", () => {
    const far = new Quic();
    assert.equal(far.send(initialOf([frame.crypto(16_384, Buffer.from("x"))]))[0], "flow deny hello-too-large");
    const beyond = new Quic();
    assert.equal(beyond.send(initialOf([frame.crypto(2n ** 40n, Buffer.from("x"))]))[0], "flow deny hello-too-large");
    const long = new Quic();
    assert.equal(long.send(flight(hello("www.x.io", 17_000))[0]!)[0], "flow deny hello-too-large");
    const many = new Quic();
    const pieces = Array.from({ length: 70 }, (_, i) => frame.crypto(10 + 2 * i, Buffer.from("x")));
    assert.equal(many.send(initialOf(pieces))[0], "flow deny overload");
    const stream = new Quic();
    assert.equal(stream.send(initialOf([Buffer.from([0x08, 0, 1, 1])]))[0], "flow deny hello-malformed");
    for (const play of [far, beyond, long, many, stream]) play.finish();
  });
});

describe("QUIC: keys", () => {
  it("every key that opens an Initial gives a reading: none is chosen", () => {
    const bytes = initial("www.x.io");
    const datagram = new QuicDatagram();
    assert.equal(readDatagram(bytes, 0, bytes.length, datagram).kind, "done");
    const keys = (dcid: Uint8Array) => new ConnectionKeys(Buffer.from(dcid).toString("latin1"));
    // (Two keys of different ids would need a packet made for it; that they have the same id makes no difference here.)
    const both = openInitials(bytes, datagram, [keys(DCID), keys(OTHER), keys(DCID)]);
    assert.equal(typeof both === "string" ? both : both.length, 2);
    const own = openInitials(bytes, datagram, [keys(OTHER)]);
    assert.ok(
      typeof own !== "string" && own.length === 1 && own[0]!.keys.dcid === Buffer.from(DCID).toString("latin1"),
    );
    const foreign = initialOf([frame.ping()], { keys: keysOf(1, OTHER) });
    assert.equal(readDatagram(foreign, 0, foreign.length, datagram).kind, "done");
    assert.equal(openInitials(foreign, datagram, []), "Initial that opens under no known key");
    assert.equal(openInitials(foreign, datagram, [keys(OTHER)]).length, 1);
  });
});

describe("QUIC: an allowed flow", () => {
  const opened = (flags: Partial<PolicyFlags> = {}, limits: Partial<EngineLimits> = {}) => {
    const play = new Quic(flags, limits);
    play.send(initial("www.x.io"));
    return play;
  };

  it("the same Initial again, its acknowledgements under the server's connection id, Handshake packets: pass", () => {
    const play = opened();
    assert.deepEqual(play.send(initial("www.x.io", { pn: 1 })), ["accept 2 mark=allow"]);
    const ack = initialOf([frame.ack(0)], { dcid: SERVER_CID, keys: keysOf(1, DCID), pn: 2 });
    assert.deepEqual(play.send(ack), ["accept 3 mark=allow"]);
    assert.deepEqual(play.send(Buffer.concat([ack, handshake({ dcid: SERVER_CID })])), ["accept 4 mark=allow"]);
    assert.deepEqual(play.send(handshake({ dcid: SERVER_CID })), ["accept 5 mark=allow"]);
    assert.deepEqual(play.send(zeroRtt()), ["accept 6 mark=allow"]);
    play.finish();
  });

  it("Retry: the same hello under the keys of another connection id", () => {
    const play = opened();
    const token = Buffer.alloc(50, 7);
    assert.deepEqual(play.send(initial("www.x.io", { dcid: SERVER_CID, token, pn: 1 })), ["ALLOW allow-name www.x.io", "accept 2 mark=allow"]); // prettier-ignore
    assert.deepEqual(play.send(initial("evil.io", { dcid: OTHER, token, pn: 2 })), denied("name-denied", "evil.io", 3));
    play.finish();
  });

  it("version 2 after the server has chosen it: the same connection", () => {
    const play = opened();
    const again = { version: V2, dcid: SERVER_CID, keys: keysOf(V2, DCID), pn: 1 };
    assert.deepEqual(play.send(initialOf([frame.ack(0)], again)), ["accept 2 mark=allow"]);
    assert.equal(
      play.send(initialOf([frame.crypto(0, hello("evil.io"))], { ...again, pn: 2 }))[0],
      "flow deny rewritten",
    );
    play.finish();
  });

  it("another connection on the same ports is judged for itself, and ends the flow if it is denied (24)", () => {
    const play = opened();
    assert.deepEqual(play.send(initial("a.y.io", { dcid: OTHER })), [
      "flow allow allow-name quic",
      "ALLOW allow-name a.y.io",
      "accept 2 mark=allow",
    ]);
    assert.equal(play.all.findLast((one) => one.type === "flowPut")?.rule, 0, "no rule speaks for both names");
    const third = { dcid: Buffer.from("third") };
    assert.deepEqual(play.send(initial("b.y.io", third)), denied("name-ip-mismatch", "b.y.io", 3));
    assert.deepEqual(play.send(initial("www.x.io")), ["drop 4", "count name-ip-mismatch"]);
    play.finish();
  });

  it("another hello in pieces on the same ports is held until it is whole", () => {
    for (const [name, last] of [
      ["a.y.io", "flow allow allow-name quic"],
      ["evil.io", "drop 2"],
    ] as const) {
      // prettier-ignore
      const play = opened();
      const [first, second] = flight(hello(name, 1_500), { dcid: OTHER }) as [Buffer, Buffer];
      assert.deepEqual(play.send(first), []);
      assert.deepEqual(play.send(handshake({ dcid: SERVER_CID })), ["accept 3 mark=allow"], "the first one goes on");
      assert.equal(play.send(second)[0], last);
      play.finish();
    }
  });

  it("another hello that never ends: what it held is dropped, the flow goes on", () => {
    const play = opened();
    assert.deepEqual(play.send(flight(hello("a.y.io", 1_500), { dcid: OTHER })[0]!), []);
    assert.deepEqual(play.wait(10_000), ["count hello-timeout", "drop 2"]);
    assert.deepEqual(play.send(handshake({ dcid: SERVER_CID })), ["accept 3 mark=allow"]);
    play.finish();
  });

  it("other bytes for the judged hello revoke the flow: a decoy that never arrived opens nothing", () => {
    const play = opened();
    assert.deepEqual(play.send(initial("evil.io", { pn: 1 })), denied("rewritten", "", 2));
    play.finish();
  });

  it("a second hello behind a HelloRetryRequest must say the same (18)", () => {
    const first = hello("www.x.io");
    const second = (name: string) => initialOf([frame.ack(0), frame.crypto(first.length, hello(name, 200))], { dcid: SERVER_CID, keys: keysOf(1, DCID), pn: 1 }); // prettier-ignore
    const play = opened();
    assert.deepEqual(play.send(second("www.x.io")), ["accept 2 mark=allow"]);
    for (const name of ["evil.io", "a.y.io"]) {
      const evil = opened();
      assert.deepEqual(evil.send(second(name)), denied("hello-malformed", "", 2));
    }
    const third = frame.crypto(first.length + hello("www.x.io", 200).length, hello("evil.io"));
    assert.equal(play.send(initialOf([third], { pn: 2 }))[0], "flow deny hello-malformed");
    play.finish();
  });

  it("a second hello that never ends: what it held is dropped, but its connection stays known, for the server waits on", () => {
    const play = opened();
    const first = hello("www.x.io");
    const of = (offset: number, bytes: Buffer, pn: number) => initialOf([frame.crypto(offset, bytes)], { dcid: SERVER_CID, keys: keysOf(1, DCID), pn }); // prettier-ignore
    assert.deepEqual(play.send(of(first.length, first.subarray(0, 9), 1)), []);
    assert.deepEqual(play.wait(10_000), ["count hello-timeout", "drop 2"]);
    assert.equal(play.send(initial("a.y.io", { dcid: OTHER })).at(-2), "ALLOW allow-name a.y.io", "the flow goes on");
    assert.deepEqual(play.send(of(first.length + 9, first.subarray(9, 20), 2)), []);
    assert.deepEqual(play.wait(10_000), ["count hello-timeout", "drop 4"]);
    assert.equal(play.send(of(first.length + 20, first.subarray(20), 3)).at(-1), "accept 5 mark=allow");
    assert.deepEqual(play.send(of(0, hello("evil.io"), 4)), denied("rewritten", "", 6));
    play.finish();
  });

  it("an Initial under keys that nobody knows is dropped, and decides nothing", () => {
    const play = opened();
    const unknown = initialOf([frame.crypto(0, hello("evil.io"))], { dcid: SERVER_CID, keys: keysOf(1, OTHER), pn: 1 });
    assert.deepEqual(play.send(unknown), ["drop 2", "count quic"]);
    assert.deepEqual(play.send(handshake({ dcid: SERVER_CID })), ["accept 3 mark=allow"]);
    play.finish();
  });

  it("at most eight connections: another one begins when a minute has passed since the last Initial of one, which is forgotten then", () => {
    const play = opened();
    const ack = (id: Uint8Array, pn: number) =>
      initialOf([frame.ack(0)], { dcid: SERVER_CID, keys: keysOf(1, id), pn });
    for (let i = 0; i < 7; i++) assert.equal(play.send(initial("a.y.io", { dcid: idOf(i) })).at(-2), "ALLOW allow-name a.y.io"); // prettier-ignore
    assert.deepEqual(play.send(initial("a.y.io", { dcid: idOf(7) })), ["drop 9", "count overload"]);
    play.now += 30_000;
    assert.deepEqual(play.send(ack(DCID, 2)), ["accept 10 mark=allow"], "its keys are known");
    play.now += 29_999;
    play.learn("a.y.io", SITE);
    assert.deepEqual(play.send(initial("a.y.io", { dcid: idOf(7) })), ["drop 11", "count overload"]);
    play.now += 1;
    assert.equal(play.send(initial("a.y.io", { dcid: idOf(7) })).at(-2), "ALLOW allow-name a.y.io");
    assert.deepEqual(play.send(ack(DCID, 3)), ["accept 13 mark=allow"], "the one that spoke last is known on");
    assert.deepEqual(play.send(ack(idOf(0), 2)), ["drop 14", "count quic"]);
    play.finish();
  });

  it("eight that wait for the rest of their hellos are enough", () => {
    const play = new Quic();
    for (let i = 0; i < 9; i++) {
      assert.deepEqual(
        play.send(flight(hello("a.y.io", 1_500), { dcid: idOf(i) })[0]!),
        i < 8 ? [] : ["drop 9", "count overload"],
      );
    }
    play.finish();
  });

  it("its id on another port begins nothing: the server may have a part of its hello, and goes by the id alone", () => {
    for (const before of [initial("www.x.io"), flight(hello("www.x.io", 1_500))[0]!]) {
      const play = new Quic();
      play.send(before);
      for (const name of NAMES) {
        const lines = play.send(initial(name), {}, 40_001);
        assert.deepEqual(lines.map((line) => line.replace(/ \d+$/, "")), ["drop", "count quic"]); // prettier-ignore
      }
      assert.equal(play.send(initial("a.y.io", { dcid: OTHER }), {}, 40_001)[0], "flow allow allow-name quic");
      play.finish();
    }
  });

  it("Initials that keep the server waiting keep the hello in memory, too", () => {
    const play = opened();
    for (let i = 0; i < 5; i++) {
      play.wait(40_000);
      assert.equal(play.send(initialOf([frame.ping()], { pn: i + 1 }))[0], `accept ${i + 2} mark=allow`);
    }
    assert.equal(play.send(initial("a.y.io", { pn: 9 }))[0], "flow deny rewritten");
    play.finish();
  });

  it("forgotten after a minute, it isn't judged anew for ten more", () => {
    const play = opened();
    play.wait(60_000);
    assert.equal(play.engine.stats().quicFlows, 0);
    play.learn("a.y.io", SITE);
    assert.deepEqual(play.send(initial("a.y.io")), ["drop 2", "count quic"]);
    assert.deepEqual(play.send(initial("a.y.io"), {}, 40_001), ["drop 3", "count quic"]);
    assert.equal(play.send(initial("a.y.io", { dcid: OTHER })).at(-2), "ALLOW allow-name a.y.io");
    play.wait(600_000);
    play.learn("a.y.io", SITE);
    assert.equal(play.send(initial("a.y.io")).at(-2), "ALLOW allow-name a.y.io");
    play.finish();
  });
});

describe("QUIC: what the kernel knows and the engine doesn't, and the other way round", () => {
  const allowedElsewhere = () => {
    const play = new Quic();
    const key = { policy: 1, src: addr(CLIENT), dst: addr(SITE), proto: PROTO.UDP, sport: 40_000, dport: 443 };
    const none = { reason: 5, final: false, opened: false, released: false, openedAt: 0, judgedStart: 0, judgedEnd: 0 };
    play.cache(key, { ...none, verdict: "allow", fast: true });
    return play;
  };

  it("a flow of an engine before this one: no Initial, no question; a new connection is judged; unknown keys are dropped", () => {
    const play = allowedElsewhere();
    assert.deepEqual(play.send(handshake({ dcid: SERVER_CID })), ["accept 1 mark=allow"]);
    const ack = initialOf([frame.ack(0)], { dcid: SERVER_CID, keys: keysOf(1, DCID), pn: 2 });
    assert.deepEqual(play.send(ack), ["drop 2", "count quic"]);
    assert.deepEqual(play.send(initial("a.y.io", { dcid: OTHER })), [
      "flow allow allow-name fast quic",
      "ALLOW allow-name a.y.io",
      "accept 3 mark=allow",
    ]);
    assert.equal(play.send(initial("evil.io"))[0], "flow deny name-denied");
    play.finish();
  });

  it("a pending flow that skips netfilter goes on so", () => {
    const play = new Quic();
    const key = { policy: 1, src: addr(CLIENT), dst: addr(SITE), proto: PROTO.UDP, sport: 40_000, dport: 443 };
    const none = {
      reason: 11,
      final: false,
      opened: false,
      released: false,
      openedAt: 0,
      judgedStart: 1,
      judgedEnd: 1,
    };
    play.cache(key, { ...none, verdict: "pending", fast: true });
    assert.equal(play.send(initial("www.x.io"))[0], "flow allow allow-name fast quic");
  });

  it("the kernel forgot an allowed flow: what is known is judged again, and the kernel told", () => {
    const play = new Quic();
    play.send(initial("www.x.io"));
    play.evict();
    const ack = initialOf([frame.ack(0)], { dcid: SERVER_CID, keys: keysOf(1, DCID), pn: 2 });
    assert.deepEqual(play.send(ack), [
      "flow allow allow-name quic",
      "ALLOW allow-name www.x.io",
      "accept 2 mark=allow",
    ]);
    play.finish();
  });

  it("a minute after its hello nothing is kept of a flow", () => {
    const play = new Quic();
    play.send(initial("www.x.io"));
    assert.equal(play.engine.stats().quicFlows, 1);
    play.wait(60_000);
    assert.equal(play.engine.stats().quicFlows, 0);
    assert.deepEqual(play.send(handshake({ dcid: SERVER_CID })), ["accept 2 mark=allow"]);
  });
});

describe("QUIC: bounds", () => {
  it("a flow whose time is over begins anew, also before anybody has swept: nothing of it stays held or counted", () => {
    const play = new Quic({}, { helloMs: 100_000 });
    play.send(flight(hello("www.x.io", 1_500))[0]!);
    play.now += 60_000;
    play.learn("www.x.io", SITE);
    assert.deepEqual(play.send(initial("www.x.io", { dcid: OTHER })).slice(0, 2), [
      "drop 1",
      "flow allow allow-name quic",
    ]);
    assert.equal(play.engine.stats().quicHeld, 0);
    play.finish();
  });

  it("full: the oldest flow goes with what it held, and begins anew", () => {
    const play = new Quic({}, { quicFlows: 2 });
    const part = (i: number) => flight(hello("www.x.io", 1_500), { dcid: idOf(i) }) as [Buffer, Buffer];
    const parts = part(0);
    for (let i = 0; i < 3; i++) play.send(part(i)[0], {}, 40_000 + i);
    assert.deepEqual(
      play.all.filter((one) => one.type === "verdict").map((one) => one.id),
      [1],
    );
    assert.equal(play.engine.stats().quicEvicted, 1);
    assert.equal(play.engine.stats().quicFlows, 2);
    assert.deepEqual(play.send(parts[1], {}, 40_000), ["count overload", "drop 2"]);
    assert.equal(play.send(parts[0], {}, 40_000)[0], "flow allow allow-name quic");
    play.finish();
  });

  it("a connection that was allowed and then forgotten isn't judged anew: its server may have a part of the first hello", () => {
    const known = initial("www.x.io");
    const again = initial("a.y.io");
    const elsewhere = (play: Quic) => play.send(initial("www.x.io", { dcid: OTHER }), {}, 40_001);
    for (const forget of [elsewhere, (play: Quic) => play.send(initial("evil.io", { dcid: OTHER }))]) {
      const play = new Quic({}, { quicFlows: 1 });
      play.send(known);
      forget(play);
      play.evict();
      for (const bytes of [again, known]) {
        assert.deepEqual(
          play.send(bytes).map((line) => line.replace(/ \d+$/, "")),
          ["drop", "count quic"],
        );
      }
      const other = initial("www.x.io", { dcid: SERVER_CID });
      assert.equal(play.send(other).at(-1), "count quic", "nor does another begin: under the forgotten keys it may say something else"); // prettier-ignore
      play.wait(60_000);
      play.learn("www.x.io", SITE);
      assert.equal(play.send(other)[0], "flow allow allow-name quic");
      play.wait(600_000);
      play.learn("www.x.io", SITE);
      assert.equal(play.send(known).at(-2), "ALLOW allow-name www.x.io");
      play.finish();
    }
    const pending = new Quic({}, { quicFlows: 1 });
    pending.send(flight(hello("www.x.io", 1_500))[0]!);
    elsewhere(pending);
    assert.equal(pending.send(known)[0], "count overload", "nothing of it went on");
    assert.ok(pending.all.some((one) => one.type === "flowPut" && one.key.sport === 40_000 && one.verdict === "allow"));
  });

  it("the bytes of all hellos together", () => {
    const play = new Quic({}, { quicBytes: 4_000 });
    for (let i = 0; i < 5; i++) play.send(flight(hello("www.x.io", 1_500), { dcid: idOf(i) })[0]!, {}, 40_000 + i);
    assert.equal(play.engine.stats().quicFlows, 3);
    assert.equal(play.engine.stats().quicEvicted, 2);
    play.finish();
    assert.equal(play.engine.stats().quicHeld, 0);
  });

  it("connection ids: none begins until the oldest that is forgotten is a minute old", () => {
    const play = new Quic({}, { quicConnections: 2 });
    const open = (i: number) => {
      play.learn("www.x.io", SITE);
      return play.send(initial("www.x.io", { dcid: idOf(i) }), {}, 40_000 + i)[0]!.replace(/ \d+$/, "");
    };
    assert.deepEqual([0, 1, 2].map(open), ["flow allow allow-name quic", "flow allow allow-name quic", "drop"]);
    assert.equal(play.all.at(-1)!.type, "count");
    play.wait(60_000);
    assert.equal(open(2), "drop", "they are forgotten now");
    play.wait(59_999);
    assert.equal(open(2), "drop");
    play.wait(1);
    assert.equal(open(2), "flow allow allow-name quic");
    assert.equal(open(1), "drop");
    assert.equal(play.engine.stats().quicFlows, 1);
    play.finish();
  });

  it("datagrams held, of one flow and of all: one more is dropped, what it said counts", () => {
    for (const limits of [{ quicHeldPerFlow: 2 }, { held: 2 }]) {
      const play = new Quic({}, limits);
      const parts = flight(hello("www.x.io", 3_600));
      assert.equal(parts.length, 4);
      assert.deepEqual(
        parts.slice(0, 3).flatMap((part) => play.send(part)),
        ["drop 3", "count overload"],
      );
      assert.equal(play.send(parts[3]!)[0], "flow allow allow-name quic");
      play.finish();
    }
  });
});

describe("QUIC: several datagrams in one packet (GSO)", () => {
  const merged = (play: Quic, ...payloads: Buffer[]) =>
    play.send(Buffer.concat(payloads), { merged: true, checksumPending: true });

  it("a flight is read as if it had come one by one", () => {
    const play = new Quic();
    assert.deepEqual(merged(play, ...flight(hello("www.x.io", 3_000))), ALLOWED);
    const ack = initialOf([frame.ack(0)], { dcid: SERVER_CID, keys: keysOf(1, DCID), pn: 5 });
    assert.deepEqual(merged(play, Buffer.concat([ack, handshake({ dcid: SERVER_CID })]), shortPacket(1000), shortPacket(10)), ["accept 2 mark=allow"]); // prettier-ignore
    const evil = new Quic();
    assert.equal(merged(evil, ...flight(hello("evil.io", 3_000)))[0], "flow deny name-denied");
  });

  it("an Initial behind a short header, or inside another packet, can't be told from noise: dropped", () => {
    const ack = initialOf([frame.ack(0)], { dcid: SERVER_CID, keys: keysOf(1, DCID), pn: 1 });
    for (const name of ["www.x.io", "evil.io"]) {
      const hidden = initial(name, { dcid: OTHER });
      const inside = longPacket(Buffer.alloc(2_000), { type: "handshake", dcid: SERVER_CID });
      hidden.copy(inside, 100);
      for (const payloads of [
        [ack, shortPacket(1_100), hidden],
        [handshake({ dcid: SERVER_CID }), shortPacket(), hidden],
        [inside],
      ]) {
        // prettier-ignore
        const play = new Quic();
        play.send(initial("www.x.io"));
        assert.deepEqual(merged(play, ...payloads), ["drop 2", "count quic"]);
        play.finish();
      }
    }
  });
});
