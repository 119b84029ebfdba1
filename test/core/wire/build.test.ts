import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatAddr, parseAddr } from "../../../src/core/net/address.js";
import {
  icmpProhibitedFor,
  mayAnswerWithError,
  segmentEnd,
  tcpResetFor,
  tcpResetToServer,
  udpReplyFor,
} from "../../../src/core/wire/build.js";
import { ipv4ChecksumOk, transportChecksumOk } from "../../../src/core/wire/checksum.js";
import { parseIcmp } from "../../../src/core/wire/icmp.js";
import { parseIp, type IpPacket } from "../../../src/core/wire/ip.js";
import { parseTcp, TcpFlag, type TcpSegment } from "../../../src/core/wire/tcp.js";
import { parseUdp } from "../../../src/core/wire/udp.js";
import { hex, ip4, ip6, Random, slowChecksum, tcp, udp, valueOf, withChecksum, type TcpOptions } from "./bytes.js";

const { SYN, ACK, FIN, RST, PSH } = TcpFlag;
const FAMILIES = [
  {
    name: "IPv4",
    wrap: (payload: Uint8Array, proto = 6) => ip4(payload, { proto }),
    client: "10.0.0.2",
    server: "192.0.2.7",
  },
  {
    name: "IPv6",
    wrap: (payload: Uint8Array, proto = 6) => ip6(payload, { proto }),
    client: "2001:db8::2",
    server: "2001:db8::7",
  },
];

/** Parse a packet of ours, holding lengths and both checksums; the transport one also the slow way. */
function read(bytes: Uint8Array): IpPacket {
  const ip = valueOf(parseIp(bytes, bytes.length));
  assert.equal(ip.payloadEnd, bytes.length);
  assert.equal(ip.ttl, 64);
  assert.equal(ip.fragment, "no");
  if (ip.family === 4) assert.equal(ipv4ChecksumOk(bytes), true);
  assert.equal(transportChecksumOk(bytes, ip), true);
  const field = { 6: 16, 17: 6, 1: 2, 58: 2 }[ip.proto]!;
  // The slow way gives the one complement, which UDP spells 0xffff instead of 0.
  const again = withChecksum(bytes, field);
  const at = ip.payloadOffset + field;
  const slow = again.readUInt16BE(at);
  assert.equal(Buffer.from(bytes).readUInt16BE(at), ip.proto === 17 && slow === 0 ? 0xffff : slow);
  return ip;
}

for (const { name, wrap, client, server } of FAMILIES) {
  describe(`packets of our own, ${name}`, () => {
    const segment = (payload: string, options: TcpOptions): [Buffer, IpPacket, TcpSegment] => {
      const bytes = wrap(tcp(Buffer.from(payload), options));
      const ip = valueOf(parseIp(bytes, bytes.length));
      return [bytes, ip, valueOf(parseTcp(bytes, ip))];
    };
    const reset = (bytes: Uint8Array, from: string, to: string) => {
      const ip = read(bytes);
      assert.deepEqual([formatAddr(ip.src), formatAddr(ip.dst)], [from, to]);
      const t = valueOf(parseTcp(bytes, ip));
      assert.equal(t.payloadOffset, t.payloadEnd);
      return [t.sport, t.dport, t.flags, t.seq, t.ack];
    };

    it("resets a SYN: RST and ACK of the SYN", () => {
      const bytes = tcpResetFor(...segment("", { flags: SYN, seq: 5000, ack: 77 }));
      assert.deepEqual(reset(bytes, server, client), [443, 40000, RST | ACK, 0, 5001]);
    });
    it("resets data in a SYN: ACK of both", () => {
      const bytes = tcpResetFor(...segment("hello", { flags: SYN, seq: 0xffffffff }));
      assert.deepEqual(reset(bytes, server, client), [443, 40000, RST | ACK, 0, 5]);
    });
    it("resets an established sender with the sequence number it waits for", () => {
      const bytes = tcpResetFor(...segment("hello", { flags: PSH | ACK, seq: 5000, ack: 0xfffffffe }));
      assert.deepEqual(reset(bytes, server, client), [443, 40000, RST, 0xfffffffe, 0]);
    });
    it("resets the server in the client's name", () => {
      const given = segment("hello", { flags: PSH | ACK, seq: 5000, ack: 7000 });
      assert.deepEqual(reset(tcpResetToServer(...given), client, server), [40000, 443, RST | ACK, 5000, 7000]);
      assert.deepEqual(reset(tcpResetToServer(...given, 4990), client, server), [40000, 443, RST | ACK, 4990, 7000]);
      const syn = segment("", { flags: SYN, seq: 5000, ack: 7000 });
      assert.deepEqual(reset(tcpResetToServer(...syn), client, server), [40000, 443, RST, 5000, 0]);
    });
    it("knows where a segment ends", () => {
      assert.equal(segmentEnd(segment("abc", { flags: FIN | ACK, seq: 0xfffffffe })[2]), 2);
      assert.equal(segmentEnd(segment("", { flags: ACK, seq: 9 })[2]), 9);
    });

    it("says prohibited, and quotes the packet up to the family's bound", () => {
      const [most, type, code] = name === "IPv4" ? [548, 3, 13] : [1232, 1, 1];
      for (const size of [0, 1, 100, 3000]) {
        const packet = wrap(udp(Buffer.alloc(size, 7)), 17);
        const error = icmpProhibitedFor(packet, valueOf(parseIp(packet, packet.length)));
        const ip = read(error);
        assert.deepEqual([formatAddr(ip.src), formatAddr(ip.dst)], [server, client]);
        const message = valueOf(parseIcmp(error, ip));
        assert.deepEqual([message.type, message.code], [type, code]);
        const quoted = error.subarray(ip.payloadOffset + 8);
        assert.deepEqual(Buffer.from(quoted), packet.subarray(0, Math.min(packet.length, most)));
        assert.ok(error.length <= (name === "IPv4" ? 576 : 1280));
      }
    });
    it("quotes no padding, and no more than a cut copy has", () => {
      const packet = wrap(udp(Buffer.alloc(100)), 17);
      const padded = Buffer.concat([packet, Buffer.alloc(20)]);
      const whole = icmpProhibitedFor(padded, valueOf(parseIp(padded, padded.length)));
      assert.equal(whole.length, (name === "IPv4" ? 28 : 48) + packet.length);
      const cut = packet.subarray(0, 60);
      const error = icmpProhibitedFor(cut, valueOf(parseIp(cut, packet.length)));
      read(error);
      assert.equal(error.length, (name === "IPv4" ? 28 : 48) + 60);
    });

    it("answers a datagram, with every length of payload", () => {
      const packet = wrap(udp(Buffer.from("question"), 40000, 53), 17);
      const ip = valueOf(parseIp(packet, packet.length));
      const datagram = valueOf(parseUdp(packet, ip));
      for (const size of [0, 1, 2, 511, 512, name === "IPv4" ? 65507 : 65527]) {
        const reply = udpReplyFor(ip, datagram, Buffer.alloc(size, 0xab));
        const back = read(reply);
        assert.deepEqual([formatAddr(back.src), formatAddr(back.dst)], [server, client]);
        const { sport, dport, payloadOffset, payloadEnd } = valueOf(parseUdp(reply, back));
        assert.deepEqual([sport, dport, payloadEnd - payloadOffset], [53, 40000, size]);
        assert.ok(reply.subarray(payloadOffset).every((byte) => byte === 0xab));
      }
      assert.throws(() => udpReplyFor(ip, datagram, Buffer.alloc(name === "IPv4" ? 65508 : 65528)), RangeError);
    });

    it("never sends a UDP checksum of 0", () => {
      const packet = wrap(udp(Buffer.alloc(2)), 17);
      const ip = valueOf(parseIp(packet, packet.length));
      const datagram = valueOf(parseUdp(packet, ip));
      // Choose the payload that makes the sum all ones: the complement of what a payload of 0 sums to.
      const zero = Buffer.from(udpReplyFor(ip, datagram, Buffer.alloc(2)));
      const at = ip.payloadOffset;
      const reply = Buffer.from(udpReplyFor(ip, datagram, zero.subarray(at + 6, at + 8)));
      assert.equal(reply.readUInt16BE(at + 6), 0xffff);
      read(reply);
    });
  });
}

