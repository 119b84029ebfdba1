/** DNS that lies, and questions that are odd. What must not be learned is looked for with real connections. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { question } from "../lab/agent/dns.js";
import type { CraftedAnswer } from "../lab/agent/serve.js";
import { craftedResolver, otherResolver, resolver, server } from "../lab/plan.js";
import { dig } from "../lab/tools.js";
import { families, fails, passes, scene } from "./scene.js";

const target = server(21);

describe("answers that must not be learned", () => {
  const s = scene(
    {},
    { flags: ["--domain", "*.crafted.example", "--domain", "*.rebind.example", "--domain", "www.allowed.example"] },
  );
  let serial = 0;
  const a = (data: string, name?: string) => ({ type: "A" as const, data, ...(name === undefined ? {} : { name }) });

  /** Let the resolver say this to a fresh name and return what the client got. */
  const ask = async (answers: readonly CraftedAnswer[], family: 4 | 6 = 4) => {
    const name = `n${serial++}.crafted.example`;
    await s.lab.servers.call("craft", {
      name,
      answers: answers.map((answer) => ({
        ...answer,
        records: answer.records.map((r) => ({ ...r, ...(r.name === "SELF" ? { name } : {}) })),
      })),
    });
    const at = family === 4 ? craftedResolver.v4 : craftedResolver.v6;
    return s.agent.call("queryUdp", { server: at, name, timeoutMs: 500 });
  };
  const unlearned = (address = target.v4) => fails(s, "tcp", address, 5432, { reason: "unlearned" });

  it("(the plain answer is learned, in both families)", async () => {
    for (const [family, address] of families(server(60))) {
      const reply = await ask([{ records: [{ type: family === 4 ? "A" : "AAAA", data: address }] }], family);
      assert.deepEqual(reply?.addresses, [address]);
      await passes(s, "tcp", address, 5432, { reason: "allow-address" });
    }
  });

  it("a wrong id", async () => {
    assert.equal(await ask([{ records: [a(target.v4)], idOffset: 1 }]), undefined);
    await unlearned();
  });

  it("another question", async () => {
    assert.equal(await ask([{ records: [a(target.v4)], question: "www.allowed.example" }]), undefined);
    await unlearned();
  });

  it("from another server, and from another port of the right one", async () => {
    const from = { address: server(56).v4, port: 53 };
    assert.equal(await ask([{ records: [a(target.v4)], from }]), undefined, "conntrack drops or the gateway does");
    await ask([{ records: [a(target.v4)], from: { address: craftedResolver.v4, port: 5354 } }]);
    await unlearned();
  });

  it("a second answer to a question that was answered", async () => {
    const reply = await ask([{ records: [a(server(61).v4)] }, { records: [a(target.v4)], delayMs: 40 }]);
    assert.deepEqual(reply?.addresses, [server(61).v4]);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await unlearned();
  });

  it("a wrong one first doesn't keep the right one out", async () => {
    const name = "first.crafted.example";
    await s.lab.servers.call("craft", {
      name,
      answers: [
        { records: [a(target.v4)], idOffset: 7 },
        { records: [a(server(62).v4)], delayMs: 30 },
      ],
    });
    const reply = await s.agent.call("queryUdp", { server: craftedResolver.v4, name });
    assert.deepEqual(reply?.addresses, [server(62).v4]);
    await passes(s, "tcp", server(62).v4, 5432, { reason: "allow-address", name });
    await unlearned();
  });

  it("records off the chain from the question", async () => {
    const reply = await ask([{ records: [a(target.v4, "www.evil.example"), a(server(11).v4)] }]);
    assert.ok(reply);
    await passes(s, "tcp", server(11).v4, 5432, { reason: "allow-address" });
    await unlearned();
    await ask([{ records: [{ type: "CNAME", data: "x.evil.example" }, a(target.v4, "y.evil.example")] }]);
    await unlearned();
    // A loop.
    await ask([
      {
        records: [
          { type: "CNAME", name: "SELF", data: "b.evil.example" },
          { type: "CNAME", name: "b.evil.example", data: "c.evil.example" },
          { type: "CNAME", name: "c.evil.example", data: "b.evil.example" },
          a(target.v4, "z.evil.example"),
        ],
      },
    ]);
    await unlearned();
  });

  it("(a chain in any order is followed)", async () => {
    await ask([
      {
        records: [
          a(server(13).v4, "end.evil.example"),
          { type: "CNAME", name: "middle.evil.example", data: "end.evil.example" },
          { type: "CNAME", name: "SELF", data: "middle.evil.example" },
        ],
      },
    ]);
    await passes(s, "tcp", server(13).v4, 5432, { reason: "allow-address" });
  });

  it("private, loopback, metadata and embedded addresses of allowed names", async () => {
    const learned = async () => {
      const status = JSON.parse((await s.gateway.command("status", ["--json"])).stdout) as unknown;
      return JSON.stringify(status);
    };
    for (const name of ["private", "loopback", "metadata", "mapped", "nat64", "mixed"]) {
      for (const type of ["A", "AAAA"]) await dig(s.client, `${name}.rebind.example`, { type });
    }
    const text = await learned();
    for (const address of [
      "192.168.78.10",
      "fd78::10",
      "127.0.0.1",
      '"::1"',
      "169.254.169.254",
      "fe80::1",
      "::ffff:192.168.78.10",
      "64:ff9b::",
      "10.0.0.1",
    ]) {
      assert.ok(!text.includes(address), `${address} was learned`);
    }
    // The public one beside a private one is.
    await passes(s, "tcp", server(63).v4, 5432, { reason: "allow-address", name: "mixed.rebind.example" });
    await fails(s, "tcp", "10.0.0.1", 80, { reason: "unlearned" });
  });

  it("a resolver that is not trusted teaches nothing, even if a rule lets it be asked", async () => {
    assert.equal((await dig(s.client, "www.allowed.example", { server: otherResolver.v4, seconds: 1 })).status, "");
    await fails(s, "tcp", server(10).v4, 5432, { reason: "unlearned" });
  });
});

