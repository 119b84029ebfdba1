/** Trusted resolvers that are reached otherwise than by the governed way out: their questions are filtered and their answers learned all the same. */
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { encode } from "dns-packet";
import type { GatewayOptions } from "../lab/gateway.js";
import { resolvConf, type Client, type Lab } from "../lab/lab.js";
import { connect } from "../lab/namespace.js";
import { ip, udp } from "../lab/packets.js";
import { craftedResolver, resolver, server } from "../lab/plan.js";
import { until } from "../lab/process.js";
import { startDnsmasq } from "../lab/services.js";
import { curl, dig } from "../lab/tools.js";
import { families, fails, scene, type Scene } from "./scene.js";

const flags = ["--domain", "www.allowed.example"];

/** dnsmasq at this host, which forwards to the lab's resolver. */
async function serveNames(lab: Lab, host: Client, interfaces: readonly string[] = ["eth0"]): Promise<void> {
  const folder = join(lab.folder, "resolver");
  mkdirSync(folder);
  const daemon = startDnsmasq(host.ns, folder, { interfaces, dns: true });
  await until(
    () => `dnsmasq: ${daemon.stderr}`,
    async () => !daemon.ended && (await dig(host, "www.allowed.example", { server: host.v4, seconds: 1 })).answers[0],
  );
}

/** `client` asks at `addresses`: what is allowed is answered and can be reached, what isn't is refused, over UDP and TCP. */
async function filtersAndLearns(s: Scene, client: Client, addresses: readonly string[]): Promise<void> {
  const agent = await client.agent();
  await s.gateway.expect({ verdict: "deny", reason: "unlearned", client: client.v4 }, () =>
    agent.call("tcp", { address: server(10).v4, port: 5432, timeoutMs: 600 }),
  );
  for (const at of addresses) {
    for (const tcp of [false, true]) {
      const not = await s.gateway.expect({ verdict: "deny", reason: "dns-name", name: "www.denied.example" }, () =>
        dig(client, "www.denied.example", { server: at, tcp }),
      );
      assert.equal(not.status, "REFUSED", `${at} ${tcp}`);
      const type = at.includes(":") ? "AAAA" : "A";
      const got = await s.gateway.expect(
        { verdict: "allow", reason: "allow-answer", name: "www.allowed.example" },
        () => dig(client, "www.allowed.example", { server: at, tcp, type }),
      );
      assert.deepEqual(got.answers, [at.includes(":") ? server(10).v6 : server(10).v4], `${at} ${tcp}`);
    }
  }
  for (const [family, address] of families(server(10))) {
    const got = await s.gateway.expect({ verdict: "allow", reason: "allow-name", address }, () =>
      curl(client, "https://www.allowed.example/", { family, address }),
    );
    assert.equal(got.outcome, "ok", got.error);
  }
}

for (const [what, lan] of [
  ["in a network that is not governed", ["lan0"]],
  ["in another governed LAN", ["lan0", "lan1"]],
] as const) {
  describe(`a resolver ${what}`, () => {
    const s = scene({ clients: [1, 1], masquerade: false }, async (lab): Promise<GatewayOptions> => {
      const there = lab.clients[1] as Client;
      await serveNames(lab, there);
      // It asks the lab's resolver itself, which is trusted, too.
      return { lan, flags, resolvers: [there.v4, there.v6, resolver.v4] };
    });
    const there = () => s.lab.clients[1] as Client;

    it("is filtered and learned from", () => filtersAndLearns(s, s.client, [there().v4, there().v6]));

    it("one beside it is not: its answers pass untouched and teach nothing", async () => {
      // The same host by an address that nobody trusts.
      await there().ns.must(["ip", "addr", "add", "192.168.78.77/24", "dev", "eth0"]);
      const agent = await there().agent();
      await agent.call("serveUdpEcho", { addresses: ["192.168.78.77"], ports: [53] });
      const since = s.gateway.decisions.length;
      assert.equal((await s.agent.call("udp", { address: "192.168.78.77", port: 53 })).outcome, "reply");
      assert.deepEqual(s.gateway.decisions.slice(since), []);
    });

    it("questions that a DNAT rule sends there are its own: learned from if it is trusted, untouched if it isn't", async () => {
      const redirect = (from: string, to: string) =>
        s.lab.router.must(["iptables", "-w", "-t", "nat", "-A", "PREROUTING", "-i", "lan0", "-p", "udp", "-d", from, "--dport", "53", "-j", "DNAT", "--to-destination", to]); // prettier-ignore
      await redirect("9.9.9.9", there().v4);
      await redirect("9.9.9.10", "192.168.78.77");
      const not = await s.gateway.expect({ verdict: "deny", reason: "dns-name", name: "www.denied.example" }, () =>
        dig(s.client, "www.denied.example", { server: "9.9.9.9", seconds: 1 }),
      );
      // The refusal comes from where the question went, and that isn't where the client believes it to be.
      assert.equal(not.status, "");
      assert.deepEqual((await dig(s.client, "www.allowed.example", { server: "9.9.9.9" })).answers, [server(10).v4]);
      const since = s.gateway.decisions.length;
      assert.equal((await s.agent.call("udp", { address: "9.9.9.10", port: 53 })).outcome, "reply");
      assert.deepEqual(s.gateway.decisions.slice(since), []);
    });
  });
}

