/** Forwarded flows that skip netfilter: only where nobody else has rules, both ways, and nothing else changes. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Gateway } from "../lab/gateway.js";
import { cidr, server } from "../lab/plan.js";
import { curl, iperf, ping, sClient } from "../lab/tools.js";
import { fails, passes, scene, type Scene } from "./scene.js";

const flags = ["--domain", "www.allowed.example", "--cidr", cidr.v4, "--cidr", cidr.v6];
const page = "https://www.allowed.example/";

/** Connections that conntrack on the router knows. */
async function tracked(s: Scene): Promise<number> {
  return Number(await s.lab.router.must(["cat", "/proc/sys/net/netfilter/nf_conntrack_count"]));
}

async function allowsAndDenies(s: Scene): Promise<void> {
  for (const family of [4, 6] as const) {
    assert.equal((await curl(s.client, page, { family })).outcome, "ok");
    const of = (n: number) => (family === 4 ? server(n).v4 : server(n).v6);
    assert.equal((await sClient(s.client, of(10), { sni: "www.denied.example" })).outcome, "reset");
    await fails(s, "tcp", of(20), 443, { reason: "unlearned" });
    await fails(s, "udp", of(20), 7, { reason: "unlearned" });
  }
  await passes(s, "tcp", cidr.inside4[1], 5432, { reason: "allow-cidr" });
  await passes(s, "tcp", cidr.inside6[1], 5432, { reason: "allow-cidr" });
  await passes(s, "udp", cidr.inside4[1], 7, { reason: "allow-cidr" });
  await passes(s, "udp", cidr.inside6[1], 7, { reason: "allow-cidr" });
  await fails(s, "tcp", cidr.outside4[1], 5432, { reason: "unlearned" });
}

describe("past netfilter", () => {
  const s = scene({ masquerade: false }, { flags });

  it("begins some seconds after the start, and conntrack sees nothing of what is allowed", async () => {
    await s.gateway.fastPath(true);
    const before = await tracked(s);
    for (const address of [...cidr.inside4.slice(0, 2), ...cidr.inside6.slice(0, 2)]) {
      assert.equal((await s.agent.call("tcp", { address, port: 5432 })).outcome, "reply");
      assert.equal((await s.agent.call("udp", { address, port: 7 })).outcome, "reply");
    }
    assert.equal(await tracked(s), before);
  });

  it("allows and denies the same", () => allowsAndDenies(s));

  it("carries bulk in segments of every size, both ways, and answers to what is too long or has too few hops", async () => {
    for (const address of [cidr.inside4[1], cidr.inside6[1]]) {
      assert.ok((await iperf(s.client, address, 1)) > 1e7);
      assert.ok((await iperf(s.client, address, 1, ["-R"])) > 1e7);
    }
    const hops = await s.client.ns.run(["ping", "-c", "1", "-W", "1", "-t", "1", cidr.inside4[1]]);
    assert.match(hops.stdout, /Time to live exceeded|exceeded/);
    s.lab.router.ip(["link set wan0 mtu 1300"]);
    assert.ok((await iperf(s.client, cidr.inside4[1], 1)) > 1e6, "the router says how long a packet may be");
    s.lab.router.ip(["link set wan0 mtu 1500"]);
    assert.equal(await ping(s.client, cidr.inside4[1]), true);
  });

  it("a flow that is open goes on while rules of others come and go", async () => {
    const ids: number[] = [];
    for (const address of [cidr.inside4[1], cidr.inside6[1]])
      ids.push(await s.agent.call("hold", { address, port: 5432 }));
    const exchange = async (data: string) => {
      for (const id of ids) assert.equal((await s.agent.call("exchange", { id, data })).outcome, "reply", data);
    };
    await exchange("past");
    const rule = ["FORWARD", "-p", "tcp", "--dport", "9", "-j", "DROP"];
    await s.lab.router.must(["iptables", "-w", "-A", ...rule]);
    await s.gateway.fastPath(false);
    await exchange("through");
    await allowsAndDenies(s);
    assert.ok((await tracked(s)) > 0);
    await s.lab.router.must(["iptables", "-w", "-D", ...rule]);
    await s.gateway.fastPath(true);
    await exchange("past again");
    await allowsAndDenies(s);
  });

  it("goes on over a kill -9, and what is not decided stays closed", async () => {
    const id = await s.agent.call("hold", { address: cidr.inside4[1], port: 5432 });
    assert.equal((await s.agent.call("exchange", { id, data: "before" })).outcome, "reply");
    await s.gateway.kill9();
    const before = await tracked(s);
    assert.equal((await s.agent.call("exchange", { id, data: "killed" })).outcome, "reply");
    assert.equal(await tracked(s), before);
    assert.notEqual(
      (await s.agent.call("tcp", { address: server(20).v4, port: 5432, timeoutMs: 400 })).outcome,
      "reply",
    );
    s.gateway = await Gateway.start(s.lab, s.gateway.options);
    await s.gateway.fastPath(true, 3_000);
    assert.equal((await s.agent.call("exchange", { id, data: "again" })).outcome, "reply");
    await allowsAndDenies(s);
  });
});

describe("what keeps it off", () => {
  const s = scene({}, { flags });

  it("NAT, and it says so", async () => {
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const { stdout } = await s.gateway.command("status");
    assert.match(stdout, /fast path: off: .*rules in chain ip nat POSTROUTING/);
    await allowsAndDenies(s);
  });
});