describe("questions", () => {
  const s = scene(
    {},
    {
      flags: ["--domain", "www.allowed.example", "--domain", "api.allowed.example", "--cidr", `${otherResolver.v4}/32`],
    },
  );

  it("an allowed resolver's address that is not a trusted one teaches nothing", async () => {
    const got = await s.gateway.expect({ verdict: "allow", reason: "allow-cidr", address: otherResolver.v4 }, () =>
      dig(s.client, "www.allowed.example", { server: otherResolver.v4 }),
    );
    assert.deepEqual(got.answers, [server(10).v4]);
    await fails(s, "tcp", server(10).v4, 5432, { reason: "unlearned" });
  });

  it("a denied question asked again from the same port is denied again, and never reaches the resolver", async () => {
    for (const [, at] of families(craftedResolver)) {
      for (let i = 0; i < 4; i++) {
        const reply = await s.agent.call("queryUdp", {
          server: at,
          name: "again.denied.example",
          id: 5,
          localPort: 50_053,
        });
        assert.equal(reply?.rcode, "REFUSED", `${at}, time ${i + 1}`);
      }
    }
    assert.ok(!(await s.lab.servers.call("askedNames", {})).includes("again.denied.example"));
  });

  it("DNS over TCP: pipelined, and in pieces of every size", async () => {
    for (const [, at] of families(resolver)) {
      for (const chunk of [0, 1, 3, 40]) {
        const got = await s.agent.call("queriesTcp", {
          server: at,
          names: ["www.allowed.example", "api.allowed.example"],
          chunk,
        });
        assert.equal(got.error, undefined, `${at} ${chunk}`);
        assert.deepEqual(
          got.replies.map((r) => r.addresses[0]),
          [server(10).v4, server(11).v4],
        );
      }
    }
    await passes(s, "tcp", server(11).v4, 5432, { reason: "allow-address", name: "api.allowed.example" });
  });

  it("a denied name among allowed ones on one connection is never answered", async () => {
    for (const chunk of [0, 5]) {
      const got = await s.gateway.expect(
        { verdict: "deny", reason: "dns-name", name: "www.denied.example", proto: "tcp" },
        () =>
          s.agent.call("queriesTcp", {
            server: resolver.v4,
            names: ["www.allowed.example", "www.denied.example", "api.allowed.example"],
            chunk,
            timeoutMs: 1_000,
          }),
      );
      const addresses = got.replies.flatMap((reply) => reply.addresses);
      assert.ok(!addresses.includes(server(20).v4), "the denied name was answered");
    }
    await fails(s, "tcp", server(20).v4, 5432, { reason: "unlearned" });
  });

  it("a question in IP fragments is put together or dropped, never passed by", async () => {
    for (const [name, wanted] of [
      ["www.allowed.example", undefined],
      ["www.denied.example", "deny"],
    ] as const) {
      for (const [family, at] of families(resolver)) {
        const since = s.gateway.decisions.length;
        const local = family === 4 ? s.client.v4 : s.client.v6;
        await s.agent.call("rawUdpFragments", {
          local,
          remote: at,
          sport: 50_400,
          port: 53,
          data: question({ server: at, name, id: 4 }),
          fragment: 16,
        });
        if (wanted) await s.gateway.decision({ verdict: "deny", address: at }, since);
        assert.ok(
          !s.gateway.decisions.slice(since).some((d) => d.verdict === "allow" && d.name === "www.denied.example"),
        );
      }
    }
  });

  it("what is not one plain question is denied", async () => {
    const send = (data: Uint8Array) => s.agent.call("udp", { address: resolver.v4, port: 53, data, timeoutMs: 300 });
    const plain = question({ server: resolver.v4, name: "www.allowed.example", id: 1 });
    assert.equal((await send(plain)).outcome, "reply");
    const two = Buffer.concat([plain.subarray(0, 12), plain.subarray(12, 37), plain.subarray(12)]);
    two.writeUInt16BE(2, 4);
    const response = Buffer.from(plain);
    response[2] = 0x81;
    const update = Buffer.from(plain);
    update[2] = 0x29;
    const dotted = Buffer.from(plain);
    // "www.allowed" as one label with a dot in it.
    dotted[12] = 11;
    dotted[16] = 0x2e;
    for (const [what, bytes] of [
      ["two questions", two],
      ["a response", response],
      ["an update", update],
      ["a dot inside a label", dotted],
      ["half a message", plain.subarray(0, 20)],
      ["nothing", new Uint8Array()],
    ] as const) {
      const got = await s.gateway.expect({ verdict: "deny", address: resolver.v4, port: 53 }, () => send(bytes));
      assert.notEqual(got.outcome, "reply", what);
    }
  });
});
