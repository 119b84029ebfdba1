/** Stop, kill, restart, flush: nothing is left behind by a stop, and nothing is opened by anything else. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Gateway, instanceName, program } from "../lab/gateway.js";
import { buildLab, type Lab } from "../lab/lab.js";
import { cidr, server } from "../lab/plan.js";
import { until } from "../lab/process.js";
import { snapshot } from "../lab/snapshot.js";
import { curl, dig, sClient } from "../lab/tools.js";
import { type Agent } from "../lab/agent.js";

const flags = [
  "--domain",
  "www.allowed.example",
  "--domain",
  "api.allowed.example",
  "--cidr",
  cidr.v4,
  "--cidr",
  cidr.v6,
];
const www = server(10);
const page = "https://www.allowed.example/";
const request = "GET / HTTP/1.1\r\nHost: www.allowed.example\r\n\r\n";

/** A lab for one group, the gateways are each test's own. */
function labOnly(): { lab: Lab; agent: Agent } {
  const made = {} as { lab: Lab; agent: Agent };
  before(async () => {
    made.lab = await buildLab();
    made.agent = await made.lab.client.agent();
  });
  after(() => made.lab.close());
  return made;
}

describe("SIGTERM and SIGINT leave nothing behind", () => {
  const s = labOnly();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`${signal}: rules, filters, links, pins and folders are as before, and traffic is free`, async () => {
      // Other people's rules must be there afterwards.
      for (const tables of ["iptables", "ip6tables"]) {
        await s.lab.router.must([
          tables,
          "-w",
          "-t",
          "mangle",
          "-A",
          "FORWARD",
          "-m",
          "mark",
          "--mark",
          "0x40000",
          "-j",
          "MARK",
          "--set-xmark",
          "0x80000/0x80000",
        ]);
      }
      const gatewayName = instanceName();
      const clean = await snapshot(s.lab.router, gatewayName);
      const gateway = await Gateway.start(s.lab, { flags, name: gatewayName });
      assert.notEqual(await snapshot(s.lab.router, gatewayName), clean, "the snapshot sees a gateway");
      assert.equal((await curl(s.lab.client, page)).outcome, "ok");
      assert.equal((await sClient(s.lab.client, server(20).v4, { sni: "www.denied.example" })).outcome, "refused");
      gateway.daemon.signal(signal);
      assert.equal((await gateway.daemon.exited).code, 0, gateway.daemon.stderr);
      assert.equal(await snapshot(s.lab.router, gatewayName), clean);
      assert.equal((await sClient(s.lab.client, server(20).v4, { sni: "www.denied.example" })).outcome, "ok");
    });
  }
});

