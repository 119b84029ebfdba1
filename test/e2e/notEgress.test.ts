/** What does not leave by the governed interface is left alone, and so is what is not governed. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Agent } from "../lab/agent.js";
import { resolver, server, wan } from "../lab/plan.js";
import { curl, dig, ping, ssh } from "../lab/tools.js";
import { scene } from "./scene.js";

describe("two LANs of which one is governed", () => {
  const s = scene(
    { clients: [2, 1], routerSsh: true, routerDhcp: true, masquerade: false },
    { flags: ["--domain", "www.allowed.example"] },
  );
  const other = () => {
    const client = s.lab.clients[2];
    assert.ok(client);
    return client;
  };

  it("the box itself: ssh, and all its addresses answer a ping", async () => {
    for (const host of ["192.168.77.1", "fd77::1", wan.router4]) {
      assert.match((await ssh(s.client, host)).stdout, /logged in/, host);
    }
    for (const host of ["192.168.77.1", "fd77::1", "192.168.78.1", "fd78::1", wan.router4, wan.router6]) {
      assert.ok(await ping(s.client, host), host);
    }
  });

  it("DHCP", async () => {
    assert.match((await s.agent.call("dhcpLease", { mac: "02:00:00:00:00:99" })) ?? "", /^192\.168\.77\.(1\d\d|200)$/);
  });

  it("ARP and neighbour discovery, from both sides", async () => {
    for (const ns of [s.client.ns, s.lab.router]) await ns.must(["ip", "neigh", "flush", "all"]);
    assert.ok(await ping(s.client, "192.168.77.1"));
    assert.ok(await ping(s.client, "fd77::1"));
    const known = await s.client.ns.must(["ip", "neigh", "show"]);
    assert.match(known, /192\.168\.77\.1 .*lladdr/);
    assert.match(known, /fd77::1 .*lladdr/);
    for (const ns of [s.client.ns, s.lab.router]) await ns.must(["ip", "neigh", "flush", "all"]);
    assert.equal((await curl(s.client, "https://www.allowed.example/", { family: 6 })).outcome, "ok");
  });

  it("neighbours on the LAN, and from LAN to LAN", async () => {
    const neighbour = s.lab.clients[1];
    assert.ok(neighbour);
    for (const to of [neighbour, other()]) {
      const there = await to.agent();
      await there.call("serveTcpEcho", { ports: [5432] });
      for (const address of [to.v4, to.v6]) {
        assert.ok(await ping(s.client, address), address);
        assert.equal((await s.agent.call("tcp", { address, port: 5432 })).outcome, "reply", address);
      }
    }
    await s.agent.call("serveTcpEcho", { ports: [5432] });
    for (const address of [s.client.v4, s.client.v6]) {
      assert.equal((await (await other().agent()).call("tcp", { address, port: 5432 })).outcome, "reply");
    }
  });

  it("no decision was made about any of that", () => {
    const local = s.gateway.decisions.filter((d) =>
      /^(192\.168\.|fd7|203\.0\.113\.1$|2001:db8:113::1$)/.test(d.address ?? ""),
    );
    assert.deepEqual(local, []);
  });

  it("connections from outside to a governed client are answered (no NAT)", async () => {
    await s.agent.call("serveTcpEcho", { ports: [6000] });
    const outside = await Agent.start(s.lab.internet);
    for (const address of [s.client.v4, s.client.v6]) {
      assert.equal((await outside.call("tcp", { address, port: 6000 })).outcome, "reply", address);
    }
    // The same two addresses and ports, opened from inside, are judged as ever.
    assert.equal((await s.agent.call("tcp", { address: wan.internet4, port: 5432 })).outcome, "refused");
  });

  it("the other LAN is free", async () => {
    const client = other();
    assert.equal((await curl(client, "https://www.denied.example/", { family: 4 })).outcome, "ok");
    assert.equal((await curl(client, "https://www.denied.example/", { family: 6 })).outcome, "ok");
    assert.equal((await (await client.agent()).call("udp", { address: server(20).v6, port: 443 })).outcome, "reply");
    assert.equal((await dig(client, "www.denied.example", { server: resolver.v6 })).status, "NOERROR");
    // The governed one isn't.
    assert.equal((await curl(s.client, "https://www.denied.example/")).outcome, "unresolved");
  });
});

describe("two governed LANs", () => {
  const s = scene(
    { clients: [1, 1], masquerade: false },
    { lan: ["lan0", "lan1"], flags: ["--domain", "www.allowed.example"] },
  );

  it("a resolver in one answers clients in the other, unheard; out of both only what is allowed", async () => {
    const [, there] = s.lab.clients;
    assert.ok(there);
    const resolverThere = await there.agent();
    await resolverThere.call("serveUdpEcho", { addresses: [there.v4, there.v6], ports: [53, 54] });
    await resolverThere.call("serveTcpEcho", { ports: [53] });
    const since = s.gateway.decisions.length;
    for (const address of [there.v4, there.v6]) {
      for (const port of [53, 54]) {
        assert.equal((await s.agent.call("udp", { address, port })).outcome, "reply", `udp/${port} of ${address}`);
      }
      assert.equal((await s.agent.call("tcp", { address, port: 53 })).outcome, "reply", address);
    }
    assert.deepEqual(s.gateway.decisions.slice(since), []);
    for (const client of [s.client, there]) {
      const got = await s.gateway.expect({ verdict: "allow", reason: "allow-name", client: client.v4 }, () =>
        curl(client, "https://www.allowed.example/", { family: 4 }),
      );
      assert.equal(got.outcome, "ok", got.error);
      const not = await s.gateway.expect({ verdict: "deny", reason: "dns-name", client: client.v4 }, () =>
        curl(client, "https://www.denied.example/"),
      );
      assert.equal(not.outcome, "unresolved");
    }
    // The same source port, on its way out.
    const out = await s.gateway.expect({ verdict: "deny", reason: "unlearned", client: s.client.v4 }, () =>
      s.agent.call("udp", { address: server(20).v4, port: 7, localPort: 53, timeoutMs: 600 }),
    );
    assert.notEqual(out.outcome, "reply");
  });
});

describe("a resolver on the router", () => {
  const s = scene(
    { routerDns: true },
    { flags: ["--domain", "www.allowed.example"], resolvers: ["192.168.77.1", "fd77::1"] },
  );

  it("is filtered and learned from, over UDP and TCP, at both its addresses", async () => {
    for (const at of ["192.168.77.1", "fd77::1"]) {
      for (const tcp of [false, true]) {
        const denied = await s.gateway.expect({ verdict: "deny", reason: "dns-name", name: "www.denied.example" }, () =>
          dig(s.client, "www.denied.example", { server: at, tcp }),
        );
        assert.equal(denied.status, "REFUSED", `${at} ${tcp}`);
      }
    }
    assert.equal(
      (await s.agent.call("tcp", { address: server(10).v4, port: 5432 })).outcome,
      "refused",
      "not yet learned",
    );
    const got = await s.gateway.expect({ verdict: "allow", reason: "allow-name", name: "www.allowed.example" }, () =>
      curl(s.client, "https://www.allowed.example/", { family: 4 }),
    );
    assert.equal(got.outcome, "ok", got.error);
    assert.deepEqual(
      (await dig(s.client, "www.allowed.example", { server: "fd77::1", tcp: true, type: "AAAA" })).answers,
      [server(10).v6],
    );
    assert.equal((await s.agent.call("tcp", { address: server(10).v6, port: 5432 })).outcome, "reply");
  });

  it("and there is no way around it", async () => {
    const got = await s.gateway.expect({ verdict: "deny", reason: "unlearned", address: resolver.v4, port: 53 }, () =>
      dig(s.client, "www.allowed.example", { server: resolver.v4, seconds: 1 }),
    );
    assert.equal(got.status, "");
  });
});
