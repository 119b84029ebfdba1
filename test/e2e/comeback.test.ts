/**
 * Interfaces that go and come back under a new number (PPP, a container's veth), in the moment before the gateway has seen them: it is stopped
 * for as long as the test looks, so that the moment is long enough.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { lanAddress, server, wan } from "../lab/plan.js";
import { connect } from "../lab/namespace.js";
import { until } from "../lab/process.js";
import { curl, dig } from "../lab/tools.js";
import { scene, type Scene } from "./scene.js";

const flags = ["--domain", "www.allowed.example"];

/** Nothing that isn't allowed leaves while the gateway sees nothing; when it sees again, it governs as before. */
async function holds(s: Scene): Promise<void> {
  const agent = await s.client.agent();
  for (const address of [server(20).v4, server(20).v6]) {
    assert.notEqual((await agent.call("tcp", { address, port: 5432, timeoutMs: 700 })).outcome, "reply", address);
    assert.notEqual((await agent.call("udp", { address, port: 7, timeoutMs: 500 })).outcome, "reply", address);
  }
  assert.equal((await dig(s.client, "www.denied.example", { seconds: 1 })).status, "", "no question is answered");
  s.gateway.daemon.signal("SIGCONT");
  await until(
    () => s.gateway.daemon.stdout,
    () => s.gateway.daemon.stdout.includes("is back and governed"),
  );
  const got = await s.gateway.expect({ verdict: "allow", reason: "allow-name" }, () =>
    curl(s.client, "https://www.allowed.example/", { family: 4 }),
  );
  assert.equal(got.outcome, "ok", got.error);
  const not = await s.gateway.expect({ verdict: "deny", reason: "unlearned", address: server(20).v4, port: 5433 }, () =>
    agent.call("tcp", { address: server(20).v4, port: 5433, timeoutMs: 700 }),
  );
  assert.notEqual(not.outcome, "reply");
}

describe("eface comes back", () => {
  const s = scene({ masquerade: false }, { flags });

  it("what leaves a LAN by it is held back until it is governed", async () => {
    const { router, internet } = s.lab;
    s.gateway.daemon.signal("SIGSTOP");
    router.ip(["link del wan0"]);
    connect(router, "wan0", internet, "wan0");
    for (const [ns, v4, v6] of [
      [router, wan.router4, wan.router6],
      [internet, wan.internet4, wan.internet6],
    ] as const) {
      ns.ip(["link set wan0 up", `addr add ${v4}/24 dev wan0`, `addr add ${v6}/64 dev wan0 nodad`]);
    }
    router.ip([`route add default via ${wan.internet4}`, `route add default via ${wan.internet6}`]);
    internet.ip([`route add 192.168.77.0/24 via ${wan.router4}`, `route add fd77::/64 via ${wan.router6}`]);
    await holds(s);
  });
});

describe("a LAN comes back", () => {
  const s = scene({ masquerade: false }, { flags });

  it("what leaves it is held back until it is governed", async () => {
    const { router } = s.lab;
    const { ns, v4, v6, mac } = s.client;
    const gateway = lanAddress(0, 1);
    s.gateway.daemon.signal("SIGSTOP");
    router.ip(["link del lan0"]);
    connect(router, "lan0", ns, "eth0");
    router.ip(["link set lan0 up", `addr add ${gateway.v4}/24 dev lan0`, `addr add ${gateway.v6}/64 dev lan0 nodad`]);
    ns.ip([`link set eth0 address ${mac}`, "link set eth0 up", `addr add ${v4}/24 dev eth0`, `addr add ${v6}/64 dev eth0 nodad`]); // prettier-ignore
    ns.ip([`route add default via ${gateway.v4}`, `route add default via ${gateway.v6}`]);
    await holds(s);
  });
});
