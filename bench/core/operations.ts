/**
 * The core's hot paths as operations that can be repeated: test/bench/guards counts the bytes that each allocates, the scenario `core` takes its time.
 * Each checks its own answer: a fast wrong answer is none.
 */
import { NameHasher } from "../../src/core/names/hash.js";
import { parseAddr, type Addr } from "../../src/core/net/address.js";
import type { Policy } from "../../src/core/policy/types.js";
import { transportChecksumOk } from "../../src/core/wire/checksum.js";
import { AnswerChain, DnsReading, readDns } from "../../src/core/wire/dns.js";
import { parseRequestHead } from "../../src/core/wire/http.js";
import { emptyIp, parseIp, readIp } from "../../src/core/wire/ip.js";
import type { Parsed } from "../../src/core/wire/result.js";
import { emptyTcp, readTcp } from "../../src/core/wire/tcp.js";
import { readClientHello } from "../../src/core/wire/tls.js";
import { emptyHello } from "../../src/core/wire/tlsExtensions.js";
import { tcp } from "../../test/packets.js";
import { dotted, manyCidrs } from "../cidrs.js";
import { EdgeLoop } from "./edgeLoop.js";
import { EngineLoop } from "./engineLoop.js";
import {
  allowedName,
  client,
  client6,
  dnsMessage,
  manyNames,
  opensslHello,
  policyWith,
  quicInitial,
} from "./inputs.js";
import { QuicHello } from "./quicHello.js";

/** Does the operation that many times. */
export type Times = (times: number) => void;

export interface Operation {
  readonly name: string;
  /** In a person's words. */
  readonly what: string;
  /** How much it has to choose from, where that could matter. */
  readonly among?: { readonly count: number; readonly of: "names" | "CIDRs" };
  /** Sets up and returns what does it `times` times. May take a second: a policy of a million names. */
  readonly make: () => Times;
}

/** A list of questions, so that one cached answer is not what is measured; a power of two. */
const DIFFERENT = 1024;

const server = "198.51.100.7";
const server6 = "2001:db8:51::7";

export const parsers: readonly Operation[] = [
  {
    name: "ip-tcp-4",
    what: "IPv4 and TCP headers",
    make: (): Times => headers(tcp({ src: client, dst: server }, {}, opensslHello(allowedName))),
  },
  {
    name: "ip-tcp-6",
    what: "IPv6 and TCP headers",
    make: (): Times => headers(tcp({ src: client6, dst: server6 }, {}, opensslHello(allowedName))),
  },
  {
    name: "checksum",
    what: "TCP checksum of a packet with a ClientHello",
    make: (): Times => {
      const bytes = tcp({ src: client, dst: server }, {}, opensslHello(allowedName));
      const ip = value(parseIp(bytes, bytes.length));
      return repeat(() => must(transportChecksumOk(bytes, ip)));
    },
  },
  {
    name: "hello",
    what: "ClientHello of OpenSSL 3, one record",
    make: (): Times => {
      const bytes = opensslHello(allowedName);
      const hello = emptyHello();
      return repeat(() => {
        must(readClientHello(bytes, 0, bytes.length, bytes.length, hello) === undefined);
        must(hello.serverName === allowedName);
      });
    },
  },
  {
    name: "quic",
    what: "QUIC Initial: keys, header protection, AES-GCM, hello",
    make: (): Times => {
      const hello = new QuicHello();
      const bytes = quicInitial(allowedName);
      return repeat(() => must(hello.read(bytes) === allowedName));
    },
  },
  {
    name: "http",
    what: "HTTP/1 request head of curl",
    make: (): Times => {
      const bytes = Buffer.from(
        `GET / HTTP/1.1\r\nHost: ${allowedName}\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n`,
      );
      return repeat(() => must(value(parseRequestHead(bytes)).host === allowedName));
    },
  },
  {
    name: "dns-answer",
    what: "DNS answer with two addresses, and its chain",
    make: (): Times => {
      const bytes = dnsMessage(allowedName, 7, [server, "198.51.100.8"]);
      const message = new DnsReading();
      const chain = new AnswerChain();
      return repeat(() => {
        must(readDns(bytes, 0, bytes.length, message) === undefined);
        chain.follow(message);
        for (const record of message.records) must(chain.depthOf(record) === 0);
      });
    },
  },
  {
    name: "name-hash",
    what: "keyed 128-bit hash of a name of 20 characters",
    make: (): Times => {
      const hasher = new NameHasher(Buffer.alloc(16, 5));
      const out = new Uint8Array(16);
      return repeat(() => hasher.hashInto("registry.example.com", out, 0));
    },
  },
];

