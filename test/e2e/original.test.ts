/** The original project's command line, as its users type it, on the box that it governs. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { originalProgram } from "../lab/gateway.js";
import { buildLab, type Lab } from "../lab/lab.js";
import { cidr, server } from "../lab/plan.js";
import { until, type Daemon } from "../lab/process.js";
import { curl, dig } from "../lab/tools.js";

describe("l7egg-cli", () => {
  let lab: Lab;
  let daemon: Daemon;
  before(async () => {
    lab = await buildLab({ masquerade: false });
    // It has no --name. In a /run and a bpffs of its own it can't meet an instance "default" of this machine.
    const alone = 'mount -t tmpfs tmpfs /run && mount -t bpf bpf /sys/fs/bpf && exec "$@"';
    const flags = [
      "-iface=eth0",
      "-eface=eth0",
      `-cidr=${cidr.v4}`,
      "-cn=www.allowed.example",
      "-cn=.denied.example",
      "-cn=ome.com",
    ];
    daemon = lab.client.ns.start(["unshare", "--mount", "sh", "-ec", alone, "sh", ...originalProgram(), ...flags]);
    await until(
      () => `l7egg-cli: ${daemon.stdout}${daemon.stderr}`,
      () => /ready|governed|stop:/.test(daemon.stdout) || (daemon.ended && "ended"),
      20_000,
    );
  });
  after(() => lab.close());

  it("partial names mean what they meant, and it warns of the dangerous one", async () => {
    assert.ok(!daemon.ended, daemon.stdout + daemon.stderr);
    assert.match(daemon.stdout + daemon.stderr, /ome\.com.*home\.com/);
    for (const name of ["www.allowed.example", "www.denied.example", "home.com", "www.rome.com"]) {
      for (const family of [4, 6] as const) {
        const got = await curl(lab.client, `https://${name}/`, { family });
        assert.equal(got.outcome, "ok", `${name}: ${got.error}`);
      }
    }
    for (const name of ["api.allowed.example", "notallowed.example", "ome.com.evil.example"]) {
      assert.equal((await dig(lab.client, name)).answers.length, 0, name);
    }
  });

  it("its CIDR ends where it ends", async () => {
    const agent = await lab.client.agent();
    for (const address of cidr.inside4)
      assert.equal((await agent.call("tcp", { address, port: 5432 })).outcome, "reply");
    for (const address of [...cidr.outside4, ...cidr.inside6, server(21).v4]) {
      assert.notEqual((await agent.call("tcp", { address, port: 5432, timeoutMs: 600 })).outcome, "reply", address);
    }
  });

  it("SIGTERM ends it with code 0 and everything is free again", async () => {
    assert.equal((await daemon.stop(8_000)).code, 0, daemon.stderr);
    assert.equal((await curl(lab.client, "https://api.allowed.example/")).outcome, "ok");
  });
});
