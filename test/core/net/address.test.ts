import assert from "node:assert/strict";
import { isIP } from "node:net";
import { describe, it } from "node:test";
import {
  addrFromBytes,
  addrTo16,
  addrToBytes,
  formatAddr,
  isIPv4,
  parseAddr,
  type Addr,
} from "../../../src/core/net/address.js";
import { Random } from "../wire/bytes.js";

const bytesOf = (text: string) => {
  const addr = parseAddr(text);
  return addr === undefined ? undefined : Buffer.from(addrToBytes(addr)).toString("hex");
};

describe("addresses", () => {
  it("are cut out of a packet, and put back", () => {
    const bytes = Buffer.from(Array.from({ length: 40 }, (_, i) => 255 - i)).subarray(3);
    assert.deepEqual([...addrToBytes(addrFromBytes(bytes, 2, 4))], [250, 249, 248, 247]);
    assert.deepEqual(Buffer.from(addrToBytes(addrFromBytes(bytes, 20, 16))), bytes.subarray(20, 36));
    assert.equal(isIPv4(addrFromBytes(bytes, 0, 4)), true);
    assert.equal(isIPv4(addrFromBytes(bytes, 0, 16)), false);
  });

  it("fill 16 bytes of a map key", () => {
    assert.equal(
      Buffer.from(addrTo16(parseAddr("192.0.2.255") as Addr)).toString("hex"),
      "00000000000000000000ffffc00002ff",
    );
    assert.equal(
      Buffer.from(addrTo16(parseAddr("fe80::ff") as Addr)).toString("hex"),
      "fe8000000000000000000000000000ff",
    );
  });

  it("parse", () => {
    assert.equal(bytesOf("0.0.0.0"), "00000000");
    assert.equal(bytesOf("255.255.255.255"), "ffffffff");
    assert.equal(bytesOf("::"), "00".repeat(16));
    assert.equal(bytesOf("::1"), `${"00".repeat(15)}01`);
    assert.equal(bytesOf("1::"), `0001${"00".repeat(14)}`);
    assert.equal(bytesOf("2001:DB8::a:0:1"), "20010db8000000000000000a00000001");
    assert.equal(bytesOf("1:2:3:4:5:6:7:8"), "00010002000300040005000600070008");
    assert.equal(bytesOf("1:2:3:4:5:6:7::"), "00010002000300040005000600070000");
    assert.equal(bytesOf("::2:3:4:5:6:7:8"), "00000002000300040005000600070008");
    assert.equal(bytesOf("::ffff:192.0.2.7"), "00000000000000000000ffffc0000207");
    assert.equal(bytesOf("64:ff9b::192.0.2.7"), "0064ff9b0000000000000000c0000207");
    assert.equal(bytesOf("1:2:3:4:5:6:192.0.2.7"), "000100020003000400050006c0000207");
    assert.equal(bytesOf("::1.2.3.4"), "00000000000000000000000001020304");
  });

  it("refuse what isn't one", () => {
    for (const text of [
      ...[
        "",
        " ",
        "1",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "1.2.3.04",
        "1.2.3.4 ",
        "1.2.3.4\n",
        "0x1.2.3.4",
        "1.2.3.-4",
      ],
      ...[
        "1..2.3",
        ".1.2.3.4",
        "1.2.3.4.",
        "1.2.3.4:5",
        ":",
        ":::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::",
      ],
      ...["1::2::3", "::12345", "g::", "fe80::1%eth0", "::1/128", "[::1]", ":1::2", "1::2:", "1:2:3:4:5:6:7:1.2.3.4"],
      ...[
        "1:2:3:4:5:6::1.2.3.4",
        "::1.2.3",
        "::1.2.3.4:5",
        "1.2.3.4::",
        ":1.2.3.4",
        ":::1.2.3.4",
        "::01.2.3.4",
        "::1.2.3.4.5",
      ],
      ...["1:2:3:4:5:6:7:", "::\u0661", "\u0661.2.3.4", "1:2:3:4:5:6:7:8 ", "::ffff:", "-1::"],
    ]) {
      assert.equal(parseAddr(text), undefined, JSON.stringify(text));
    }
  });

  it("format as RFC 5952 says, and parse back", () => {
    for (const [text, canonical] of [
      ["2001:0db8::0001", "2001:db8::1"],
      ["2001:db8:0:0:0:0:2:1", "2001:db8::2:1"],
      ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
      ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
      ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["2001:DB8::ABCD", "2001:db8::abcd"],
      ["0:0:0:0:0:0:0:0", "::"],
      ["1:0:0:0:0:0:0:0", "1::"],
      ["0:0:0:0:0:0:0:1", "::1"],
      ["::ffff:c000:207", "::ffff:192.0.2.7"],
      ["::ffff:0:c000:207", "::ffff:0:c000:207"],
      ["::1:2:3:ffff:c000:207", "::1:2:3:ffff:c000:207"],
      ["192.0.2.7", "192.0.2.7"],
    ] as const) {
      const addr = parseAddr(text);
      assert.ok(addr !== undefined, text);
      assert.equal(formatAddr(addr), canonical);
      assert.equal(parseAddr(canonical), addr);
    }
  });

  it("round-trip, and agree with node:net on what is one", () => {
    const random = new Random(7);
    for (let i = 0; i < 3000; i++) {
      const length = i % 2 === 0 ? 4 : 16;
      // Many zero groups, so that "::" stands everywhere.
      const addr = addrFromBytes(
        Buffer.from(
          Array.from({ length: length / 2 }, () =>
            random.below(2) === 0 ? [0, 0] : [random.below(256), random.below(256)],
          ).flat(),
        ),
        0,
        length,
      );
      const text = formatAddr(addr);
      assert.equal(parseAddr(text), addr, text);
      const at = random.below(text.length);
      const broken =
        text.slice(0, at) + [":", ".", "0", "", "f", "::"][random.below(6)]! + text.slice(at + random.below(2));
      assert.equal(parseAddr(broken) !== undefined, isIP(broken) !== 0, broken);
    }
  });
});
