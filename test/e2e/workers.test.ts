/** Several queues: threads judge what the main thread learned, by the kernel's maps; and what happens when one dies. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { GatewayStatus } from "../../src/edge/status.js";
import type { Agent } from "../lab/agent.js";
import { Gateway, instanceName } from "../lab/gateway.js";
import { hello, isServerHello } from "../lab/hello.js";
import { buildLab, type Lab } from "../lab/lab.js";
import { server, thousandAddress, thousandName } from "../lab/plan.js";
import { until } from "../lab/process.js";
import { snapshot } from "../lab/snapshot.js";
import { dig, sClient } from "../lab/tools.js";
import { families, fails, passes, scene } from "./scene.js";

const www = "www.allowed.example";
const git = "git.allowed.example";
const request = (host: string) => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

async function statusOf(gateway: Gateway): Promise<GatewayStatus> {
  return JSON.parse((await gateway.command("status", ["--json"])).stdout) as GatewayStatus;
}

describe("three workers, verify both", () => {
  const s = scene({}, { flags: ["--domain", www, "--domain", git, "--domain", "*.many.example", "--queue", "0:3"] });

  it("status: each queue with its thread", async () => {
    const { queues, runner } = await statusOf(s.gateway);
    assert.deepEqual(
      queues.map((one) => [one.queue, one.thread, one.state, one.restarts, one.depth]),
      [[0, "main", "running", 0, 0], ...[1, 2, 3].map((queue) => [queue, "worker", "running", 0, 0])],
    );
    assert.equal(runner.held, 0);
    const text = (await s.gateway.command("status")).stdout;
    assert.match(text, /^ {2}3: 0 waiting, .*; worker running$/m);
    assert.match(text, /^ {2}all: 0 waiting, /m);
  });

  it("a name decides at its own address, and the log has all its words", async () => {
    for (const [family, address] of families(server(12))) {
      const type = family === 4 ? "A" : "AAAA";
      await dig(s.client, git, { type });
      await dig(s.client, www, { type });
      const at = families(server(10)).find(([one]) => one === family)?.[1] as string;
      await passes(s, "tcp", at, 80, { reason: "allow-name", name: www, rule: `--domain ${www}` }, request(www));
      await fails(
        s,
        "tcp",
        address,
        80,
        { reason: "name-ip-mismatch", name: www, detail: `address was learned for ${git}` },
        request(www),
      );
      await fails(
        s,
        "tcp",
        at,
        80,
        { reason: "name-denied", name: "www.denied.example" },
        request("www.denied.example"),
      );
      // No name on the wire: the learned address decides, and the log says for which name it was learned.
      await passes(s, "tcp", at, 5432, { reason: "allow-address", name: www, rule: `--domain ${www}` });
      await fails(s, "udp", families(server(20)).find(([one]) => one === family)?.[1] as string, 7, {
        reason: "unlearned",
      });
    }
  });

  it("split hellos to many servers: every worker judges some, the main thread none", async () => {
    const count = 24;
    for (let i = 0; i < count; i++) await dig(s.client, thousandName(i));
    const before = await statusOf(s.gateway);
    for (let i = 0; i < count; i++) {
      const id = await s.agent.call("hold", { address: thousandAddress(i).v4, port: 443 });
      const bytes = hello(thousandName(i));
      await s.agent.call("exchange", { id, data: bytes.subarray(0, 60), timeoutMs: 5 });
      const got = await s.gateway.expect({ verdict: "allow", reason: "allow-name", name: thousandName(i) }, () =>
        s.agent.call("exchange", { id, data: bytes.subarray(60) }),
      );
      assert.ok(isServerHello(got.received), thousandName(i));
      await s.agent.call("release", { id });
    }
    const now = await statusOf(s.gateway);
    const packets = now.queues.map((one, i) => one.packets - (before.queues[i]?.packets ?? 0));
    assert.equal(packets[0], 0, "no DNS, nothing for the main thread");
    for (const [queue, judged] of packets.entries())
      if (queue > 0) assert.ok(judged > 0, `queue ${queue} has seen none`);
    const allowed = (of: GatewayStatus) => of.counters.find((one) => one.reason === "allow-name")?.packets ?? 0;
    assert.equal(allowed(now) - allowed(before), count, "the counters are of all threads");
    assert.equal(now.workersLost, 0);
  });

  it("DNS meets the first queue alone, over UDP and TCP", async () => {
    const before = await statusOf(s.gateway);
    for (const tcp of [false, true]) assert.equal((await dig(s.client, www, { tcp })).status, "NOERROR");
    assert.equal((await dig(s.client, "www.denied.example")).status, "REFUSED");
    const now = await statusOf(s.gateway);
    const packets = now.queues.map((one, i) => one.packets - (before.queues[i]?.packets ?? 0));
    assert.ok((packets[0] as number) >= 8, String(packets));
    assert.deepEqual(packets.slice(1), [0, 0, 0]);
  });

  it("DNS that rules of somebody's own bring to a worker is dropped, and said so", async () => {
    const rule = ["FORWARD", "-i", "lan0", "-p", "udp", "--dport", "53", "-j", "NFQUEUE", "--queue-num", "2"];
    await s.lab.router.must(["iptables", "-w", "-t", "mangle", "-I", ...rule]);
    const got = await s.gateway.expect(
      { verdict: "deny", reason: "internal", detail: "DNS belongs on the first queue" },
      () => dig(s.client, www, { seconds: 1 }),
    );
    assert.equal(got.status, "");
    await s.lab.router.must(["iptables", "-w", "-t", "mangle", "-D", ...rule]);
    assert.equal((await dig(s.client, www)).status, "NOERROR");
  });
});

describe("one worker, verify sni", () => {
  const s = scene({}, { flags: ["--domain", www, "--verify", "sni", "--queue", "0:1"] });

  it("a name that came twice is bound by the main thread, and the kernel confirms it from then on", async () => {
    const { v4 } = server(20);
    const connect = () =>
      s.gateway.expect(
        { verdict: "allow", reason: "allow-name", name: www, address: v4, rule: `--domain ${www}` },
        () => sClient(s.client, v4, { sni: www }),
      );
    const packets = async () => (await statusOf(s.gateway)).queues[1]?.packets;
    assert.equal((await connect()).outcome, "ok");
    assert.deepEqual((await statusOf(s.gateway)).learned.entries, []);
    assert.equal((await connect()).outcome, "ok");
    await until("the name to be bound", async () => (await statusOf(s.gateway)).learned.total === 1);
    const [entry] = (await statusOf(s.gateway)).learned.entries;
    assert.deepEqual([entry?.name, entry?.address, entry?.rule], [www, v4, `--domain ${www}`]);
    const before = await packets();
    assert.equal((await connect()).outcome, "ok");
    assert.equal(await packets(), before, "the third never climbs");
  });
});

describe("this box's own egress, two workers", () => {
  const s = scene({ masquerade: false }, (lab) => ({
    where: lab.client.ns,
    lan: [],
    eface: "eth0",
    flags: ["--domain", www, "--queue", "0:2"],
  }));

  it("names decide as ever", async () => {
    const { v4 } = server(10);
    assert.equal((await dig(s.client, www)).status, "NOERROR");
    await passes(s, "tcp", v4, 80, { reason: "allow-name", name: www }, request(www));
    await fails(s, "tcp", v4, 80, { reason: "name-denied" }, request("www.denied.example"));
    const { queues } = await statusOf(s.gateway);
    assert.ok((queues[1]?.packets ?? 0) + (queues[2]?.packets ?? 0) > 0);
  });
});

/** A fault in a worker, by a module that Node loads into each of its threads: what stands in the file happens in the worker of queue 1. */
function faulty(file: string): readonly string[] {
  const code = `
    import { readFileSync, rmSync } from "node:fs";
    import { isMainThread, workerData } from "node:worker_threads";
    if (!isMainThread && workerData?.queue === 1) setInterval(() => {
      let fault;
      try { fault = readFileSync(${JSON.stringify(file)}, "utf8"); } catch { return; }
      if (!fault.endsWith("!")) rmSync(${JSON.stringify(file)});
      if (fault.startsWith("throw")) throw new Error("on purpose");
      if (fault.startsWith("exhaust")) for (const all = [];;) all.push(new Array(1_000).fill({}));
    }, 20).unref();`;
  return ["--import", `data:text/javascript,${encodeURIComponent(code)}`, "--max-old-space-size=80"];
}

