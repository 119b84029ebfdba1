/** A policy file that changes while packets pass. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { callControl } from "../../src/control/client.js";
import type { ReloadReport } from "../../src/edge/reloadReport.js";
import { defaults } from "../../src/edge/options.js";
import type { GatewayStatus } from "../../src/edge/status.js";
import type { Agent } from "../lab/agent.js";
import { Gateway, instanceName, type GatewayOptions } from "../lab/gateway.js";
import { hello, isServerHello } from "../lab/hello.js";
import { buildLab, type Lab, type LabOptions } from "../lab/lab.js";
import { cidr, craftedResolver, http3, resolver, server, thousandAddress, thousandName } from "../lab/plan.js";
import { until, type Output } from "../lab/process.js";
import { dig, http3Get, sClient } from "../lab/tools.js";

const www = "www.allowed.example";
const git = "git.allowed.example";
const resolvers = [resolver.v4, resolver.v6, craftedResolver.v4, craftedResolver.v6];

interface Rules {
  readonly domain?: readonly string[];
  readonly cidr?: readonly string[];
  readonly "deny-cidr"?: readonly string[];
  readonly port?: readonly string[];
  readonly verify?: string;
  readonly quic?: string;
}

class Bench {
  lab!: Lab;
  agent!: Agent;
  gateway!: Gateway;
  file!: string;

  write(rules: Rules): void {
    const lines = Object.entries({ ...rules, resolver: resolvers }).map(([key, value]) => {
      const entries = typeof value === "string" ? [value] : (value as readonly string[]);
      return typeof value === "string"
        ? `${key}: ${value}\n`
        : `${key}:\n${entries.map((one) => `  - "${one}"\n`).join("")}`;
    });
    writeFileSync(this.file, lines.join(""));
  }

  async reload(rules: Rules): Promise<ReloadReport> {
    this.write(rules);
    return (await callControl({ path: this.gateway.socket, method: "reload", timeoutMs: 20_000 })) as ReloadReport;
  }

  async status(): Promise<GatewayStatus> {
    return (await callControl({ path: this.gateway.socket, method: "status" })) as GatewayStatus;
  }

  async hold(address: string, port: number): Promise<number> {
    return this.agent.call("hold", { address, port });
  }

  async goesOn(id: number, data: Uint8Array | string = "again\n"): Promise<void> {
    assert.equal((await this.agent.call("exchange", { id, data })).outcome, "reply");
  }
}

/** Everything that was dropped, whoever dropped it. */
function drops({ counters, queues }: GatewayStatus): unknown {
  const passes = /^(allow-.*|pending|inspect|not-governed|not-egress)$/;
  return [
    counters.filter(({ reason }) => !passes.test(reason)),
    queues.map(({ queueDropped, userDropped }) => [queueDropped, userDropped]),
  ];
}

/** A gateway with these rules in a file. */
function bench(
  rules: Rules,
  labOptions: LabOptions = {},
  more: GatewayOptions | ((lab: Lab) => GatewayOptions) = {},
): Bench {
  const b = new Bench();
  before(async () => {
    b.lab = await buildLab(labOptions);
    b.agent = await b.lab.client.agent();
    b.file = join(b.lab.folder, "policy.yaml");
    b.write(rules);
    const options = typeof more === "function" ? more(b.lab) : more;
    b.gateway = await Gateway.start(b.lab, {
      name: instanceName(),
      ...options,
      resolvers: [],
      flags: ["--policy", b.file, ...(options.flags ?? [])],
    });
  });
  after(async () => {
    const code = b.gateway.daemon.ended ? 0 : await b.gateway.stop();
    b.lab.close();
    assert.equal(code, 0, b.gateway.daemon.stderr);
  });
  return b;
}

/** As in quic.test.ts. */
const noHttp3 = existsSync("/usr/sbin/gtlsserver") ? false : "this distribution has no ngtcp2 (Ubuntu 22.04)";

