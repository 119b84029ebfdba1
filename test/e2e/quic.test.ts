/** QUIC through the gateway: real clients and a real HTTP/3 server, then what a client may try. Servers that echo show whether a datagram came through. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { describe, it } from "node:test";
import type { Attempt } from "../lab/agent/sockets.js";
import { Gateway } from "../lab/gateway.js";
import { ip, udp } from "../lab/packets.js";
import { http3, server } from "../lab/plan.js";
import { sendMerged } from "../lab/programs.js";
import { curl, dig, http3Get } from "../lab/tools.js";
import { DCID, flight, frame, keysOf, longPacket, quicHello, shortPacket, V2, type LongOptions } from "../quic.js";
import { families, scene, type Match, type Scene } from "./scene.js";

const flags = ["--domain", "*.allowed.example", "--domain", "allowed.example", "--domain", "one.shared.example"];
const shared = server(30);
const OTHER = Buffer.from("0011223344556677", "hex");
const SERVER_CID = Buffer.from("5e12e12c1dc1d5e1", "hex");

/** Every other distribution has it; what a client may try is tried without it. */
const noHttp3 = existsSync("/usr/sbin/gtlsserver") ? false : "this distribution has no ngtcp2 (Ubuntu 22.04)";

let port = 20_000;
/** The id that begins the next connection. A server knows a connection by it, so none is used on two ports. */
let id = DCID;

/** A port for a flow whose Initials are made already. */
function takePort(): number {
  id = Buffer.from(id);
  id.writeUInt32BE(port);
  return port++;
}

const hello = (name: string, more = 0) => quicHello({ name, more });
const initial = (name: string, options: LongOptions = {}) => flight(hello(name), { dcid: id, ...options })[0]!;

/** The client learns the addresses of these names. */
async function learn(s: Scene, ...names: string[]): Promise<void> {
  for (const name of names) for (const type of ["A", "AAAA"]) await dig(s.client, name, { type });
}

/** Datagrams from one port, one after the other; what came back for each. */
async function send(s: Scene, address: string, ...payloads: Uint8Array[]): Promise<Attempt["outcome"][]> {
  const localPort = takePort();
  const out: Attempt["outcome"][] = [];
  for (const [i, data] of payloads.entries()) {
    // A rejection leaves before the flow's entry is written; what the old entry lets pass meanwhile belongs to the connection that was allowed.
    if (i > 0) await new Promise((resolve) => setTimeout(resolve, 30));
    out.push((await s.agent.call("udp", { address, port: 443, localPort, data, timeoutMs: 300 })).outcome);
  }
  return out;
}

/** The same, of which one must be denied with this in the log. */
function denied(s: Scene, match: Match, address: string, ...payloads: Uint8Array[]): Promise<Attempt["outcome"][]> {
  return s.gateway.expect({ verdict: "deny", proto: "udp", port: 443, address, ...match }, () =>
    send(s, address, ...payloads),
  );
}

const came = (outcomes: readonly Attempt["outcome"][]) => outcomes.map((outcome) => outcome === "reply");