it("checksums of our packets hold for random contents", () => {
  const random = new Random(16);
  for (let i = 0; i < 500; i++) {
    const { wrap } = FAMILIES[i % 2]!;
    const payload = Buffer.from(Array.from({ length: random.below(80) }, () => random.below(256)));
    const packet = wrap(udp(payload, random.below(65536), random.below(65536)), 17);
    const ip = valueOf(parseIp(packet, packet.length));
    read(udpReplyFor(ip, valueOf(parseUdp(packet, ip)), payload));
    read(icmpProhibitedFor(packet, ip));
  }
  assert.equal(slowChecksum(hex("ffff")), 0);
});

describe("mayAnswerWithError", () => {
  const may = (bytes: Buffer) => mayAnswerWithError(bytes, valueOf(parseIp(bytes, bytes.length)));
  it("answers ordinary packets and ICMP queries", () => {
    assert.equal(may(ip4(tcp())), true);
    assert.equal(may(ip6(udp(), { proto: 17 })), true);
    assert.equal(may(ip4(tcp(), { frag: 0x2000 })), true);
    assert.equal(may(ip4(hex("0800000000000000"), { proto: 1 })), true);
    assert.equal(may(ip6(hex("8000000000000000"), { proto: 58 })), true);
  });
  it("answers no ICMP errors, later fragments, and no one but a single host", () => {
    assert.equal(may(ip4(hex("0301000000000000"), { proto: 1 })), false);
    assert.equal(may(ip4(hex("0b00000000000000"), { proto: 1 })), false);
    assert.equal(may(ip4(hex(""), { proto: 1 })), false);
    assert.equal(may(ip6(hex("0100000000000000"), { proto: 58 })), false);
    assert.equal(may(ip6(hex("8700000000000000"), { proto: 58 })), false);
    assert.equal(may(ip4(tcp(), { frag: 1 })), false);
    for (const address of ["224.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1"]) {
      assert.equal(may(ip4(udp(), { proto: 17, dst: address })), false, address);
      assert.equal(may(ip4(udp(), { proto: 17, src: address })), false, address);
    }
    const six = (src: string, dst: string) => {
      const bytes = ip6(udp(), { proto: 17 });
      bytes.set(Buffer.from(parseAddr(src)!, "latin1"), 8);
      bytes.set(Buffer.from(parseAddr(dst)!, "latin1"), 24);
      return bytes;
    };
    assert.equal(may(six("fe80::1", "2001:db8::1")), true);
    for (const address of ["ff02::1", "::", "::1"]) {
      assert.equal(may(six("2001:db8::1", address)), false, address);
      assert.equal(may(six(address, "2001:db8::1")), false, address);
    }
    assert.equal(may(six("::2", "2001:db8::1")), true);
  });
});