for (const [title, masquerade] of [
  ["the short way", false],
  ["NAT", true],
] as const) {
  describe(`reload with QUIC: ${title}`, { skip: noHttp3 }, () => {
    const name = "h3.allowed.example";
    const address = http3.plain.v4;
    const b = bench({ domain: [name, www] }, { http3: true, masquerade });
    const rules = async () => {
      const { stdout } = await b.lab.router.run(["iptables-save"]);
      return stdout.split("\n").filter((line) => line.includes("-p udp") && line.includes("--dport 443")).length;
    };
    /** A page that takes two seconds, of a connection that has come as far as to be allowed. */
    const slowly = async () => {
      const since = b.gateway.decisions.length;
      const page = http3Get(b.lab.client, name, address, { seconds: 6, args: ["--delay-stream=2s"] });
      await b.gateway.decision({ verdict: "allow", name, address, proto: "udp" }, since);
      await new Promise((resolve) => setTimeout(resolve, 300));
      return page;
    };

    it("an established connection goes on through reloads by a rule that covers its own", async () => {
      await dig(b.lab.client, name);
      const page = slowly();
      await new Promise((resolve) => setTimeout(resolve, 800));
      for (const domain of [[name], ["*.allowed.example"], [".allowed.example"]]) await b.reload({ domain });
      const got = await page;
      assert.equal(got.body, "a page over HTTP/3\n", got.text);
    });

    it("it is cut when its name is denied, and when QUIC is; both are allowed again", async () => {
      for (const then of [{ domain: [www] }, { domain: [name], quic: "deny" }]) {
        await b.reload({ domain: [name, www] });
        await dig(b.lab.client, name);
        assert.ok((await http3Get(b.lab.client, name, address)).ok);
        const page = slowly();
        await new Promise((resolve) => setTimeout(resolve, 800));
        const { settings } = await b.reload(then);
        assert.deepEqual(settings, "quic" in then ? ["quic"] : []);
        const got = await page;
        assert.equal(got.ok, false, got.text);
      }
    });

    it("the iptables rules follow the ports where QUIC's names decide", async () => {
      await b.reload({ domain: [name] });
      const inspected = await rules();
      assert.ok(inspected > 0);
      await b.reload({ domain: [name], quic: "deny" });
      assert.equal(await rules(), 0);
      await b.reload({ domain: [name] });
      assert.equal(await rules(), inspected);
      await b.reload({ domain: [name], verify: "dns" });
      assert.equal(await rules(), 0);
    });
  });
}

