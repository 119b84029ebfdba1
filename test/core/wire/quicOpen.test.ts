import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { QuicDatagram, readDatagram } from "../../../src/core/wire/quicDatagram.js";
import { initialKeys, type InitialKeys } from "../../../src/core/wire/quicKeys.js";
import { openInitial } from "../../../src/core/wire/quicOpen.js";
import { QUIC_V1, QUIC_V2, quicVersion } from "../../../src/core/wire/quicVersions.js";
import { DCID, frame, keysOf, longPacket, V1, V2, type LongOptions } from "../../quic.js";
import { codeOf, hex, Random, valueOf } from "./bytes.js";

const into = new QuicDatagram();
const open = (bytes: Uint8Array, keys: InitialKeys, largest?: number, index = 0) =>
  openInitial(bytes, valueOf(readDatagram(bytes, 0, bytes.length, into)).packets[index]!, keys, largest);

/** RFC 9001 A.2 and RFC 9369 A.2 have the same CRYPTO frame, padded to 1,162 bytes; packet number 2 in four bytes. */
const RFC_CONTENT = Buffer.concat([
  hex(`
    060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578
    616d706c652e636f6dff01000100000a0008000600 1d0017001800100007000504616c706e000500050100000000003300260024001d00209370b2c9caa47fba
    baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c0002400100
    3900320408ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806048000ffff`),
  Buffer.alloc(917),
]);

const RFC = [
  {
    what: "RFC 9001 A",
    version: QUIC_V1,
    client: ["1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"],
    server: ["cf3a5331653c364c88f0f379b6067e37", "0ac1493ca1905853b0bba03e", "c206b8d9b9f0f37644430b490eeaa314"],
    begins: "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936b47d92ec356c",
    ends: "e221af44860018ab0856972e194cd934",
  },
  {
    what: "RFC 9369 A",
    version: QUIC_V2,
    client: ["8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9"],
    server: ["82db637861d55e1d011f19ea71d5d2a7", "dd13c276499c0249d3310652", "edf6d05c83121201b436e16877593c3a"],
    begins: "d76b3343cf088394c8f03e5157080000449ea0c95e82ffe67b6abcdb4298b485dd04de806071bf03dceebfa162e75d6c",
    ends: "a18b2faa745b6fe189cf772a9f84cbfc",
  },
];

for (const { what, version, client, server, begins, ends } of RFC) {
  describe(what, () => {
    it("keys of both sides", () => {
      for (const [side, expected] of [["client", client] as const, ["server", server] as const]) {
        const { key, iv, hp } = initialKeys(version, DCID, side);
        assert.deepEqual(
          [key, iv, hp].map((bytes) => Buffer.from(bytes).toString("hex")),
          expected,
        );
      }
    });
    it("the client's Initial packet opens", () => {
      // The tag covers header and content, so the packet that is built is the RFC's if its beginning and its tag are.
      const packet = longPacket(RFC_CONTENT, { version: version.number, pn: 2, pnSize: 4 });
      assert.equal(packet.subarray(0, 48).toString("hex"), begins);
      assert.equal(packet.subarray(-16).toString("hex"), ends);
      const opened = valueOf(open(packet, initialKeys(version, DCID)));
      assert.equal(opened.packetNumber, 2);
      assert.deepEqual(Buffer.from(opened.frames), RFC_CONTENT);
    });
  });
}

describe("quicVersion", () => {
  it("knows 1 and 2", () => {
    assert.equal(quicVersion(1), QUIC_V1);
    assert.equal(quicVersion(V2), QUIC_V2);
    for (const number of [0, 2, 3, 0xff00001d, 0x709a50c4, 0x1a2a3a4a]) assert.equal(quicVersion(number), undefined);
  });
});

describe("initialKeys", () => {
  it("agree with Node's HKDF for connection ids of any length", () => {
    const random = new Random(21);
    for (let size = 0; size <= 20; size++) {
      const dcid = Buffer.from(Array.from({ length: size }, () => random.below(256)));
      for (const version of [QUIC_V1, QUIC_V2]) {
        for (const side of ["client", "server"] as const) {
          const { key, iv, hp } = keysOf(version.number, dcid, side);
          const keys = initialKeys(version, dcid, side);
          assert.deepEqual(
            [keys.key, keys.iv, keys.hp].map((bytes) => Buffer.from(bytes)),
            [key, iv, hp],
          );
        }
      }
    }
  });
});

