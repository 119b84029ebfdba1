/** What the options of `run` change in what passes: how it is attached, who sets the rules, failing open, sizes, resolvers, the log. */
import assert from "node:assert/strict";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { GatewayStatus } from "../../src/edge/status.js";
import { atExit } from "../lab/cleanup.js";
import { instanceName } from "../lab/gateway.js";
import { type Lab } from "../lab/lab.js";
import { cidr, names, server } from "../lab/plan.js";
import { run, until } from "../lab/process.js";
import { snapshot } from "../lab/snapshot.js";
import { curl, dig, sClient } from "../lab/tools.js";
import { families, fails, passes, scene, type Scene } from "./scene.js";

const www = server(10);
const allowWww = ["--domain", "www.allowed.example"];
const setup = fileURLToPath(new URL("../../scripts/iptables-setup.sh", import.meta.url));

async function status(s: Scene): Promise<GatewayStatus> {
  const out = await s.gateway.command("status", ["--json"]);
  assert.equal(out.code, 0, out.stderr);
  return JSON.parse(out.stdout) as GatewayStatus;
}

/** A page over both families, and its neighbours that aren't served. */
async function governs(s: Scene): Promise<void> {
  for (const [family, address] of families(www)) {
    const got = await s.gateway.expect({ verdict: "allow", reason: "allow-name", address }, () =>
      curl(s.client, "https://www.allowed.example/", { family }),
    );
    assert.equal(got.outcome, "ok", got.error);
    const not = await s.gateway.expect({ verdict: "deny", reason: "name-denied", address }, () =>
      sClient(s.client, address, { sni: "www.denied.example" }),
    );
    assert.notEqual(not.outcome, "ok");
  }
  for (const [, address] of families(server(20))) await fails(s, "tcp", address, 443, { reason: "unlearned" });
}

