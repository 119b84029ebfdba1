import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatAddr } from "../../../src/core/net/address.js";
import { parseIp } from "../../../src/core/wire/ip.js";
import { codeOf, hex, ip4, ip6, mutate, Random, tcp, valueOf } from "./bytes.js";

const DATA = tcp(Buffer.from("hello"));
const parse = (bytes: Uint8Array, wire = bytes.length) => parseIp(bytes, wire);
/** Extension header of 8·n bytes; the first byte is filled in by ip6(). */
const ext = (type: number, body: string) => ({ type, bytes: hex(body) });
const DEST = ext(60, "00 00 01 04 00000000");
const HOP = ext(0, "00 00 01 04 00000000");

describe("parseIp, IPv4", () => {
  it("reads a plain packet", () => {
    const ip = valueOf(parse(ip4(DATA, { ttl: 3, proto: 6 })));
    assert.deepEqual(
      { ...ip, src: formatAddr(ip.src), dst: formatAddr(ip.dst) },
      {
        family: 4,
        src: "10.0.0.2",
        dst: "192.0.2.7",
        proto: 6,
        payloadOffset: 20,
        payloadEnd: 45,
        fragment: "no",
        ttl: 3,
        cut: false,
      },
    );
  });

  it("reads from a view that doesn't start its buffer", () => {
    const bytes = Buffer.concat([Buffer.alloc(7, 0xee), ip4(DATA)]).subarray(7);
    assert.equal(formatAddr(valueOf(parse(bytes)).dst), "192.0.2.7");
  });

  it("leaves out what stands behind the total length", () => {
    const ip = valueOf(parse(Buffer.concat([ip4(DATA), Buffer.alloc(9)])));
    assert.equal(ip.payloadEnd, 45);
    assert.equal(ip.cut, false);
  });

  it("knows a cut copy from a whole packet", () => {
    const ip = valueOf(parse(ip4(DATA).subarray(0, 44), 45));
    assert.equal(ip.payloadEnd, 45);
    assert.equal(ip.cut, true);
  });

  it("is done for no prefix that claims to be the packet", () => {
    const bytes = ip4(DATA, { options: hex("01 01 01 00") });
    for (let n = 0; n < bytes.length; n++) assert.equal(parse(bytes.subarray(0, n)).kind, "invalid", `${n} bytes`);
  });

  it("is done for a cut prefix exactly from the end of the header on", () => {
    const bytes = ip4(DATA, { options: hex("01 01 01 00") });
    for (let n = 0; n < bytes.length; n++) {
      assert.equal(parse(bytes.subarray(0, n), bytes.length).kind, n < 24 ? "invalid" : "done", `${n} bytes`);
    }
  });

  it("tells fragments", () => {
    assert.equal(valueOf(parse(ip4(DATA, { frag: 0x2000 }))).fragment, "first");
    assert.equal(valueOf(parse(ip4(DATA, { frag: 0x2001 }))).fragment, "later");
    assert.equal(valueOf(parse(ip4(DATA, { frag: 0x0001 }))).fragment, "later");
    assert.equal(valueOf(parse(ip4(DATA, { frag: 0x0000 }))).fragment, "no");
  });

  it("refuses header lengths that don't fit", () => {
    assert.equal(codeOf(parse(ip4(DATA, { ihl: 4 }))), "header-length");
    assert.equal(codeOf(parse(ip4(DATA, { ihl: 15 }).subarray(0, 45), 45)), "header-length");
    assert.equal(codeOf(parse(ip4(DATA, { ihl: 15 }).subarray(0, 45), 100)), "truncated");
    assert.equal(codeOf(parse(ip4(DATA, { ihl: 6 }).subarray(0, 23))), "header-length");
  });

  it("refuses total lengths that don't fit, and takes their neighbours", () => {
    assert.equal(codeOf(parse(ip4(DATA, { totalLength: 46 }))), "total-length");
    assert.equal(codeOf(parse(ip4(DATA, { totalLength: 19 }))), "total-length");
    assert.equal(codeOf(parse(ip4(DATA, { totalLength: 0 }))), "total-length");
    assert.equal(valueOf(parse(ip4(DATA, { totalLength: 20 }))).payloadEnd, 20);
  });

  it("takes a total length of 0 only for a TCP packet beyond 65535 bytes (BIG TCP)", () => {
    assert.equal(valueOf(parse(ip4(DATA, { totalLength: 0 }), 65536)).payloadEnd, 65536);
    assert.equal(codeOf(parse(ip4(DATA, { totalLength: 0 }), 65535)), "total-length");
    assert.equal(codeOf(parse(ip4(DATA, { totalLength: 0, proto: 17 }), 65536)), "total-length");
  });

  it("walks options and refuses source routes", () => {
    assert.equal(valueOf(parse(ip4(DATA, { options: hex("94 04 0000 00 ff ff ff") }))).payloadOffset, 28);
    assert.equal(codeOf(parse(ip4(DATA, { options: hex("83 07 04 c0000201 00") }))), "source-route");
    assert.equal(codeOf(parse(ip4(DATA, { options: hex("01 89 07 04 c0000201") }))), "source-route");
    assert.equal(codeOf(parse(ip4(DATA, { options: hex("94 00 0000") }))), "options");
    assert.equal(codeOf(parse(ip4(DATA, { options: hex("94 01 0000") }))), "options");
    assert.equal(codeOf(parse(ip4(DATA, { options: hex("94 05 0000") }))), "options");
    assert.equal(codeOf(parse(ip4(DATA, { options: hex("01 01 01 94") }))), "options");
  });

  it("refuses other versions", () => {
    assert.equal(codeOf(parse(hex("50000000"))), "version");
    assert.equal(codeOf(parse(new Uint8Array(0), 40)), "truncated");
  });
});

