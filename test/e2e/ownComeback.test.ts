/**
 * This box's own egress, whose eface is deleted and made anew: the gate is gone with the old device, and nobody attaches one to the new device
 * while the gateway is dead (or, so that the moment is long enough, stopped). What the maps deny must not leave all the same.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Gateway } from "../lab/gateway.js";
import { connect } from "../lab/namespace.js";
import { cidr, lanAddress, server } from "../lab/plan.js";
import { until } from "../lab/process.js";
import { curl, dig } from "../lab/tools.js";
import { fails, families, passes, scene, type Scene } from "./scene.js";

const flags = [
  ...["--domain", "www.allowed.example", "--cidr", cidr.v4, "--cidr", cidr.v6],
  ...["--deny-cidr", `${cidr.inside4[1]}/32`, "--deny-cidr", `${cidr.inside6[1]}/128`],
];
const onClient = { lan: [], eface: "eth0" } as const;
const stranger = families(server(20));
const allowed = [cidr.inside4[0], cidr.inside6[0]];
const written = [cidr.inside4[1], cidr.inside6[1]];

/** Delete eth0 with its programs and make it again: a new device, the same name and addresses. */
function renewEface({ lab }: Scene): void {
  const { ns, v4, v6, mac } = lab.client;
  const gateway = lanAddress(0, 1);
  ns.ip(["link del eth0"]);
  connect(lab.router, "lan0", ns, "eth0");
  lab.router.ip(["link set lan0 up", `addr add ${gateway.v4}/24 dev lan0`, `addr add ${gateway.v6}/64 dev lan0 nodad`]);
  ns.ip([`link set eth0 address ${mac}`, "link set eth0 up", `addr add ${v4}/24 dev eth0`, `addr add ${v6}/64 dev eth0 nodad`]); // prettier-ignore
  ns.ip([`route add default via ${gateway.v4}`, `route add default via ${gateway.v6}`]);
}

/** One connection that an address allowed and one that a network allowed, in each family. */
async function open(s: Scene): Promise<number[]> {
  const ids: number[] = [];
  for (const [family, learned] of families(server(10))) {
    await dig(s.client, "www.allowed.example", { type: family === 4 ? "A" : "AAAA" });
    for (const address of [learned, allowed[family === 4 ? 0 : 1] as string]) {
      const id = await s.agent.call("hold", { address, port: 5432 });
      assert.equal((await s.agent.call("exchange", { id, data: "before" })).outcome, "reply", address);
      ids.push(id);
    }
  }
  return ids;
}

/** What is allowed goes on, what is denied (by a person, or because nobody learned it) doesn't leave. */
async function holds(s: Scene, established: readonly number[]): Promise<void> {
  for (const id of established) assert.equal((await s.agent.call("exchange", { id, data: "on" })).outcome, "reply");
  for (const address of allowed) {
    assert.equal((await s.agent.call("tcp", { address, port: 5432 })).outcome, "reply", address);
    assert.equal((await s.agent.call("udp", { address, port: 7 })).outcome, "reply", address);
  }
  for (const address of [...stranger.map(([, one]) => one), ...written]) {
    assert.notEqual((await s.agent.call("tcp", { address, port: 5432, timeoutMs: 400 })).outcome, "reply", address);
    assert.notEqual((await s.agent.call("udp", { address, port: 7, timeoutMs: 300 })).outcome, "reply", address);
  }
}

/** All as ever: allowed by name, denied with the reason of the gate. */
async function governs(s: Scene): Promise<void> {
  for (const family of [4, 6] as const) {
    const got = await s.gateway.expect({ verdict: "allow", reason: "allow-name" }, () =>
      curl(s.client, "https://www.allowed.example/", { family }),
    );
    assert.equal(got.outcome, "ok", got.error);
  }
  for (const [, address] of stranger) await fails(s, "tcp", address, 5432, { reason: "unlearned" });
  for (const address of written) {
    await fails(s, "tcp", address, 5432, { reason: "deny-cidr" });
    await fails(s, "udp", address, 7, { reason: "deny-cidr" });
  }
  for (const address of allowed) await passes(s, "tcp", address, 5432, { reason: "allow-cidr" });
}

