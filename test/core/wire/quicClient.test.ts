/** All steps from the datagram to the hello: real clients, evasions, and mutations of both. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CryptoStream } from "../../../src/core/flow/cryptoStream.js";
import type { ClientHello } from "../../../src/core/wire/clientHello.js";
import { QuicDatagram, readDatagram, type QuicPacket } from "../../../src/core/wire/quicDatagram.js";
import { InitialFrames, readInitialFrames } from "../../../src/core/wire/quicFrames.js";
import { initialKeys, type InitialKeys } from "../../../src/core/wire/quicKeys.js";
import { openInitial } from "../../../src/core/wire/quicOpen.js";
import { quicVersion } from "../../../src/core/wire/quicVersions.js";
import type { Parsed } from "../../../src/core/wire/result.js";
import { DCID, flight, frame, longPacket, quicHello, scattered, shortPacket, shuffled, V1, V2 } from "../../quic.js";
import { codeOf, datagramsOf, mutate, Random, valueOf } from "./bytes.js";

const datagram = new QuicDatagram();
const frames = new InitialFrames();

/** One connection, in the plainest way: its keys are those of its first Initial packet. */
class Reader {
  readonly stream = new CryptoStream({ maxBytes: 16_384, maxSegments: 64 });
  /** Types of packets that came, and of CRYPTO frames how many. */
  readonly types: string[] = [];
  pieces = 0;
  numbers: number[] = [];
  #keys: InitialKeys | undefined;

  read(bytes: Uint8Array, greased = false): Parsed<ClientHello> {
    const walked = readDatagram(bytes, 0, bytes.length, datagram, greased);
    if (walked.kind !== "done") return walked;
    for (const packet of datagram.packets.slice(0, datagram.count)) {
      this.types.push(packet.type);
      const refused = packet.type === "initial" ? this.#initial(bytes, packet) : undefined;
      if (refused) return refused;
    }
    return this.stream.read();
  }

  #initial(bytes: Uint8Array, packet: QuicPacket): Parsed<ClientHello> | undefined {
    const { version, dcidStart, dcidEnd } = packet;
    this.#keys ??= initialKeys(quicVersion(version)!, bytes.subarray(dcidStart, dcidEnd));
    const opened = openInitial(bytes, packet, this.#keys, Math.max(-1, ...this.numbers));
    if (opened.kind !== "done") return opened;
    this.numbers.push(opened.value.packetNumber);
    const read = readInitialFrames(opened.value.frames, frames);
    if (read.kind !== "done") return read;
    this.pieces += frames.count;
    const added = this.stream.add(opened.value.frames, frames);
    return added === "ok" || added === "duplicate" ? undefined : { kind: "invalid", code: added, offset: 0 };
  }
}

const readAll = (datagrams: readonly Uint8Array[], greased = false) => {
  const reader = new Reader();
  return { reader, results: datagrams.map((bytes) => reader.read(bytes, greased)) };
};
const kinds = (results: readonly Parsed<unknown>[]) => results.map(({ kind }) => kind);

