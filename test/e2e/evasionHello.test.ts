/** Hellos, request heads and packets that are odd in themselves. The server would answer many of them; the gateway doesn't let them by. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { clientHello, hello, isServerHello } from "../lab/hello.js";
import { addressBytes, ip, tcp, udp } from "../lab/packets.js";
import { server } from "../lab/plan.js";
import { dig } from "../lab/tools.js";
import { families, fails, passes, scene } from "./scene.js";

const name = "www.allowed.example";
const other = "www.denied.example";
const www = server(10);

describe("odd first bytes", () => {
  const s = scene({}, { flags: ["--domain", name] });
  before(async () => {
    for (const type of ["A", "AAAA"]) assert.equal((await dig(s.client, name, { type })).answers.length, 1);
  });
  const text = (lines: readonly string[]) => `${lines.join("\r\n")}\r\n\r\n`;

  it("the plain ones pass", async () => {
    for (const [, address] of families(www)) {
      const got = await s.agent.call("tcp", { address, port: 443, data: hello(name) });
      assert.ok(isServerHello(got.received));
      await passes(s, "tcp", address, 80, { reason: "allow-name", name }, text(["GET / HTTP/1.1", `Host: ${name}`]));
      // RFC 9110 section 7.2 and RFC 9112 section 3.2: spelled otherwise, but one meaning.
      await passes(
        s,
        "tcp",
        address,
        80,
        { reason: "allow-name", name },
        text(["GET / HTTP/1.1", `hOST:\t${name.toUpperCase()}:80 `]),
      );
    }
  });

  const hellos: readonly (readonly [string, Uint8Array, string])[] = [
    ["no server_name", clientHello({ names: [] }), "no-name"],
    ["an IPv4 literal", clientHello({ names: ["198.51.100.10"] }), "no-name"],
    ["two names in one extension", clientHello({ names: [name, other] }), "hello-malformed"],
    ["two names, the denied one first", clientHello({ names: [other, name] }), "hello-malformed"],
    ["two server_name extensions", clientHello({ names: [name], again: [other] }), "hello-malformed"],
    ["a NUL behind the name", clientHello({ names: [`${name}\0`] }), "hello-malformed"],
    ["a NUL inside", clientHello({ names: [`${name}\0.denied.example`] }), "hello-malformed"],
    ["bytes above 127", clientHello({ names: [Buffer.from("www.all\xf6wed.example", "latin1")] }), "hello-malformed"],
    ["an empty label", clientHello({ names: ["www..allowed.example"] }), "hello-malformed"],
    ["a label of 64 bytes", clientHello({ names: [`${"a".repeat(64)}.allowed.example`] }), "hello-malformed"],
    ["a denied name", hello(other), "name-denied"],
    ["a name that only begins so", hello(`${name}.evil.example`), "name-denied"],
  ];
  for (const [what, bytes, reason] of hellos) {
    it(`hello with ${what}`, async () => {
      for (const [, address] of families(www)) await failsAs(address, 443, bytes, reason);
    });
  }

  const heads: readonly (readonly [string, string, string])[] = [
    ["another Host", text(["GET / HTTP/1.1", `Host: ${other}`]), "name-denied"],
    ["two Hosts", text(["GET / HTTP/1.1", `Host: ${name}`, `Host: ${other}`]), "hello-malformed"],
    ["no Host", text(["GET / HTTP/1.1", "Accept: */*"]), "hello-malformed"],
    ["a folded Host", text(["GET / HTTP/1.1", "Host:", ` ${name}`]), "hello-malformed"],
    ["a space before the colon", text(["GET / HTTP/1.1", `Host : ${name}`]), "hello-malformed"],
    ["an absolute URI against the Host", text([`GET http://${other}/ HTTP/1.1`, `Host: ${name}`]), "hello-malformed"],
    [
      "a second request with another Host",
      text(["GET / HTTP/1.1", `Host: ${name}`]) + text(["GET / HTTP/1.1", `Host: ${other}`]),
      "hello-malformed",
    ],
    ["HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2-prior"],
  ];
  for (const [what, head, reason] of heads) {
    it(`request head with ${what}`, async () => {
      for (const [, address] of families(www)) await failsAs(address, 80, head, reason);
    });
  }

  it("TLS on a port without names is read all the same", async () => {
    await fails(s, "tcp", www.v4, 5432, { reason: "name-denied", name: other }, hello(other));
    await passes(s, "tcp", www.v4, 5432, { reason: "allow-name", name }, hello(name));
  });

  /** Denied for a reason of the parser: which of them is the parser's tests' business, that it is not allowed is ours. */
  async function failsAs(address: string, port: number, data: Uint8Array | string, reason: string): Promise<void> {
    const got = await fails(s, "tcp", address, port, { reason }, data);
    assert.equal(got.outcome, "reset");
  }
});