describe("openInitial", () => {
  const content = Buffer.concat([frame.ping(), frame.padding(80)]);
  const keys = initialKeys(QUIC_V1, DCID);

  it("opens every shape of header", () => {
    for (const version of [V1, V2]) {
      for (const pnSize of [1, 2, 3, 4]) {
        for (const [scid, token] of [
          [0, 0],
          [20, 0],
          [8, 63],
          [0, 64],
          [4, 300],
        ] as const) {
          const o: LongOptions = { version, pnSize, scid: Buffer.alloc(scid, 4), token: Buffer.alloc(token, 5) };
          for (const pn of [0, 1, 127, 2 ** (8 * pnSize) - 1]) {
            const bytes = longPacket(content, { ...o, pn });
            const before = Buffer.from(bytes);
            const opened = valueOf(open(bytes, initialKeys(quicVersion(version)!, DCID)));
            assert.deepEqual([opened.packetNumber, Buffer.from(opened.frames)], [pn, content]);
            assert.deepEqual(bytes, before, "the packet itself stays as it is");
          }
        }
      }
    }
  });

  it("opens the least that can be: four bytes of packet number and content", () => {
    for (const pnSize of [1, 2, 3, 4]) {
      const bytes = longPacket(Buffer.alloc(4 - pnSize), { pnSize });
      assert.equal(valueOf(open(bytes, keys)).frames.length, 4 - pnSize);
    }
  });

  it("opens each of several coalesced packets, and none with another's place", () => {
    const parts = [0, 1, 2].map((pn) => longPacket(Buffer.concat([content, Buffer.alloc(pn)]), { pn }));
    const bytes = Buffer.concat(parts);
    for (const pn of [0, 1, 2]) assert.equal(valueOf(open(bytes, keys, -1, pn)).packetNumber, pn);
  });

  it("decrypt: other keys, or any bit changed", () => {
    const bytes = longPacket(content);
    assert.equal(codeOf(open(bytes, initialKeys(QUIC_V1, Buffer.alloc(8)))), "decrypt");
    assert.equal(codeOf(open(bytes, initialKeys(QUIC_V2, DCID))), "decrypt");
    assert.equal(codeOf(open(bytes, initialKeys(QUIC_V1, DCID, "server"))), "decrypt");
    assert.equal(codeOf(open(longPacket(content, { pn: 256 }), keys)), "decrypt");
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const changed = Buffer.from(bytes);
        changed[at]! ^= 1 << bit;
        const datagram = readDatagram(changed, 0, changed.length, into);
        if (datagram.kind === "invalid") continue;
        const { packets, count } = datagram.value;
        for (const packet of packets.slice(0, count)) {
          if (packet.type === "initial") assert.equal(codeOf(openInitial(changed, packet, keys)), "decrypt");
        }
      }
    }
  });

  it("reserved-bits, once it is genuine", () => {
    for (const reserved of [1, 2, 3])
      assert.equal(codeOf(open(longPacket(content, { reserved }), keys)), "reserved-bits");
  });

  it("finds a number that was cut, next to the highest one seen, and one that wasn't, whatever was seen", () => {
    const cases: readonly (readonly [number, number, number])[] = [
      // Firefox begins anywhere from 0 to 255, and cuts once the server has acknowledged something.
      [256, 1, 255],
      [257, 1, 255],
      [383, 1, 255],
      [127, 1, 0],
      [128, 1, 255],
      [255, 1, 300],
      [70_000, 2, 69_999],
      [70_000, 2, 100_000],
      [2 ** 31 - 1, 4, -1],
      [2 ** 32 + 5, 1, 2 ** 32],
      [2 ** 32 + 5, 4, 2 ** 32 - 9],
      // The example of RFC 9000 A.3.
      [0xa82f9b32, 2, 0xa82f30ea],
      // As they stand: from nearest to what was seen they would be others.
      [0, 1, 255],
      [3, 1, 70_000],
      [9, 2, 2 ** 31],
    ];
    for (const [pn, pnSize, largest] of cases) {
      const opened = open(longPacket(content, { pn, pnSize }), keys, largest);
      assert.equal(valueOf(opened).packetNumber, pn, `${pn} in ${pnSize} after ${largest}`);
    }
    assert.equal(codeOf(open(longPacket(content, { pn: 600, pnSize: 1 }), keys, 255)), "decrypt");
  });

  it("is a function of packet and keys: the order of opening changes nothing", () => {
    const packets = [0, 1, 2, 3].map((pn) => longPacket(Buffer.concat([content, Buffer.alloc(pn)]), { pn }));
    const other = initialKeys(QUIC_V2, Buffer.alloc(20, 9));
    const lengths = (order: readonly number[]) =>
      order.map((i) => (open(packets[i]!, other), valueOf(open(packets[i]!, keys)).frames.length));
    assert.deepEqual(
      lengths([3, 0, 2, 1]),
      lengths([0, 1, 2, 3]).map((_, i, all) => all[[3, 0, 2, 1][i]!]),
    );
  });
});
