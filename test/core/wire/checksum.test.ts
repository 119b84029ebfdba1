import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checksumOf, ipv4ChecksumOk, sum, transportChecksumOk } from "../../../src/core/wire/checksum.js";
import { parseIp } from "../../../src/core/wire/ip.js";
import { hex, ip4, ip6, Random, slowChecksum, tcp, udp, valueOf, withChecksum } from "./bytes.js";

const ok = (bytes: Uint8Array, wire = bytes.length) => transportChecksumOk(bytes, valueOf(parseIp(bytes, wire)));

describe("checksums", () => {
  it("sums like the slow way, for every length and for all ones", () => {
    const random = new Random(3);
    for (const length of [...Array(40).keys(), 1499, 1500, 32767, 32768, 32769, 65535]) {
      const bytes = Buffer.from(Array.from({ length }, () => random.below(256)));
      assert.equal(checksumOf(sum(bytes, 0, length, 0)), slowChecksum(bytes), `${length} bytes`);
    }
    const ones = Buffer.alloc(200_000, 0xff);
    assert.equal(checksumOf(sum(ones, 0, ones.length, 0)), slowChecksum(ones));
  });

  it("sums the words of RFC 1071 section 3", () => {
    assert.equal(checksumOf(sum(hex("0001 f203 f4f5 f6f7"), 0, 8, 0)), 0x220d);
  });

  const packets: [string, Buffer][] = [
    ["TCP over IPv4", withChecksum(ip4(tcp(Buffer.from("hello"))), 16)],
    ["TCP over IPv6", withChecksum(ip6(tcp(Buffer.from("odd"))), 16)],
    ["UDP over IPv4", withChecksum(ip4(udp(Buffer.from("hello")), { proto: 17 }), 6)],
    ["UDP over IPv6", withChecksum(ip6(udp(Buffer.from("hello")), { proto: 17 }), 6)],
    ["ICMP", withChecksum(ip4(hex("0800000012340001"), { proto: 1 }), 2)],
    ["ICMPv6", withChecksum(ip6(hex("8000000012340001"), { proto: 58 }), 2)],
  ];
  for (const [name, bytes] of packets) {
    it(`${name}: right is right, and every flipped bit of it is wrong`, () => {
      assert.equal(ok(bytes), true);
      const start = name.includes("6") ? 40 : 20;
      for (let at = start; at < bytes.length; at++) {
        const bad = Buffer.from(bytes);
        bad[at]! ^= 0x10;
        assert.equal(ok(bad), false, `byte ${at}`);
      }
    });
  }

  it("counts a length of more than 16 bits (BIG TCP) as RFC 8200 8.1 says, with 32", () => {
    const segment = tcp(Buffer.alloc(70_000, 7));
    const bytes = ip6(segment, { payloadLength: 0 });
    const pseudo = Buffer.concat([bytes.subarray(8, 40), hex("00011184 00000006")]);
    assert.equal(segment.length, 0x11184);
    bytes.writeUInt16BE(slowChecksum(Buffer.concat([pseudo, segment])), 40 + 16);
    assert.equal(ok(bytes), true);
  });

  it("covers the addresses", () => {
    const bytes = Buffer.from(packets[1]![1]);
    bytes[39]! ^= 1;
    assert.equal(ok(bytes), false);
  });

  it("takes 0 for none in UDP over IPv4 alone", () => {
    assert.equal(ok(ip4(udp(Buffer.from("x")), { proto: 17 })), true);
    assert.equal(ok(ip6(udp(Buffer.from("x")), { proto: 17 })), false);
    assert.equal(ok(ip4(tcp())), false);
  });

  it("is not ok where it can't be known, and ok where there is none", () => {
    const bytes = packets[0]![1];
    assert.equal(ok(bytes.subarray(0, bytes.length - 1), bytes.length), false);
    // The bytes that are missing are zero, so that the sum of the rest is right.
    const zeros = withChecksum(ip4(tcp(Buffer.alloc(4))), 16);
    assert.equal(ok(zeros), true);
    assert.equal(ok(zeros.subarray(0, zeros.length - 2), zeros.length), false);
    assert.equal(ok(ip4(udp(), { proto: 17, frag: 0x2000 })), false);
    assert.equal(ok(ip4(hex("00"), { proto: 6 })), false);
    assert.equal(ok(ip4(hex("00000800"), { proto: 47 })), true);
  });

  it("holds the IPv4 header", () => {
    const bytes = ip4(tcp(), { options: hex("94040000") });
    assert.equal(ipv4ChecksumOk(bytes), true);
    for (let at = 1; at < 24; at++) {
      const bad = Buffer.from(bytes);
      bad[at]! ^= 1;
      assert.equal(ipv4ChecksumOk(bad), false, `byte ${at}`);
    }
    assert.equal(ipv4ChecksumOk(hex("4f00")), false);
  });
});