describe("protocols and headers beside TCP and UDP", () => {
  const s = scene({ clients: [2] }, { flags: ["--domain", name] });
  before(async () => {
    for (const type of ["A", "AAAA"]) await dig(s.client, name, { type });
  });
  const send = (...packets: Uint8Array[]) => s.agent.call("rawPackets", { packets });

  it("GRE, SCTP and ICMP other than echo are denied, to learned addresses too", async () => {
    for (const [family, address] of families(www)) {
      const local = family === 4 ? s.client.v4 : s.client.v6;
      await s.gateway.expect({ verdict: "deny", reason: "protocol", address, proto: "gre" }, () =>
        send(ip(local, address, 47, Buffer.from([0, 0, 8, 0, 1, 2, 3, 4]))),
      );
      await s.gateway.expect({ verdict: "deny", reason: "protocol", address, proto: "sctp" }, () =>
        send(ip(local, address, 132, Buffer.alloc(16, 1))),
      );
    }
    // ICMP timestamp request (RFC 792).
    const timestamp = Buffer.from([13, 0, 0xf2, 0xfe, 0, 1, 0, 0, ...Array<number>(12).fill(0)]);
    await s.gateway.expect({ verdict: "deny", reason: "protocol", address: www.v4, proto: "icmp" }, () =>
      send(ip(s.client.v4, www.v4, 1, timestamp)),
    );
  });

  it("IPv6 extension headers don't hide where a packet goes", async () => {
    const syn = (to: string) => tcp(s.client.v6, to, { sport: 50_100, dport: 5432, seq: 1, flags: "S" });
    const options = (next: number) => Buffer.from([next, 0, 1, 4, 0, 0, 0, 0]);
    const denied = server(20).v6;
    const chain = Buffer.concat([options(60), options(6), syn(denied)]);
    await s.gateway.expect({ verdict: "deny", address: denied }, () => send(ip(s.client.v6, denied, 60, chain)));
    // RFC 5095: routing header type 0 names another destination.
    const routing = Buffer.concat([Buffer.from([6, 2, 0, 1, 0, 0, 0, 0]), addressBytes(denied), syn(www.v6)]);
    await s.gateway.expect({ verdict: "deny", reason: "ext-header" }, () => send(ip(s.client.v6, www.v6, 43, routing)));
    const many = Buffer.concat([...Array.from({ length: 12 }, (_, i) => options(i < 11 ? 60 : 6)), syn(www.v6)]);
    await s.gateway.expect({ verdict: "deny", reason: "ext-header" }, () => send(ip(s.client.v6, www.v6, 60, many)));
  });

  it("fragments of datagrams to addresses that nobody learned", async () => {
    const since = s.gateway.decisions.length;
    for (const [family, address] of families(server(20))) {
      const local = family === 4 ? s.client.v4 : s.client.v6;
      await s.agent.call("rawUdpFragments", {
        local,
        remote: address,
        sport: 50_200,
        port: 7,
        data: Buffer.alloc(200, 65),
        fragment: 64,
      });
      await s.gateway.decision({ verdict: "deny", address }, since);
    }
  });

  it("a packet that one client sends to another in a server's name opens nothing", async () => {
    const [sender, receiver] = s.lab.clients;
    assert.ok(sender && receiver);
    sender.ns.ip([`route add ${receiver.v4}/32 via 192.168.77.1`, `route add ${receiver.v6}/128 via fd77::1`]);
    for (const [family, address] of families(server(21))) {
      const victim = family === 4 ? receiver.v4 : receiver.v6;
      // Through the router, from the LAN to the LAN: it would look like a connection from outside if only addresses were looked at.
      await send(ip(address, victim, 17, udp(address, victim, 7, 50_500, Buffer.from("let me in"))));
      await new Promise((resolve) => setTimeout(resolve, 50));
      const got = await (await receiver.agent()).call("udp", { address, port: 7, localPort: 50_500 });
      assert.notEqual(got.outcome, "reply", address);
      await s.gateway.decision({ verdict: "deny", address, port: 7, client: victim });
    }
  });
});
