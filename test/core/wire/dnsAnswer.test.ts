import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as dnsPacket from "dns-packet";
import { formatAddr, type Addr } from "../../../src/core/net/address.js";
import { AnswerChain, buildDnsDenial, isLearnable, parseDns } from "../../../src/core/wire/dns.js";
import type { DnsMessage, DnsRecord } from "../../../src/core/wire/dns.js";
import { fixture, valueOf } from "./bytes.js";

type Answer = dnsPacket.Answer;
const A = (name: string, data: string, ttl = 300): Answer => ({ type: "A", name, data, ttl });
const CNAME = (name: string, data: string, ttl = 300): Answer => ({ type: "CNAME", name, data, ttl });
const DNAME = (name: string, data: string): Answer => ({ type: "DNAME", name, data, ttl: 300 });

/** One for all: nothing of the message before may be left. */
const chain = new AnswerChain();

/** All that an answer says of its question. */
function resolveChain(message: DnsMessage) {
  chain.follow(message);
  const addresses: { readonly address: Addr; readonly ttl: number; readonly chain: string[] }[] = [];
  const offChain: DnsRecord[] = [];
  for (const record of message.records.filter(isLearnable)) {
    const depth = chain.depthOf(record);
    if (record.address !== undefined && depth >= 0) {
      const names = chain.names.slice(0, depth + 1);
      addresses.push({ address: record.address, ttl: chain.ttlOf(record, depth), chain: names });
    } else if (chain.isOff(record, depth)) {
      offChain.push(record);
    }
  }
  return { name: chain.names[0] ?? "", addresses, offChain };
}

function resolve(question: string, answers: Answer[], rest: { authorities?: Answer[]; additionals?: Answer[] } = {}) {
  const bytes = dnsPacket.encode({ type: "response", questions: [{ type: "A", name: question }], answers, ...rest });
  const chain = resolveChain(valueOf(parseDns(bytes, 0, bytes.length)));
  return {
    name: chain.name,
    addresses: chain.addresses.map(({ address, ttl, chain: names }) => [formatAddr(address), ttl, names.join(" ")]),
    offChain: chain.offChain.map((r) => `${r.name} ${r.type}`),
  };
}

describe("AnswerChain", () => {
  it("gives the addresses of the name that was asked for", () => {
    assert.deepEqual(resolve("WWW.x.io", [A("www.X.io", "192.0.2.1", 60), A("www.x.io", "192.0.2.2", 50)]), {
      name: "www.x.io",
      addresses: [
        ["192.0.2.1", 60, "www.x.io"],
        ["192.0.2.2", 50, "www.x.io"],
      ],
      offChain: [],
    });
  });

  it("follows CNAMEs in any order, with the least TTL of the way", () => {
    const records = [
      A("c.io", "192.0.2.1", 500),
      CNAME("b.io", "c.io", 20),
      CNAME("a.io", "b.io", 30),
      A("b.io", "192.0.2.9", 25),
    ];
    const orders = [records, records.toReversed(), [records[2]!, records[0]!, records[3]!, records[1]!]];
    for (const order of orders) {
      const { addresses, offChain } = resolve("a.io", order);
      assert.deepEqual(addresses.toSorted(), [
        ["192.0.2.1", 20, "a.io b.io c.io"],
        ["192.0.2.9", 25, "a.io b.io"],
      ]);
      assert.deepEqual(offChain, []);
    }
  });

  it("remembers a TTL that was less earlier on the way", () => {
    const { addresses } = resolve("a.io", [
      CNAME("a.io", "b.io", 20),
      CNAME("b.io", "c.io", 30),
      A("c.io", "192.0.2.1", 40),
    ]);
    assert.deepEqual(addresses, [["192.0.2.1", 20, "a.io b.io c.io"]]);
  });

  it("reads dnsmasq's chain", () => {
    const bytes = fixture("dns-answer-a");
    const { addresses } = resolveChain(valueOf(parseDns(bytes, 0, bytes.length)));
    assert.deepEqual(addresses[0]?.chain, ["www.example.com", "cdn.example.net", "edge.example.org"]);
  });

  it("lists what the question doesn't lead to", () => {
    const { addresses, offChain } = resolve("a.io", [
      A("evil.io", "192.0.2.66"),
      CNAME("a.io", "b.io"),
      CNAME("other.io", "b.io"),
      A("b.io", "192.0.2.1"),
      A("sub.b.io", "192.0.2.67"),
    ]);
    assert.deepEqual(
      addresses.map(([address]) => address),
      ["192.0.2.1"],
    );
    assert.deepEqual(offChain, ["evil.io 1", "other.io 5", "sub.b.io 1"]);
  });

  it("learns nothing from the other sections", () => {
    const glue = [A("a.io", "192.0.2.66")];
    const { addresses, offChain } = resolve("a.io", [], { authorities: glue, additionals: glue });
    assert.deepEqual([addresses, offChain], [[], []]);
  });

  it("ends in a loop, and after 16 links", () => {
    assert.deepEqual(
      resolve("a.io", [CNAME("a.io", "b.io"), CNAME("b.io", "a.io"), A("b.io", "192.0.2.1")]).addresses,
      [["192.0.2.1", 300, "a.io b.io"]],
    );
    assert.deepEqual(resolve("a.io", [CNAME("a.io", "a.io"), A("a.io", "192.0.2.1")]).addresses.length, 1);
    const chain = (links: number) => [
      ...Array.from({ length: links }, (_, i) => CNAME(`n${i}.io`, `n${i + 1}.io`)),
      A(`n${links}.io`, "192.0.2.1"),
    ];
    assert.equal(resolve("n0.io", chain(16)).addresses.length, 1);
    assert.equal(resolve("n0.io", chain(17)).addresses.length, 0);
  });

  it("follows neither of two CNAMEs that disagree, and takes one that stands there twice", () => {
    const both = resolve("a.io", [
      CNAME("a.io", "b.io"),
      CNAME("a.io", "c.io"),
      A("b.io", "192.0.2.1"),
      A("c.io", "192.0.2.2"),
    ]);
    assert.deepEqual(both.addresses, []);
    assert.deepEqual(both.offChain, ["b.io 1", "c.io 1"]);
    assert.deepEqual(
      resolve("a.io", [CNAME("a.io", "b.io", 9), CNAME("a.io", "B.io", 5), A("b.io", "192.0.2.1")]).addresses,
      [["192.0.2.1", 5, "a.io b.io"]],
    );
  });

  it("follows a DNAME only by its CNAME", () => {
    const records = [DNAME("old.io", "new.io"), A("www.new.io", "192.0.2.1")];
    assert.deepEqual(resolve("www.old.io", records), { name: "www.old.io", addresses: [], offChain: ["www.new.io 1"] });
    assert.deepEqual(resolve("www.old.io", [...records, CNAME("www.old.io", "www.new.io")]).offChain, []);
    assert.deepEqual(resolve("www.old.io", [DNAME("other.io", "new.io")]).offChain, ["other.io 39"]);
    // The parent itself isn't below it.
    assert.deepEqual(resolve("old.io", [DNAME("old.io", "new.io")]).offChain, ["old.io 39"]);
  });

  it("knows no name without exactly one question in class IN", () => {
    for (const questions of [
      [],
      [
        { type: "A", name: "a.io" },
        { type: "A", name: "b.io" },
      ],
      [{ type: "A", name: "a.io", class: "CH" }],
    ] as dnsPacket.Question[][]) {
      const bytes = dnsPacket.encode({ type: "response", questions, answers: [A("a.io", "192.0.2.1")] });
      const chain = resolveChain(valueOf(parseDns(bytes, 0, bytes.length)));
      assert.deepEqual([chain.name, chain.addresses.length, chain.offChain.length], ["", 0, 1]);
    }
  });
});

