import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { TlsCode } from "../../../src/core/wire/clientHello.js";
import { parseClientHello } from "../../../src/core/wire/tls.js";
import { codeOf, fixture, hex, mutate, Random, u16be, valueOf } from "./bytes.js";
import { alpn, ext, handshake, hello, hostName, inRecords, randomSize, record, sni, vec16, versions } from "./hello.js";

const REAL = ["tls13-openssl", "tls12-openssl", "tls-no-sni", "tls-alpn", "tls-curl", "tls-node", "tls-psk-early-data"];
const nameIn = (extensions: Uint8Array) => valueOf(parseClientHello(hello({ extensions }))).serverName;
const codeFor = (extensions: Uint8Array) => codeOf(parseClientHello(hello({ extensions })));

describe("parseClientHello, real hellos", () => {
  it("reads OpenSSL's, TLS 1.3", () => {
    const bytes = fixture("tls13-openssl");
    assert.deepEqual(valueOf(parseClientHello(bytes)), {
      serverName: "www.example.com",
      noNameWhy: undefined,
      ech: false,
      earlyData: false,
      tls13: true,
      quic: false,
      sessionId: 32,
      length: bytes.length,
    });
  });
  it("reads OpenSSL's, TLS 1.2, without supported_versions", () => {
    const value = valueOf(parseClientHello(fixture("tls12-openssl")));
    assert.equal(value.serverName, "api.example.com");
  });
  it("reads one without SNI", () => {
    const value = valueOf(parseClientHello(fixture("tls-no-sni")));
    assert.deepEqual([value.serverName, value.noNameWhy], [undefined, "absent"]);
  });
  it("reads those with ALPN, curl's and Node's", () => {
    assert.equal(parseClientHello(fixture("tls-alpn")).kind, "done");
    assert.equal(valueOf(parseClientHello(fixture("tls-curl"))).serverName, "git.example.org");
    assert.equal(valueOf(parseClientHello(fixture("tls-node"))).serverName, "node.example.org");
  });
  it("reads a resumption with early data, and stops behind the hello", () => {
    const bytes = fixture("tls-psk-early-data");
    const value = valueOf(parseClientHello(bytes));
    assert.deepEqual([value.serverName, value.earlyData], ["psk.example.com", true]);
    assert.equal(value.length, 5 + bytes.readUInt16BE(3));
    assert.ok(value.length < bytes.length);
  });
});

describe("parseClientHello, pieces", () => {
  it("needs more for every prefix, and nothing for what follows", () => {
    for (const bytes of [...REAL.map(fixture), hello(), inRecords(handshake(), () => 1)]) {
      const whole = valueOf(parseClientHello(bytes));
      for (let n = 0; n < whole.length; n++) {
        assert.equal(parseClientHello(bytes.subarray(0, n)).kind, "needMore", `${n} bytes`);
      }
      for (const tail of [hex("14030300010117"), hex("00"), hex("160301")]) {
        assert.deepEqual(valueOf(parseClientHello(Buffer.concat([bytes.subarray(0, whole.length), tail]))), whole);
      }
    }
  });

  it("gives the same for one-byte records and for random ones, and needs more for each of their prefixes", () => {
    const random = new Random(10);
    for (const name of REAL) {
      const bytes = fixture(name);
      const whole = valueOf(parseClientHello(bytes));
      const message = bytes.subarray(5, whole.length);
      for (const size of [() => 1, () => 2, () => 3, () => 100, randomSize(random, 9), randomSize(random, 300)]) {
        const split = inRecords(message, size);
        assert.deepEqual(valueOf(parseClientHello(split)), { ...whole, length: split.length });
        for (let n = 0; n < split.length; n += 1 + random.below(20)) {
          assert.equal(parseClientHello(split.subarray(0, n)).kind, "needMore");
        }
      }
    }
  });

  it("refuses the same over any records, at the byte that is wrong", () => {
    const bad = handshake({ extensions: sni("www.ex\0ample.com") });
    const whole = parseClientHello(record(bad));
    assert.equal(codeOf(whole), "server-name-character");
    for (const size of [1, 2, 50]) {
      const split = inRecords(bad, () => size);
      const result = parseClientHello(split);
      assert.equal(codeOf(result), "server-name-character");
      const at = whole.kind === "invalid" ? whole.offset - 5 : 0;
      assert.equal(result.kind === "invalid" && result.offset, at + 5 * (1 + Math.floor(at / size)));
    }
  });

  it("refuses a broken hello before it is complete", () => {
    const bytes = hello({ compression: hex("0100"), extensions: ext(21, Buffer.alloc(2000)) });
    assert.equal(codeOf(parseClientHello(bytes.subarray(0, 100))), "compression");
    assert.equal(parseClientHello(bytes.subarray(0, 50)).kind, "needMore");
  });
});

