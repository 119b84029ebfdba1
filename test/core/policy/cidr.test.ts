import assert from "node:assert/strict";
import { test } from "node:test";
import IPCIDR from "ip-cidr";
import { addrFromBytes, formatAddr, parseAddr, type Addr } from "../../../src/core/net/address.js";
import {
  addrAfter,
  compareCidrs,
  contains,
  forEachNested,
  formatCidr,
  maskAddr,
  parseCidr,
} from "../../../src/core/policy/cidr.js";
import type { Cidr } from "../../../src/core/policy/types.js";
import { Random } from "./random.js";

function addr(text: string): Addr {
  return parseAddr(text) as Addr;
}

function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  assert.ok(parsed.ok, text);
  return parsed.value;
}

function randomCidr(random: Random): Cidr {
  const width = random.chance(2) ? 4 : 16;
  const bytes = Uint8Array.from({ length: width }, () => random.int(256));
  const length = random.int(width * 8 + 1);
  return { addr: maskAddr(addrFromBytes(bytes, 0, width), length), length };
}

test("arithmetic agrees with ip-cidr, for every prefix length", () => {
  const random = new Random(1);
  for (let i = 0; i < 3000; i++) {
    const mine = randomCidr(random);
    const other = new IPCIDR(formatCidr(mine));
    const lastMine = addrAfter(mine);
    const start = addr(other.start());
    assert.equal(start, mine.addr, formatCidr(mine));
    // The address after the last one: the last one's successor is what a /32 or /128 there ends before.
    const last = addr(other.end());
    assert.equal(lastMine, addrAfter({ addr: last, length: last.length * 8 }), formatCidr(mine));
    assert.equal(maskAddr(last, mine.length), mine.addr, formatCidr(mine));
    const probe = randomCidr(random);
    if (probe.addr.length === mine.addr.length) {
      const host = { addr: probe.addr, length: probe.addr.length * 8 };
      assert.equal(
        contains(mine, host),
        other.contains(formatAddr(probe.addr)),
        `${formatCidr(mine)} ${formatCidr(host)}`,
      );
    }
  }
});

test("the address after a network, over byte borders and at the end", () => {
  const after = (text: string) => {
    const next = addrAfter(cidr(text));
    return next && formatAddr(next);
  };
  assert.equal(after("10.0.0.0/8"), "11.0.0.0");
  assert.equal(after("10.0.0.255"), "10.0.1.0");
  assert.equal(after("10.255.255.255"), "11.0.0.0");
  assert.equal(after("10.0.0.128/25"), "10.0.1.0");
  assert.equal(after("255.255.255.255"), undefined);
  assert.equal(after("128.0.0.0/1"), undefined);
  assert.equal(after("0.0.0.0/0"), undefined);
  assert.equal(after("2001:db8::/33"), "2001:db8:8000::");
  assert.equal(after("::/0"), undefined);
});

test("containment and its neighbours", () => {
  assert.ok(contains(cidr("10.0.0.0/8"), cidr("10.255.255.255")));
  assert.ok(contains(cidr("10.0.0.0/8"), cidr("10.0.0.0/8")));
  assert.ok(contains(cidr("0.0.0.0/0"), cidr("255.0.0.0/8")));
  assert.ok(!contains(cidr("10.0.0.0/8"), cidr("11.0.0.0")));
  assert.ok(!contains(cidr("10.0.0.0/8"), cidr("9.255.255.255")));
  assert.ok(!contains(cidr("10.0.0.0/8"), cidr("8.0.0.0/7")));
  assert.ok(!contains(cidr("10.0.0.0/25"), cidr("10.0.0.128/25")));
  assert.ok(!contains(cidr("::/0"), cidr("10.0.0.0/8")));
  assert.ok(!contains(cidr("0.0.0.0/0"), cidr("::/0")));
});

test("nesting finds the narrowest container, as looking at every pair does", () => {
  for (let seed = 0; seed < 30; seed++) {
    const random = new Random(seed);
    // Few distinct bits, so that there is something inside something.
    const list = Array.from({ length: 60 }, () => {
      const width = random.chance(3) ? 16 : 4;
      const length = random.int(9);
      const first = String.fromCharCode(random.int(256));
      return { addr: maskAddr((first + "\0".repeat(width - 1)) as Addr, length), length };
    });
    const unique = [...new Map(list.map((one) => [formatCidr(one), one])).values()].sort(compareCidrs);
    forEachNested(unique, (inner, outer) => {
      const containers = unique.filter((one) => one !== inner && contains(one, inner));
      const narrowest = containers.sort((a, b) => b.length - a.length)[0];
      assert.equal(
        outer && formatCidr(outer),
        narrowest && formatCidr(narrowest),
        `seed ${seed}: ${formatCidr(inner)}`,
      );
    });
  }
});