describe("buildDnsDenial", () => {
  const deny = (name: string, rcode: 3 | 5, text = "no rule") => {
    const bytes = fixture(name);
    const query = valueOf(parseDns(bytes, 0, bytes.length));
    const reply = buildDnsDenial(query, bytes, rcode, 15, text);
    return { query, reply: Buffer.from(reply), message: valueOf(parseDns(reply, 0, reply.length)) };
  };

  it("answers a query with EDNS, with an Extended DNS Error", () => {
    const { query, reply, message } = deny("dns-query-a", 5);
    assert.deepEqual(
      [message.id, message.response, message.rcode, message.recursionDesired, message.truncated, message.edns],
      [query.id, true, 5, true, false, true],
    );
    assert.deepEqual(Buffer.from(message.questionBytes), Buffer.from(query.questionBytes));
    const opt = message.records[0]!;
    assert.equal(
      reply.subarray(opt.dataOffset).toString("hex"),
      `000f0009000f${Buffer.from("no rule").toString("hex")}`,
    );
    const theirs = dnsPacket.decode(reply) as dnsPacket.DecodedPacket & { rcode: string };
    assert.equal(theirs.rcode, "REFUSED");
    assert.equal(theirs.flag_ra, true);
  });

  it("answers a query without EDNS without", () => {
    const { message } = deny("dns-query-aaaa-noedns", 3);
    assert.deepEqual([message.rcode, message.edns, message.records.length], [3, false, 0]);
    assert.equal(message.questions[0]?.type, 28);
  });

  it("echoes DO and CD", () => {
    const { message } = deny("dns-query-dnssec", 5);
    assert.deepEqual([message.dnssecOk, message.checkingDisabled], [true, true]);
    const plain = deny("dns-query-a", 5).message;
    assert.deepEqual([plain.dnssecOk, plain.checkingDisabled], [false, false]);
  });

  it("cuts its text to 200 bytes, between characters", () => {
    const { reply, message } = deny("dns-query-a", 5, `a${"ä".repeat(150)}`);
    const opt = message.records[0]!;
    assert.equal(opt.dataLength, 6 + 199);
    assert.equal(reply.subarray(opt.dataOffset + 6).toString("utf8"), `a${"ä".repeat(99)}`);
  });

  it("answers a message without a question too", () => {
    const query = valueOf(parseDns(Buffer.alloc(12), 0, 12));
    const reply = buildDnsDenial(query, Buffer.alloc(12), 5, 15, "");
    assert.equal(valueOf(parseDns(reply, 0, reply.length)).questions.length, 0);
  });
});