describe("parseClientHello, names", () => {
  it("gives the normal form", () => {
    assert.equal(nameIn(sni("WWW.Example.COM")), "www.example.com");
    assert.equal(nameIn(sni("example.com.")), "example.com");
    assert.equal(nameIn(sni("xn--BCHER-kva.example")), "xn--bcher-kva.example");
    assert.equal(nameIn(sni("a_b.example")), "a_b.example");
    assert.equal(nameIn(sni(`${"a".repeat(63)}.com`))?.length, 67);
  });
  it("finds the name wherever the extension stands", () => {
    assert.equal(
      nameIn(Buffer.concat([ext(0x0a0a, hex("")), ext(21, Buffer.alloc(300)), sni("a.io"), ext(35, hex(""))])),
      "a.io",
    );
  });
  it("says that an address stands there", () => {
    for (const name of [
      "192.0.2.7",
      "127.1",
      "2130706433",
      "0x7f.1",
      "::1",
      "2001:db8::7",
      "[::1]",
      "::ffff:1.2.3.4",
    ]) {
      const value = valueOf(parseClientHello(hello({ extensions: sni(name) })));
      assert.deepEqual([value.serverName, value.noNameWhy], [undefined, "ip-literal"], name);
    }
  });
  it("says that the extension is absent, with and without others", () => {
    for (const extensions of [null, new Uint8Array(0), versions(0x0304)]) {
      assert.equal(valueOf(parseClientHello(hello({ extensions }))).noNameWhy, "absent");
    }
  });
  it("refuses names that are none", () => {
    for (const name of [
      "a\0b.com",
      "a\0",
      "ex\xe4mple.com",
      "a b.com",
      "a/b",
      "a.com:443",
      "*.a.com",
      "a.com\n",
      "http://a.com",
      "a,b",
    ]) {
      assert.equal(codeFor(sni(name)), "server-name-character", JSON.stringify(name));
    }
    for (const name of ["a..com", ".com", "a.com..", ".", `${"a".repeat(64)}.com`, `${"a.".repeat(127)}aa`]) {
      assert.equal(codeFor(sni(name)), "server-name-length", name);
    }
    assert.equal(nameIn(sni(`${"a.".repeat(126)}a`))?.length, 253);
  });
});

describe("parseClientHello, what else it says", () => {
  it("sees ECH and the older encrypted SNI", () => {
    assert.equal(
      valueOf(parseClientHello(hello({ extensions: Buffer.concat([sni("a.io"), ext(0xfe0d, hex("00"))]) }))).ech,
      true,
    );
    assert.equal(
      valueOf(parseClientHello(hello({ extensions: Buffer.concat([ext(0xffce, hex("")), sni("a.io")]) }))).ech,
      true,
    );
    assert.equal(valueOf(parseClientHello(hello({ extensions: ext(0xfe0c, hex("")) }))).ech, false);
  });
  it("takes any version and any protocol name that is in order", () => {
    for (const list of [versions(0x7a7a, 0x0304, 0x0303), alpn("h2", "x")]) {
      assert.equal(parseClientHello(hello({ extensions: list })).kind, "done");
    }
  });
});

