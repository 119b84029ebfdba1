import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as dnsPacket from "dns-packet";
import { formatAddr } from "../../../src/core/net/address.js";
import { DnsReading, DnsType, parseDns, readDns, type DnsMessage } from "../../../src/core/wire/dns.js";
import { codeOf, fixture, hex, mutate, Random, u16be, valueOf } from "./bytes.js";

const parse = (bytes: Uint8Array) => parseDns(bytes, 0, bytes.length);

/** Header with these counts; id 0x1234, RD. */
const head = (counts: [number, number, number, number], flags = 0x0100) =>
  Buffer.concat([hex("1234"), u16be(flags), ...counts.map(u16be)]);
/** Question A IN for example.com, at offset 12. */
const QUESTION = hex("07 6578616d706c65 03 636f6d 00 0001 0001");
const record = (owner: string, type: number, data: string, class_ = 1, length = hex(data).length) =>
  Buffer.concat([hex(owner), u16be(type), u16be(class_), hex("0000012c"), u16be(length), hex(data)]);
const answer = (...records: Buffer[]) => Buffer.concat([head([1, records.length, 0, 0], 0x8180), QUESTION, ...records]);
const query = (...additional: Buffer[]) => Buffer.concat([head([1, 0, 0, additional.length]), QUESTION, ...additional]);
const named = (name: string) => Buffer.concat([head([1, 0, 0, 0]), hex(name), hex("00010001")]);
const OPT = (options = "", owner = "00") => record(owner, 41, options, 1232);

describe("parseDns, real messages", () => {
  it("reads dig's query with EDNS", () => {
    const bytes = fixture("dns-query-a");
    const message = valueOf(parse(bytes));
    assert.equal(message.id, bytes.readUInt16BE(0));
    assert.deepEqual(message.questions, [{ name: "www.example.com", type: 1, class: 1 }]);
    assert.equal(Buffer.from(message.questionBytes).toString("latin1"), "\x03www\x07Example\x03com\0\0\x01\0\x01");
    assert.deepEqual(
      [
        message.response,
        message.opcode,
        message.recursionDesired,
        message.checkingDisabled,
        message.edns,
        message.dnssecOk,
      ],
      [false, 0, true, false, true, false],
    );
    assert.deepEqual(
      message.records.map(({ type, section, class: size }) => [type, section, size]),
      [[41, "additional", 1232]],
    );
  });

  it("reads dig's query without EDNS, and with DO and CD", () => {
    const plain = valueOf(parse(fixture("dns-query-aaaa-noedns")));
    assert.deepEqual([plain.edns, plain.questions[0]?.type, plain.records.length], [false, 28, 0]);
    const dnssec = valueOf(parse(fixture("dns-query-dnssec")));
    assert.deepEqual([dnssec.edns, dnssec.dnssecOk, dnssec.checkingDisabled], [true, true, true]);
  });

  it("reads dnsmasq's answer with a CNAME chain", () => {
    const message = valueOf(parse(fixture("dns-answer-a")));
    assert.equal(message.response, true);
    assert.deepEqual(
      message.records
        .filter(({ section }) => section === "answer")
        .map((r) => [r.name, r.type, r.target ?? formatAddr(r.address!)]),
      [
        ["www.example.com", 5, "cdn.example.net"],
        ["cdn.example.net", 5, "edge.example.org"],
        ["edge.example.org", 1, "192.0.2.7"],
      ],
    );
    const aaaa = valueOf(parse(fixture("dns-answer-aaaa-noedns"))).records.at(-1);
    assert.equal(formatAddr(aaaa!.address!), "2001:db8::7");
  });

  it("reads forty addresses", () => {
    const addresses = valueOf(parse(fixture("dns-answer-dnssec"))).records.flatMap((r) =>
      r.address ? [formatAddr(r.address)] : [],
    );
    assert.equal(new Set(addresses).size, 40);
    assert.ok(addresses.includes("192.0.2.40"));
  });

  it("reads a message inside a packet, offset and all", () => {
    const bytes = fixture("dns-answer-a");
    const wrapped = Buffer.concat([Buffer.alloc(28, 0xc0), bytes, Buffer.alloc(5, 0xc0)]);
    const inner = valueOf(parseDns(wrapped, 28, 28 + bytes.length));
    const plain = valueOf(parse(bytes));
    assert.deepEqual(inner.questionBytes, plain.questionBytes);
    assert.deepEqual(
      { ...inner },
      { ...plain, records: plain.records.map((r) => ({ ...r, dataOffset: r.dataOffset + 28 })) },
    );
  });

  it("keeps the question's bytes when the buffer is used again", () => {
    const bytes = Buffer.from(fixture("dns-query-a"));
    const { questionBytes } = valueOf(parse(bytes));
    const before = Buffer.from(questionBytes).toString("hex");
    const message = new DnsReading();
    assert.equal(readDns(bytes, 0, bytes.length, message), undefined);
    assert.equal(message.isQuestion(questionBytes), true);
    for (const other of [
      questionBytes.subarray(1),
      Uint8Array.of(...questionBytes, 0),
      Buffer.from(questionBytes).fill(0, 3, 4),
    ]) {
      assert.equal(message.isQuestion(other), false);
    }
    bytes.fill(0);
    assert.equal(Buffer.from(questionBytes).toString("hex"), before);
  });

  it("is done for no prefix and for nothing longer", () => {
    for (const name of ["query-a", "query-aaaa-noedns", "answer-a", "answer-aaaa-noedns", "answer-dnssec"]) {
      const bytes = fixture(`dns-${name}`);
      for (let n = 0; n < bytes.length; n++)
        assert.equal(parse(bytes.subarray(0, n)).kind, "invalid", `${name}, ${n} bytes`);
      assert.equal(codeOf(parse(Buffer.concat([bytes, hex("00")]))), "trailing", name);
      assert.equal(codeOf(parseDns(bytes, 0, bytes.length + 1)), "truncated", name);
    }
  });
});