describe("HTTP/3", { skip: noHttp3 }, () => {
  const s = scene({ http3: true }, { flags });
  const name = "h3.allowed.example";

  it("an allowed name: the page comes, with and without a Retry, over both families", async () => {
    await learn(s, name, "retry.allowed.example");
    for (const [host, at] of [
      [name, http3.plain],
      ["retry.allowed.example", http3.retry],
    ] as const) {
      // prettier-ignore
      for (const [, address] of families(at)) {
        const got = await s.gateway.expect({ verdict: "allow", reason: "allow-name", name: host, address, proto: "udp", port: 443 }, () => http3Get(s.client, host, address)); // prettier-ignore
        assert.equal(got.body, "a page over HTTP/3\n", got.text);
      }
    }
  });

  it("of a large one user space sees but the beginning", async () => {
    const queued = async () => {
      const { queues } = JSON.parse((await s.gateway.command("status", ["--json"])).stdout) as { queues: { packets: number }[] }; // prettier-ignore
      return queues.reduce((sum, queue) => sum + queue.packets, 0);
    };
    const before = await queued();
    const got = await http3Get(s.client, name, http3.plain.v4, { path: "large" });
    assert.equal(got.body.length, 2 ** 20, got.text);
    assert.ok((await queued()) - before < 20);
  });

  it("a denied name of the same address: nothing comes, and the log says why", async () => {
    for (const [, address] of families(http3.plain)) {
      const got = await s.gateway.expect({ verdict: "deny", reason: "name-denied", name: "h3.denied.example", address, proto: "udp" }, () => http3Get(s.client, "h3.denied.example", address, { seconds: 1 })); // prettier-ignore
      assert.equal(got.ok, false, got.text);
    }
    const other = await s.gateway.expect({ verdict: "deny", reason: "name-ip-mismatch", name: "allowed.example" }, () => http3Get(s.client, "allowed.example", http3.plain.v4, { seconds: 1 })); // prettier-ignore
    assert.equal(other.ok, false, other.text);
  });

  it("a connection that changes its port has no Initial there: denied, and goes on where it was", async () => {
    const got = await s.gateway.expect({ verdict: "deny", reason: "quic", proto: "udp" }, () =>
      http3Get(s.client, name, http3.plain.v4, {
        seconds: 3,
        args: ["--change-local-addr=100ms", "--delay-stream=400ms"],
      }),
    );
    assert.match(got.text, /^\d/);
    assert.ok((await http3Get(s.client, name, http3.plain.v4)).ok, "another connection is none the worse");
  });

  it("an established connection survives kill -9 and the next start; a denied name stays denied", async () => {
    const page = http3Get(s.client, name, http3.plain.v4, { seconds: 12, args: ["--delay-stream=4s"] });
    await s.gateway.decision({ verdict: "allow", name, address: http3.plain.v4, proto: "udp" });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await s.gateway.kill9();
    s.gateway = await Gateway.start(s.lab, s.gateway.options);
    const got = await page;
    assert.equal(got.body, "a page over HTTP/3\n", got.text);
    const again = await s.gateway.expect({ verdict: "deny", reason: "name-denied", name: "h3.denied.example" }, () => http3Get(s.client, "h3.denied.example", http3.plain.v4, { seconds: 1 })); // prettier-ignore
    assert.equal(again.ok, false);
  });
});

describe("HTTP/3 with --quic deny, with verify sni, with two queues", { skip: noHttp3 }, () => {
  const s = scene({ http3: true }, { flags: [...flags, "--quic", "deny"] });

  it("deny: QUIC fails and says so, TCP works", async () => {
    await learn(s, "h3.allowed.example", "www.allowed.example");
    const address = http3.plain.v4;
    const got = await s.gateway.expect({ verdict: "deny", reason: "quic", address, proto: "udp" }, () => http3Get(s.client, "h3.allowed.example", address, { seconds: 1 })); // prettier-ignore
    assert.equal(got.ok, false);
    assert.equal((await curl(s.client, "https://h3.allowed.example/")).outcome, "ok");
  });

  it("sni: the name alone decides; what isn't QUIC is denied", async () => {
    assert.equal(await s.gateway.stop(), 0);
    s.gateway = await Gateway.start(s.lab, { flags: [...flags, "--verify", "sni"] });
    for (const [, address] of families(http3.plain)) {
      assert.equal((await http3Get(s.client, "h3.allowed.example", address)).ok, true);
      const match = { verdict: "deny", reason: "name-denied", name: "h3.denied.example", address } as const;
      const got = await s.gateway.expect(match, () => http3Get(s.client, "h3.denied.example", address, { seconds: 1 }));
      assert.equal(got.ok, false);
    }
    assert.deepEqual(came(await denied(s, { reason: "quic" }, server(10).v4, Buffer.from("x"))), [false]);
  });

  it("two queues: the second one's thread judges by the names that the first one learned", async () => {
    assert.equal(await s.gateway.stop(), 0);
    s.gateway = await Gateway.start(s.lab, { flags: [...flags, "--queue", "0:1"] });
    await learn(s, "h3.allowed.example");
    for (const [, address] of families(http3.plain)) {
      assert.equal((await http3Get(s.client, "h3.allowed.example", address)).ok, true);
      const match = { verdict: "deny", reason: "name-denied", name: "h3.denied.example", address } as const;
      const got = await s.gateway.expect(match, () => http3Get(s.client, "h3.denied.example", address, { seconds: 1 }));
      assert.equal(got.ok, false);
    }
  });
});

describe("this box's own HTTP/3", { skip: noHttp3 }, () => {
  const s = scene({ http3: true }, { lan: [], flags });

  it("an allowed name passes, a denied one of the same address doesn't", async () => {
    const own = Object.create(s.client) as typeof s.client;
    Object.defineProperty(own, "ns", { value: s.lab.router });
    for (const type of ["A", "AAAA"]) await dig(own, "h3.allowed.example", { type });
    for (const [, address] of families(http3.plain)) {
      const got = await http3Get(own, "h3.allowed.example", address, { path: "large" });
      assert.equal(got.body.length, 2 ** 20, got.text);
      const match = { verdict: "deny", reason: "name-denied", name: "h3.denied.example", address } as const;
      const other = await s.gateway.expect(match, () => http3Get(own, "h3.denied.example", address, { seconds: 1 }));
      assert.equal(other.ok, false, other.text);
    }
  });
});