/** Each: what is refused, and (unless undefined) its nearest neighbour that isn't. */
const REFUSED: readonly [TlsCode, string, Uint8Array, Uint8Array | undefined][] = [
  ["sslv2", "SSL 2 hello", hex("802e 01 0301 0015 0000 0010"), undefined],
  ["record-type", "HTTP", Buffer.from("GET / HTTP/1.1\r\n"), undefined],
  [
    "record-type",
    "alert between two halves",
    Buffer.concat([record(handshake().subarray(0, 9)), hex("15030100020100")]),
    undefined,
  ],
  ["record-version", "major 2", record(handshake(), 22, 0x0201), record(handshake(), 22, 0x0300)],
  ["record-version", "minor 5", record(handshake(), 22, 0x0305), record(handshake(), 22, 0x0304)],
  ["record-empty", "first", Buffer.concat([record(hex("")), hello()]), undefined],
  [
    "record-empty",
    "in the middle",
    Buffer.concat([record(handshake().subarray(0, 9)), record(hex("")), record(handshake().subarray(9))]),
    Buffer.concat([record(handshake().subarray(0, 9)), record(handshake().subarray(9))]),
  ],
  ["record-too-large", "2^14 + 1", record(handshake(), 22, 0x0301, 16385), undefined],
  ["not-client-hello", "server hello", hello({ type: 2 }), undefined],
  ["trailing-handshake", "a byte behind it", record(Buffer.concat([handshake(), hex("00")])), hello()],
  ["trailing-handshake", "a second hello in the record", record(Buffer.concat([handshake(), handshake()])), undefined],
  ["trailing-handshake", "declared shorter than its fields", hello({ length: 40 }), undefined],
  ["version", "SSL 2", hello({ version: 0x0002 }), hello({ version: 0x0300 })],
  ["version", "TLS 1.3", hello({ version: 0x0304 }), hello({ version: 0x0303 })],
  ["session-id", "33 bytes", hello({ sessionId: Buffer.alloc(33) }), hello({ sessionId: Buffer.alloc(0) })],
  ["cipher-suites", "none", hello({ suites: hex("") }), hello({ suites: hex("1301") })],
  ["cipher-suites", "three bytes", hello({ suites: hex("130113") }), undefined],
  ["compression", "deflate and null", hello({ compression: hex("0100") }), undefined],
  ["compression", "deflate", hello({ compression: hex("01") }), undefined],
  ["compression", "none", hello({ compression: hex("") }), undefined],
  ["trailing", "behind the extensions", hello({ trailing: hex("00") }), undefined],
  [
    "malformed",
    "extensions longer than the hello",
    hello({ extensions: null, trailing: hex("0005 0015 0000") }),
    undefined,
  ],
  [
    "malformed",
    "one byte where the extensions' length belongs",
    hello({ extensions: null, trailing: hex("00") }),
    undefined,
  ],
  [
    "malformed",
    "extension longer than the block",
    hello({ extensions: hex("0015 0001") }),
    hello({ extensions: hex("0015 0000") }),
  ],
  ["malformed", "half an extension header", hello({ extensions: hex("0015 0000 00") }), undefined],
  [
    "malformed",
    "name longer than its list",
    hello({ extensions: ext(0, hex("0004 00 0002 61")) }),
    hello({ extensions: ext(0, hex("0005 00 0002 6161")) }),
  ],
  ["malformed", "list longer than the extension", hello({ extensions: ext(0, hex("0006 00 0002 6161")) }), undefined],
  ["malformed", "ALPN name longer than its list", hello({ extensions: ext(16, hex("0002 02 61")) }), undefined],
  ["malformed", "empty SNI extension", hello({ extensions: ext(0, hex("")) }), undefined],
  ["trailing", "behind the list of names", hello({ extensions: ext(0, hex("0005 00 0002 6161 00")) }), undefined],
  [
    "trailing",
    "behind ALPN",
    hello({ extensions: ext(16, hex("0003 02 6832 00")) }),
    hello({ extensions: ext(16, hex("0003 02 6832")) }),
  ],
  ["trailing", "behind supported_versions", hello({ extensions: ext(43, hex("02 0304 00")) }), undefined],
  ["two-server-names", "two extensions", hello({ extensions: Buffer.concat([sni("a.io"), sni("a.io")]) }), undefined],
  [
    "two-host-names",
    "two names in one",
    hello({ extensions: sni("a.io", "b.io") }),
    hello({ extensions: sni("a.io") }),
  ],
  [
    "two-host-names",
    "half a second name",
    hello({ extensions: ext(0, vec16(Buffer.concat([hostName("a.io"), hex("00")]))) }),
    undefined,
  ],
  [
    "duplicate-extension",
    "padding twice",
    hello({ extensions: Buffer.concat([ext(21, hex("")), ext(21, hex(""))]) }),
    undefined,
  ],
  ["server-name", "empty list", hello({ extensions: ext(0, hex("0000")) }), undefined],
  ["server-name", "empty name", hello({ extensions: sni("") }), undefined],
  ["server-name", "another type", hello({ extensions: ext(0, vec16(hostName("a.io", 1))) }), undefined],
  ["alpn", "empty list", hello({ extensions: ext(16, hex("0000")) }), undefined],
  ["alpn", "empty name", hello({ extensions: ext(16, hex("0004 00 02 6832")) }), undefined],
  ["supported-versions", "none", hello({ extensions: ext(43, hex("00")) }), undefined],
  ["supported-versions", "three bytes", hello({ extensions: ext(43, hex("03 030403")) }), undefined],
  [
    "psk-not-last",
    "padding behind it",
    hello({ extensions: Buffer.concat([ext(41, hex("00")), ext(21, hex(""))]) }),
    hello({ extensions: Buffer.concat([ext(21, hex("")), ext(41, hex("00"))]) }),
  ],
  ["too-many-extensions", "101", hello({ extensions: many(101) }), hello({ extensions: many(100) })],
];

function many(count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, i) => ext(1000 + i, hex(""))));
}