export const decisions: readonly Operation[] = [
  {
    name: "dns-query",
    what: "DNS query: parse and decide",
    among: { count: 1_000, of: "names" },
    make: (): Times => {
      const policy = policyWith({ domain: manyNames(1_000) });
      const bytes = dnsMessage(allowedName, 7);
      const message = new DnsReading();
      return repeat(() => {
        must(readDns(bytes, 0, bytes.length, message) === undefined);
        must(policy.matchName(message.questions[0]!.name) !== undefined);
      });
    },
  },
  decideName(1_000),
  decideName(1_000_000),
  {
    name: "decide-address-100k",
    what: "decide on an address",
    among: { count: 100_000, of: "CIDRs" },
    make: (): Times => {
      const cidrs = manyCidrs(100_000);
      const policy = policyWith({ cidr: cidrs.map(({ address, prefix }) => `${dotted(address)}/${prefix}`) });
      const addresses: Addr[] = cidrs.slice(0, DIFFERENT).map(({ address }) => parseAddr(dotted(address))!);
      return each(addresses, (address) => must(policy.decideAddress(address, 6, 443).kind === "allow"));
    },
  },
];

/** What a queued packet costs from the batch's memory to its commands, everything but carrying them out. */
export const enginePaths: readonly Operation[] = [
  {
    name: "engine-connection",
    what: "new TLS connection: ClientHello in one packet",
    make: (): Times => new EngineLoop().connections(1),
  },
  {
    name: "engine-connection-split",
    what: "new TLS connection: ClientHello in two packets",
    make: (): Times => new EngineLoop().connections(2),
  },
  {
    name: "engine-connection-sni",
    what: "the same under --verify sni",
    make: (): Times => new EngineLoop("sni").connections(2),
  },
  { name: "engine-quic", what: "new QUIC connection: Initial with a ClientHello", make: () => new EngineLoop().quic() },
  { name: "engine-dns", what: "DNS query and answer, learned again", make: () => new EngineLoop().lookups() },
];

/** The same from a queue's batch to its verdicts, with memory in the kernel's place. */
export const edgePaths: readonly Operation[] = [
  {
    name: "edge-connection",
    what: "new TLS connection, with all around the engine",
    make: (): Times => new EdgeLoop().connections(1),
  },
  {
    name: "edge-connection-split",
    what: "the same with the ClientHello in two packets",
    make: (): Times => new EdgeLoop().connections(2),
  },
];

export const operations: readonly Operation[] = [...parsers, ...decisions, ...enginePaths, ...edgePaths];

function headers(bytes: Uint8Array): Times {
  const [ip, tcp] = [emptyIp(), emptyTcp()];
  return repeat(() => {
    must(readIp(bytes, bytes.length, ip) === undefined && readTcp(bytes, ip, tcp) === undefined);
    must(tcp.dport === 443);
  });
}

/** Half of the questions are allowed, half are not; the strings are flat and hashed, as nobody's packet makes them: parsing is another operation. */
function decideName(count: number): Operation {
  return {
    name: `decide-name-${count === 1_000_000 ? "1m" : `${count / 1_000}k`}`,
    what: "decide on a name",
    among: { count, of: "names" },
    make: (): Times => {
      const names = manyNames(count);
      const policy: Policy = policyWith({ domain: names });
      const questions = Array.from({ length: DIFFERENT }, (_, i) => {
        const known = names[Math.floor((i * count) / DIFFERENT)]!.replace("*", "www");
        return i % 2 === 0 ? known : `${known}.invalid`;
      });
      questions.forEach((name, i) => must((policy.matchName(name) !== undefined) === (i % 2 === 0)));
      return each(questions, (name) => void policy.matchName(name));
    },
  };
}

function repeat(once: () => void): Times {
  return (times) => {
    for (let i = 0; i < times; i++) once();
  };
}

function each<T>(list: readonly T[], once: (one: T) => void): Times {
  return (times) => {
    for (let i = 0; i < times; i++) once(list[i & (DIFFERENT - 1)]!);
  };
}

function value<T>(parsed: Parsed<T>): T {
  if (parsed.kind !== "done") throw new Error(parsed.kind === "invalid" ? parsed.code : parsed.kind);
  return parsed.value;
}

function must(answer: boolean): void {
  if (!answer) throw new Error("an operation gave the wrong answer");
}