describe("real clients", () => {
  it("Chromium: a hello in pieces, scattered anew with each retransmission", () => {
    const { reader, results } = readAll(datagramsOf("quic-chromium"));
    assert.deepEqual(kinds(results), ["needMore", "done", "done", "done", "done", "done"]);
    for (const result of results.slice(1)) {
      const { serverName, ech, sessionId, length } = valueOf(result);
      assert.deepEqual([serverName, ech, sessionId, length], ["www.example.com", true, 0, 1909]);
    }
    assert.deepEqual([reader.pieces, reader.numbers], [34, [1, 2, 4, 6, 8, 9]]);
    assert.ok(frames.close);
  });

  it("Chromium, its datagrams in any order and with some lost", () => {
    const random = new Random(61);
    const sent = datagramsOf("quic-chromium");
    let whole = 0;
    for (let i = 0; i < 60; i++) {
      const { results } = readAll(shuffled(sent, random).slice(0, 2 + random.below(5)));
      for (const result of results) assert.notEqual(result.kind, "invalid");
      const last = results[results.length - 1]!;
      if (last.kind === "done") whole++;
      if (last.kind === "done") assert.equal(last.value.serverName, "www.example.com");
    }
    assert.ok(whole > 30, `${whole} of 60`);
  });

  it("Chromium: a second hello, because the server takes none of its groups", () => {
    const { reader, results } = readAll(datagramsOf("quic-chromium-second-hello"));
    assert.deepEqual(kinds(results), ["needMore", "done", "done", "done", "done"]);
    for (const result of results.slice(1)) assert.equal(valueOf(result).serverName, "www.example.com");
    assert.equal(valueOf(results[2]!).length, 1974, "the first hello's");
    assert.equal(reader.stream.bufferedBytes, 1974 + 819);
    assert.deepEqual(reader.numbers, [1, 2, 3, 5, 6]);
  });

  it("Firefox: begins with number 190, fills up with zeros", () => {
    const { reader, results } = readAll(datagramsOf("quic-firefox"), true);
    assert.deepEqual(kinds(results), ["needMore", "done", "done"]);
    assert.equal(valueOf(results[2]!).serverName, "www.example.com");
    assert.deepEqual(reader.numbers, [190, 191, 192]);
    assert.deepEqual(reader.types, ["initial", "short", "initial", "short", "initial", "handshake", "short"]);
    assert.ok(frames.ack);
  });

  it("ngtcp2: 0-RTT in the same datagram", () => {
    const { reader, results } = readAll(datagramsOf("quic-ngtcp2-early-data"));
    const { serverName, earlyData } = valueOf(results[0]!);
    assert.deepEqual([serverName, earlyData], ["localhost", true]);
    assert.deepEqual(reader.types, ["initial", "0-rtt"]);
  });

  it("ngtcp2: after a Retry, with new keys by the new connection id", () => {
    const [first, second] = datagramsOf("quic-ngtcp2-retry") as [Buffer, Buffer];
    assert.deepEqual(kinds(readAll([first]).results), ["done"]);
    const { reader, results } = readAll([second]);
    assert.equal(valueOf(results[0]!).serverName, "localhost");
    assert.deepEqual(reader.numbers, [1]);
    const { tokenStart, tokenEnd } = datagram.packets[0]!;
    assert.equal(tokenEnd - tokenStart, 78);
    assert.equal(codeOf(readAll([first, second]).results[1]!), "decrypt");
  });

  it("ngtcp2: a draft of version 2 is no version", () => {
    assert.equal(codeOf(readAll(datagramsOf("quic-ngtcp2-draft")).results[0]!), "unknown-version");
  });

  it("quic-go: version 2, with a gap in the middle of the name", () => {
    const [first, second, third] = datagramsOf("quic-go-v2") as [Buffer, Buffer, Buffer];
    const { reader, results } = readAll([first, second, third]);
    assert.deepEqual(kinds(results), ["needMore", "done", "done"]);
    assert.equal(valueOf(results[1]!).serverName, "go.example.org");
    assert.equal(reader.pieces, 4);
    // The other way round it is the first one that closes the gap.
    assert.deepEqual(kinds(readAll([second, second, first]).results), ["needMore", "needMore", "done"]);
  });

  it("aioquic: version 2, and from version 1 to 2 with the keys of 1", () => {
    for (const [name, number] of [
      ["quic-aioquic-v2", V2],
      ["quic-aioquic-v1-v2", V1],
    ] as const) {
      const sent = datagramsOf(name);
      valueOf(readDatagram(sent[0]!, 0, sent[0]!.length, datagram));
      assert.equal(datagram.packets[0]!.version, number);
      const { reader, results } = readAll(sent);
      assert.deepEqual(
        results.map((result) => valueOf(result).serverName),
        ["quic.example.org", "quic.example.org"],
      );
      assert.deepEqual(reader.types, ["initial", "short", "initial", "handshake", "short"]);
      assert.equal(datagram.packets[0]!.version, V2);
    }
  });
});