describe("kill -9 under load", () => {
  const s = labOnly();
  let gateway: Gateway;
  let held: number[] = [];
  after(() => gateway.daemon.signal("SIGKILL"));

  it("what was allowed goes on, what was denied stays denied, what is undecided is denied", async () => {
    gateway = await Gateway.start(s.lab, { flags });
    assert.equal((await curl(s.lab.client, page, { family: 4 })).outcome, "ok");
    assert.equal((await curl(s.lab.client, page, { family: 6 })).outcome, "ok");
    // One flow that a name decided, one that a CIDR decided, in each family.
    held = [];
    for (const address of [www.v4, www.v6, cidr.inside4[0], cidr.inside6[0]]) {
      const id = await s.agent.call("hold", { address, port: 5432 });
      assert.equal((await s.agent.call("exchange", { id, data: "before" })).outcome, "reply");
      held.push(id);
    }
    const load = s.lab.client.ns.run(["iperf3", "-J", "-c", cidr.inside4[1], "-t", "3"], { timeoutMs: 12_000 });
    const names = s.agent.call("many", {
      names: Array.from({ length: 200 }, () => "api.allowed.example"),
      resolver: "198.51.100.53",
      family: 4,
      port: 5432,
      timeoutMs: 1_500,
    });
    await new Promise((resolve) => setTimeout(resolve, 150));
    await gateway.kill9();
    await names;

    for (const id of held) assert.equal((await s.agent.call("exchange", { id, data: "after" })).outcome, "reply");
    assert.equal(
      (await s.agent.call("tcp", { address: cidr.inside4[1], port: 5432 })).outcome,
      "reply",
      "a CIDR is the kernel's own business",
    );
    for (const address of [server(20).v4, server(20).v6, cidr.outside4[0], cidr.outside6[0]]) {
      assert.equal((await s.agent.call("tcp", { address, port: 5432, timeoutMs: 500 })).outcome, "timeout", address);
      assert.equal((await s.agent.call("udp", { address, port: 7, timeoutMs: 300 })).outcome, "silent", address);
    }
    // Not one of those that the kernel may still pass for some seconds.
    assert.equal(
      (await dig(s.lab.client, "new.allowed.example", { seconds: 1 })).status,
      "",
      "nobody judges the question",
    );
    assert.notEqual((await sClient(s.lab.client, www.v4, { sni: "www.denied.example", seconds: 1 })).outcome, "ok");
    const learned = await sClient(s.lab.client, www.v4, { sni: "www.allowed.example", seconds: 1 });
    assert.equal(learned.outcome, "ok", "a name that the kernel has bound to this client and address");
    // An allowed name that only user space reads.
    assert.notEqual(
      (await s.agent.call("tcp", { address: www.v4, port: 80, data: request, timeoutMs: 500 })).outcome,
      "reply",
    );
    const report = JSON.parse((await load).stdout) as { end: { sum_received: { bits_per_second: number } } };
    assert.ok(report.end.sum_received.bits_per_second > 1e7, "an allowed flow never stopped");
  });

  it("and the next start just works: learned names, held flows, new flows", async () => {
    gateway = await Gateway.start(s.lab, gateway.options);
    for (const id of held) assert.equal((await s.agent.call("exchange", { id, data: "again" })).outcome, "reply");
    // Learned before the kill: no new question is asked.
    const tls = await gateway.expect(
      { verdict: "allow", reason: "allow-name", name: "www.allowed.example", address: www.v4 },
      () => sClient(s.lab.client, www.v4, { sni: "www.allowed.example" }),
    );
    assert.equal(tls.outcome, "ok");
    assert.equal((await curl(s.lab.client, page, { family: 6 })).outcome, "ok");
    const denied = await gateway.expect({ verdict: "deny", reason: "unlearned", address: server(20).v4 }, () =>
      s.agent.call("tcp", { address: server(20).v4, port: 5432 }),
    );
    assert.equal(denied.outcome, "refused");
  });

  it("clean after a kill removes all of it", async () => {
    await gateway.kill9();
    assert.equal(
      (await s.agent.call("tcp", { address: server(20).v4, port: 5432, timeoutMs: 400 })).outcome,
      "timeout",
    );
    const cleaned = await gateway.command("clean", [], { timeoutMs: 15_000 });
    assert.equal(cleaned.code, 0, cleaned.stdout + cleaned.stderr);
    assert.doesNotMatch(await snapshot(s.lab.router, gateway.name), /L7EGG|l7egg|classify/);
    assert.equal((await s.agent.call("tcp", { address: server(20).v4, port: 5432 })).outcome, "reply");
  });
});