describe("HTTP/3 past netfilter", { skip: noHttp3 }, () => {
  const s = scene({ http3: true, masquerade: false }, { flags });

  it("data takes the short way, both ways; the beginning doesn't", async () => {
    await s.gateway.fastPath(true);
    await learn(s, "h3.allowed.example");
    for (const [, address] of families(http3.plain)) {
      const got = await http3Get(s.client, "h3.allowed.example", address, { path: "large" });
      assert.equal(got.body.length, 2 ** 20, got.text);
      const tracked = await s.lab.router.run([
        "conntrack",
        "-L",
        "-f",
        address.includes(":") ? "ipv6" : "ipv4",
        "-p",
        "udp",
      ]);
      assert.ok(!tracked.stdout.includes("dport=443"), tracked.stdout);
      const match = { verdict: "deny", reason: "name-denied", name: "h3.denied.example", address } as const;
      const other = await s.gateway.expect(match, () =>
        http3Get(s.client, "h3.denied.example", address, { seconds: 1 }),
      );
      assert.equal(other.ok, false);
    }
  });
});

describe("a server that speaks first", () => {
  const s = scene({ masquerade: false }, { flags: [...flags, "--fast-path", "off"] });

  it("what the client names then is no reply", async () => {
    await learn(s, "one.shared.example");
    for (const [family, address] of families(shared)) {
      const client = family === 4 ? s.client.v4 : s.client.v6;
      const first = ip(address, client, 17, udp(address, client, 443, port, Buffer.from("come")));
      await s.lab.servers.call("rawPackets", { packets: [first] });
      await new Promise((resolve) => setTimeout(resolve, 100));
      const tracked = await s.lab.router.run([
        "conntrack",
        "-L",
        "-f",
        `ipv${family}`,
        "-p",
        "udp",
        "--orig-port-src",
        "443",
      ]);
      assert.match(
        tracked.stdout,
        new RegExp(`dport=${port} .UNREPLIED`),
        "conntrack takes it for a connection from outside",
      );
      const two = "two.shared.example";
      assert.deepEqual(came(await denied(s, { reason: "name-denied", name: two }, address, initial(two))), [false]);
    }
  });
});

