import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { MAX_PACKETS, QuicDatagram, readDatagram } from "../../../src/core/wire/quicDatagram.js";
import { DCID, longPacket, shortPacket, V1, V2, varint, type LongOptions } from "../../quic.js";
import { codeOf, hex, valueOf } from "./bytes.js";

const content = Buffer.alloc(60);
const into = new QuicDatagram();
const read = (bytes: Uint8Array, greased = false) => readDatagram(bytes, 0, bytes.length, into, greased);
const typesOf = (bytes: Uint8Array, greased = false) => {
  const { packets, count } = valueOf(read(bytes, greased));
  return packets.slice(0, count).map(({ type }) => type);
};
const long = (o: LongOptions = {}) => longPacket(content, o);

describe("readDatagram", () => {
  it("says where everything in an Initial packet is, wherever the datagram lies", () => {
    for (const version of [V1, V2]) {
      const [dcid, scid, token] = [Buffer.alloc(20, 1), Buffer.alloc(3, 2), Buffer.alloc(70, 3)];
      for (const lengthSize of [2, 4, 8] as const) {
        const bytes = longPacket(content, { version, dcid, scid, token, lengthSize });
        const around = Buffer.concat([Buffer.alloc(28, 0xff), bytes, Buffer.alloc(5, 0xff)]);
        const datagram = valueOf(readDatagram(around, 28, 28 + bytes.length, into));
        assert.deepEqual([datagram.count, datagram.hasInitial], [1, true]);
        const packet = datagram.packets[0]!;
        assert.deepEqual([packet.type, packet.version], ["initial", version]);
        assert.deepEqual(around.subarray(packet.dcidStart, packet.dcidEnd), dcid);
        assert.deepEqual(around.subarray(packet.scidStart, packet.scidEnd), scid);
        assert.deepEqual(around.subarray(packet.tokenStart, packet.tokenEnd), token);
        assert.equal(packet.packetNumber, packet.tokenEnd + lengthSize);
        assert.deepEqual([packet.start, packet.end], [28, 28 + bytes.length]);
        assert.equal(packet.end - packet.packetNumber, 1 + content.length + 16);
      }
    }
  });

  it("walks coalesced packets by their lengths, each version by its own types", () => {
    for (const version of [V1, V2]) {
      const types = ["initial", "0-rtt", "handshake"] as const;
      const all = [...types.map((type) => long({ version, type })), shortPacket()];
      assert.deepEqual(typesOf(Buffer.concat(all)), [...types, "short"]);
      for (const [i, bytes] of all.entries()) {
        assert.deepEqual(typesOf(bytes), [[...types, "short"][i]]);
        assert.equal(into.hasInitial, i === 0);
      }
    }
    assert.deepEqual(typesOf(Buffer.concat([long({ version: V1 }), long({ version: V2, type: "handshake" })])), [
      "initial",
      "handshake",
    ]);
  });

  it("takes what follows with a 0 bit for one packet up to the end: short header, or zeros that fill up", () => {
    const padded = Buffer.concat([long(), Buffer.alloc(500)]);
    assert.deepEqual(typesOf(padded), ["initial", "short"]);
    assert.deepEqual([into.packets[1]!.start, into.packets[1]!.end], [long().length, padded.length]);
    assert.deepEqual(typesOf(Buffer.concat([long(), shortPacket(), long()])), ["initial", "short"]);
    assert.deepEqual(typesOf(hex("00")), ["short"]);
    const { version, dcidStart, dcidEnd, scidStart, scidEnd, tokenStart, tokenEnd } = into.packets[0]!;
    assert.deepEqual([version, dcidStart, dcidEnd, scidStart, scidEnd, tokenStart, tokenEnd], [0, 0, 0, 0, 0, 0, 0]);
  });

  it("reads connection ids of 0 to 20 bytes", () => {
    for (const size of [0, 1, 8, 20]) {
      const [dcid, scid] = [Buffer.alloc(size, 1), Buffer.alloc(20 - size, 2)];
      assert.deepEqual(typesOf(long({ dcid, scid })), ["initial"]);
      const packet = into.packets[0]!;
      assert.deepEqual([packet.dcidEnd - packet.dcidStart, packet.scidEnd - packet.scidStart], [size, 20 - size]);
    }
  });

  it("takes any fixed bit once the server has answered", () => {
    for (const type of ["initial", "0-rtt", "handshake"] as const) {
      const bytes = Buffer.concat([long({ type }), long({ type, fixedBit: 0 })]);
      assert.equal(codeOf(read(bytes)), "fixed-bit");
      assert.deepEqual(typesOf(bytes, true), [type, type]);
    }
  });

  it("uses its packets again", () => {
    const first = valueOf(read(Buffer.concat([long(), long(), shortPacket()]))).packets[0]!;
    const again = valueOf(read(long({ scid: Buffer.alloc(4) })));
    assert.equal(again.packets[0], first);
    assert.equal(again.count, 1);
  });
});