describe("parseDns, every refusal", () => {
  it("truncated: header, name, question, record, data", () => {
    assert.equal(codeOf(parse(head([0, 0, 0, 0]).subarray(0, 11))), "truncated");
    assert.equal(valueOf(parse(head([0, 0, 0, 0]))).questions.length, 0);
    assert.equal(codeOf(parse(Buffer.concat([head([1, 0, 0, 0]), hex("07 6578616d")]))), "truncated");
    assert.equal(codeOf(parse(Buffer.concat([head([1, 0, 0, 0]), QUESTION.subarray(0, -1)]))), "truncated");
    assert.equal(codeOf(parse(answer(record("c00c", 16, "00", 1, 2)))), "truncated");
    // A label that would run on into what stands behind the message.
    const behind = Buffer.concat([head([1, 0, 0, 0]), hex("07 65786161"), hex("00 00 00 00 0001 0001")]);
    assert.equal(codeOf(parseDns(behind, 0, 17)), "truncated");
  });

  it("counts that the bytes can't hold", () => {
    assert.equal(codeOf(parse(Buffer.concat([head([2, 0, 0, 0]), hex("0000010001 00000100")]))), "counts");
    assert.equal(codeOf(parse(head([65535, 65535, 65535, 65535]))), "counts");
  });

  it("label types 01 and 10", () => {
    assert.equal(codeOf(parse(named("41 61 00"))), "label-type");
    assert.equal(codeOf(parse(named("80 61 00"))), "label-type");
  });

  it("pointers: to itself, forwards, in a circle, into the header, beyond the end", () => {
    assert.equal(codeOf(parse(named("c00c"))), "pointer");
    assert.equal(codeOf(parse(named("c00e 0161 00"))), "pointer");
    assert.equal(codeOf(parse(named("0161 c00c"))), "pointer");
    assert.equal(codeOf(parse(named("c000"))), "pointer");
    assert.equal(codeOf(parse(named("ffff"))), "pointer");
    assert.equal(codeOf(parse(answer(record("c01d", 1, "c0000201")))), "pointer");
    // Its neighbours: back to the question, and into the middle of it.
    assert.equal(valueOf(parse(answer(record("c00c", 1, "c0000201")))).records[0]?.name, "example.com");
    assert.equal(valueOf(parse(answer(record("c014", 1, "c0000201")))).records[0]?.name, "com");
    // Two pointers that point at each other.
    assert.equal(
      codeOf(parse(Buffer.concat([head([1, 1, 0, 0]), hex("00 0001 0001"), hex("0161 c015 c011")]))),
      "counts",
    );
    assert.equal(
      codeOf(parse(Buffer.concat([head([1, 1, 0, 0]), hex("00 0001 0001"), hex("0161 c015 c011 00000000000000")]))),
      "pointer",
    );
  });

  it("a long chain of pointers, while a shorter one is followed", () => {
    const chain = (length: number) => {
      // A record without a known type whose data is pointers: each to the one before, the first to the question.
      const base = 12 + QUESTION.length + 12;
      const data = Array.from({ length }, (_, i) => u16be(0xc000 | (i === 0 ? 12 : base + 2 * (i - 1))));
      const last = u16be(0xc000 | (base + 2 * (length - 1)));
      return answer(
        record("c00c", 99, Buffer.concat(data).toString("hex")),
        record(last.toString("hex"), 1, "c0000201"),
      );
    };
    assert.equal(valueOf(parse(chain(63))).records[1]?.name, "example.com");
    assert.equal(codeOf(parse(chain(64))), "pointer");
  });

  it("names of more than 255 bytes, straight and by pointer", () => {
    const l63 = `3f${"61".repeat(63)}`;
    const longest = `${l63}${l63}${l63}3d${"61".repeat(61)}00`;
    assert.equal(valueOf(parse(named(longest))).questions[0]?.name.length, 253);
    assert.equal(codeOf(parse(named(`${l63}${l63}${l63}3e${"61".repeat(62)}00`))), "name-too-long");
    const long = Buffer.concat([head([1, 1, 0, 0]), hex(longest), hex("00010001"), record("0161c00c", 1, "c0000201")]);
    assert.equal(codeOf(parse(long)), "name-too-long");
  });

  it("a dot, NUL, space or non-ASCII in a label", () => {
    assert.equal(codeOf(parse(named("03 612e62 03636f6d 00"))), "character");
    assert.equal(codeOf(parse(named("03 610062 00"))), "character");
    assert.equal(codeOf(parse(named("03 612062 00"))), "character");
    assert.equal(codeOf(parse(named("03 61e462 00"))), "character");
    assert.equal(valueOf(parse(named("03 615f62 00"))).questions[0]?.name, "a_b");
  });

  it("data of A, AAAA, CNAME and DNAME that isn't exactly its length", () => {
    for (const [type, data] of [
      [1, "c00002"],
      [1, "c000020100"],
      [28, "c0000201"],
      [28, "00".repeat(17)],
      [5, "c00c00"],
      [5, "01610000"],
      [39, "01610000"],
    ] as const) {
      assert.equal(
        codeOf(parse(answer(record("c00c", type, data), record("c00c", 1, "c0000201")))),
        "rdata",
        `${type} ${data}`,
      );
    }
    // A CNAME whose name runs over its RDLENGTH into the next record.
    assert.equal(codeOf(parse(answer(record("c00c", 5, "0161", 1, 2), record("00", 1, "c0000201")))), "rdata");
    assert.equal(codeOf(parse(answer(record("c00c", 5, "c0fd")))), "pointer");
    assert.equal(codeOf(parse(answer(record("c00c", 5, "")))), "truncated");
  });

  it("reads no address and no target in another class", () => {
    const chaos = valueOf(parse(answer(record("c00c", 1, "c000", 3), record("c00c", 5, "ff", 3)))).records;
    assert.deepEqual(
      chaos.map(({ address, target }) => [address, target]),
      [
        [undefined, undefined],
        [undefined, undefined],
      ],
    );
  });

  it("OPT twice, owned, in another section, or with options that don't fit", () => {
    assert.equal(valueOf(parse(query(OPT("000a 0002 abcd 000c 0000")))).edns, true);
    assert.equal(codeOf(parse(query(OPT(), OPT()))), "opt");
    assert.equal(codeOf(parse(query(OPT("", "c00c")))), "opt");
    assert.equal(codeOf(parse(answer(OPT()))), "opt");
    for (const options of ["00", "000a00", "000a0001", "000a0002ab", "000a0000ff"]) {
      assert.equal(codeOf(parse(query(OPT(options)))), "opt", options);
    }
  });

  it("bytes behind the last record", () => {
    assert.equal(codeOf(parse(Buffer.concat([query(), hex("00")]))), "trailing");
    assert.equal(codeOf(parse(Buffer.concat([head([0, 0, 0, 0]), QUESTION]))), "trailing");
  });
});

