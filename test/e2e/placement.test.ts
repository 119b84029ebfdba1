/** Where a gateway may stand: behind NAT or not, two side by side, on the box that it governs. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Agent } from "../lab/agent.js";
import { Gateway } from "../lab/gateway.js";
import { buildLab, resolvConf, type Client, type Lab } from "../lab/lab.js";
import { connect } from "../lab/namespace.js";
import { cidr, server, wan } from "../lab/plan.js";
import { curl, dig, ping, sClient, ssh } from "../lab/tools.js";
import { fails, passes, scene } from "./scene.js";

const flags = [
  "--domain",
  "www.allowed.example",
  "--domain",
  "git.allowed.example",
  "--cidr",
  cidr.v4,
  "--cidr",
  cidr.v6,
];

for (const masquerade of [true, false]) {
  describe(masquerade ? "behind NAT" : "without NAT", () => {
    const s = scene({ masquerade }, { flags });

    it("allows and denies the same", async () => {
      for (const family of [4, 6] as const) {
        const got = await s.gateway.expect(
          { verdict: "allow", reason: "allow-name", client: family === 4 ? s.client.v4 : s.client.v6 },
          () => curl(s.client, "https://www.allowed.example/", { family }),
        );
        assert.equal(got.outcome, "ok", got.error);
        const of = (n: number) => (family === 4 ? server(n).v4 : server(n).v6);
        assert.equal((await sClient(s.client, of(10), { sni: "www.denied.example" })).outcome, "reset");
        await fails(s, "tcp", of(20), 443, { reason: "unlearned" });
        await fails(s, "udp", of(20), 7, { reason: "unlearned" });
      }
      await passes(s, "tcp", cidr.inside4[1], 5432, { reason: "allow-cidr" });
      await passes(s, "udp", cidr.inside6[1], 7, { reason: "allow-cidr" });
      await fails(s, "tcp", cidr.outside4[1], 5432, { reason: "unlearned" });
    });

    it("shows the server the address that it must see", async () => {
      const got = await s.lab.servers.call("peers", { port: 5432 });
      const expected = masquerade ? [wan.router4, wan.router6] : [s.client.v4, s.client.v6];
      assert.deepEqual(
        got.filter((peer) => !expected.includes(peer)),
        [],
      );
      assert.ok(got.length > 0);
    });
  });
}

describe("a port that is forwarded to a governed client", () => {
  const s = scene({}, { flags });

  it("is answered, over NAT, and opens nothing in the other direction", async () => {
    await s.agent.call("serveTcpEcho", { ports: [6000] });
    const to = { iptables: `${s.client.v4}:6000`, ip6tables: `[${s.client.v6}]:6000` };
    for (const [tables, target] of Object.entries(to)) {
      const rule = ["-i", "wan0", "-p", "tcp", "--dport", "6000", "-j", "DNAT", "--to-destination", target];
      await s.lab.router.must([tables, "-w", "-t", "nat", "-A", "PREROUTING", ...rule]);
    }
    const outside = await Agent.start(s.lab.internet);
    for (const address of [wan.router4, wan.router6]) {
      assert.equal((await outside.call("tcp", { address, port: 6000 })).outcome, "reply", address);
    }
    for (const address of [wan.internet4, wan.internet6]) await fails(s, "tcp", address, 5432, { reason: "unlearned" });
  });
});

describe("two instances side by side", () => {
  let lab: Lab;
  let first: Gateway;
  let second: Gateway;
  before(async () => {
    lab = await buildLab({ clients: [1, 1] });
    // The second LAN leaves by a WAN of its own.
    connect(lab.router, "wan1", lab.internet, "wan1");
    lab.router.ip([
      "link set wan1 up",
      "addr add 203.0.115.1/24 dev wan1",
      "addr add 2001:db8:115::1/64 dev wan1 nodad",
    ]);
    lab.internet.ip([
      "link set wan1 up",
      "addr add 203.0.115.2/24 dev wan1",
      "addr add 2001:db8:115::2/64 dev wan1 nodad",
    ]);
    lab.router.ip(["route add default via 203.0.115.2 table 78", "route add default via 2001:db8:115::2 table 78"]);
    await lab.router.must(["ip", "-4", "rule", "add", "from", "192.168.78.0/24", "table", "78"]);
    await lab.router.must(["ip", "-6", "rule", "add", "from", "fd78::/64", "table", "78"]);
    for (const tables of ["iptables", "ip6tables"]) {
      await lab.router.must([tables, "-w", "-t", "nat", "-A", "POSTROUTING", "-o", "wan1", "-j", "MASQUERADE"]);
    }
    first = await Gateway.start(lab, { flags: ["--domain", "www.allowed.example"] });
    second = await Gateway.start(lab, {
      lan: ["lan1"],
      eface: "wan1",
      flags: ["--domain", "git.allowed.example", "--queue", "1:2", "--mark-mask", "0xc00"],
    });
  });
  after(() => lab.close());

  it("each governs its own LAN by its own policy", async () => {
    const [a, b] = lab.clients;
    assert.ok(a && b);
    for (const family of [4, 6] as const) {
      const sides: readonly (readonly [Gateway, Client, string, string])[] = [
        [first, a, "www.allowed.example", "git.allowed.example"],
        [second, b, "git.allowed.example", "www.allowed.example"],
      ];
      for (const [gateway, client, allowed, denied] of sides) {
        const got = await gateway.expect({ verdict: "allow", reason: "allow-name", name: allowed }, () =>
          curl(client, `https://${allowed}/`, { family }),
        );
        assert.equal(got.outcome, "ok", got.error);
        const not = await gateway.expect({ verdict: "deny", reason: "dns-name", name: denied }, () =>
          curl(client, `https://${denied}/`, { family }),
        );
        assert.equal(not.outcome, "unresolved");
      }
    }
  });

  it("one stops, the other goes on", async () => {
    const [a, b] = lab.clients;
    assert.ok(a && b);
    assert.equal(await first.stop(), 0, first.daemon.stderr);
    assert.equal((await curl(a, "https://www.denied.example/")).outcome, "ok");
    assert.equal((await curl(b, "https://git.allowed.example/")).outcome, "ok");
    const not = await second.expect({ verdict: "deny", reason: "dns-name" }, () =>
      curl(b, "https://www.denied.example/"),
    );
    assert.equal(not.outcome, "unresolved");
    assert.equal(await second.stop(), 0, second.daemon.stderr);
  });
});

describe("the box's own egress", () => {
  let outside: Agent;
  const before: number[] = [];
  // The "router" of this lab plays no part: the gateway stands on the client and governs it.
  const s = scene({ masquerade: false }, async (lab) => {
    // Somebody is logged in already when the gateway starts.
    outside = await Agent.start(lab.internet);
    await (await lab.client.agent()).call("serveTcpEcho", { ports: [6000] });
    for (const address of [lab.client.v4, lab.client.v6])
      before.push(await outside.call("hold", { address, port: 6000 }));
    return { where: lab.client.ns, lan: [], eface: "eth0", flags };
  });

  it("whoever was logged in from outside stays so", async () => {
    for (const id of before)
      assert.equal((await outside.call("exchange", { id, data: "still here" })).outcome, "reply");
  });

  it("names, siblings and addresses", async () => {
    for (const family of [4, 6] as const) {
      const of = (n: number) => (family === 4 ? server(n).v4 : server(n).v6);
      const got = await s.gateway.expect(
        { verdict: "allow", reason: "allow-name", name: "www.allowed.example", address: of(10) },
        () => curl(s.client, "https://www.allowed.example/", { family }),
      );
      assert.equal(got.outcome, "ok", got.error);
      const sibling = await s.gateway.expect({ verdict: "deny", reason: "dns-name", name: "www.denied.example" }, () =>
        curl(s.client, "https://www.denied.example/", { family }),
      );
      assert.equal(sibling.outcome, "unresolved");
      const wrong = await s.gateway.expect({ verdict: "deny", reason: "name-denied", address: of(10) }, () =>
        sClient(s.client, of(10), { sni: "www.denied.example", seconds: 2 }),
      );
      assert.notEqual(wrong.outcome, "ok");
      await fails(s, "tcp", of(20), 5432, { reason: "unlearned" });
      await fails(s, "udp", of(20), 7, { reason: "unlearned" });
      await fails(s, "tcp", of(10), 443, { reason: "no-name" });
      await passes(s, "tcp", of(10), 5432, { reason: "allow-address" });
    }
    await passes(s, "tcp", cidr.inside4[0], 5432, { reason: "allow-cidr" });
    await fails(s, "tcp", cidr.outside4[0], 5432, { reason: "unlearned" });
    assert.match((await ssh(s.client, "git.allowed.example")).stdout, /logged in/);
  });

  it("DNS over TCP, and to another resolver", async () => {
    assert.deepEqual((await dig(s.client, "git.allowed.example", { tcp: true })).answers, [server(12).v4]);
    assert.equal((await dig(s.client, "www.denied.example", { tcp: true, seconds: 1 })).answers.length, 0);
    const got = await s.gateway.expect({ verdict: "deny", reason: "unlearned", address: server(54).v4, port: 53 }, () =>
      dig(s.client, "www.allowed.example", { server: server(54).v4, seconds: 1 }),
    );
    assert.equal(got.status, "");
  });

  it("loopback, the link's neighbours and answers to those who come from outside", async () => {
    for (const address of ["127.0.0.1", "::1"])
      assert.equal((await s.agent.call("tcp", { address, port: 6000 })).outcome, "reply");
    for (const address of [s.client.v4, s.client.v6])
      assert.equal((await outside.call("tcp", { address, port: 6000 })).outcome, "reply");
    await s.client.ns.must(["ip", "neigh", "flush", "all"]);
    assert.equal((await curl(s.client, "https://www.allowed.example/", { family: 6 })).outcome, "ok");
    assert.equal(await ping(s.client, server(20).v4), false);
  });
});

describe("the box's own resolv.conf", () => {
  let lab: Lab;
  let gateway: Gateway;
  before(async () => {
    lab = await buildLab({ masquerade: false });
    // In the client's own view of /etc: its resolv.conf names the lab's resolver.
    assert.match(resolvConf(lab.client.resolver)["/etc/resolv.conf"] ?? "", /198\.51\.100\.53/);
    gateway = await Gateway.start(lab, {
      where: lab.client.ns,
      lan: [],
      eface: "eth0",
      resolvers: [],
      flags,
      ownView: true,
    });
  });
  after(() => lab.close());

  it("names the resolver that is trusted when none is given", async () => {
    const got = await gateway.expect({ verdict: "allow", reason: "allow-name" }, () =>
      curl(lab.client, "https://www.allowed.example/", { family: 4 }),
    );
    assert.equal(got.outcome, "ok", got.error);
    assert.equal((await dig(lab.client, "www.allowed.example", { server: server(54).v4, seconds: 1 })).status, "");
    assert.equal(await gateway.stop(), 0, gateway.daemon.stderr);
  });
});
