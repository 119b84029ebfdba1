/** Each allowed thing and its neighbour: names, siblings, ports, protocols, families, clients. `verify: both`, rejections by RST. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { server } from "../lab/plan.js";
import { curl, dig, gitLsRemote, ping, sClient, ssh } from "../lab/tools.js";
import { families, fails, passes, scene } from "./scene.js";

const www = server(10);
const api = server(11);
const git = server(12);

describe("names, verify both", () => {
  const s = scene(
    { clients: [2] },
    {
      flags: [
        ...["--domain", "www.allowed.example", "--domain", "git.allowed.example", "--domain", "v4.allowed.example"],
        ...[
          "--domain",
          "alias.allowed.example",
          "--domain",
          "one.shared.example",
          "--domain",
          "hundred.allowed.example",
        ],
        ...["--domain", "api.allowed.example", "--deny-cidr", `${api.v4}/32`],
        ...[
          "--port",
          "tcp/22",
          "--port",
          "tcp/80",
          "--port",
          "tcp/443",
          "--port",
          "tcp/5432",
          "--port",
          "udp/7",
          "--port",
          "udp/443",
        ],
        ...["--port", "icmp"],
      ],
    },
  );

  for (const family of [4, 6] as const) {
    const address = family === 4 ? www.v4 : www.v6;
    for (const [url, tls, port] of [
      ["https://www.allowed.example/", "1.3", 443],
      ["https://www.allowed.example/", "1.2", 443],
      ["http://www.allowed.example/", undefined, 80],
    ] as const) {
      it(`${url} ${tls ?? ""} over IPv${family}`, async () => {
        const got = await s.gateway.expect(
          { verdict: "allow", reason: "allow-name", name: "www.allowed.example", address, port, proto: "tcp" },
          () => curl(s.client, url, { family, ...(tls ? { tls } : {}) }),
        );
        assert.equal(got.outcome, "ok", got.error);
        assert.match(got.body, /host=www\.allowed\.example/);
      });
    }

    it(`a sibling is not resolved over IPv${family}, and asked by address it is not reached`, async () => {
      const sibling = family === 4 ? server(20).v4 : server(20).v6;
      const name = "www.denied.example";
      const asked = await s.gateway.expect({ verdict: "deny", reason: "dns-name", name }, () =>
        curl(s.client, `https://${name}/`, { family }),
      );
      assert.equal(asked.outcome, "unresolved");
      const direct = await s.gateway.expect({ verdict: "deny", reason: "unlearned", address: sibling, port: 443 }, () =>
        curl(s.client, `https://${name}/`, { address: sibling }),
      );
      assert.equal(direct.outcome, "refused");
    });

    it(`a wrong, a missing and a mismatched name to allowed addresses over IPv${family}`, async () => {
      for (const name of ["git.allowed.example", "one.shared.example"])
        await dig(s.client, name, { type: family === 4 ? "A" : "AAAA" });
      await dig(s.client, "www.allowed.example", { type: family === 4 ? "A" : "AAAA" });
      const of = (n: number) => (family === 4 ? server(n).v4 : server(n).v6);
      const cases = [
        [of(10), "www.denied.example", { reason: "name-denied", name: "www.denied.example" }],
        [of(10), undefined, { reason: "no-name" }],
        [of(12), "www.allowed.example", { reason: "name-ip-mismatch", name: "www.allowed.example" }],
        [of(30), "two.shared.example", { reason: "name-denied", name: "two.shared.example" }],
      ] as const;
      for (const [to, sni, match] of cases) {
        const got = await s.gateway.expect({ verdict: "deny", address: to, port: 443, ...match }, () =>
          sClient(s.client, to, sni ? { sni } : {}),
        );
        assert.equal(got.outcome, "reset", `${to} ${sni}: ${got.text}`);
      }
      const shared = await s.gateway.expect({ verdict: "allow", reason: "allow-name", address: of(30) }, () =>
        sClient(s.client, of(30), { sni: "one.shared.example" }),
      );
      assert.equal(shared.outcome, "ok");
    });

    it(`HTTP with another Host to an allowed address over IPv${family}`, async () => {
      await dig(s.client, "www.allowed.example", { type: family === 4 ? "A" : "AAAA" });
      const got = await s.gateway.expect(
        { verdict: "deny", reason: "name-denied", name: "www.denied.example", port: 80 },
        () => curl(s.client, "http://www.denied.example/", { address }),
      );
      assert.equal(got.outcome, "reset");
    });
  }

  it("ports next to the allowed ones, TCP against UDP, over both families", async () => {
    await dig(s.client, "www.allowed.example");
    await dig(s.client, "www.allowed.example", { type: "AAAA" });
    for (const [, address] of families(www)) {
      await passes(s, "tcp", address, 5432, { reason: "allow-address", name: "www.allowed.example" });
      await fails(s, "tcp", address, 5433, { reason: "port" });
      await fails(s, "tcp", address, 442, { reason: "port" });
      await fails(s, "tcp", address, 444, { reason: "port" });
      await passes(s, "udp", address, 7, { reason: "allow-address" });
      await fails(s, "udp", address, 8, { reason: "port" });
      await fails(s, "tcp", address, 7, { reason: "port" });
    }
  });

  it("raw bytes where a name belongs, and QUIC's port", async () => {
    for (const [, address] of families(www)) {
      await fails(s, "tcp", address, 443, { reason: "no-name" });
      await fails(s, "tcp", address, 80, { reason: "no-name" });
      await fails(s, "udp", address, 443, { reason: "quic" });
    }
  });

  it("ssh and git to an allowed name, not to a denied one", async () => {
    for (const family of [4, 6] as const) {
      const got = await s.gateway.expect(
        { verdict: "allow", reason: "allow-address", name: "git.allowed.example", port: 22 },
        () => ssh(s.client, "git.allowed.example", { family }),
      );
      assert.match(got.stdout, /logged in/, got.stderr);
    }
    const refs = await gitLsRemote(s.client, "git.allowed.example", `${s.lab.folder}/repo.git`);
    assert.match(refs.stdout, /refs\/heads\/main/);
    const denied = await s.gateway.expect({ verdict: "deny", reason: "dns-name", name: "git.denied.example" }, () =>
      gitLsRemote(s.client, "git.denied.example", `${s.lab.folder}/repo.git`),
    );
    assert.notEqual(denied.code, 0);
    const direct = await s.gateway.expect(
      { verdict: "deny", reason: "unlearned", address: server(22).v4, port: 22 },
      () => ssh(s.client, server(22).v4),
    );
    assert.notEqual(direct.code, 0);
  });

  it("ping follows the learned address", async () => {
    await dig(s.client, "www.allowed.example");
    await dig(s.client, "www.allowed.example", { type: "AAAA" });
    for (const [family, address] of families(www)) {
      const proto = family === 4 ? "icmp" : "icmpv6";
      assert.ok(
        await s.gateway.expect({ verdict: "allow", reason: "allow-address", address, proto }, () =>
          ping(s.client, address),
        ),
      );
      const other = family === 4 ? server(20).v4 : server(20).v6;
      assert.equal(
        await s.gateway.expect({ verdict: "deny", reason: "unlearned", address: other, proto }, () =>
          ping(s.client, other),
        ),
        false,
      );
    }
  });

  it("an address that was learned for IPv4 says nothing of the server's IPv6 address", async () => {
    await dig(s.client, "v4.allowed.example");
    await passes(s, "tcp", server(14).v4, 5432, { reason: "allow-address", name: "v4.allowed.example" });
    await fails(s, "tcp", server(14).v6, 5432, { reason: "unlearned" });
  });

  it("what one client learned doesn't open it for its neighbour", async () => {
    await dig(s.client, "git.allowed.example");
    await passes(s, "tcp", git.v4, 5432, { reason: "allow-address" });
    const neighbour = s.lab.clients[1];
    assert.ok(neighbour);
    const got = await s.gateway.expect(
      { verdict: "deny", reason: "unlearned", address: git.v4, client: "192.168.77.11" },
      async () => (await neighbour.agent()).call("tcp", { address: git.v4, port: 5432 }),
    );
    assert.equal(got.outcome, "refused");
  });

  it("a denied CIDR wins over an allowed name", async () => {
    await dig(s.client, "api.allowed.example");
    await dig(s.client, "api.allowed.example", { type: "AAAA" });
    await fails(s, "tcp", api.v4, 5432, { reason: "deny-cidr" });
    await passes(s, "tcp", api.v6, 5432, { reason: "allow-address", name: "api.allowed.example" });
  });

  it("a CNAME chain is learned for the name that was asked for, not for the names on it", async () => {
    assert.deepEqual((await dig(s.client, "alias.allowed.example")).answers, [server(40).v4]);
    const got = await s.gateway.expect({ verdict: "allow", reason: "allow-name", name: "alias.allowed.example" }, () =>
      curl(s.client, "https://alias.allowed.example/", { family: 4 }),
    );
    assert.equal(got.outcome, "ok", got.error);
    for (const name of ["edge.cdn.example", "pop7.cdn.example"]) {
      assert.equal(
        (await s.gateway.expect({ verdict: "deny", reason: "dns-name", name }, () => dig(s.client, name))).status,
        "REFUSED",
      );
      const hello = await s.gateway.expect({ verdict: "deny", reason: "name-denied", name }, () =>
        sClient(s.client, server(40).v4, { sni: name }),
      );
      assert.equal(hello.outcome, "reset");
    }
  });

  it("all of a hundred addresses are learned", async () => {
    const addresses = (await dig(s.client, "hundred.allowed.example", { tcp: true })).answers;
    assert.equal(addresses.length, 100);
    const results = await Promise.all(addresses.map((address) => s.agent.call("tcp", { address, port: 5432 })));
    assert.deepEqual([...new Set(results.map((r) => r.outcome))], ["reply"]);
  });

  it("DNS to another resolver is an ordinary flow: denied, over UDP and TCP", async () => {
    for (const [, address] of families(server(54))) {
      for (const tcp of [false, true]) {
        const got = await s.gateway.expect(
          { verdict: "deny", reason: "unlearned", address, port: 53, proto: tcp ? "tcp" : "udp" },
          () => dig(s.client, "www.allowed.example", { server: address, tcp, seconds: 1 }),
        );
        assert.equal(got.status, "");
      }
    }
  });
});

describe("patterns", () => {
  const s = scene({}, { flags: ["--domain", "*.allowed.example", "--domain", ".cdn.example", "--cn", "ome.com"] });

  it("lets through what they mean, and nothing beside", async () => {
    const allowed = ["www.allowed.example", "pop7.cdn.example", "home.com", "www.rome.com"];
    const denied = ["allowed.example", "notallowed.example", "www.denied.example", "ome.com.evil.example"];
    for (const name of allowed) {
      const got = await s.gateway.expect({ verdict: "allow", reason: "allow-name", name }, () =>
        curl(s.client, `https://${name}/`, { family: 4 }),
      );
      assert.equal(got.outcome, "ok", `${name}: ${got.error}`);
    }
    for (const name of denied) {
      const got = await s.gateway.expect({ verdict: "deny", reason: "dns-name", name }, () =>
        curl(s.client, `https://${name}/`, { family: 4 }),
      );
      assert.equal(got.outcome, "unresolved", name);
    }
  });

  it("knows one name however it is spelled", async () => {
    const got = await dig(s.client, "wWw.AlloWed.exAmple");
    assert.deepEqual(got.answers, [www.v4]);
    assert.equal((await sClient(s.client, www.v4, { sni: "WWW.Allowed.EXAMPLE" })).outcome, "ok");
    assert.equal((await dig(s.client, "wWw.dEnied.exAmple")).status, "REFUSED");
  });
});