describe("parseDns, header", () => {
  it("reads each flag by itself", () => {
    const flags = (bits: number) => {
      const m = valueOf(parse(head([0, 0, 0, 0], bits)));
      return [m.response, m.opcode, m.authoritative, m.truncated, m.recursionDesired, m.checkingDisabled, m.rcode];
    };
    assert.deepEqual(flags(0x8000), [true, 0, false, false, false, false, 0]);
    assert.deepEqual(flags(0x2800), [false, 5, false, false, false, false, 0]);
    assert.deepEqual(flags(0x0400), [false, 0, true, false, false, false, 0]);
    assert.deepEqual(flags(0x0200), [false, 0, false, true, false, false, 0]);
    assert.deepEqual(flags(0x0100), [false, 0, false, false, true, false, 0]);
    assert.deepEqual(flags(0x0010), [false, 0, false, false, false, true, 0]);
    assert.deepEqual(flags(0x0005), [false, 0, false, false, false, false, 5]);
  });

  it("adds the upper bits of the rcode from OPT", () => {
    const opt = Buffer.from(OPT());
    opt[5] = 1; // BADVERS is 16
    assert.equal(valueOf(parse(query(opt))).rcode, 16);
  });

  it("takes a TTL with the top bit for 0", () => {
    const ttl = (value: string) => {
      const bytes = record("c00c", 1, "c0000201");
      bytes.set(hex(value), 6);
      return valueOf(parse(answer(bytes))).records[0]?.ttl;
    };
    assert.equal(ttl("7fffffff"), 0x7fffffff);
    assert.equal(ttl("80000000"), 0);
  });
});

