import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseQuicHello } from "../../../src/core/wire/quicHello.js";
import { quicHello } from "../../quic.js";
import { codeOf, hex, mutate, Random, valueOf } from "./bytes.js";
import { ext, handshake, sni, versions, vec8 } from "./hello.js";

const MAX = 16_384;
const read = (...messages: Uint8Array[]) => parseQuicHello(Buffer.concat(messages), MAX);
const parameters = ext(57, hex("0408ffffffffffffffff"));
const withExtensions = (...extensions: Uint8Array[]) => quicHello({ extensions: Buffer.concat(extensions) });

describe("parseQuicHello", () => {
  it("needs all of it, and checks what has come", () => {
    const bytes = quicHello({ more: 300 });
    for (let n = 0; n < bytes.length; n++) assert.equal(read(bytes.subarray(0, n)).kind, "needMore", `${n} bytes`);
    const { serverName, length } = valueOf(read(bytes));
    assert.deepEqual([serverName, length], ["www.example.com", bytes.length]);
  });

  it("sees an encrypted hello, and a hello without a name", () => {
    const ech = ext(0xfe0d, Buffer.alloc(30));
    assert.equal(valueOf(read(withExtensions(sni("a.example"), versions(0x0304), parameters, ech))).ech, true);
    const nameless = valueOf(read(withExtensions(versions(0x0304), parameters)));
    assert.deepEqual([nameless.serverName, nameless.noNameWhy], [undefined, "absent"]);
  });

  it("finds TLS 1.3 anywhere among the versions", () => {
    for (const list of [[0x0304], [0x6a6a, 0x0304, 0x0303], [0x0303, 0x0304]]) {
      assert.equal(read(withExtensions(sni("a.example"), versions(...list), parameters)).kind, "done");
    }
  });

  it("takes a second hello for the same name: HelloRetryRequest asks for it", () => {
    const [first, second] = [quicHello(), quicHello({ more: 90 })];
    assert.equal(valueOf(read(first, second)).serverName, "www.example.com");
    for (let n = 1; n < second.length; n++) assert.equal(read(first, second.subarray(0, n)).kind, "needMore");
  });

  it("not-client-hello, too-large, and every refusal of TLS", () => {
    assert.equal(codeOf(read(handshake({ type: 2 }))), "not-client-hello");
    assert.equal(codeOf(read(hex("02"))), "not-client-hello");
    assert.equal(codeOf(read(hex("01ffffff"))), "too-large");
    assert.equal(parseQuicHello(hex("010000"), MAX).kind, "needMore");
    const bytes = quicHello();
    assert.equal(codeOf(parseQuicHello(bytes, bytes.length - 1)), "too-large");
    assert.equal(parseQuicHello(bytes, bytes.length).kind, "done");
    assert.equal(codeOf(read(withExtensions(sni("a.example", "b.example")))), "two-host-names");
    assert.equal(codeOf(read(withExtensions(sni("a.example"), sni("b.example")))), "two-server-names");
    assert.equal(codeOf(read(withExtensions(parameters, parameters))), "duplicate-extension");
    assert.equal(codeOf(read(quicHello({ trailing: Buffer.alloc(1) }))), "trailing");
    assert.equal(codeOf(read(quicHello({ length: 4 }))), "malformed");
  });

  it("quic-session-id", () => {
    for (const size of [1, 32])
      assert.equal(codeOf(read(quicHello({ sessionId: Buffer.alloc(size) }))), "quic-session-id");
  });

  it("no-transport-parameters: those of drafts are none", () => {
    assert.equal(codeOf(read(withExtensions(sni("a.example"), versions(0x0304)))), "no-transport-parameters");
    const draft = ext(0xffa5, Buffer.alloc(8));
    assert.equal(codeOf(read(withExtensions(sni("a.example"), versions(0x0304), draft))), "no-transport-parameters");
  });

  it("no-tls13", () => {
    for (const list of [[0x0303], [0x0305], [0x0403, 0x0303]]) {
      assert.equal(codeOf(read(withExtensions(sni("a.example"), versions(...list), parameters))), "no-tls13");
    }
    assert.equal(codeOf(read(withExtensions(sni("a.example"), parameters))), "no-tls13");
    // 03 | 0304 | 03: it stands there, but between two of them.
    assert.equal(codeOf(read(withExtensions(parameters, ext(43, vec8(hex("03030403")))))), "no-tls13");
  });

  it("hello-changed: another name, or ECH in the second hello only", () => {
    const first = quicHello();
    const ech = withExtensions(sni("www.example.com"), versions(0x0304), parameters, ext(0xfe0d, Buffer.alloc(9)));
    for (const second of [quicHello({ name: "evil.example" }), withExtensions(versions(0x0304), parameters), ech]) {
      assert.equal(codeOf(read(first, second)), "hello-changed");
    }
    assert.equal(codeOf(read(first, quicHello({ sessionId: Buffer.alloc(4) }))), "quic-session-id");
  });

  it("third-hello: anything behind the second one", () => {
    const bytes = quicHello();
    for (const more of [bytes, hex("01"), hex("00")]) assert.equal(codeOf(read(bytes, bytes, more)), "third-hello");
    assert.equal(codeOf(read(bytes, hex("08"))), "not-client-hello");
  });

  it("never throws, and waits only while a message is incomplete", () => {
    const random = new Random(51);
    const seeds = [quicHello(), quicHello({ more: 90 }), Buffer.concat([quicHello(), quicHello()])];
    const kinds = { done: 0, needMore: 0, invalid: 0 };
    for (let i = 0; i < 12_000; i++) {
      const bytes = mutate(seeds[i % seeds.length]!, random);
      const result = read(bytes);
      kinds[result.kind]++;
      if (result.kind === "invalid")
        assert.ok(result.offset >= 0 && result.offset <= bytes.length, JSON.stringify(result));
      if (result.kind === "done") assert.ok(result.value.quic && result.value.tls13 && result.value.sessionId === 0);
      if (result.kind === "needMore") assert.ok(!isWhole(bytes), bytes.toString("hex"));
    }
    for (const [kind, count] of Object.entries(kinds)) assert.ok(count > 300, `${count} ${kind}`);
  });
});

it("parseQuicHello counts offsets from the start of the stream, in a second hello, too", () => {
  const first = quicHello();
  const result = read(first, quicHello({ compression: hex("01") }));
  assert.equal(codeOf(result), "compression");
  // Behind header, version, random, an empty session id, two cipher suites and the number of methods.
  assert.equal(result.kind === "invalid" && result.offset, first.length + 4 + 2 + 32 + 1 + 6 + 1);
});

/** Is it one message or several, by their lengths, and nothing else? */
function isWhole(bytes: Buffer): boolean {
  let at = 0;
  while (at + 4 <= bytes.length) at += 4 + bytes.readUIntBE(at + 1, 3);
  return at === bytes.length && at > 0;
}
