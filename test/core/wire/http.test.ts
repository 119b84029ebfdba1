import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatAddr } from "../../../src/core/net/address.js";
import {
  defaultHttpLimits,
  parsePipelined,
  parseRequestHead,
  type HttpCode,
  type RequestHead,
} from "../../../src/core/wire/http.js";
import { codeOf, fixture, mutate, Random, valueOf } from "./bytes.js";

const b = (text: string) => Buffer.from(text, "latin1");
const head = (text: string): RequestHead => valueOf(parseRequestHead(b(text)));
const code = (text: string): string => codeOf(parseRequestHead(b(text)));
const get = (headers: string, target = "/", version = "HTTP/1.1") => `GET ${target} ${version}\r\n${headers}\r\n`;
const host = (value: string) => get(`Host:${value}\r\n`);

describe("parseRequestHead, real requests", () => {
  it("reads curl's GET", () => {
    const bytes = fixture("http-get");
    assert.deepEqual(valueOf(parseRequestHead(bytes)), {
      method: "GET",
      target: "/a?b=c",
      version: "1.1",
      host: "www.example.com",
      hostPort: undefined,
      hostIsAddress: undefined,
      contentLength: undefined,
      chunked: false,
      upgrade: false,
      length: bytes.length,
    });
  });
  it("reads curl's others", () => {
    const ip = valueOf(parseRequestHead(fixture("http-get-ip")));
    assert.deepEqual([ip.host, formatAddr(ip.hostIsAddress!), typeof ip.hostPort], [undefined, "127.0.0.1", "number"]);
    const old = valueOf(parseRequestHead(fixture("http10")));
    assert.deepEqual([old.version, old.host], ["1.0", "old.example.com"]);
    const post = valueOf(parseRequestHead(fixture("http-post")));
    assert.deepEqual([post.method, post.host, post.contentLength], ["POST", "post.example.com", 3]);
    assert.equal(post.length, fixture("http-post").length - 3);
    assert.equal(valueOf(parseRequestHead(fixture("http-post-chunked"))).chunked, true);
    const absolute = valueOf(parseRequestHead(fixture("http-absolute")));
    assert.deepEqual([absolute.target, absolute.host], ["http://proxied.example.com/x", "proxied.example.com"]);
  });
  it("refuses curl's CONNECT and its upgrade to h2c", () => {
    assert.equal(codeOf(parseRequestHead(fixture("http-connect"))), "connect");
    assert.equal(codeOf(parseRequestHead(fixture("http2-upgrade"))), "upgrade-h2c");
  });
  it("needs more for every prefix, and nothing for what follows", () => {
    for (const name of ["http-get", "http-get-ip", "http10", "http-post", "http-post-chunked", "http-absolute"]) {
      const bytes = fixture(name);
      const whole = valueOf(parseRequestHead(bytes));
      for (let n = 0; n < whole.length; n++) {
        assert.equal(parseRequestHead(bytes.subarray(0, n)).kind, "needMore", `${name}, ${n} bytes`);
      }
      const more = Buffer.concat([bytes.subarray(0, whole.length), Buffer.from("\0\n\xff", "latin1")]);
      assert.deepEqual(valueOf(parseRequestHead(more)), whole);
    }
  });
});