it("parseDns agrees with dns-packet on valid messages", () => {
  const random = new Random(8);
  const label = () => Array.from({ length: 1 + random.below(12) }, () => "abcXYZ019-_"[random.below(11)]).join("");
  const name = () => Array.from({ length: 1 + random.below(4) }, label).join(".");
  for (let round = 0; round < 500; round++) {
    const q = name();
    const records = () =>
      Array.from({ length: random.below(4) }, (): dnsPacket.Answer => {
        const owner = random.below(2) === 0 ? q : name();
        const ttl = random.below(100_000);
        switch (random.below(5)) {
          case 0:
            return { type: "A", name: owner, ttl, data: `192.0.2.${random.below(256)}` };
          case 1:
            return { type: "AAAA", name: owner, ttl, data: `2001:db8::${(1 + random.below(65535)).toString(16)}` };
          case 2:
            return { type: "CNAME", name: owner, ttl, data: name() };
          case 3:
            return { type: "TXT", name: owner, ttl, data: [Buffer.from(name())] };
          default:
            return { type: "MX", name: owner, ttl, data: { preference: 10, exchange: name() } };
        }
      });
    const bytes = dnsPacket.encode({
      type: "response",
      id: random.below(65536),
      flags: dnsPacket.RECURSION_DESIRED | dnsPacket.AUTHORITATIVE_ANSWER,
      questions: [{ type: random.below(2) === 0 ? "A" : "AAAA", name: q }],
      answers: records(),
      authorities: records(),
      additionals: [...records(), { type: "OPT", name: ".", udpPayloadSize: 1232, flags: 0, options: [] } as never],
    });
    const ours = valueOf(parse(bytes));
    const theirs = dnsPacket.decode(bytes);
    assert.equal(ours.id, theirs.id);
    assert.deepEqual(
      ours.questions.map((x) => x.name),
      theirs.questions?.map((x) => x.name.toLowerCase()),
    );
    assert.deepEqual(
      flatten(ours),
      [...theirs.answers!, ...theirs.authorities!, ...theirs.additionals!].map(flattenTheirs),
    );
  }
});

function flatten(message: DnsMessage) {
  return message.records.map(({ type, name, ttl, address, target }) => ({
    type,
    name,
    ttl: type === DnsType.OPT ? undefined : ttl,
    data: address ? formatAddr(address) : target,
  }));
}

const NUMBERS: Readonly<Record<string, number>> = { A: 1, AAAA: 28, CNAME: 5, TXT: 16, MX: 15, OPT: 41 };

function flattenTheirs(r: dnsPacket.Answer) {
  const data = r.type === "A" || r.type === "AAAA" || r.type === "CNAME" ? r.data.toLowerCase() : undefined;
  return {
    type: NUMBERS[r.type],
    name: r.name === "." ? "" : r.name.toLowerCase(),
    ttl: r.type === "OPT" ? undefined : (r as { ttl?: number }).ttl,
    data,
  };
}

it("parseDns never throws and never reads beyond its end, whatever comes", () => {
  const random = new Random(9);
  const seeds = ["query-a", "query-dnssec", "answer-a", "answer-aaaa-noedns", "answer-dnssec"].map((n) =>
    fixture(`dns-${n}`),
  );
  let done = 0;
  const again = new DnsReading();
  for (let i = 0; i < 20_000; i++) {
    const bytes = mutate(seeds[i % seeds.length]!, random);
    const result = parse(bytes);
    assert.notEqual(result.kind, "needMore");
    if (result.kind === "invalid") assert.ok(result.offset >= 0 && result.offset <= bytes.length);
    if (result.kind !== "done") continue;
    done++;
    for (const r of result.value.records) assert.ok(r.dataOffset + r.dataLength <= bytes.length);
    // What stands behind the message has no influence on it, nor what was read into the same object before it.
    const padded = Buffer.concat([bytes, Buffer.alloc(8, random.below(256))]);
    assert.equal(readDns(padded, 0, bytes.length, again), undefined);
    assert.deepEqual(again, result.value);
    assert.deepEqual(again.questionBytes, result.value.questionBytes);
    assert.ok(again.isQuestion(result.value.questionBytes));
  }
  assert.ok(done > 1000, `only ${done} mutations were still valid`);
});
