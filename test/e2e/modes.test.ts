/** What `--verify`, `--reject` and `--dns-deny` change. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { server } from "../lab/plan.js";
import { curl, dig, ping, sClient, ssh } from "../lab/tools.js";
import { families, fails, passes, scene } from "./scene.js";

const www = server(10);
const names = ["--domain", "www.allowed.example"];

describe("verify dns: a learned address is enough", () => {
  const s = scene({}, { flags: [...names, "--verify", "dns"] });

  it("whatever is said to it", async () => {
    for (const [family, address] of families(www)) {
      await dig(s.client, "www.allowed.example", { type: family === 4 ? "A" : "AAAA" });
      for (const sni of ["www.allowed.example", "www.denied.example", undefined]) {
        const got = await s.gateway.expect({ verdict: "allow", reason: "allow-address", address, port: 443 }, () =>
          sClient(s.client, address, sni ? { sni } : {}),
        );
        assert.equal(got.outcome, "ok", `${sni}`);
      }
      await passes(s, "udp", address, 443, { reason: "allow-address" });
      await passes(s, "tcp", address, 444, { reason: "allow-address" });
    }
  });

  it("and an unlearned one is not, whatever is said to it", async () => {
    for (const [, address] of families(server(20))) {
      const got = await s.gateway.expect({ verdict: "deny", reason: "unlearned", address }, () =>
        sClient(s.client, address, { sni: "www.allowed.example" }),
      );
      assert.equal(got.outcome, "refused");
      await fails(s, "udp", address, 443, { reason: "unlearned" });
    }
  });
});

describe("verify sni: the name on the wire is enough", () => {
  const s = scene({}, { flags: [...names, "--verify", "sni"] });

  it("at any address, learned or not", async () => {
    for (const [, address] of [...families(www), ...families(server(20))]) {
      const tls = await s.gateway.expect(
        { verdict: "allow", reason: "allow-name", name: "www.allowed.example", address, port: 443 },
        () => sClient(s.client, address, { sni: "www.allowed.example" }),
      );
      assert.equal(tls.outcome, "ok");
      const http = await s.gateway.expect(
        { verdict: "allow", reason: "allow-name", name: "www.allowed.example", address, port: 80 },
        () => curl(s.client, "http://www.allowed.example/", { address }),
      );
      assert.equal(http.outcome, "ok");
    }
  });

  it("without an allowed name nothing passes, also where DNS would allow it", async () => {
    await dig(s.client, "www.allowed.example");
    for (const [sni, match] of [
      ["www.denied.example", { reason: "name-denied" }],
      [undefined, { reason: "no-name" }],
    ] as const) {
      const got = await s.gateway.expect({ verdict: "deny", address: www.v4, port: 443, ...match }, () =>
        sClient(s.client, www.v4, sni ? { sni } : {}),
      );
      assert.equal(got.outcome, "reset");
    }
    await fails(s, "tcp", www.v4, 5432, { reason: "no-name" });
    await fails(s, "udp", www.v4, 443, { reason: "quic" });
    await fails(s, "udp", www.v4, 7, { reason: "no-name" });
    assert.notEqual((await ssh(s.client, www.v4)).code, 0);
    assert.equal(await ping(s.client, www.v4), false);
  });
});

describe("verify both: name and address belong together", () => {
  const s = scene({}, { flags: [...names, "--domain", "git.allowed.example", "--verify", "both"] });

  it("so an allowed name to an address that nobody asked for is denied at its SYN", async () => {
    const got = await s.gateway.expect({ verdict: "deny", reason: "unlearned", address: www.v4, port: 443 }, () =>
      sClient(s.client, www.v4, { sni: "www.allowed.example" }),
    );
    assert.equal(got.outcome, "refused");
  });

  it("and at the address of another allowed name by its hello", async () => {
    await dig(s.client, "git.allowed.example");
    const got = await s.gateway.expect({ verdict: "deny", reason: "name-ip-mismatch", address: server(12).v4 }, () =>
      sClient(s.client, server(12).v4, { sni: "www.allowed.example" }),
    );
    assert.equal(got.outcome, "reset");
    await dig(s.client, "www.allowed.example");
    assert.equal((await sClient(s.client, www.v4, { sni: "www.allowed.example" })).outcome, "ok");
  });
});

describe("reject rst and dns-deny refused: the client knows at once", () => {
  const s = scene({}, { flags: [...names, "--reject", "rst", "--dns-deny", "refused"] });

  it("by RST, ICMP and REFUSED with an Extended DNS Error", async () => {
    for (const [family, address] of families(server(20))) {
      assert.equal((await fails(s, "tcp", address, 5432, { reason: "unlearned" })).outcome, "refused");
      assert.equal((await fails(s, "udp", address, 7, { reason: "unlearned" })).outcome, "prohibited", `IPv${family}`);
    }
    await dig(s.client, "www.allowed.example");
    assert.equal((await fails(s, "tcp", www.v4, 443, { reason: "no-name" })).outcome, "reset");
    for (const [, at] of families(server(53))) {
      const reply = await s.agent.call("queryUdp", { server: at, name: "www.denied.example", id: 99 });
      // RFC 8914 section 4.19: 18 is "Prohibited".
      assert.deepEqual(reply && { ...reply, addresses: [...reply.addresses] }, {
        rcode: "REFUSED",
        addresses: [],
        id: 99,
        ede: 18,
      });
      assert.equal((await dig(s.client, "www.denied.example", { server: at, tcp: true })).status, "REFUSED");
    }
  });
});

describe("reject drop and dns-deny nxdomain", () => {
  const s = scene({}, { flags: [...names, "--reject", "drop", "--dns-deny", "nxdomain"] });

  it("flows are silent, names don't exist", async () => {
    for (const [, address] of families(server(20))) {
      assert.equal((await fails(s, "tcp", address, 5432, { reason: "unlearned" })).outcome, "timeout");
      assert.equal((await fails(s, "udp", address, 7, { reason: "unlearned" })).outcome, "silent");
    }
    await dig(s.client, "www.allowed.example");
    assert.equal((await fails(s, "tcp", www.v4, 443, { reason: "no-name" })).outcome, "silent");
    assert.equal((await dig(s.client, "www.denied.example")).status, "NXDOMAIN");
    assert.equal((await dig(s.client, "www.denied.example", { tcp: true })).status, "NXDOMAIN");
  });
});

describe("dns-deny drop", () => {
  const s = scene({}, { flags: [...names, "--dns-deny", "drop"] });

  it("a denied question gets no answer, an allowed one does", async () => {
    const got = await s.gateway.expect({ verdict: "deny", reason: "dns-name", name: "www.denied.example" }, () =>
      dig(s.client, "www.denied.example", { seconds: 1 }),
    );
    assert.equal(got.status, "");
    assert.equal((await dig(s.client, "www.allowed.example")).status, "NOERROR");
  });
});
