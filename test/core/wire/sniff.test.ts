import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sniffFirstBytes, type FirstBytes } from "../../../src/core/wire/sniff.js";
import { fixture, hex, Random } from "./bytes.js";

const CASES: readonly [FirstBytes, string, Uint8Array][] = [
  ["tls", "OpenSSL", fixture("tls13-openssl")],
  ["tls", "TLS 1.2", fixture("tls12-openssl")],
  ["tls", "SSL 3.0 to TLS 1.3 records", hex("160304")],
  ["http", "curl", fixture("http-get")],
  ["http", "POST", fixture("http-post")],
  ["http", "absolute form", fixture("http-absolute")],
  ["http", "CONNECT", fixture("http-connect")],
  ["http", "upgrade", fixture("http2-upgrade")],
  ["http", "WebDAV", Buffer.from("PROPFIND / HTTP/1.1\r\n")],
  ["http", "the longest method", Buffer.from("UPDATEREDIRECTREF /")],
  ["http", "line ends in front", Buffer.from("\r\n\n\r\nGET /")],
  ["http2-prior", "curl", fixture("http2-prior")],
  ["other", "ssh", fixture("ssh")],
  ["other", "SSL 2 hello", hex("802e0103010015")],
  ["other", "handshake of another version", hex("160305")],
  ["other", "not a version", hex("1602")],
  ["other", "alert", hex("150301")],
  ["other", "no space", Buffer.from("GET/")],
  ["other", "tab for a space", Buffer.from("GET\t/")],
  ["other", "small letters", Buffer.from("get / ")],
  ["other", "a longer word", Buffer.from("GETX ")],
  ["other", "no preface", Buffer.from("PRI * HTTP/1.1\r\n")],
  ["other", "line end before the preface", Buffer.from("\r\nPRI * HTTP/2.0\r\n")],
  ["other", "NUL in front", Buffer.from("\0GET / HTTP/1.1\r\n")],
  ["other", "sixteen line ends", Buffer.from(`${"\r\n".repeat(8)}GET /`)],
  ["other", "Redis", Buffer.from("*1\r\n$4\r\nPING\r\n")],
  ["other", "PostgreSQL", hex("00000008 04d2162f")],
];

describe("sniffFirstBytes", () => {
  for (const [kind, what, bytes] of CASES) {
    it(`${kind}: ${what}, and nothing else for any prefix`, () => {
      assert.equal(sniffFirstBytes(bytes), kind);
      let decided = false;
      for (let n = 0; n <= bytes.length; n++) {
        const answer = sniffFirstBytes(bytes.subarray(0, n));
        if (answer === "needMore") assert.equal(decided, false, `${n} bytes: undecided again`);
        else assert.equal(answer, kind, `${n} bytes`);
        decided = answer !== "needMore";
      }
    });
  }

  it("decides as early as it can", () => {
    assert.equal(sniffFirstBytes(hex("1603")), "needMore");
    assert.equal(sniffFirstBytes(Buffer.from("GET")), "needMore");
    assert.equal(sniffFirstBytes(Buffer.from("GET ")), "http");
    assert.equal(sniffFirstBytes(Buffer.from("S")), "needMore");
    assert.equal(sniffFirstBytes(Buffer.from("SS")), "other");
    assert.equal(sniffFirstBytes(new Uint8Array(0)), "needMore");
  });

  it("never changes its mind, whatever comes", () => {
    const random = new Random(14);
    const alphabet = Buffer.from("\x16\x03\x01\r\nGETPOSRI* /HT.20\0", "latin1");
    for (let i = 0; i < 3000; i++) {
      const bytes = Buffer.from(Array.from({ length: 24 }, () => alphabet[random.below(alphabet.length)]!));
      let first: FirstBytes = "needMore";
      for (let n = 0; n <= bytes.length; n++) {
        const answer = sniffFirstBytes(bytes.subarray(0, n));
        if (first === "needMore") first = answer;
        assert.equal(answer, first);
      }
    }
  });
});