describe("a worker dies", () => {
  const folder = mkdtempSync(join(tmpdir(), "l7egg-fault-"));
  const file = join(folder, "fault");
  const { v4 } = server(10);
  let lab: Lab;
  let agent: Agent;
  let gateway: Gateway;
  let clean: string;
  before(async () => {
    lab = await buildLab();
    agent = await lab.client.agent();
    const name = instanceName();
    clean = await snapshot(lab.router, name);
    gateway = await Gateway.start(lab, { name, node: faulty(file), flags: ["--domain", www, "--queue", "0:1"] });
    assert.equal((await dig(lab.client, www)).status, "NOERROR");
  });
  after(() => {
    gateway.daemon.signal("SIGKILL");
    lab.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const judges = async () => {
    const good = await agent.call("tcp", { address: v4, port: 80, data: request(www) });
    const bad = await agent.call("tcp", { address: v4, port: 80, data: request("www.denied.example"), timeoutMs: 500 });
    return good.outcome === "reply" && bad.outcome !== "reply";
  };
  const dies = async (fault: string, restarts: number) => {
    writeFileSync(file, fault);
    await until(
      () => `restart ${restarts}: ${gateway.daemon.stdout.slice(-2_000)}${gateway.daemon.stderr.slice(-2_000)}`,
      async () => {
        const worker = (await statusOf(gateway)).queues[1];
        return worker?.restarts === restarts && worker.state === "running";
      },
      20_000,
    );
  };

  it("by an exception, out of memory: one line each, and the next one judges", async () => {
    assert.ok(await judges());
    const count = (of: GatewayStatus) => of.counters.find((one) => one.reason === "allow-name")?.packets ?? 0;
    const before = count(await statusOf(gateway));
    await dies("throw", 1);
    assert.match(
      gateway.daemon.stdout,
      /the worker of queue 1 died: on purpose; what climbs there is dropped .*restart 1 of 5/,
    );
    assert.ok(await judges());
    assert.equal(count(await statusOf(gateway)), before + 1, "what the dead one counted still counts");
    await dies("exhaust", 2);
    assert.match(gateway.daemon.stdout, /the worker of queue 1 died: .*memory.*restart 2 of 5/);
    assert.ok(await judges());
    const lines = gateway.daemon.stdout.split("\n").filter((line) => line.includes("died"));
    assert.equal(lines.length, 2);
  });

  it("amid a hello of which it had let a part go: the connection is denied, whatever comes then", async () => {
    const bytes = hello(www);
    // Bytes that the dead one let through are the server's already, and the next one doesn't know them.
    const parted = await agent.call("hold", { address: v4, port: 443 });
    for (let at = 0; at < 60; at += 10) {
      await agent.call("exchange", { id: parted, data: bytes.subarray(at, at + 10), timeoutMs: 50 });
    }
    assert.equal((await statusOf(gateway)).engine.pendingFlows, 1);
    await dies("throw", 3);
    const denied = await gateway.expect(
      { verdict: "deny", reason: "mid-flow", detail: "nobody knows what went on of its first bytes", address: v4 },
      () => agent.call("exchange", { id: parted, data: bytes.subarray(60), timeoutMs: 3_000 }),
    );
    assert.equal(denied.received.length, 0);
    assert.ok(await judges());
  });

  it("too often: the process gives up, and the traffic stays governed", async () => {
    const id = await agent.call("hold", { address: v4, port: 5432 });
    assert.equal((await agent.call("exchange", { id, data: "before" })).outcome, "reply");
    writeFileSync(file, "throw!");
    const { code } = await gateway.daemon.exited;
    assert.equal(code, 1, gateway.daemon.stdout + gateway.daemon.stderr);
    assert.match(gateway.daemon.stdout, /the worker of queue 1 died: on purpose; it is the 6th in 10 minutes/);
    assert.match(gateway.daemon.stdout, /the gateway dies; the traffic stays governed/);
    assert.equal((await agent.call("exchange", { id, data: "after" })).outcome, "reply", "decided already");
    const open = await agent.call("tcp", { address: v4, port: 80, data: request(www), timeoutMs: 500 });
    assert.notEqual(open.outcome, "reply", "only user space could decide that");
    const denied = await agent.call("tcp", { address: server(20).v4, port: 5432, timeoutMs: 500 });
    assert.equal(denied.outcome, "timeout");
    assert.equal((await dig(lab.client, www, { seconds: 1 })).status, "");
  });

  it("the next start takes over, its stop leaves nothing behind", async () => {
    rmSync(file, { force: true });
    gateway = await Gateway.start(lab, { ...gateway.options, node: [] });
    assert.ok(await judges(), "learned before");
    const id = await agent.call("hold", { address: v4, port: 443 });
    await agent.call("exchange", { id, data: hello(www).subarray(0, 60), timeoutMs: 50 });
    assert.equal((await statusOf(gateway)).engine.pendingFlows, 1);
    assert.equal(await gateway.stop(), 0, gateway.daemon.stderr);
    assert.equal(await snapshot(lab.router, gateway.name), clean);
  });
});

describe("a worker dies, fail mode open", () => {
  const folder = mkdtempSync(join(tmpdir(), "l7egg-fault-"));
  const file = join(folder, "fault");
  after(() => rmSync(folder, { recursive: true, force: true }));
  const s = scene({}, { node: faulty(file), flags: ["--domain", www, "--queue", "0:1", "--fail-mode", "open"] });

  it("says that what climbs passes meanwhile, and judges again", async () => {
    writeFileSync(file, "throw");
    await until(
      () => s.gateway.daemon.stdout.slice(-2_000),
      () => /the worker of queue 1 died: on purpose; what climbs there passes until/.test(s.gateway.daemon.stdout),
    );
    await until("its restart", async () => (await statusOf(s.gateway)).queues[1]?.state === "running");
    assert.equal((await dig(s.client, www)).status, "NOERROR");
    await fails(s, "tcp", server(10).v4, 80, { reason: "name-denied" }, request("www.denied.example"));
  });
});