/** Packets that the rules for a missing gate have dropped. */
async function droppedByRules(s: Scene): Promise<number> {
  let sum = 0;
  for (const tables of ["iptables", "ip6tables"]) {
    const text = await s.client.ns.must([tables, "-w", "-t", "mangle", "-nvxL", `L7EGG-POST-${s.gateway.name}`]);
    const counts = [...text.matchAll(/^\s*(\d+)\s+\d+\s+DROP\s/gm)];
    assert.equal(counts.length, 1, text);
    sum += Number(counts[0]?.[1]);
  }
  return sum;
}

/** Packets by reason, of the kernel and of user space together. */
async function counted(s: Scene): Promise<(reason: string) => number> {
  const status = await s.gateway.command("status", ["--json"], { timeoutMs: 20_000 });
  const { counters } = JSON.parse(status.stdout) as { counters: { reason: string; packets: number }[] };
  return (reason) => counters.find((one) => one.reason === reason)?.packets ?? 0;
}

describe("own egress: eface comes back", () => {
  const s = scene({ masquerade: false }, (lab) => ({ ...onClient, where: lab.client.ns, flags }));

  it("as long as the gate is there it alone denies: each packet is counted and explained once", async () => {
    await governs(s);
    const before = await counted(s);
    for (const [proto, port, at, reason] of [
      ["udp", 7, written, "deny-cidr"],
      ["tcp", 5432, written, "deny-cidr"],
      ["tcp", 5432, stranger.map(([, address]) => address), "unlearned"],
    ] as const) {
      for (const address of at) {
        const lines = s.gateway.decisions.length;
        await fails(s, proto, address, port, { reason });
        const told = s.gateway.decisions.slice(lines).filter((one) => one.address === address);
        assert.equal(told.length, 1, JSON.stringify(told));
      }
    }
    const after = await counted(s);
    assert.equal(after("deny-cidr") - before("deny-cidr"), 4);
    assert.equal(after("unlearned") - before("unlearned"), 2);
    assert.equal(await droppedByRules(s), 0);
  });

  it("while the gateway sleeps: what is denied doesn't leave, and is governed as ever once it wakes", async () => {
    const established = await open(s);
    s.gateway.daemon.signal("SIGSTOP");
    renewEface(s);
    await holds(s, established);
    assert.ok((await droppedByRules(s)) > 0);
    s.gateway.daemon.signal("SIGCONT");
    await until(
      () => s.gateway.daemon.stdout,
      () => s.gateway.daemon.stdout.includes("is back and governed"),
    );
    const dropped = await droppedByRules(s);
    await governs(s);
    assert.equal(await droppedByRules(s), dropped);
  });

  it("after kill -9: it stays so, and the next start just works", async () => {
    const established = await open(s);
    await s.gateway.kill9();
    renewEface(s);
    await holds(s, established);
    assert.ok((await droppedByRules(s)) > 0);
    let starting = true;
    let asked = 0;
    const knocking = Array.from({ length: 8 }, async () => {
      for (; starting; asked++) {
        const got = await s.agent.call("udp", { address: written[0] as string, port: 7, timeoutMs: 60 });
        assert.notEqual(got.outcome, "reply", "between the rules and the gate");
      }
    });
    s.gateway = await Gateway.start(s.lab, s.gateway.options);
    starting = false;
    await Promise.all(knocking);
    assert.ok(asked > 50);
    const dropped = await droppedByRules(s);
    await governs(s);
    assert.equal(await droppedByRules(s), dropped);
  });
});

describe("own egress with --fail-mode open: eface comes back", () => {
  const s = scene({ masquerade: false }, (lab) => ({
    ...onClient,
    where: lab.client.ns,
    flags: [...flags, "--fail-mode", "open"],
  }));

  it("after kill -9 only what can't be judged passes", async () => {
    await s.gateway.kill9();
    renewEface(s);
    for (const [, address] of stranger) {
      assert.notEqual((await s.agent.call("tcp", { address, port: 5432, timeoutMs: 400 })).outcome, "reply", address);
      assert.equal((await s.agent.call("udp", { address, port: 7 })).outcome, "reply", address);
    }
    for (const address of written)
      assert.notEqual((await s.agent.call("udp", { address, port: 7, timeoutMs: 300 })).outcome, "reply", address);
    s.gateway = await Gateway.start(s.lab, s.gateway.options);
    await governs(s);
  });
});