for (const [title, labOptions, options] of [
  ["the short way (no NAT)", { masquerade: false }, {}],
  ["NAT", {}, {}],
  ["two queues, no NAT", { masquerade: false }, { flags: ["--queue", "0:1"] }],
] as const) {
  describe(`reload: ${title}`, () => {
    const all = { domain: [www, git], cidr: [cidr.v4, cidr.v6] };
    const b = bench(all, labOptions, options);

    it("what both policies allow goes on, byte for byte, through twenty reloads", async () => {
      if (labOptions && "masquerade" in labOptions) await b.gateway.fastPath(true);
      const before = drops(await b.status());
      const held: [number, string | Uint8Array][] = [];
      for (const type of ["A", "AAAA"] as const) await dig(b.lab.client, www, { type });
      for (const address of [server(10).v4, server(10).v6, cidr.inside4[0], cidr.inside6[0]]) {
        const id = await b.hold(address, 5432);
        await b.goesOn(id);
        held.push([id, "again\n"]);
      }
      const load = b.lab.client.ns.run(["iperf3", "-J", "-c", cidr.inside4[1], "-t", "8", "-b", "200M"], {
        timeoutMs: 15_000,
      });
      for (let i = 0; i < 20; i++) {
        // Each time other rules beside those that allow them, so that all numbers move.
        const report = await b.reload({
          ...all,
          domain: [...Array.from({ length: i % 3 }, (_, n) => `n${i}-${n}.example`), ...all.domain],
        });
        assert.ok(report.flows.kept >= held.length, JSON.stringify(report.flows));
        for (const [id, data] of held) await b.goesOn(id, data);
      }
      const done = JSON.parse((await load).stdout) as {
        end: { sum_received: { bits_per_second: number } };
      };
      assert.ok(done.end.sum_received.bits_per_second > 1e8, JSON.stringify(done.end));
      assert.deepEqual(drops(await b.status()), before, "not one packet was dropped, in the kernel or by the queues");
      assert.deepEqual(
        b.gateway.decisions.filter((one) => one.verdict === "deny"),
        [],
      );
    });

    it("allowed → denied: established flows are cut at once, and the log says why", async () => {
      await dig(b.lab.client, git);
      const byName = await b.hold(server(12).v4, 5432);
      await b.goesOn(byName);
      const byCidr = await b.hold(cidr.inside4[0], 5432);
      await b.goesOn(byCidr);
      const stays = await b.hold(server(10).v4, 5432);
      await b.goesOn(stays);
      const report = await b.reload({ domain: [www], cidr: [cidr.v6] });
      assert.deepEqual(
        [report.names, report.networks],
        [
          { count: 1, added: 0, removed: 2 },
          { count: 1, added: 0, removed: 1 },
        ],
      );
      const name = await b.gateway.expect(
        { verdict: "deny", reason: "mid-flow", address: server(12).v4, port: 5432, detail: "the policy was changed" },
        () => b.agent.call("exchange", { id: byName, data: "x", timeoutMs: 400 }),
      );
      assert.equal(name.outcome, "reset");
      // The address is in no network now, and no name was learned for it.
      const network = await b.gateway.expect({ verdict: "deny", address: cidr.inside4[0], port: 5432 }, () =>
        b.agent.call("exchange", { id: byCidr, data: "x", timeoutMs: 400 }),
      );
      assert.equal(network.outcome, "reset");
      await b.goesOn(stays);
      // New ones: by the new policy alone.
      assert.equal((await b.agent.call("tcp", { address: server(12).v4, port: 5432 })).outcome, "refused");
      assert.equal((await b.agent.call("tcp", { address: cidr.inside4[0], port: 5432 })).outcome, "refused");
      assert.equal((await dig(b.lab.client, git)).status, "REFUSED");
      assert.notEqual((await sClient(b.lab.client, server(12).v4, { sni: git })).outcome, "ok");
    });

    it("denied by a network → cut by the kernel with the rule's words; allowed again → at once", async () => {
      await b.reload({ domain: [www], cidr: [cidr.v4] });
      const id = await b.hold(cidr.inside4[0], 5432);
      await b.goesOn(id);
      await b.reload({ domain: [www], "deny-cidr": [cidr.v4] });
      const got = await b.gateway.expect(
        { verdict: "deny", reason: "deny-cidr", address: cidr.inside4[0], rule: `deny-cidr ${cidr.v4}` },
        () => b.agent.call("exchange", { id, data: "x", timeoutMs: 400 }),
      );
      assert.equal(got.outcome, "reset");
      const denied = await b.agent.call("tcp", { address: cidr.inside4[0], port: 5432 });
      assert.equal(denied.outcome, "refused");
      await b.reload(all);
      assert.equal((await b.agent.call("tcp", { address: cidr.inside4[0], port: 5432 })).outcome, "reply");
      await dig(b.lab.client, git);
      assert.equal((await sClient(b.lab.client, server(12).v4, { sni: git })).outcome, "ok");
    });

    it("--port narrows learned names, too, and widens them again", async () => {
      await dig(b.lab.client, www);
      const id = await b.hold(server(10).v4, 5432);
      await b.goesOn(id);
      await b.reload({ ...all, port: ["tcp/443"] });
      assert.equal((await b.agent.call("exchange", { id, data: "x", timeoutMs: 400 })).outcome, "reset");
      assert.equal((await b.agent.call("tcp", { address: server(10).v4, port: 5432 })).outcome, "refused");
      assert.equal((await sClient(b.lab.client, server(10).v4, { sni: www })).outcome, "ok");
      await b.reload(all);
      assert.equal(
        (await b.agent.call("tcp", { address: server(10).v4, port: 5432 })).outcome,
        "reply",
        "no new question is needed",
      );
    });

    it("a pattern that covers the old one keeps its flows; another proof doesn't", async () => {
      await dig(b.lab.client, www);
      const id = await b.hold(server(10).v4, 5432);
      await b.goesOn(id);
      await b.reload({ ...all, domain: ["*.allowed.example"] });
      await b.goesOn(id);
      // What was allowed as `*.allowed.example` may have been any name below.
      await b.reload({ ...all, domain: [www] });
      assert.equal((await b.agent.call("exchange", { id, data: "x", timeoutMs: 400 })).outcome, "reset");
      const again = await b.hold(server(10).v4, 5432);
      await b.goesOn(again);
      await b.reload({ ...all, domain: [www], verify: "sni" });
      assert.equal((await b.agent.call("exchange", { id: again, data: "x", timeoutMs: 400 })).outcome, "reset");
      await b.reload(all);
    });

    it("hellos in flight: each is answered, by whichever policy", async () => {
      const count = 40;
      await b.reload({ ...all, domain: [...all.domain, "*.many.example"] });
      for (let i = 0; i < count; i++) await dig(b.lab.client, thousandName(i));
      let done = false;
      const reloads = (async () => {
        for (let i = 0; !done; i++)
          await b.reload({ ...all, domain: [...all.domain, "*.many.example", `x${i}.example`] });
      })();
      for (let i = 0; i < count; i++) {
        const id = await b.agent.call("hold", { address: thousandAddress(i).v4, port: 443 });
        const bytes = hello(thousandName(i));
        // In pieces, so that user space holds the first one.
        await b.agent.call("exchange", { id, data: bytes.subarray(0, 60), timeoutMs: 30 });
        const got = await b.agent.call("exchange", { id, data: bytes.subarray(60), timeoutMs: 3_000 });
        assert.equal(got.outcome, "reply", `hello ${i}`);
        assert.ok(isServerHello(got.received));
        await b.agent.call("release", { id });
      }
      done = true;
      await reloads;
    });

    it("what the first piece was held for and is denied meanwhile, is denied", async () => {
      await b.reload({ ...all, domain: [...all.domain, "*.many.example"] });
      await dig(b.lab.client, thousandName(99));
      const address = thousandAddress(99).v4;
      const tls = await b.hold(address, 443);
      const other = await b.hold(address, 5432);
      const bytes = hello(thousandName(99));
      await b.agent.call("exchange", { id: tls, data: bytes.subarray(0, 60), timeoutMs: 30 });
      await b.reload(all);
      await b.gateway.expect({ verdict: "deny", reason: "name-denied", name: thousandName(99) }, () =>
        b.agent.call("exchange", { id: tls, data: bytes.subarray(60), timeoutMs: 500 }),
      );
      // No name on the wire, and the address is nobody's any more.
      const got = await b.agent.call("exchange", { id: other, data: "x", timeoutMs: 500 });
      assert.equal(got.outcome, "reset");
    });
  });
}