describe("rules that go away close, they never open", () => {
  const s = labOnly();

  it("flushing iptables", async () => {
    const gateway = await Gateway.start(s.lab, { flags });
    assert.equal((await curl(s.lab.client, page, { family: 4 })).outcome, "ok");
    const id = await s.agent.call("hold", { address: www.v4, port: 5432 });
    assert.equal((await s.agent.call("exchange", { id, data: "before" })).outcome, "reply");
    const saved: [string, string][] = [];
    for (const tables of ["iptables", "ip6tables"]) {
      saved.push([tables, await s.lab.router.must([`${tables}-save`, "-t", "mangle"])]);
      await s.lab.router.must([tables, "-w", "-t", "mangle", "-F"]);
    }

    const undecided = await gateway.expect({ verdict: "deny", reason: "not-inspected", address: www.v4 }, () =>
      s.agent.call("tcp", { address: www.v4, port: 80, data: request, timeoutMs: 500 }),
    );
    assert.notEqual(undecided.outcome, "reply");
    assert.notEqual((await sClient(s.lab.client, www.v4, { sni: "www.denied.example", seconds: 1 })).outcome, "ok");
    assert.equal((await dig(s.lab.client, "www.denied.example", { seconds: 1 })).status, "");
    for (const address of [server(20).v4, server(20).v6, cidr.outside4[0]]) {
      assert.notEqual((await s.agent.call("tcp", { address, port: 5432, timeoutMs: 400 })).outcome, "reply", address);
    }
    assert.equal((await s.agent.call("exchange", { id, data: "after" })).outcome, "reply", "decided already");
    assert.equal((await s.agent.call("tcp", { address: cidr.inside4[0], port: 5432 })).outcome, "reply");

    const said = (text: string) => gateway.daemon.stdout.split(text).length - 1;
    const removed = "the iptables rules are not as they should be: ";
    await until("the log to say it", () => said(removed) > 0, 15_000);
    assert.match(gateway.daemon.stdout, /should be: IPv4: chain L7EGG-[^"]* is empty; [^"]*IPv6: chain L7EGG-/);
    for (const [tables, text] of saved) await s.lab.router.must([`${tables}-restore`, "-w"], { input: text });
    await until("the log to say that they are back", () => said("the iptables rules are complete again") > 0, 15_000);
    assert.equal(said(removed), 1, "once");
    assert.equal(await gateway.stop(), 0, gateway.daemon.stderr);
    assert.doesNotMatch(await snapshot(s.lab.router, gateway.name), /L7EGG|l7egg|classify/);
  });

  it("flushing iptables-legacy, which tells nobody", async () => {
    const gateway = await Gateway.start(s.lab, { flags, env: { IPTABLES: "iptables-legacy" } });
    assert.equal((await curl(s.lab.client, page, { family: 4 })).outcome, "ok");
    await s.lab.router.must(["iptables-legacy", "-w", "-t", "mangle", "-F"]);
    const undecided = await s.agent.call("tcp", { address: www.v4, port: 80, data: request, timeoutMs: 500 });
    assert.notEqual(undecided.outcome, "reply");
    const said = /the iptables rules are not as they should be: IPv4: chain L7EGG-[^"]* is empty; (?![^"]*IPv6)/;
    await until("the log to say it", () => said.test(gateway.daemon.stdout), 15_000);
    assert.equal(await gateway.stop(), 0, gateway.daemon.stderr);
    for (const program of ["iptables-legacy-save", "ip6tables-legacy-save"]) {
      assert.doesNotMatch(await s.lab.router.must([program]), /L7EGG/, program);
    }
  });
});

describe("the program about a running gateway", () => {
  const s = labOnly();

  it("status, explain, and a second start of the same name", async () => {
    const gateway = await Gateway.start(s.lab, { flags });
    await dig(s.lab.client, "www.allowed.example");
    const status = await gateway.command("status", ["--json"]);
    assert.equal(status.code, 0, status.stderr);
    assert.match(status.stdout, /www\.allowed\.example/);
    assert.match(status.stdout, /198\.51\.100\.10/);
    // The log's client and the list's are the same machine: one can be found by the other.
    const listed = await gateway.command("status");
    assert.match(
      listed.stdout,
      /^ {2}([0-9a-f]{2}:){5}[0-9a-f]{2} \([^)]*192\.168\.77\.10[^)]*\) {2}www\.allowed\.example = /m,
    );
    const allowed = await gateway.command("explain", ["www.allowed.example"]);
    assert.match(allowed.stdout, /--domain www\.allowed\.example/, allowed.stderr);
    assert.match(allowed.stdout, /\([^)]*192\.168\.77\.10[^)]*\): www\.allowed\.example/);
    const denied = await gateway.command("explain", ["www.denied.example"]);
    assert.match(denied.stdout, /denied|no rule/i);
    const address = await gateway.command("explain", [`${cidr.inside4[0]}:443`]);
    assert.match(address.stdout, /--cidr 198\.51\.100\.128\/28/);

    const second = await s.lab.router.runBare([
      ...program(),
      "run",
      "--name",
      gateway.name,
      "--lan",
      "lan0",
      "--iface",
      "wan0",
      "--eface",
      "wan0",
      ...flags,
    ]);
    assert.equal(second.code, 2, second.stdout + second.stderr);
    assert.match(second.stderr + second.stdout, /running already/);
    const queue = await s.lab.router.runBare([
      ...program(),
      "run",
      "--name",
      `${gateway.name}b`,
      "--lan",
      "lan0",
      "--iface",
      "wan0",
      "--eface",
      "wan0",
      ...flags,
    ]);
    assert.equal(queue.code, 2, "one queue and one eface can't be two gateways'");
    assert.equal((await curl(s.lab.client, page)).outcome, "ok", "the first one was not disturbed");
    assert.equal(await gateway.stop(), 0);
  });
});