describe("what a client may try with QUIC", () => {
  const s = scene({ hop: true }, { flags });
  const one = "one.shared.example";
  const two = "two.shared.example";

  it("a hello in several Initials, out of order, of both versions; a denied one as well", async () => {
    await learn(s, one);
    for (const [, address] of families(shared)) {
      for (const version of [1, V2]) {
        const parts = (name: string) => flight(hello(name, 1_500), { version, dcid: id }).reverse();
        assert.deepEqual(came(await send(s, address, ...parts(one))), [false, true]);
        assert.deepEqual(came(await denied(s, { reason: "name-denied", name: two }, address, ...parts(two))), [
          false,
          false,
        ]);
      }
    }
  });

  it("two Initials with two names on one port: the second one is judged, and ends the flow (24)", async () => {
    for (const [, address] of families(shared)) {
      const got = await denied(s, { reason: "name-denied", name: two }, address, initial(one), shortPacket(), initial(two, { dcid: OTHER }), shortPacket(), initial(one)); // prettier-ignore
      assert.deepEqual(came(got), [true, true, false, false, false]);
    }
  });

  it("the same connection with another name: under the first keys, as a second hello, over it", async () => {
    const first = hello(one);
    for (const [, address] of families(shared)) {
      for (const [offset, reason] of [
        [0, "rewritten"],
        [first.length, "hello-malformed"],
      ] as const) {
        // prettier-ignore
        const content = Buffer.concat([frame.crypto(offset, hello(two)), frame.padding(800)]);
        const second = longPacket(content, { dcid: SERVER_CID, keys: keysOf(1, id), pn: 1 });
        assert.deepEqual(came(await denied(s, { reason }, address, initial(one), second, shortPacket())), [
          true,
          false,
          false,
        ]);
      }
    }
  });

  it("a decoy that dies on its way (low TTL) opens nothing for the Initial behind it", async () => {
    for (const [family, address] of families(shared)) {
      for (const [other, reason] of [
        [undefined, "rewritten"],
        [OTHER, "name-denied"],
      ] as const) {
        // prettier-ignore
        const dcid = other ?? id;
        const localPort = port;
        const decoy = {
          local: family === 4 ? s.client.v4 : s.client.v6,
          remote: address,
          sport: localPort,
          port: 443,
          data: initial(one),
        };
        const bytes = ip(decoy.local, address, 17, udp(decoy.local, address, decoy.sport, decoy.port, decoy.data), { ttl: 2 }); // prettier-ignore
        await s.gateway.expect({ verdict: "allow", reason: "allow-name", name: one, address, proto: "udp" }, () => s.agent.call("rawPackets", { packets: [bytes] })); // prettier-ignore
        assert.deepEqual(came(await denied(s, { reason }, address, initial(two, { dcid }), shortPacket())), [
          false,
          false,
        ]);
      }
    }
  });

  it("the same connection id on another port: a server would fill the gap of a lost part with it", async () => {
    for (const [, address] of families(shared)) {
      const again = id;
      const parts = flight(hello(one, 1_500), { dcid: again });
      assert.deepEqual(came(await send(s, address, ...parts)), [false, true]);
      assert.deepEqual(came(await send(s, address, initial(one, { dcid: again }))), [false]);
      assert.deepEqual(came(await send(s, address, initial(one))), [true], "another one is judged there");
    }
  });

  it("junk, unknown versions and short headers first: denied, and the Initial behind them is judged all the same", async () => {
    const draft = longPacket(frame.padding(1100), { version: 0xff00001d });
    const retry = longPacket(frame.padding(1100), { type: "retry" });
    const junk = [
      shortPacket(),
      draft,
      retry,
      Buffer.alloc(1200, 0xc3),
      longPacket(frame.padding(1100), { version: 0 }),
    ];
    for (const [, address] of families(shared)) {
      for (const one of junk) {
        const got = await denied(
          s,
          { reason: "quic" },
          address,
          one,
          initial("one.shared.example"),
          draft,
          shortPacket(),
        );
        assert.deepEqual(came(got), [false, true, false, true]);
      }
      assert.deepEqual(came(await denied(s, { reason: "name-denied" }, address, draft, initial(two))), [false, false]);
    }
  });

  it("in IP fragments: put together and judged", async () => {
    for (const [name, verdict] of [
      [one, "allow"],
      [two, "deny"],
    ] as const) {
      // prettier-ignore
      for (const [family, address] of families(shared)) {
        const data = initial(name);
        const datagram = { local: family === 4 ? s.client.v4 : s.client.v6, remote: address, sport: takePort(), port: 443, data, fragment: 400 }; // prettier-ignore
        await s.gateway.expect({ verdict, name, address, proto: "udp" }, () => s.agent.call("rawUdpFragments", datagram));
      }
    }
  });

  it("merged datagrams (UDP_SEGMENT): each is judged, whatever stands before it", async () => {
    const ends = (address: string) => ({ address, port: 443, localPort: takePort(), size: 1200 });
    const alone = (address: string, datagrams: readonly Buffer[]) => sendMerged(s.client.ns, ends(address), Buffer.concat(datagrams)); // prettier-ignore
    const short = (count: number) => Array.from({ length: count }, () => shortPacket(1199));
    for (const [, address] of families(shared)) {
      const parts = (name: string) => flight(hello(name, 2_600), { dcid: id });
      assert.equal(parts(one).length, 3);
      assert.equal(await alone(address, parts(one)), 3);
      assert.equal(await alone(address, [...parts(one), ...short(4), shortPacket(50)]), 8);
      const denied = { verdict: "deny", reason: "name-denied", name: two, address } as const;
      const none = await s.gateway.expect(denied, () => alone(address, parts(two)));
      assert.equal(none, 0);
      // On an allowed flow: alone they pass, with another Initial among them none does.
      const first = initial(one);
      const flow = ends(address);
      assert.equal(await sendMerged(s.client.ns, flow, first), 1);
      assert.equal(await sendMerged(s.client.ns, flow, Buffer.concat(short(10))), 10);
      assert.equal(await sendMerged(s.client.ns, flow, Buffer.concat([...short(4), initial(two, { dcid: OTHER }), ...short(4)])), 0); // prettier-ignore
      assert.equal(await sendMerged(s.client.ns, flow, Buffer.concat(short(10))), 10, "the flow itself goes on");
    }
  });

  it("an address that was learned for nobody: denied, whatever the name", async () => {
    await denied(s, { reason: "unlearned" }, server(20).v4, initial(one));
  });
});