describe("reload: this machine's own egress", () => {
  const b = bench({ domain: [www], cidr: [cidr.v4] }, {}, (lab) => ({ where: lab.client.ns, lan: [], eface: "eth0" }));

  it("goes on, is cut, is allowed again: by name and by network", async () => {
    await dig(b.lab.client, www);
    const byName = await b.hold(server(10).v4, 5432);
    const byCidr = await b.hold(cidr.inside4[0], 5432);
    for (let i = 0; i < 5; i++) {
      for (const id of [byName, byCidr]) await b.goesOn(id);
      await b.reload({ domain: [www, `n${i}.example`], cidr: [cidr.v4] });
    }
    for (const id of [byName, byCidr]) await b.goesOn(id);
    await b.reload({ domain: [git] });
    for (const id of [byName, byCidr]) {
      assert.notEqual((await b.agent.call("exchange", { id, data: "x", timeoutMs: 400 })).outcome, "reply");
    }
    assert.notEqual(
      (await b.agent.call("tcp", { address: server(10).v4, port: 5432, timeoutMs: 400 })).outcome,
      "reply",
    );
    await dig(b.lab.client, git);
    assert.equal((await b.agent.call("tcp", { address: server(12).v4, port: 5432 })).outcome, "reply");
    await b.reload({ domain: [git], cidr: [cidr.v4] });
    assert.equal((await b.agent.call("tcp", { address: cidr.inside4[0], port: 5432 })).outcome, "reply");
  });
});