for (const [attach, mask] of [
  ["tcx", "0x3"],
  ["clsact", "0xc0000000"],
] as const) {
  describe(`attached by ${attach}, with mark ${mask}, beside other people's filters`, () => {
    const counter = ["-i", "lan0", "-m", "mark", "--mark", "0x100000/0x100000", "-m", "comment", "--comment", "seen"];
    const s = scene({}, async (lab) => {
      const object = join(lab.folder, "foreign.o");
      const source = fileURLToPath(new URL("foreign.bpf.c", import.meta.url));
      const triplet = (await run(["cc", "-dumpmachine"])).stdout.trim();
      const built = await run(["clang", "-O2", "-g", "-target", "bpf", "-idirafter", `/usr/include/${triplet}`, "-c", source, "-o", object]); // prettier-ignore
      assert.equal(built.code, 0, built.stderr);
      await lab.router.must(["tc", "qdisc", "add", "dev", "lan0", "clsact"]);
      await lab.router.must(["tc", "filter", "add", "dev", "lan0", "ingress", "prio", "50", "bpf", "da", "obj", object, "sec", "tc"]); // prettier-ignore
      await lab.router.must(["iptables", "-w", "-t", "mangle", "-A", "FORWARD", ...counter]);
      return { flags: [...allowWww, "--attach", attach, "--mark-mask", mask] };
    });

    it("allows and denies", () => governs(s));

    it("they see what passes, and stay when it stops", async () => {
      const seen = await s.lab.router.must(["iptables", "-w", "-t", "mangle", "-nvxL", "FORWARD"]);
      assert.ok(Number(/^\s*(\d+) .*\/\* seen \*\//m.exec(seen)?.[1]) > 5, seen);
      assert.equal((await status(s)).attachMode, attach);
      assert.equal(await s.gateway.stop(), 0, s.gateway.daemon.stderr);
      const left = await s.lab.router.must(["tc", "filter", "show", "dev", "lan0", "ingress"]);
      assert.match(left, /pref 50 bpf .*foreign/);
      assert.doesNotMatch(left, /classify/);
    });
  });
}

describe("--no-iptables: somebody else sets the rules", () => {
  const s = scene({}, { flags: [...allowWww, "--cidr", cidr.v4, "--no-iptables"] });

  it("until they stand, only what the kernel decides passes", async () => {
    assert.doesNotMatch(await s.lab.router.must(["iptables-save"]), /L7EGG/);
    assert.equal((await status(s)).iptables, null);
    await passes(s, "tcp", cidr.inside4[0], 5432, { reason: "allow-cidr" });
    await s.gateway.expect({ verdict: "deny", reason: "not-inspected", port: 53 }, () =>
      dig(s.client, "www.allowed.example", { seconds: 1 }),
    );
  });

  it("by hand, with the script; and the gateway leaves them alone", async () => {
    const at = ["--lan", "lan0", "--eface", "wan0", "--name", s.gateway.name];
    const up = await s.lab.router.runBare(["bash", setup, "up", ...at]);
    assert.equal(up.code, 0, up.stderr);
    await governs(s);
    assert.equal(await s.gateway.stop(), 0, s.gateway.daemon.stderr);
    assert.match(await s.lab.router.must(["iptables-save"]), /L7EGG/);
    const down = await s.lab.router.runBare(["bash", setup, "down", "--name", s.gateway.name]);
    assert.equal(down.code, 0, down.stderr);
    assert.doesNotMatch(await snapshot(s.lab.router, s.gateway.name), /L7EGG/);
  });
});

describe("iptables-legacy, on the box's own egress", () => {
  const s = scene({ masquerade: false }, (lab: Lab) => {
    process.env["IPTABLES"] = "iptables-legacy";
    return { where: lab.client.ns, lan: [], eface: "eth0", flags: allowWww };
  });
  after(() => delete process.env["IPTABLES"]);

  it("allows and denies", () => governs(s));

  it("and nothing is left in either kind of iptables", async () => {
    const ns = s.client.ns;
    assert.match(await ns.must(["iptables-legacy-save"]), /L7EGG-OUT-.* --object-pinned /);
    assert.doesNotMatch(await ns.must(["iptables-nft-save"]), /L7EGG/);
    assert.equal(await s.gateway.stop(), 0, s.gateway.daemon.stderr);
    assert.doesNotMatch(await snapshot(ns, s.gateway.name), /L7EGG/);
  });
});

describe("--fail-mode open", () => {
  const s = scene({}, { flags: [...allowWww, "--deny-cidr", "198.51.100.20/32", "--fail-mode", "open"] });

  it("is said at the start, and as long as the gateway lives nothing is open", async () => {
    assert.match(s.gateway.daemon.stdout, /warning: --fail-mode open: /);
    assert.equal((await status(s)).failMode, "open");
    assert.equal((await dig(s.client, "www.denied.example")).status, "REFUSED");
    await dig(s.client, "www.allowed.example");
    assert.notEqual((await sClient(s.client, www.v4, { sni: "www.denied.example" })).outcome, "ok");
    await fails(s, "tcp", server(20).v4, 443, { reason: "deny-cidr" });
  });

  it("killed, what would be judged passes; what the kernel denies by itself doesn't", async () => {
    await s.gateway.kill9();
    assert.deepEqual((await dig(s.client, "www.denied.example")).answers, [server(20).v4]);
    assert.equal((await sClient(s.client, www.v4, { sni: "www.denied.example" })).outcome, "ok");
    const denied = await s.agent.call("tcp", { address: server(20).v4, port: 443, timeoutMs: 600 });
    assert.equal(denied.outcome, "timeout");
    const unlearned = await s.agent.call("tcp", { address: server(21).v4, port: 443, timeoutMs: 600 });
    assert.equal(unlearned.outcome, "timeout");
    assert.equal((await s.gateway.command("clean")).code, 0);
  });
});

describe("--max-names 10: a hundred addresses in one answer", () => {
  const hundred = names["hundred.allowed.example"]?.a ?? [];
  const s = scene({}, { flags: ["--domain", "hundred.allowed.example", ...allowWww, "--max-names", "10"] });

  it("the oldest are forgotten, which denies them; the newest are known; the loss is counted", async () => {
    const asked = await dig(s.client, "hundred.allowed.example", { tcp: true });
    assert.equal(asked.answers.length, 100);
    const outcomes = await Promise.all(
      hundred.map((address) => s.agent.call("tcp", { address, port: 5432, timeoutMs: 1000 })),
    );
    assert.equal(outcomes.filter((one) => one.outcome === "reply").length, 10);
    assert.equal(outcomes.filter((one) => one.outcome === "refused").length, 90);
    const now = await status(s);
    assert.equal(now.sizes.names, 10);
    assert.equal(now.learned.total, 10);
    assert.equal(now.engine.learnedEvicted, 90);
    assert.equal(now.runner.mapFull, 0, "forgotten first, so the maps have room");
    assert.match(
      (await s.gateway.command("status")).stdout,
      /^learned names: 10 of 10, 90 forgotten for lack of room$/m,
    );
    // It goes on.
    await governs(s);
    const few = await s.gateway.command("status", ["--json", "--learned", "3"]);
    assert.equal((JSON.parse(few.stdout) as GatewayStatus).learned.entries.length, 3);
  });
});

describe("--max-cidrs", () => {
  const s = scene({}, { flags: ["--cidr", cidr.v4, "--max-cidrs", "5"] });

  it("rules that need more are refused at the start, with the number", async () => {
    // Four resolver entries (two a family) and the network.
    assert.equal((await status(s)).sizes.cidrs, 5);
    const networks = Array.from({ length: 6 }, (_, i) => `10.${i}.0.0/16`);
    const out = await s.lab.router.runBare([
      ...["node", "--import", "tsx", fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url)), "run"],
      ...["--name", `${s.gateway.name}b`, "--eface", "lan0", "--queue", "9", "--resolver", "10.9.9.9"],
      ...["--cidr", networks.join(), "--max-cidrs", "5"],
    ]);
    assert.equal(out.code, 2);
    assert.match(out.stderr, /^l7egg: [^\n]*7 [^\n]*--max-cidrs[^\n]*\n$/);
  });
});

