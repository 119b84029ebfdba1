/** TCP, UDP, ICMP headers. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseIcmp } from "../../../src/core/wire/icmp.js";
import { parseIp, type IpPacket } from "../../../src/core/wire/ip.js";
import { parseTcp, TcpFlag } from "../../../src/core/wire/tcp.js";
import { parseUdp, peekPorts } from "../../../src/core/wire/udp.js";
import { codeOf, hex, ip4, ip6, mutate, Random, tcp, udp, valueOf, type TcpOptions } from "./bytes.js";

const ipOf = (bytes: Uint8Array): IpPacket => valueOf(parseIp(bytes, bytes.length));
const tcpIn = (payload = Buffer.from("hello"), options: TcpOptions = {}) => {
  const bytes = ip4(tcp(payload, options));
  return parseTcp(bytes, ipOf(bytes));
};

describe("parseTcp", () => {
  it("reads every field, in both families", () => {
    const segment = tcp(Buffer.from("hello"), {
      flags: 0x38,
      urgent: 7,
      options: hex("01 01 08 0a 00000001 00000002"),
    });
    for (const [bytes, at] of [[ip4(segment), 20] as const, [ip6(segment), 40] as const]) {
      assert.deepEqual(valueOf(parseTcp(bytes, ipOf(bytes))), {
        sport: 40000,
        dport: 443,
        seq: 0xfffffff0,
        ack: 0x90000001,
        flags: TcpFlag.PSH | TcpFlag.ACK | TcpFlag.URG,
        window: 64240,
        payloadOffset: at + 32,
        payloadEnd: at + 37,
        urgent: 7,
        md5: false,
      });
    }
  });

  it("has no urgent pointer without the flag", () => {
    assert.equal(valueOf(tcpIn(undefined, { urgent: 7 })).urgent, 0);
  });

  it("sees MD5 and TCP-AO", () => {
    assert.equal(valueOf(tcpIn(undefined, { options: hex(`01 01 13 12 ${"00".repeat(16)}`) })).md5, true);
    assert.equal(valueOf(tcpIn(undefined, { options: hex(`1d 10 ${"00".repeat(14)}`) })).md5, true);
    assert.equal(valueOf(tcpIn(undefined, { options: hex("00 13 12 00") })).md5, false);
  });

  it("refuses data offsets that don't fit", () => {
    assert.equal(codeOf(tcpIn(undefined, { dataOffset: 4 })), "data-offset");
    assert.equal(codeOf(tcpIn(undefined, { dataOffset: 7 })), "data-offset");
    assert.equal(valueOf(tcpIn(Buffer.alloc(4), { dataOffset: 6 })).payloadOffset, 44);
  });

  it("refuses options that don't fit", () => {
    for (const options of ["02 00 0000", "02 01 0000", "02 05 0000", "01 01 01 02"]) {
      assert.equal(codeOf(tcpIn(undefined, { options: hex(options) })), "options", options);
    }
  });

  it("takes the flags that TCPs send and refuses the others", () => {
    const { FIN, SYN, RST, PSH, ACK, URG } = TcpFlag;
    for (const flags of [
      SYN,
      SYN | 0xc0,
      SYN | ACK,
      ACK,
      PSH | ACK,
      FIN | ACK,
      FIN | PSH | URG | ACK,
      RST,
      RST | ACK,
    ]) {
      assert.equal(valueOf(tcpIn(undefined, { flags })).flags, flags);
    }
    for (const flags of [
      0,
      PSH,
      URG,
      FIN,
      FIN | PSH | URG,
      SYN | FIN,
      SYN | RST,
      SYN | FIN | ACK,
      RST | FIN,
      RST | SYN | ACK,
    ]) {
      assert.equal(codeOf(tcpIn(undefined, { flags })), "flags", String(flags));
    }
  });

  it("refuses fragments that were not reassembled, and takes an atomic one", () => {
    for (const frag of [0x2000, 0x2001, 1]) {
      const bytes = ip4(tcp(), { frag });
      assert.equal(codeOf(parseTcp(bytes, ipOf(bytes))), "fragment");
    }
    const atomic = ip6(tcp(), { ext: [{ type: 44, bytes: hex("00 00 0000 00000000") }] });
    assert.equal(valueOf(parseTcp(atomic, ipOf(atomic))).sport, 40000);
  });

  it("is done for no prefix, and for a cut copy from the end of the options on", () => {
    const bytes = ip4(tcp(Buffer.from("hello"), { options: hex("01 01 01 00") }));
    for (let n = 20; n < bytes.length; n++) {
      const cut = parseTcp(bytes.subarray(0, n), valueOf(parseIp(bytes.subarray(0, n), bytes.length)));
      if (n >= 44) assert.equal(valueOf(cut).payloadEnd, bytes.length);
      else assert.equal(codeOf(cut), "truncated", `${n} bytes`);
    }
    for (let n = 0; n < 24; n++) {
      const short = ip4(tcp(undefined, { options: hex("01 01 01 00") }).subarray(0, n));
      assert.equal(parseTcp(short, ipOf(short)).kind, "invalid", `${n} bytes`);
    }
  });
});

describe("parseUdp", () => {
  it("reads every field, in both families", () => {
    for (const [bytes, at] of [
      [ip4(udp(Buffer.from("abc")), { proto: 17 }), 20] as const,
      [ip6(udp(Buffer.from("abc")), { proto: 17 }), 40] as const,
    ]) {
      assert.deepEqual(valueOf(parseUdp(bytes, ipOf(bytes))), {
        sport: 40000,
        dport: 53,
        payloadOffset: at + 8,
        payloadEnd: at + 11,
      });
    }
  });

  it("holds the length exactly", () => {
    for (const length of [0, 7, 10, 12, 65535]) {
      const bytes = ip4(udp(Buffer.from("abc"), 1, 2, length), { proto: 17 });
      assert.equal(codeOf(parseUdp(bytes, ipOf(bytes))), "length", String(length));
    }
    const empty = ip4(udp(), { proto: 17 });
    assert.equal(valueOf(parseUdp(empty, ipOf(empty))).payloadEnd, 28);
  });

  it("refuses what is shorter than a header, and fragments", () => {
    for (let n = 0; n < 8; n++) {
      const bytes = ip4(udp().subarray(0, n), { proto: 17 });
      assert.equal(codeOf(parseUdp(bytes, ipOf(bytes))), "truncated");
    }
    const bytes = ip4(udp(), { proto: 17, frag: 0x2000 });
    assert.equal(codeOf(parseUdp(bytes, ipOf(bytes))), "fragment");
  });
});

it("peekPorts gives ports where there are some", () => {
  const first = ip4(tcp(), { frag: 0x2000 });
  assert.deepEqual(peekPorts(first, ipOf(first)), { sport: 40000, dport: 443 });
  for (const bytes of [ip4(tcp(), { frag: 1 }), ip4(tcp(), { proto: 47 }), ip4(hex("010203"), { proto: 17 })]) {
    assert.equal(peekPorts(bytes, ipOf(bytes)), undefined);
  }
});

describe("parseIcmp", () => {
  const icmp = (body: string, v6 = false) => {
    const bytes = v6 ? ip6(hex(body), { proto: 58 }) : ip4(hex(body), { proto: 1 });
    return parseIcmp(bytes, ipOf(bytes));
  };
  it("knows echo requests and replies in both families", () => {
    assert.deepEqual(valueOf(icmp("08 00 0000 1234 0001")), { type: 8, code: 0, echoId: 0x1234, isEchoRequest: true });
    assert.deepEqual(valueOf(icmp("00 00 0000 1234 0001")), { type: 0, code: 0, echoId: 0x1234, isEchoRequest: false });
    assert.deepEqual(valueOf(icmp("80 00 0000 1234 0001", true)), {
      type: 128,
      code: 0,
      echoId: 0x1234,
      isEchoRequest: true,
    });
    assert.equal(valueOf(icmp("81 00 0000 1234 0001", true)).echoId, 0x1234);
  });
  it("takes no other message for an echo", () => {
    for (const body of ["08 01 0000 1234 0001", "03 0d 0000 1234 0001", "80 00 0000 1234 0001"]) {
      assert.equal(valueOf(icmp(body)).isEchoRequest, false);
      assert.equal(valueOf(icmp(body)).echoId, undefined);
    }
    assert.equal(valueOf(icmp("08 00 0000 1234 0001", true)).isEchoRequest, false);
  });
  it("refuses short messages, fragments, and the other family's protocol", () => {
    for (let n = 0; n < 8; n++)
      assert.equal(codeOf(icmp("08 00 0000 1234 0001".replaceAll(" ", "").slice(0, n * 2))), "truncated");
    const fragment = ip4(hex("0800000012340001"), { proto: 1, frag: 1 });
    assert.equal(codeOf(parseIcmp(fragment, ipOf(fragment))), "fragment");
    const wrong = ip6(hex("0800000012340001"), { proto: 1 });
    assert.equal(codeOf(parseIcmp(wrong, ipOf(wrong))), "family");
  });
});

it("transport parsers stay within their bounds whatever comes", () => {
  const random = new Random(2);
  const seeds = [
    ip4(tcp(Buffer.from("hello"), { options: hex("01 01 08 0a 00000001 00000002") })),
    ip6(udp(Buffer.from("abc")), { proto: 17 }),
    ip4(hex("08 00 0000 1234 0001"), { proto: 1 }),
  ];
  for (let i = 0; i < 20_000; i++) {
    const bytes = mutate(seeds[i % 3]!, random);
    const ip = parseIp(bytes, bytes.length);
    if (ip.kind !== "done") continue;
    for (const result of [parseTcp(bytes, ip.value), parseUdp(bytes, ip.value)]) {
      if (result.kind !== "done") continue;
      assert.ok(result.value.payloadOffset <= result.value.payloadEnd && result.value.payloadEnd <= bytes.length);
      assert.ok(result.value.sport <= 65535);
    }
    parseIcmp(bytes, ip.value);
  }
});