describe("parseRequestHead, Host", () => {
  it("is found however it is spelt", () => {
    for (const line of ["Host: a.io", "host:a.io", "HOST:\ta.io \t", "hOsT:   A.IO", "Host: a.io."]) {
      assert.equal(head(get(`X: y\r\n${line}\r\nZ:\r\n`)).host, "a.io", line);
    }
  });
  it("carries a port, in bounds", () => {
    assert.deepEqual([head(host("a.io:8080")).host, head(host("a.io:8080")).hostPort], ["a.io", 8080]);
    assert.equal(head(host("a.io:65535")).hostPort, 65535);
    assert.equal(head(host("a.io:1")).hostPort, 1);
    for (const bad of ["a.io:65536", "a.io:0", "a.io:", "a.io:080", "a.io:8o", "a.io:-1", "a.io:80:80", "a.io: 80"]) {
      assert.equal(code(host(bad)), "host", bad);
    }
  });
  it("may be an address, in its one spelling", () => {
    const address = (value: string) => {
      const { host: name, hostIsAddress, hostPort } = head(host(value));
      return [name, formatAddr(hostIsAddress!), hostPort];
    };
    assert.deepEqual(address("192.0.2.7"), [undefined, "192.0.2.7", undefined]);
    assert.deepEqual(address("[2001:DB8::7]:81"), [undefined, "2001:db8::7", 81]);
    for (const bad of [
      "2001:db8::7",
      "[2001:db8::7",
      "[a.io]",
      "[192.0.2.7]x",
      "127.1",
      "0x7f000001",
      "[::1%25eth0]",
    ]) {
      assert.equal(code(host(bad)), "host", bad);
    }
  });
  it("is a name, or refused", () => {
    for (const bad of [
      "a b",
      "a/b",
      "u@a.io",
      "a,b",
      "a..io",
      ".a.io",
      "a.io..",
      "a_b\xe4.io",
      "a%2eio",
      "*.io",
      `${"a".repeat(64)}.io`,
    ]) {
      assert.equal(code(host(bad)), "host", bad);
    }
    assert.equal(code(host("")), "empty-host");
    assert.equal(code(host(" \t ")), "empty-host");
    assert.equal(code(get("Host:\r\n", "/", "HTTP/1.0")), "empty-host");
  });
  it("must be there in HTTP/1.1 alone", () => {
    assert.equal(code(get("X: y\r\n")), "no-host");
    assert.equal(head(get("X: y\r\n", "/", "HTTP/1.0")).host, undefined);
  });
  it("must be there once, even if both say the same", () => {
    assert.equal(code(get("Host: a.io\r\nHost: b.io\r\n")), "two-hosts");
    assert.equal(code(get("Host: a.io\r\nX: y\r\nhost: a.io\r\n")), "two-hosts");
    assert.equal(head(get("Host: a.io\r\nX-Host: b.io\r\n")).host, "a.io");
  });
  it("must agree with an absolute target", () => {
    assert.equal(head(get("Host: a.io\r\n", "http://A.io/x")).host, "a.io");
    assert.equal(head(get("Host: a.io:80\r\n", "HTTP://a.io?q")).host, "a.io");
    assert.equal(head(get("Host: a.io:81\r\n", "http://a.io:81")).hostPort, 81);
    assert.equal(code(get("Host: a.io\r\n", "http://b.io/")), "target-host-mismatch");
    assert.equal(code(get("Host: a.io\r\n", "http://a.io:81/")), "target-host-mismatch");
    assert.equal(code(get("Host: 192.0.2.7\r\n", "http://192.0.2.8/")), "target-host-mismatch");
    assert.equal(code(get("X: y\r\n", "http://a.io/")), "no-host");
    assert.equal(head(get("X: y\r\n", "http://a.io/", "HTTP/1.0")).host, "a.io");
  });
});