describe("own egress, with --iface: the resolver is behind another interface", () => {
  const s = scene({ clients: [1, 1], masquerade: false }, async (lab): Promise<GatewayOptions> => {
    const there = lab.clients[1] as Client;
    // A cable of their own between this box and the resolver.
    connect(lab.client.ns, "eth1", there.ns, "eth1");
    for (const [ns, host] of [
      [lab.client.ns, 1],
      [there.ns, 2],
    ] as const) {
      ns.ip(["link set eth1 up", `addr add 10.99.0.${host}/24 dev eth1`, `addr add fd99::${host}/64 dev eth1 nodad`]);
    }
    await serveNames(lab, there, ["eth0", "eth1"]);
    await lab.client.ns.overlay(join(lab.folder, "asks"), resolvConf("10.99.0.2"));
    return { where: lab.client.ns, lan: [], eface: "eth0", iface: "eth1", flags, resolvers: ["10.99.0.2", "fd99::2"] };
  });

  it("is filtered and learned from", () => filtersAndLearns(s, s.client, ["10.99.0.2", "fd99::2"]));

  it("what else goes that way is not egress", async () => {
    const there = await (s.lab.clients[1] as Client).agent();
    await there.call("serveTcpEcho", { ports: [5432] });
    assert.equal((await s.agent.call("tcp", { address: "10.99.0.2", port: 5432 })).outcome, "reply");
    await fails(s, "tcp", server(20).v4, 5432, { reason: "unlearned" });
  });
});

for (const lan of [["lan0", "lan1"], ["lan0"]]) {
  describe(`answers that come in another way than the question left, ${lan.join(" and ")} governed`, () => {
    const s = scene({ clients: [1, 1], masquerade: false }, { lan, flags });
    const forged = encode({
      type: "response",
      id: 77,
      flags: 0x180,
      questions: [{ type: "A", name: "www.allowed.example", class: "IN" }],
      answers: [{ type: "A", name: "www.allowed.example", ttl: 300, data: server(20).v4 }],
    });

    it("teach nothing: neither a neighbour in the resolver's name, nor the client itself", async () => {
      const { v4: from } = craftedResolver;
      const to = s.client.v4;
      // Nothing is crafted, so the resolver is silent and the question stays open.
      for (const [i, sender] of s.lab.clients.entries()) {
        // The router's own guard against forged sources must not be what stops it.
        await s.lab.router.must(["sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done"]);
        const agent = await sender.agent();
        const reply = s.agent.call("queryUdp", {
          server: from,
          name: "www.allowed.example",
          id: 77,
          localPort: 7000 + i,
        });
        await new Promise((resolve) => setTimeout(resolve, 200));
        const datagram = ip(from, to, 17, udp(from, to, 53, 7000 + i, forged));
        // What a host sends to itself goes no further than its loopback, unless it takes care that it does.
        if (sender === s.client) {
          const ns = sender.ns;
          await ns.must(["ip", "route", "add", "table", "99", "default", "via", "192.168.77.1"]);
          await ns.must(["ip", "rule", "add", "prio", "100", "lookup", "local"]);
          await ns.must(["ip", "rule", "add", "prio", "50", "to", to, "iif", "lo", "lookup", "99"]);
          await ns.must(["ip", "rule", "del", "prio", "0"]);
        }
        await agent.call("rawPackets", { packets: [datagram] });
        assert.equal(await reply, undefined, "the forged answer doesn't come through");
        const status = await s.gateway.command("status");
        assert.match(status.stdout, /^ {2}dns-unsolicited +[1-9]/m, "it was seen");
        assert.match(status.stdout, /^learned names: 0 /m);
      }
      const got = await s.gateway.expect({ verdict: "deny", reason: "unlearned", address: server(20).v4 }, () =>
        curl(s.client, "https://www.allowed.example/", { address: server(20).v4 }),
      );
      assert.notEqual(got.outcome, "ok");
    });
  });
}