describe("evasions", () => {
  const hello = quicHello({ name: "denied.example", more: 1300 });

  it("22: CRYPTO frames out of order, overlapping, with gaps, over several Initial packets", () => {
    const random = new Random(62);
    for (let i = 0; i < 60; i++) {
      const version = i % 2 === 0 ? V1 : V2;
      const pieces = scattered(hello, random, 2 + random.below(30), random.below(5));
      const packets: Buffer[] = [];
      while (pieces.length > 0) {
        const mixed = pieces.splice(0, 1 + random.below(8)).flatMap((piece) => [piece, frame.padding(random.below(9))]);
        packets.push(
          longPacket(Buffer.concat([frame.ping(), frame.padding(4), ...mixed]), { version, pn: packets.length }),
        );
      }
      // Some coalesced, some alone, in any order.
      const sent: Buffer[] = [];
      for (let rest = shuffled(packets, random); rest.length > 0;)
        sent.push(Buffer.concat(rest.splice(0, 1 + random.below(3))));
      const { results } = readAll(sent);
      for (const result of results) assert.notEqual(result.kind, "invalid");
      assert.equal(valueOf(results[results.length - 1]!).serverName, "denied.example");
    }
  });

  it("22: two copies that disagree", () => {
    const other = quicHello({ name: "passed.example", more: 1300 });
    assert.equal(other.length, hello.length);
    const { results } = readAll([...flight(hello), ...flight(other, { pn: 5 })]);
    assert.deepEqual(kinds(results), ["needMore", "done", "invalid", "done"]);
    assert.equal(codeOf(results[2]!), "overlap-conflict");
  });

  it("23: versions 1 and 2, 0-RTT before, between and behind, coalesced with anything", () => {
    for (const version of [V1, V2]) {
      const [first, second] = flight(hello, { version, contentSize: 900 }) as [Buffer, Buffer];
      const early = longPacket(Buffer.alloc(90), { version, type: "0-rtt" });
      const sent = [early, Buffer.concat([early, first, early]), Buffer.concat([early, second, shortPacket()])];
      const { results } = readAll(sent);
      assert.deepEqual(kinds(results), ["needMore", "needMore", "done"]);
      assert.equal(valueOf(results[2]!).serverName, "denied.example");
    }
  });

  it("23: unknown versions, version negotiation and Retry are refused, alone and coalesced", () => {
    const whole = flight(quicHello(), { contentSize: 500 })[0]!;
    for (const [version, code] of [
      [0, "version-negotiation"],
      [0xff00001d, "unknown-version"],
    ] as const) {
      const odd = longPacket(Buffer.alloc(90), { version });
      for (const bytes of [odd, Buffer.concat([whole, odd]), Buffer.concat([odd, whole])]) {
        assert.equal(codeOf(readAll([bytes]).results[0]!), code);
      }
    }
    const retry = longPacket(Buffer.alloc(90), { type: "retry" });
    assert.equal(codeOf(readAll([Buffer.concat([whole, retry])]).results[0]!), "retry");
  });

  it("24: junk first, and another connection in the same datagram", () => {
    assert.equal(codeOf(readAll([Buffer.alloc(1200, 0xff)]).results[0]!), "unknown-version");
    // Begins with a 0 bit: a short header for all that can be seen, and no hello.
    assert.deepEqual(kinds(readAll([Buffer.alloc(1200, 0x7f)]).results), ["needMore"]);
    const allowed = flight(quicHello(), { contentSize: 500 })[0]!;
    const other = flight(quicHello({ name: "denied.example" }), { contentSize: 500, dcid: Buffer.alloc(8, 6) })[0]!;
    assert.equal(codeOf(readAll([Buffer.concat([allowed, other])]).results[0]!), "other-connection");
  });

  it("24: the connection id changes, the keys don't", () => {
    const [first, second] = flight(hello) as [Buffer, Buffer];
    const { version, keys } = { version: V1, keys: initialKeys(quicVersion(V1)!, DCID) };
    const content = valueOf(
      openInitial(second, valueOf(readDatagram(second, 0, second.length, datagram)).packets[0]!, keys),
    );
    const moved = longPacket(content.frames, {
      version,
      dcid: Buffer.alloc(11, 3),
      pn: 1,
      keys: { key: Buffer.from(keys.key), iv: Buffer.from(keys.iv), hp: Buffer.from(keys.hp) },
    });
    assert.equal(valueOf(readAll([first, moved]).results[1]!).serverName, "denied.example");
  });
});

describe("mutations", () => {
  const real = ["quic-chromium", "quic-firefox", "quic-ngtcp2-early-data", "quic-aioquic-v2"].map(datagramsOf);

  it("of datagrams on the wire never throw, and never become another hello", () => {
    const random = new Random(63);
    const seen = { done: 0, needMore: 0, invalid: 0 };
    for (let i = 0; i < 3_000; i++) {
      const sent = real[i % real.length]!.map((bytes) => (random.below(2) === 0 ? bytes : mutate(bytes, random)));
      for (const result of readAll(sent, true).results) {
        seen[result.kind]++;
        if (result.kind === "done")
          assert.match(result.value.serverName!, /^(www\.example\.com|localhost|quic\.example\.org)$/);
        if (result.kind === "invalid") assert.ok(result.offset >= 0 && result.offset <= 1500, JSON.stringify(result));
      }
    }
    for (const [kind, count] of Object.entries(seen)) assert.ok(count > 100, `${count} ${kind}`);
  });

  it("of what is protected never throw, end, and take no more than is in the packet", () => {
    const random = new Random(64);
    const keys = initialKeys(quicVersion(V1)!, DCID);
    const seen = { done: 0, needMore: 0, invalid: 0 };
    const contents = [
      Buffer.concat([...scattered(quicHello(), random, 6), frame.ack(3, 1), frame.padding(30)]),
      Buffer.concat([frame.crypto(0, quicHello()), frame.crypto(quicHello().length, quicHello()), frame.ping()]),
    ];
    for (let i = 0; i < 3_000; i++) {
      const packet = longPacket(mutate(contents[i % 2]!, random), { pn: i % 100, pnSize: 1 + (i % 4) });
      const walked = readDatagram(packet, 0, packet.length, datagram);
      if (walked.kind !== "done") continue;
      valueOf(openInitial(packet, datagram.packets[0]!, keys));
      const reader = new Reader();
      seen[reader.read(packet).kind]++;
      assert.ok(reader.stream.bufferedBytes <= packet.length);
    }
    for (const [kind, count] of Object.entries(seen)) assert.ok(count > 10, `${count} ${kind}`);
  });

  it("cut anywhere: never more than what is whole", () => {
    for (const sent of real) {
      const last = sent[sent.length - 1]!;
      for (let n = 0; n < last.length; n += 7) {
        const { kind } = readAll([last.subarray(0, n)], true).results[0]!;
        assert.notEqual(kind, "done", `${n} of ${last.length}`);
      }
    }
  });
});