describe("parseIp, IPv6", () => {
  it("reads a plain packet", () => {
    const ip = valueOf(parse(ip6(DATA, { hopLimit: 2 })));
    assert.deepEqual(
      { ...ip, src: formatAddr(ip.src), dst: formatAddr(ip.dst) },
      {
        family: 6,
        src: "2001:db8::2",
        dst: "2001:db8::7",
        proto: 6,
        payloadOffset: 40,
        payloadEnd: 65,
        fragment: "no",
        ttl: 2,
        cut: false,
      },
    );
  });

  it("walks hop-by-hop, destination options, routing without segments left and an atomic fragment header", () => {
    const bytes = ip6(DATA, {
      ext: [HOP, DEST, ext(43, "00 00 04 00 00000000"), ext(44, "00 00 0000 12345678"), DEST],
    });
    const ip = valueOf(parse(bytes));
    assert.equal(ip.proto, 6);
    assert.equal(ip.payloadOffset, 80);
    assert.equal(ip.fragment, "atomic");
  });

  it("is done for no prefix that claims to be the packet", () => {
    const bytes = ip6(DATA, { ext: [HOP, DEST] });
    for (let n = 0; n < bytes.length; n++) assert.equal(parse(bytes.subarray(0, n)).kind, "invalid", `${n} bytes`);
  });

  it("is done for a cut prefix exactly from the end of the headers on", () => {
    const bytes = ip6(DATA, { ext: [HOP, DEST] });
    for (let n = 0; n < bytes.length; n++) {
      const result = parse(bytes.subarray(0, n), bytes.length);
      if (n >= 56) assert.equal(valueOf(result).cut, true);
      else assert.equal(codeOf(result), "truncated", `${n} bytes`);
    }
  });

  it("tells fragments and doesn't look behind a later one", () => {
    assert.equal(valueOf(parse(ip6(DATA, { ext: [ext(44, "00 00 0001 12345678")] }))).fragment, "first");
    const later = valueOf(parse(ip6(DATA, { ext: [ext(44, "00 00 0009 12345678"), ext(43, "00 ff 00 01 00000000")] })));
    assert.equal(later.fragment, "later");
    assert.equal(later.proto, 43);
    assert.equal(
      codeOf(parse(ip6(DATA, { ext: [ext(44, "00 00 0000 00000000"), ext(44, "00 00 0000 00000000")] }))),
      "ext-malformed",
    );
  });

  it("takes eight extension headers and refuses nine", () => {
    assert.equal(valueOf(parse(ip6(DATA, { ext: Array(8).fill(DEST) }))).payloadOffset, 104);
    assert.equal(codeOf(parse(ip6(DATA, { ext: Array(9).fill(DEST) }))), "ext-too-many");
  });

  it("refuses routing type 0 and any routing header with segments left", () => {
    assert.equal(codeOf(parse(ip6(DATA, { ext: [ext(43, "00 00 00 00 00000000")] }))), "ext-routing");
    assert.equal(codeOf(parse(ip6(DATA, { ext: [ext(43, "00 00 04 01 00000000")] }))), "ext-routing");
  });

  it("refuses extension headers that don't fit or stand in the wrong place", () => {
    assert.equal(codeOf(parse(ip6(new Uint8Array(0), { ext: [ext(60, "00 01 01 04 00000000")] }))), "ext-malformed");
    assert.equal(codeOf(parse(ip6(hex("00000000"), { proto: 60 }))), "ext-malformed");
    assert.equal(codeOf(parse(ip6(DATA, { ext: [DEST, HOP] }))), "ext-malformed");
    assert.equal(codeOf(parse(ip6(DATA, { ext: [ext(0, "00 00 01 05 00000000")] }))), "ext-malformed");
    assert.equal(codeOf(parse(ip6(DATA, { ext: [ext(0, "00 00 01 03 000000 05")] }))), "ext-malformed");
  });

  it("counts authentication, ESP, Mobility and no-next-header as the upper layer", () => {
    for (const proto of [51, 50, 135, 139, 59]) assert.equal(valueOf(parse(ip6(DATA, { proto }))).proto, proto);
  });

  it("refuses payload lengths beyond the packet", () => {
    assert.equal(codeOf(parse(ip6(DATA, { payloadLength: DATA.length + 1 }))), "total-length");
    assert.equal(valueOf(parse(ip6(DATA, { payloadLength: 0 }))).payloadEnd, 40);
  });

  it("takes BIG TCP with and without its hop-by-hop header, and no other jumbogram", () => {
    const wire = 70000;
    const jumbo = (length: number) => ext(0, `00 00 c2 04 ${length.toString(16).padStart(8, "0")}`);
    assert.equal(valueOf(parse(ip6(DATA, { payloadLength: 0 }), wire)).payloadEnd, wire);
    assert.equal(valueOf(parse(ip6(DATA, { payloadLength: 0, ext: [jumbo(wire - 40)] }), wire)).payloadOffset, 48);
    assert.equal(codeOf(parse(ip6(DATA, { payloadLength: 0, ext: [jumbo(wire - 41)] }), wire)), "ext-jumbo");
    assert.equal(codeOf(parse(ip6(DATA, { payloadLength: 0, proto: 17 }), wire)), "ext-jumbo");
    assert.equal(codeOf(parse(ip6(DATA, { ext: [jumbo(33)] }))), "ext-jumbo");
    assert.equal(
      codeOf(parse(ip6(DATA, { payloadLength: 0, ext: [ext(0, "00 00 c2 03 000000 00")] }), wire)),
      "ext-jumbo",
    );
  });
});

it("parseIp stays within its bounds whatever comes", () => {
  const random = new Random(1);
  const seeds = [
    ip4(DATA, { options: hex("94040000") }),
    ip6(DATA, { ext: [HOP, DEST, ext(44, "00 00 0000 12345678")] }),
  ];
  for (let i = 0; i < 20_000; i++) {
    const bytes = mutate(seeds[i % 2]!, random);
    const result = parse(bytes);
    if (result.kind !== "done") continue;
    const { payloadOffset, payloadEnd, src, dst, family } = result.value;
    assert.ok(payloadOffset <= payloadEnd && payloadEnd <= bytes.length);
    assert.equal(src.length + dst.length, family === 4 ? 8 : 32);
  }
});