/** Each: what is refused, and (unless undefined) its nearest neighbour that isn't. */
const REFUSED: readonly [HttpCode, string, string, string | undefined][] = [
  ["leading-empty-line", "CR LF in front", `\r\n${host("a.io")}`, host("a.io")],
  ["bare-lf", "request line", "GET / HTTP/1.1\nHost: a.io\r\n\r\n", undefined],
  ["bare-lf", "header line", "GET / HTTP/1.1\r\nHost: a.io\nHost: b.io\r\n\r\n", undefined],
  ["bare-lf", "empty line", "GET / HTTP/1.1\r\nHost: a.io\r\n\n", undefined],
  ["bare-lf", "in front", `\n${host("a.io")}`, undefined],
  ["bare-cr", "in a value", host("a.io\rHost: b.io"), undefined],
  ["bare-cr", "CR CR LF", "GET / HTTP/1.1\r\r\nHost: a.io\r\n\r\n", undefined],
  ["control-character", "NUL in Host", host("a.io\0"), undefined],
  ["control-character", "vertical tab", get("Host: a.io\r\nX:\v\r\n"), get("Host: a.io\r\nX:\t\r\n")],
  ["control-character", "DEL", get("Host: a.io\r\nX: \x7f\r\n"), get("Host: a.io\r\nX: \xff\r\n")],
  ["request-line", "two spaces", "GET  / HTTP/1.1\r\nHost: a.io\r\n\r\n", undefined],
  ["request-line", "space in front", " GET / HTTP/1.1\r\nHost: a.io\r\n\r\n", undefined],
  ["request-line", "space behind", "GET / HTTP/1.1 \r\nHost: a.io\r\n\r\n", undefined],
  ["request-line", "no version (HTTP/0.9)", "GET /\r\n\r\n", undefined],
  ["request-line", "four words", "GET /a b HTTP/1.1\r\nHost: a.io\r\n\r\n", undefined],
  ["request-line", "tabs", "GET\t/\tHTTP/1.1\r\nHost: a.io\r\n\r\n", undefined],
  ["method", "small letters", "get / HTTP/1.1\r\nHost: a.io\r\n\r\n", "M-SEARCH / HTTP/1.1\r\nHost: a.io\r\n\r\n"],
  ["connect", "authority form", "CONNECT a.io:443 HTTP/1.1\r\nHost: a.io:443\r\n\r\n", undefined],
  ["target", "no path", get("Host: a.io\r\n", "a.io"), get("Host: a.io\r\n", "/a.io")],
  ["target", "authority form", get("Host: a.io\r\n", "a.io:80"), undefined],
  ["target", "asterisk for GET", get("Host: a.io\r\n", "*"), "OPTIONS * HTTP/1.1\r\nHost: a.io\r\n\r\n"],
  ["target", "other scheme", get("Host: a.io\r\n", "https://a.io/"), get("Host: a.io\r\n", "http://a.io/")],
  ["target", "user information", get("Host: a.io\r\n", "http://a.io@a.io/"), undefined],
  ["target", "fragment in the authority", get("Host: a.io\r\n", "http://a.io#@b.io/"), undefined],
  ["target", "backslash in the authority", get("Host: a.io\r\n", "http://b.io\\a.io/"), undefined],
  ["target", "non-ASCII", get("Host: a.io\r\n", "/\xe4"), get("Host: a.io\r\n", "/%e4")],
  ["version", "HTTP/1.2", get("Host: a.io\r\n", "/", "HTTP/1.2"), undefined],
  ["version", "HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", undefined],
  ["version", "small letters", get("Host: a.io\r\n", "/", "http/1.1"), undefined],
  ["obs-fold", "folded Host", get("Host: a.io\r\n .b.io\r\n"), undefined],
  ["obs-fold", "tab", get("Host: a.io\r\n\tX: y\r\n"), undefined],
  ["obs-fold", "first header", get(" Host: a.io\r\n"), undefined],
  ["header-name", "space before the colon", get("Host : a.io\r\n"), undefined],
  ["header-name", "no colon", get("Host: a.io\r\nX\r\n"), get("Host: a.io\r\nX:\r\n")],
  ["header-name", "empty", get("Host: a.io\r\n: y\r\n"), undefined],
  ["header-name", "not a token", get("Host: a.io\r\nX(: y\r\n"), undefined],
  ["header-name", "non-ASCII", get("Host: a.io\r\nH\xf6st: y\r\n"), undefined],
  [
    "content-length",
    "twice",
    get("Host: a.io\r\nContent-Length: 0\r\ncontent-length: 0\r\n"),
    get("Host: a.io\r\nContent-Length: 0\r\n"),
  ],
  ["content-length", "signed", get("Host: a.io\r\nContent-Length: +1\r\n"), undefined],
  ["content-length", "list", get("Host: a.io\r\nContent-Length: 1, 1\r\n"), undefined],
  ["content-length", "empty", get("Host: a.io\r\nContent-Length:\r\n"), undefined],
  ["content-length", "beyond all reason", get("Host: a.io\r\nContent-Length: 1234567890123456\r\n"), undefined],
  [
    "transfer-encoding",
    "gzip, chunked",
    get("Host: a.io\r\nTransfer-Encoding: gzip, chunked\r\n"),
    get("Host: a.io\r\nTransfer-Encoding: Chunked\r\n"),
  ],
  ["transfer-encoding", "identity", get("Host: a.io\r\nTransfer-Encoding: identity\r\n"), undefined],
  [
    "transfer-encoding",
    "twice",
    get("Host: a.io\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    undefined,
  ],
  ["transfer-encoding", "in HTTP/1.0", get("Host: a.io\r\nTransfer-Encoding: chunked\r\n", "/", "HTTP/1.0"), undefined],
  ["length-conflict", "both", get("Host: a.io\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"), undefined],
  ["upgrade-h2c", "alone", get("Host: a.io\r\nUpgrade: h2c\r\n"), get("Host: a.io\r\nUpgrade: websocket\r\n")],
  ["upgrade-h2c", "in a list", get("Host: a.io\r\nUpgrade: websocket, H2C\r\n"), undefined],
  [
    "too-many-headers",
    "101",
    get(`Host: a.io\r\n${"X: y\r\n".repeat(100)}`),
    get(`Host: a.io\r\n${"X: y\r\n".repeat(99)}`),
  ],
  [
    "too-large",
    "16385 bytes",
    get(`Host: a.io\r\nX: ${"y".repeat(16385 - get("Host: a.io\r\nX: \r\n").length)}\r\n`),
    get(`Host: a.io\r\nX: ${"y".repeat(16384 - get("Host: a.io\r\nX: \r\n").length)}\r\n`),
  ],
  ["too-large", "a line without an end", `GET /${"a".repeat(16384)}`, undefined],
];

describe("parseRequestHead, every refusal", () => {
  for (const [expected, what, text, neighbour] of REFUSED) {
    it(`${expected}: ${what}`, () => {
      assert.equal(code(text), expected);
      if (neighbour !== undefined) assert.equal(parseRequestHead(b(neighbour)).kind, "done");
    });
  }

  it("is done for no prefix of a refused head, and keeps to its refusal", () => {
    for (const [, what, text] of REFUSED) {
      const bytes = b(text);
      let refused = false;
      for (let n = 0; n <= bytes.length; n += n < 200 || n > bytes.length - 200 ? 1 : 97) {
        const { kind } = parseRequestHead(bytes.subarray(0, n));
        assert.notEqual(kind, "done", what);
        if (refused) assert.equal(kind, "invalid", what);
        refused ||= kind === "invalid";
      }
    }
  });

  it("too-large: waits for exactly as many bytes as could still end a head", () => {
    const limits = { ...defaultHttpLimits, maxBytes: 50 };
    const fits = b(get(`Host: a.io\r\nX: ${"y".repeat(50 - get("Host: a.io\r\nX: \r\n").length)}\r\n`));
    assert.equal(fits.length, 50);
    assert.equal(parseRequestHead(fits, limits).kind, "done");
    assert.equal(codeOf(parseRequestHead(fits, { ...limits, maxBytes: 49 })), "too-large");
    for (let n = 0; n < 60; n++) {
      assert.equal(parseRequestHead(b("G".repeat(n)), limits).kind, n <= 50 ? "needMore" : "invalid", `${n} bytes`);
    }
  });
});

describe("parsePipelined", () => {
  const pipelined = (text: string) => {
    const bytes = b(text);
    return parsePipelined(bytes, valueOf(parseRequestHead(bytes)));
  };
  it("is content with one head, whole or partial bodies, and heads for the same host", () => {
    assert.deepEqual(valueOf(pipelined(host("a.io"))), { heads: 1, length: host("a.io").length });
    const post = `POST / HTTP/1.1\r\nHost: a.io\r\nContent-Length: 10\r\n\r\n`;
    assert.deepEqual(valueOf(pipelined(`${post}0123`)), { heads: 1, length: post.length + 4 });
    assert.equal(valueOf(pipelined(`${post}0123456789${host("A.io:80")}${host("a.io.")}`)).heads, 3);
  });
  it("refuses another host or port, wherever it stands", () => {
    for (const other of ["b.io", "a.io:8080", "192.0.2.7"]) {
      assert.equal(codeOf(pipelined(host("a.io") + host(other))), "pipelined-host", other);
      assert.equal(codeOf(pipelined(host("a.io") + host("a.io") + host(other))), "pipelined-host", other);
    }
    const body = host("a.io");
    const post = `POST / HTTP/1.1\r\nHost: a.io\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    assert.equal(codeOf(pipelined(post + host("b.io"))), "pipelined-host");
    assert.equal(codeOf(pipelined(host("a.io") + get("", "/", "HTTP/1.0"))), "pipelined-host");
  });
  it("refuses what is no head, and gives its place", () => {
    const first = host("a.io");
    assert.deepEqual(pipelined(`${first}\r\n${first}`), {
      kind: "invalid",
      code: "leading-empty-line",
      offset: first.length,
    });
    assert.equal(codeOf(pipelined(`${first}\x16\x03\x01`)), "control-character");
  });
  it("needs more for half a second head", () => {
    const second = host("b.io");
    for (let n = 1; n < second.length; n++) {
      assert.equal(pipelined(host("a.io") + second.slice(0, n)).kind, "needMore");
    }
  });
  it("looks no further behind a chunked body or an upgrade", () => {
    const chunked = "POST / HTTP/1.1\r\nHost: a.io\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert.deepEqual(valueOf(pipelined(`${chunked}3\r\nabc\r\n0\r\n\r\n`)), { heads: 1, length: chunked.length });
    const upgrade = get("Host: a.io\r\nUpgrade: websocket\r\n");
    assert.deepEqual(valueOf(pipelined(`${upgrade}\x81\x00`)), { heads: 1, length: upgrade.length });
  });
  it("bounds each head by itself", () => {
    const big = get(`Host: a.io\r\nX: ${"y".repeat(10_000)}\r\n`);
    assert.equal(valueOf(pipelined(big + big + big)).heads, 3);
    assert.equal(codeOf(pipelined(host("a.io") + get(`Host: a.io\r\nX: ${"y".repeat(17_000)}\r\n`))), "too-large");
  });
});

it("parseRequestHead and parsePipelined never throw, whatever comes", () => {
  const random = new Random(15);
  const seeds = ["http-get", "http-post", "http-absolute", "http-post-chunked"].map((name) => fixture(name));
  let done = 0;
  for (let i = 0; i < 12_000; i++) {
    const seed = seeds[i % seeds.length]!;
    const bytes = mutate(i % 3 === 0 ? Buffer.concat([seed, seed]) : seed, random);
    const result = parseRequestHead(bytes);
    if (result.kind === "invalid") assert.ok(result.offset >= 0 && result.offset <= bytes.length);
    if (result.kind !== "done") continue;
    done++;
    assert.ok(result.value.length <= bytes.length);
    assert.equal(bytes.toString("latin1", result.value.length - 4, result.value.length), "\r\n\r\n");
    const next = parsePipelined(bytes, result.value);
    if (next.kind === "done") assert.ok(next.value.length <= bytes.length);
  }
  assert.ok(done > 1000, `only ${done} mutations were still valid`);
});