describe("parseClientHello, every refusal", () => {
  for (const [code, what, bytes, neighbour] of REFUSED) {
    it(`${code}: ${what}`, () => {
      assert.equal(codeOf(parseClientHello(bytes)), code);
      if (neighbour) assert.equal(parseClientHello(neighbour).kind, "done");
    });
  }

  it("too-large: holds the bound exactly, headers included, and says so as soon as it is known", () => {
    const sized = (bytes: number) => hello({ extensions: Buffer.concat([sni("a.io"), ext(21, Buffer.alloc(bytes))]) });
    const base = sized(0).length;
    const fits = sized(16384 - base);
    assert.equal(fits.length, 16384);
    assert.equal(valueOf(parseClientHello(fits)).length, 16384);
    const larger = sized(16385 - base);
    assert.equal(codeOf(parseClientHello(larger)), "too-large");
    assert.equal(codeOf(parseClientHello(larger.subarray(0, 9))), "too-large");
    assert.equal(parseClientHello(larger.subarray(0, 8)).kind, "needMore");
    assert.equal(valueOf(parseClientHello(hello(), { maxBytes: hello().length })).serverName, "www.example.com");
    assert.equal(codeOf(parseClientHello(hello(), { maxBytes: hello().length - 1 })), "too-large");
  });

  it("too-large: counts the headers of small records, and never waits beyond the bound", () => {
    const message = handshake();
    for (const size of [1, 2, 7]) {
      const split = inRecords(message, () => size);
      assert.equal(parseClientHello(split, { maxBytes: split.length }).kind, "done");
      for (const maxBytes of [split.length - 1, split.length - 6, 100, 12, 6, 5, 1]) {
        assert.equal(codeOf(parseClientHello(split, { maxBytes })), "too-large");
        // Whatever has come: done never, and needMore only while the bound isn't reached.
        for (let n = 0; n < split.length; n++) {
          const { kind } = parseClientHello(split.subarray(0, n), { maxBytes });
          assert.notEqual(kind, "done");
          if (n >= maxBytes) assert.equal(kind, "invalid", `${n} of ${maxBytes}`);
        }
      }
    }
  });

  it("keeps to its first refusal when more comes", () => {
    const random = new Random(11);
    for (const [, , bytes] of REFUSED) {
      let refused: string | undefined;
      for (let n = 0; n <= bytes.length; n++) {
        const result = parseClientHello(bytes.subarray(0, n));
        assert.notEqual(result.kind, "done");
        if (refused !== undefined) assert.equal(result.kind, "invalid");
        if (result.kind === "invalid") refused ??= result.code;
      }
      assert.notEqual(refused, undefined);
      assert.equal(parseClientHello(Buffer.concat([bytes, Buffer.alloc(9, random.below(256))])).kind, "invalid");
    }
  });
});

it("parseClientHello never throws, and reads any mutation the same over any records", () => {
  const random = new Random(12);
  const seeds = [
    ...REAL.map(fixture),
    hello({ extensions: Buffer.concat([sni("a.io"), alpn("h2"), versions(0x0304)]) }),
  ];
  let done = 0;
  for (let i = 0; i < 12_000; i++) {
    const bytes = mutate(seeds[i % seeds.length]!, random);
    const result = parseClientHello(bytes);
    if (result.kind === "invalid")
      assert.ok(result.offset >= 0 && result.offset <= bytes.length, JSON.stringify(result));
    if (result.kind !== "done") continue;
    done++;
    const { length } = result.value;
    assert.ok(length <= bytes.length);
    if (5 + bytes.readUInt16BE(3) !== length) continue;
    const split = inRecords(bytes.subarray(5, length), randomSize(random, 50));
    assert.deepEqual(valueOf(parseClientHello(split)), { ...result.value, length: split.length });
  }
  assert.ok(done > 1000, `only ${done} mutations were still valid`);
});

it("a mutated message gets the same verdict in one record and in many", () => {
  const random = new Random(13);
  const messages = REAL.map((name) => fixture(name)).map((bytes) => bytes.subarray(5, 5 + bytes.readUInt16BE(3)));
  for (let i = 0; i < 6000; i++) {
    const mutated = mutate(messages[i % messages.length]!.subarray(4), random);
    const message = Buffer.concat([hex("0100"), u16be(mutated.length), mutated]);
    const one = parseClientHello(record(message));
    const many = parseClientHello(inRecords(message, randomSize(random, 40)));
    assert.equal(many.kind, one.kind);
    if (one.kind === "invalid") assert.equal(codeOf(many), one.code);
    if (one.kind === "done" && many.kind === "done") assert.equal(many.value.serverName, one.value.serverName);
  }
});
