/**
 * Interfaces that go and come back under a new number (PPP, a container's veth), in the moment before the gateway has seen them: it is stopped
 * for as long as the test looks, so that the moment is long enough.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Gateway } from "../lab/gateway.js";
import { request } from "../lab/hello.js";
import { type Lab } from "../lab/lab.js";
import { lanAddress, server, wan } from "../lab/plan.js";
import { connect } from "../lab/namespace.js";
import { until } from "../lab/process.js";
import { curl, dig } from "../lab/tools.js";
import { scene, type Scene } from "./scene.js";

const flags = ["--domain", "www.allowed.example"];

/** Nothing that isn't allowed leaves while the gateway sees nothing. */
async function holds(s: Scene): Promise<void> {
  for (const address of [server(20).v4, server(20).v6]) {
    assert.notEqual((await s.agent.call("tcp", { address, port: 5432, timeoutMs: 700 })).outcome, "reply", address);
    assert.notEqual((await s.agent.call("udp", { address, port: 7, timeoutMs: 500 })).outcome, "reply", address);
  }
  assert.equal((await dig(s.client, "www.denied.example", { seconds: 1 })).status, "", "no question is answered");
}

async function governs(s: Scene): Promise<void> {
  const got = await s.gateway.expect({ verdict: "allow", reason: "allow-name" }, () =>
    curl(s.client, "https://www.allowed.example/", { family: 4 }),
  );
  assert.equal(got.outcome, "ok", got.error);
  // Only user space reads HTTP: it must know the interface, too.
  const http = await s.gateway.expect({ verdict: "allow", reason: "allow-name", port: 80 }, () =>
    s.agent.call("tcp", { address: server(10).v4, port: 80, data: request("www.allowed.example") }),
  );
  assert.equal(http.outcome, "reply");
  const not = await s.gateway.expect({ verdict: "deny", reason: "unlearned", address: server(20).v4, port: 5433 }, () =>
    s.agent.call("tcp", { address: server(20).v4, port: 5433, timeoutMs: 700 }),
  );
  assert.notEqual(not.outcome, "reply");
}

/** The gateway goes on and sees what has happened. */
async function wake(s: Scene): Promise<void> {
  s.gateway.daemon.signal("SIGCONT");
  await until(
    () => s.gateway.daemon.stdout,
    () => s.gateway.daemon.stdout.includes("is back and governed"),
  );
}

function renewEface({ router, internet }: Lab): void {
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
}

function renewLan({ router, client }: Lab): void {
  const { ns, v4, v6, mac } = client;
  const gateway = lanAddress(0, 1);
  router.ip(["link del lan0"]);
  connect(router, "lan0", ns, "eth0");
  router.ip(["link set lan0 up", `addr add ${gateway.v4}/24 dev lan0`, `addr add ${gateway.v6}/64 dev lan0 nodad`]);
  ns.ip([`link set eth0 address ${mac}`, "link set eth0 up", `addr add ${v4}/24 dev eth0`, `addr add ${v6}/64 dev eth0 nodad`]); // prettier-ignore
  ns.ip([`route add default via ${gateway.v4}`, `route add default via ${gateway.v6}`]);
}

for (const [what, renew, queues] of [
  ["eface", renewEface, "0"],
  ["a LAN", renewLan, "0"],
  ["a LAN, with workers,", renewLan, "0:2"],
] as const) {
  describe(`${what} comes back`, () => {
    const s = scene({ masquerade: false }, { flags: [...flags, "--queue", queues] });

    it("while the gateway sleeps: what leaves a LAN is held back until it is governed", async () => {
      s.gateway.daemon.signal("SIGSTOP");
      renew(s.lab);
      await holds(s);
      await wake(s);
      await governs(s);
    });

    it("after kill -9: it stays closed, and the next start just works", async () => {
      await s.gateway.kill9();
      renew(s.lab);
      await holds(s);
      s.gateway = await Gateway.start(s.lab, s.gateway.options);
      await governs(s);
    });
  });
}
