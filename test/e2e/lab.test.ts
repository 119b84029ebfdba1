/** The lab by itself, without a gateway: every server answers by plain forwarding, so that what fails later fails because of the gateway. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { isRunning } from "../lab/cleanup.js";
import { buildLab, type Lab } from "../lab/lab.js";
import {
  cidr,
  craftedResolver,
  names,
  otherResolver,
  resolver,
  server,
  thousandAddress,
  thousandName,
  wan,
} from "../lab/plan.js";
import { run, start, until } from "../lab/process.js";
import { curl, dig, gitLsRemote, iperf, ping, sClient, ssh } from "../lab/tools.js";

describe("lab: every server answers by plain forwarding", () => {
  let lab: Lab;
  before(async () => {
    lab = await buildLab({ clients: [2, 1], routerSsh: true, routerDns: true, routerDhcp: true, hop: true });
  });
  after(() => lab.close());

  it("runs its servers as copies, which no AppArmor profile of the machine knows", async () => {
    for (const [ns, programs] of [
      [lab.internet, ["nginx/nginx", "unbound"]],
      [lab.router, ["dnsmasq"]],
    ] as const) {
      const { stdout } = await run(["ip", "netns", "pids", ns.name]);
      const running = stdout.trim().split("\n").map((pid) => readlinkSync(`/proc/${pid}/exe`)); // prettier-ignore
      for (const program of programs)
        assert.ok(running.includes(join(lab.folder, program)), `${program}: ${running.join(" ")}`);
    }
  });

  it("serves HTTP, TLS 1.2 and TLS 1.3 over both families", async () => {
    for (const family of [4, 6] as const) {
      const address = family === 4 ? server(10).v4 : server(10).v6;
      for (const [url, tls] of [
        ["http://www.allowed.example/", undefined],
        ["http://www.allowed.example:8080/", undefined],
        ["https://www.allowed.example/", "1.2"],
        ["https://www.allowed.example:8443/", "1.3"],
      ] as const) {
        const got = await curl(lab.client, url, { family, ...(tls ? { tls } : {}) });
        assert.equal(got.outcome, "ok", `${url} ${family}: ${got.error}`);
        assert.match(got.body, new RegExp(`host=www\\.allowed\\.example sni=\\S* address=\\S*${address}`));
        if (tls) assert.match(got.body, new RegExp(`tls=TLSv${tls.replace(".", "\\.")}`));
      }
    }
  });

  it("completes openssl handshakes with any SNI and without one", async () => {
    for (const address of [server(10).v4, server(10).v6]) {
      assert.equal((await sClient(lab.client, address, { sni: "www.denied.example", tls: "1.2" })).outcome, "ok");
      assert.equal((await sClient(lab.client, address, {})).outcome, "ok");
    }
  });

  it("answers DNS over UDP and TCP, chains and both families, from three resolvers", async () => {
    for (const at of [resolver.v4, resolver.v6, otherResolver.v4, otherResolver.v6, lab.client.resolver]) {
      for (const tcp of [false, true]) {
        const got = await dig(lab.client, "alias.allowed.example", { server: at, tcp });
        assert.deepEqual(got.answers, [server(40).v4], `${at} tcp=${tcp}: ${got.text}`);
        assert.match(got.text, /CNAME\s+edge\.cdn\.example\.[^]*CNAME\s+pop7\.cdn\.example\./);
      }
      assert.deepEqual((await dig(lab.client, "www.allowed.example", { server: at, type: "AAAA" })).answers, [
        server(10).v6,
      ]);
    }
    assert.equal((await dig(lab.client, "nobody.allowed.example")).status, "NXDOMAIN");
    assert.equal((await dig(lab.client, "hundred.allowed.example", { tcp: true })).answers.length, 100);
    const shared = await Promise.all(["one", "two"].map((name) => dig(lab.client, `${name}.shared.example`)));
    assert.deepEqual(shared[0]?.answers, shared[1]?.answers);
    assert.deepEqual((await dig(lab.client, thousandName(999))).answers, [thousandAddress(999).v4]);
    for (const name of Object.keys(names)) {
      const got = await dig(lab.client, name, { tcp: true });
      assert.equal(got.status, "NOERROR", name);
    }
  });

  it("has a resolver that answers what it is told", async () => {
    await lab.servers.call("craft", {
      name: "x.example",
      answers: [
        { records: [{ type: "A", data: "198.51.100.70" }], idOffset: 1 },
        { records: [], delayMs: 50 },
      ],
    });
    const agent = await lab.client.agent();
    for (const at of [craftedResolver.v4, craftedResolver.v6]) {
      const got = await agent.call("queryUdp", { server: at, name: "x.example", id: 7 });
      assert.deepEqual(got && [got.id, got.addresses], [8, ["198.51.100.70"]]);
    }
  });

  it("answers pipelined DNS over TCP, whole and byte by byte", async () => {
    const agent = await lab.client.agent();
    for (const chunk of [0, 7]) {
      const got = await agent.call("queriesTcp", {
        server: resolver.v4,
        names: ["www.allowed.example", "api.allowed.example"],
        chunk,
      });
      assert.equal(got.error, undefined);
      assert.deepEqual(
        got.replies.map((r) => r.addresses[0]),
        [server(10).v4, server(11).v4],
      );
    }
  });

  it("echoes TCP and UDP inside and outside the CIDR, and says refused where nobody listens", async () => {
    const agent = await lab.client.agent();
    for (const address of [...cidr.inside4, ...cidr.outside4, ...cidr.inside6, ...cidr.outside6]) {
      assert.equal((await agent.call("tcp", { address, port: 444 })).outcome, "reply", address);
      assert.equal((await agent.call("udp", { address, port: 443 })).outcome, "reply", address);
    }
    assert.equal((await agent.call("tcp", { address: server(10).v4, port: 9 })).outcome, "refused");
    assert.equal((await agent.call("udp", { address: server(10).v6, port: 9 })).outcome, "refused");
    const id = await agent.call("hold", { address: server(10).v6, port: 5432 });
    assert.equal((await agent.call("exchange", { id, data: "again" })).outcome, "reply");
    await agent.call("release", { id });
  });

  it("logs in by ssh and lists a git repository", async () => {
    const repository = join(lab.folder, "repo.git");
    assert.match((await ssh(lab.client, "git.allowed.example", { family: 6 })).stdout, /logged in/);
    const got = await gitLsRemote(lab.client, "git.allowed.example", repository);
    assert.match(got.stdout, /refs\/heads\/main/, got.stderr);
    assert.match((await ssh(lab.client, "192.168.77.1")).stdout, /logged in/);
  });

  it("pings, leases an address, and reaches the other LAN and the neighbour", async () => {
    for (const target of [
      server(10).v4,
      server(10).v6,
      wan.router4,
      wan.router6,
      "192.168.77.1",
      "fd77::1",
      "192.168.77.11",
      "fd77::11",
      "192.168.78.10",
      "fd78::10",
    ]) {
      assert.ok(await ping(lab.client, target), target);
    }
    const lease = await (await lab.client.agent()).call("dhcpLease", { mac: "02:00:00:00:00:99" });
    assert.match(lease ?? "", /^192\.168\.77\.1\d\d$|^192\.168\.77\.200$/);
  });

  it("carries iperf3", async () => {
    assert.ok((await iperf(lab.client, server(10).v4, 1)) > 1e8);
  });
});

describe("lab: nothing is left behind", () => {
  const script = fileURLToPath(new URL("../lab/hold.ts", import.meta.url));
  const left = (pid: number) => {
    const at = (folder: string) => readdirSync(folder).filter((name) => name.startsWith(`l7-${pid}-`));
    return [...(existsSync("/run/netns") ? at("/run/netns") : []), ...at(tmpdir())];
  };
  const begin = async () => {
    const daemon = start([process.execPath, "--import", "tsx", script]);
    await until(
      () => `lab of a child: ${daemon.stderr}`,
      () => daemon.stdout.includes("ready") || (daemon.ended && "ended"),
      20_000,
    );
    return daemon;
  };

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it(`after ${signal}`, async () => {
      const daemon = await begin();
      assert.notDeepEqual(left(daemon.pid), []);
      daemon.child.kill(signal);
      assert.equal((await daemon.exited).code, signal === "SIGINT" ? 130 : 143);
      assert.deepEqual(left(daemon.pid), []);
    });
  }

  it("after kill -9 and the next start", async () => {
    const daemon = await begin();
    const pids = spawnSync(
      "sh",
      ["-c", `for n in /run/netns/l7-${daemon.pid}-*; do ip netns pids $(basename $n); done`],
      { encoding: "utf8" },
    );
    const inside = pids.stdout.trim().split("\n").map(Number);
    assert.ok(inside.length > 5);
    daemon.child.kill("SIGKILL");
    await daemon.exited;
    assert.notDeepEqual(left(daemon.pid), []);
    await run([process.execPath, "--import", "tsx", script, "once"], { timeoutMs: 20_000 });
    assert.deepEqual(left(daemon.pid), []);
    assert.deepEqual(inside.filter(isRunning), []);
  });
});
