/** What the core's operations are measured with: bytes as real programs send them, names and networks as people list them. */
import { clientOf } from "../../src/edge/clients.js";
import { ClientBy } from "../../src/core/abi.generated.js";
import { compilePolicies } from "../../src/core/policy/compile.js";
import type { CompiledPolicy } from "../../src/core/policy/compiledPolicy.js";
import type { PolicyFlags } from "../../src/core/policy/flags.js";
import { parsePolicy } from "../../src/core/policy/parse.js";
import { alpn, ext, hello, sni, versions, vec16, vec8 } from "../../test/core/wire/hello.js";
import { u16be } from "../../test/core/wire/bytes.js";
import { flight, quicHello } from "../../test/quic.js";

export const client = "192.168.77.10";
export const client6 = "2001:db8:77::10";
export const resolver = "198.51.100.53";
/** The name that is allowed in every policy made here. */
export const allowedName = "www.x.io";

/** How OpenSSL 3 greets (curl, git, Python): eleven extensions, one key share, some 300 bytes. `group`: 32 bytes for X25519. */
export function opensslHello(name: string): Buffer {
  const groups = Buffer.concat([0x001d, 0x0017, 0x001e, 0x0019, 0x0018].map(u16be));
  return hello({
    sessionId: Buffer.alloc(32, 7),
    suites: Buffer.concat([0x1302, 0x1303, 0x1301, 0xc02c, 0xc030, 0xc02b, 0xc02f, 0xc024, 0xc028, 0x00ff].map(u16be)),
    extensions: Buffer.concat([
      sni(name),
      ext(11, vec8(Buffer.from([0, 1, 2]))),
      ext(10, vec16(groups)),
      ext(35, Buffer.alloc(0)),
      alpn("h2", "http/1.1"),
      ext(22, Buffer.alloc(0)),
      ext(23, Buffer.alloc(0)),
      ext(13, vec16(Buffer.concat([0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0401].map(u16be)))),
      versions(0x0304, 0x0303),
      ext(45, vec8(Buffer.from([1]))),
      ext(51, vec16(Buffer.concat([u16be(0x001d), vec16(Buffer.alloc(32, 9))]))),
    ]),
  });
}

/** The first datagram of a QUIC client, 1,200 bytes: a hello of 260 bytes and padding. */
export function quicInitial(name: string): Buffer {
  return flight(quicHello({ name, more: 100 }))[0]!;
}

/** A query as glibc sends it: one question, recursion desired. With `answers` the response to it, compressed as resolvers do. */
export function dnsMessage(name: string, id: number, answers: readonly string[] = []): Buffer {
  const labels = name.split(".").map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  const question = Buffer.concat([...labels, Buffer.from([0, 0, 1, 0, 1])]);
  const flags = answers.length > 0 ? 0x8180 : 0x0100;
  const header = Buffer.concat([id, flags, 1, answers.length, 0, 0].map(u16be));
  const records = answers.map((text) =>
    Buffer.concat([u16be(0xc00c), u16be(1), u16be(1), Buffer.from([0, 0, 1, 44]), vec16(address4(text))]),
  );
  return Buffer.concat([header, question, ...records]);
}

function address4(text: string): Buffer {
  return Buffer.from(text.split(".").map(Number));
}

const noFlags: PolicyFlags = { cidr: [], denyCidr: [], cn: [], domain: [], resolver: [], port: [], namePort: [] };

/** The policy of these flags, with `--domain www.x.io` and the resolver above. Flags that are wrong are a bug here. */
export function policyWith(flags: Partial<PolicyFlags>): CompiledPolicy {
  const all = { ...noFlags, ...flags, domain: [allowedName, ...(flags.domain ?? [])], resolver: [resolver] };
  const parsed = parsePolicy(all);
  if (!parsed.ok) throw new Error(parsed.errors.join("\n"));
  return compilePolicies([parsed.spec]).policies[0]!;
}

/** `count` different names, the same in every run: `*.k7.some.example` and exact ones in turns. */
export function manyNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => {
    const word = (Math.imul(i + 1, 0x9e3779b1) >>> 0).toString(36);
    return i % 2 === 0 ? `${word}.n${i}.example` : `*.${word}.n${i}.example`;
  });
}

/** A client behind interface 2, recognised by its MAC, as on an Ethernet LAN. */
export const clientId = clientOf(ClientBy.MAC, 2, Buffer.alloc(20), true, 0x12005452, 0x5634)!;