const version = (number: string) => hex(`c0${number}08${"11".repeat(8)}00004020${"00".repeat(32)}`);

const REFUSED: readonly (readonly [string, number, Uint8Array])[] = [
  ["empty", 0, Buffer.alloc(0)],
  ["unknown-version", 1, version("00000002")],
  ["unknown-version", 1, version("ff00001d")],
  ["unknown-version", 1, version("51303530")],
  ["unknown-version", 1, version("1a2a3a4a")],
  // Nothing but the version's place is the same in all versions: connection ids may be longer there (RFC 8999 5.1).
  ["unknown-version", 1, hex(`c01a2a3a4aff${"11".repeat(300)}`)],
  ["version-negotiation", 1, version("00000000")],
  ["retry", 0, long({ type: "retry" })],
  ["retry", 0, long({ type: "retry", version: V2 })],
  ["fixed-bit", 0, long({ fixedBit: 0 })],
  ["cid-length", 5, long({ dcid: Buffer.alloc(21) })],
  ["cid-length", 14, long({ scid: Buffer.alloc(21) })],
  ["other-connection", long().length + 6, Buffer.concat([long(), long({ dcid: Buffer.alloc(8) })])],
  ["other-connection", long().length + 6, Buffer.concat([long(), long({ dcid: DCID.subarray(0, 7) })])],
  ["other-connection", long().length + 6, Buffer.concat([long(), long({ dcid: Buffer.alloc(0), type: "handshake" })])],
  ["too-short", 16, longPacket(Buffer.alloc(2))],
  ["too-short", 15, longPacket(Buffer.alloc(2), { type: "handshake" })],
  ["truncated", 16, long({ lengthOff: 1 })],
  ["truncated", 16, Buffer.concat([long().subarray(0, 16), varint(2n ** 62n - 1n), Buffer.alloc(90)])],
  ["truncated", long().length, Buffer.concat([long(), hex("c0")])],
  ["unknown-version", long().length + 1, Buffer.concat([long(), Buffer.alloc(50, 0xc0)])],
  [
    "too-many-packets",
    long().length * MAX_PACKETS,
    Buffer.concat(Array.from({ length: MAX_PACKETS + 1 }, () => long())),
  ],
];

describe("readDatagram, every refusal", () => {
  for (const [code, offset, bytes] of REFUSED) {
    it(`${code} at ${offset}`, () => {
      const result = read(bytes);
      assert.equal(codeOf(result), code);
      assert.equal(result.kind === "invalid" && result.offset, offset);
    });
  }

  it("truncated: cut anywhere", () => {
    const bytes = long({ token: Buffer.alloc(80, 7), scid: Buffer.alloc(5) });
    for (let n = 1; n < bytes.length; n++) {
      const result = read(bytes.subarray(0, n));
      assert.equal(codeOf(result), "truncated", `${n} bytes`);
      assert.ok(result.kind === "invalid" && result.offset <= n, `${n} bytes: ${JSON.stringify(result)}`);
    }
    const two = Buffer.concat([bytes, bytes]);
    for (let n = bytes.length + 1; n < two.length; n++) assert.equal(codeOf(read(two.subarray(0, n))), "truncated");
  });

  it("truncated: a token that goes beyond the datagram", () => {
    const bytes = long();
    for (const length of [varint(200), varint(70_000), varint(2n ** 32n), varint(2n ** 62n - 1n)]) {
      const result = read(Buffer.concat([bytes.subarray(0, 15), length, bytes.subarray(16)]));
      assert.deepEqual(result, { kind: "invalid", code: "truncated", offset: 15 });
    }
  });

  it("takes as many packets as it says", () => {
    const bytes = Buffer.concat(Array.from({ length: MAX_PACKETS }, () => long()));
    assert.equal(typesOf(bytes).length, MAX_PACKETS);
  });
});
