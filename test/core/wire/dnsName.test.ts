import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { normalizeHostBytes, normalizeName, normalizeNameText } from "../../../src/core/wire/dnsName.js";
import { codeOf, valueOf } from "./bytes.js";

const labels = (...names: string[]) => names.map((name) => Buffer.from(name, "latin1"));
const L63 = "a".repeat(63);
/** 253 characters. */
const LONGEST = [L63, L63, L63, "a".repeat(61)].join(".");

describe("normalizeName", () => {
  it("gives one form for labels and for text", () => {
    assert.equal(valueOf(normalizeName(labels("WwW", "Example", "COM"))), "www.example.com");
    assert.equal(valueOf(normalizeName("WwW.Example.COM")), "www.example.com");
    assert.equal(valueOf(normalizeName([])), "");
    assert.equal(valueOf(normalizeName("")), "");
  });
  it("takes underscores and other printable characters, as questions have them", () => {
    assert.equal(valueOf(normalizeName("_dmarc.example.com")), "_dmarc.example.com");
    assert.equal(valueOf(normalizeName("0/25.2.0.192.in-addr.arpa")), "0/25.2.0.192.in-addr.arpa");
    assert.equal(valueOf(normalizeName("*.example.com")), "*.example.com");
  });
  it("refuses a dot inside a label, NUL, space, control and non-ASCII characters", () => {
    for (const bad of ["a.b", "a\0", "a b", "\x1f", "\x7f", "\x80", "\xff"]) {
      assert.equal(codeOf(normalizeName(labels(bad, "com"))), "character", JSON.stringify(bad));
    }
    assert.equal(codeOf(normalizeName("a\u0101.com")), "character");
    assert.equal(codeOf(normalizeName("a\xe4.com")), "character");
  });
  it("holds lengths exactly", () => {
    assert.equal(valueOf(normalizeName(`${L63}.com`)), `${L63}.com`);
    assert.equal(codeOf(normalizeName(`${L63}a.com`)), "label-too-long");
    assert.equal(valueOf(normalizeName(LONGEST)).length, 253);
    assert.equal(codeOf(normalizeName(`${LONGEST}a`)), "name-too-long");
    assert.equal(valueOf(normalizeName(LONGEST.split(".").map((l) => Buffer.from(l)))), LONGEST);
    assert.equal(codeOf(normalizeName(labels("x", ...LONGEST.split(".")))), "name-too-long");
  });
  it("refuses empty labels, a trailing dot too", () => {
    for (const bad of ["a..b", ".a", "a.", "."]) assert.equal(codeOf(normalizeName(bad)), "label-empty", bad);
    assert.equal(codeOf(normalizeName(labels("a", "", "b"))), "label-empty");
  });
});

describe("normalizeNameText", () => {
  it("takes one trailing dot, no more", () => {
    assert.equal(valueOf(normalizeNameText("Example.COM.")), "example.com");
    assert.equal(valueOf(normalizeNameText("localhost")), "localhost");
    assert.equal(codeOf(normalizeNameText("example.com..")), "label-empty");
    assert.equal(codeOf(normalizeNameText(".")), "label-empty");
    assert.equal(codeOf(normalizeNameText("")), "empty");
    assert.equal(codeOf(normalizeNameText(".example.com")), "label-empty");
    assert.equal(valueOf(normalizeNameText(`${LONGEST}.`)), LONGEST);
    assert.equal(codeOf(normalizeNameText(`${LONGEST}a`)), "name-too-long");
    assert.equal(codeOf(normalizeNameText(`${L63}a.com`)), "label-too-long");
  });
  it("converts internationalised names", () => {
    assert.equal(valueOf(normalizeNameText("Bücher.Example")), "xn--bcher-kva.example");
    assert.equal(valueOf(normalizeNameText("xn--BCHER-kva.example")), "xn--bcher-kva.example");
    assert.equal(valueOf(normalizeNameText("例え。テスト")), "xn--r8jz45g.xn--zckzah");
    // Fullwidth letters are letters, fullwidth digits make an address.
    assert.equal(valueOf(normalizeNameText("ｅｘａｍｐｌｅ.com")), "example.com");
    assert.equal(codeOf(normalizeNameText("１.2.3.4")), "ip-literal");
  });
  it("refuses addresses in every spelling", () => {
    for (const text of [
      "192.0.2.7",
      "::1",
      "[::1]",
      "2001:db8::1",
      "127.1",
      "2130706433",
      "0x7f.1",
      "0x7f000001",
      "1.2.3.4.",
      "a.0x",
      "a.08",
    ]) {
      assert.equal(codeOf(normalizeNameText(text)), "ip-literal", text);
    }
    assert.equal(valueOf(normalizeNameText("1.2.3.a4")), "1.2.3.a4");
    assert.equal(valueOf(normalizeNameText("0xfg")), "0xfg");
  });
  it("refuses what no host name has", () => {
    for (const text of [
      "a b.com",
      "a/b",
      "a:80",
      "a@b",
      "*.x.io",
      "a%2eb",
      "ä%2eb.com",
      "a\tb",
      "ä\tb",
      "a\0b",
      "a,b",
      "http://a",
      "ä b.com",
      "\ud800.com",
    ]) {
      assert.equal(codeOf(normalizeNameText(text)), "character", JSON.stringify(text));
    }
  });
});

it("normalizeHostBytes reads its range alone", () => {
  const bytes = Buffer.from("xxWWW.example.comyy");
  assert.equal(valueOf(normalizeHostBytes(bytes, 2, 17)), "www.example.com");
  assert.equal(codeOf(normalizeHostBytes(bytes, 2, 2)), "empty");
  assert.deepEqual(normalizeHostBytes(Buffer.from("ab.c\xe4.de", "latin1"), 0, 9), {
    kind: "invalid",
    code: "character",
    offset: 3,
  });
});