describe("no --resolver, a resolver on the router", () => {
  const s = scene({ routerDns: true }, { resolvers: [], flags: allowWww });

  it("this box's own addresses are trusted, others aren't", async () => {
    assert.ok((await status(s)).resolvers.includes("192.168.77.1"));
    await governs(s);
    const not = await s.gateway.expect({ verdict: "deny", reason: "dns-name", name: "www.denied.example" }, () =>
      dig(s.client, "www.denied.example"),
    );
    assert.equal(not.status, "REFUSED");
    await fails(s, "udp", server(54).v4, 53, { reason: "unlearned" });
  });
});

describe("--name-port, --pin-dir and the log for people", () => {
  const pinDir = `/sys/fs/bpf/${instanceName()}`;
  const s = scene({}, (lab: Lab) => {
    atExit(() => rmSync(pinDir, { recursive: true, force: true }));
    assert.ok(lab.lans.length > 0);
    return { logFormat: "pretty", flags: [...allowWww, "--name-port", "tcp/5432", "--pin-dir", pinDir] };
  });
  const line = (pattern: RegExp) =>
    until(
      () => `${pattern.source} in ${s.gateway.daemon.stdout}`,
      () => pattern.test(s.gateway.daemon.stdout),
    );

  it("says what is governed, by what, and how to stop it", async () => {
    await line(/\bready$/m);
    const said = s.gateway.daemon.stdout;
    assert.match(said, /governed: what comes in by lan0 and would leave by wan0; 1 rule, verify both/);
    assert.match(said, /^.* {2}--domain www\.allowed\.example$/m);
    assert.match(said, /trusted resolvers: 198\.51\.100\.53, /);
    assert.match(said, new RegExp(`stop: Ctrl-C or kill ${s.gateway.daemon.pid} .*status --name ${s.gateway.name}`));
  });

  it("one line a decision; a name is asked for on the given port and nowhere else", async () => {
    await dig(s.client, "www.allowed.example");
    assert.notEqual((await s.agent.call("tcp", { address: www.v4, port: 5432 })).outcome, "reply");
    await line(/\]: deny {2}192\.168\.77\.10 -> 198\.51\.100\.10:5432\/tcp {2}no-name/);
    assert.equal((await s.agent.call("tcp", { address: www.v4, port: 5433 })).outcome, "reply");
    await line(/\]: allow 192\.168\.77\.10 -> www\.allowed\.example 198\.51\.100\.10:5433\/tcp {2}allow-address {2}\(--domain www\.allowed\.example\)/); // prettier-ignore
    // No longer a name port: an address that was learned is enough.
    assert.equal((await s.agent.call("udp", { address: www.v4, port: 443 })).outcome, "reply");
    await dig(s.client, "www.denied.example");
    await line(/\]: deny {2}192\.168\.77\.10 -> www\.denied\.example 198\.51\.100\.53:53\/udp {2}dns-name/);
  });

  it("pins lie where they were asked for, and SIGHUP ends it like the other signals", async () => {
    assert.ok(existsSync(join(pinDir, s.gateway.name, "links")));
    s.gateway.daemon.signal("SIGHUP");
    assert.equal((await s.gateway.daemon.exited).code, 0, s.gateway.daemon.stderr);
    assert.equal(existsSync(pinDir), false);
    assert.equal((await s.agent.call("tcp", { address: server(20).v4, port: 5432 })).outcome, "reply");
  });
});