describe("reload: who may, what is told, what is not changed", () => {
  const b = bench({ domain: [www], cidr: [cidr.v4] }, { masquerade: false }, { flags: ["--max-cidrs", "1000"] });

  /** All of the kernel's tables and what is in force. */
  async function inForce(): Promise<unknown> {
    const { rules, policy, generation, learned, attached } = await b.status();
    const dumps: string[] = [];
    for (const map of ["policies", "port_sets", "cidr4", "cidr4_index", "names4", "bindings", "interfaces"]) {
      const path = `/sys/fs/bpf/l7egg/${b.gateway.name}/maps/${map}`;
      const dump = await b.lab.router.runBare(["bpftool", "-j", "map", "dump", "pinned", path], { timeoutMs: 20_000 });
      assert.equal(dump.code, 0, dump.stderr);
      dumps.push(
        `${map} ${createHash("sha256")
          .update(dump.stdout.replace(/"fast":\d/, ""))
          .digest("hex")}`,
      );
    }
    return { rules, policy, generation, learned: learned.total, attached, dumps };
  }

  it("a bad file changes nothing: every error with its place, exit code 2", async () => {
    await dig(b.lab.client, www);
    const id = await b.hold(server(10).v4, 5432);
    await b.goesOn(id);
    const before = await inForce();
    const bad: [string, RegExp][] = [
      ["domain:\n\t- x\n", /policy\.yaml:2:1: a tab at the beginning/],
      ["domain: [a..io, b.io]\n", /policy\.yaml:1:10: domain a\.\.io: /],
      ["domian: a.io\n", /policy\.yaml:1:1: domian: no such key; did you mean domain\?/],
      ["domain: &a a.io\ncn: *a\n", /policy\.yaml:1:12: anchors and aliases are not taken here/],
      ["", /policy\.yaml:1:1: no rules at all/],
    ];
    for (const [text, error] of bad) {
      writeFileSync(b.file, text);
      const said = await b.gateway.command("reload");
      assert.equal(said.code, 2, said.stdout);
      assert.match(said.stderr, error);
      for (const line of said.stderr.trimEnd().split("\n")) assert.match(line, /^l7egg: \/.*policy\.yaml:\d+:\d+: /);
      await until(
        "the log to say so",
        () => b.gateway.daemon.stdout.includes("reload: the policy stays as it was"),
        2_000,
      );
    }
    rmSync(b.file);
    const gone = await b.gateway.command("reload");
    assert.deepEqual([gone.code, gone.stderr], [2, `l7egg: ${b.file}: no such file\n`]);
    assert.deepEqual(await inForce(), before);
    await b.goesOn(id);
  });

  it("too much for the maps: refused, nothing changed", async () => {
    const before = await inForce();
    const many = Array.from({ length: 1_100 }, (_, i) => `10.0.${i >> 8}.${i & 255}/32`);
    writeFileSync(`${b.file}.list`, many.join("\n"));
    writeFileSync(b.file, `cidr-file: ${b.file}.list\n`);
    const said = await b.gateway.command("reload", [], { timeoutMs: 20_000 });
    assert.equal(said.code, 2, said.stdout);
    assert.match(
      said.stderr,
      /policy\.yaml: the rules need \d+ IPv4 table entries, there is room for 1000: raise --max-cidrs/,
    );
    assert.deepEqual(await inForce(), before);
  });

  it("SIGHUP reads it, too; status says what is in force and since when", async () => {
    const before = await b.status();
    b.write({ domain: [www, git], cidr: [cidr.v4] });
    b.gateway.daemon.signal("SIGHUP");
    await until("the new policy", async () => (await b.status()).rules.length === 3, 5_000);
    const now = await b.status();
    assert.equal(now.policy.file, b.file);
    assert.notEqual(now.policy.hash, before.policy.hash);
    assert.ok(now.policy.since > before.policy.since);
    assert.ok(now.generation > before.generation);
    assert.match(
      (await b.gateway.command("status")).stdout,
      new RegExp(`^policy: ${b.file}, ${now.policy.hash.slice(0, 12)}, `, "m"),
    );
    writeFileSync(b.file, "domain: [\n");
    b.gateway.daemon.signal("SIGHUP");
    await until("the log to say so", () => /reload: .*policy\.yaml:\d+:\d+/.test(b.gateway.daemon.stdout), 3_000);
    assert.equal((await b.status()).policy.hash, now.policy.hash);
    assert.equal(b.gateway.daemon.ended, false);
  });

  it("several at once: one after the other, each is answered", async () => {
    b.write({ domain: [www], cidr: [cidr.v4] });
    const all: Output[] = await Promise.all(
      Array.from({ length: 4 }, () => b.gateway.command("reload", ["--json"], { timeoutMs: 20_000 })),
    );
    const generations = all.map((one) => (JSON.parse(one.stdout) as ReloadReport).generation);
    assert.equal(new Set(generations).size, 4, JSON.stringify(generations));
    assert.equal((await b.status()).generation, Math.max(...generations));
  });

  it("kill -9 after a reload: the next start with the file takes flows and names over, and reloads go on being right", async () => {
    await b.reload({ domain: ["first.example", git], cidr: [cidr.v4] });
    await b.reload({ domain: [www, git, "third.example"], cidr: [cidr.v4] });
    await dig(b.lab.client, www);
    await dig(b.lab.client, git);
    const keeps = await b.hold(server(10).v4, 5432);
    const loses = await b.hold(server(12).v4, 5432);
    for (const id of [keeps, loses]) await b.goesOn(id);
    await b.gateway.kill9();
    await b.goesOn(keeps);
    b.gateway = await Gateway.start(b.lab, b.gateway.options);
    for (const id of [keeps, loses]) await b.goesOn(id);
    assert.ok((await b.status()).learned.total >= 2);
    await b.reload({ domain: [www, "fourth.example"], cidr: [cidr.v4] });
    await b.goesOn(keeps);
    assert.equal((await b.agent.call("exchange", { id: loses, data: "x", timeoutMs: 400 })).outcome, "reset");
  });

  it("a policy whose record can't be written is in force for everybody, not by halves", async () => {
    const inTheWay = `${join(defaults.pinDir, b.gateway.name, "policy")}_new`;
    mkdirSync(inTheWay);
    try {
      await b.reload({ domain: [git], cidr: [cidr.v4] });
    } finally {
      rmdirSync(inTheWay);
    }
    assert.deepEqual((await b.status()).rules, [`cidr ${cidr.v4}`, `domain ${git}`]);
    assert.equal((await dig(b.lab.client, www)).status, "REFUSED");
    await dig(b.lab.client, git);
    await b.goesOn(await b.hold(server(12).v4, 5432));
  });

  it("a gateway without a file has nothing to read again; flags and file exclude each other", async () => {
    const other = await Gateway.start(b.lab, {
      where: b.lab.internet,
      lan: [],
      flags: ["--cidr", "10.0.0.0/8", "--queue", "9"],
    });
    const said = await other.command("reload");
    assert.deepEqual(
      [said.code, said.stderr],
      [2, "l7egg: nothing to read again: the gateway was started without --policy\n"],
    );
    assert.equal(await other.stop(), 0);
    const { program } = await import("../lab/gateway.js");
    const both = await b.lab.router.runBare([
      ...program(),
      "run",
      "--eface",
      "wan0",
      "--policy",
      b.file,
      "--domain",
      "a.io",
    ]);
    assert.deepEqual(
      [both.code, both.stderr],
      [2, `l7egg: --policy is the whole policy: write what --domain would say into ${b.file}\n`],
    );
  });
});
