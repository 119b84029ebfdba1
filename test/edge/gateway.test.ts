/** What a gateway sets up, takes over and takes down, on the real kernel, without traffic (test/e2e has that). */
import assert from "node:assert/strict";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { decodeConfig, decodeFlow, encodeFlow, encodeFlow4Key, encodeFlow6Key } from "../../src/core/abi.generated.js";
import { monotonicMs } from "../../src/edge/clock.js";
import { native } from "../../src/native/index.js";
import { isProgramLoaded } from "../lab/programs.js";
import { snapshot } from "../lab/snapshot.js";
import { until } from "../lab/process.js";
import { addLink, cli, journalPath, kill9, links, options, pins, start, status, withRouter } from "./life.js";

const ends = { sport: 1, dport: 2, proto: 6, policy: 1 };
const flowKeys = {
  flows4: encodeFlow4Key({ src: 0x0a000001, dst: 0x0a000002, ...ends }),
  flows6: encodeFlow6Key({ src: Buffer.alloc(16, 1), dst: Buffer.alloc(16, 2), ...ends }),
};
type FlowMap = keyof typeof flowKeys;

function config(name: string): ReturnType<typeof decodeConfig> {
  const map = native.openPinnedMap(join(pins(name), "maps/config"));
  const value = map.get(Buffer.alloc(4));
  map.close();
  return decodeConfig(value as Buffer);
}

function hasFlow(name: string, of: FlowMap): boolean {
  const map = native.openPinnedMap(join(pins(name), "maps", of));
  const value = map.get(flowKeys[of]);
  map.close();
  return value !== undefined && decodeFlow(value).rule === 4711;
}
/** In both maps, in one, in none. */
const flowsKept = (name: string) => (["flows4", "flows6"] as const).filter((of) => hasFlow(name, of));

function roomOf(name: string, of: FlowMap): number {
  const map = native.openPinnedMap(join(pins(name), "maps", of));
  const { maxEntries } = map;
  map.close();
  return maxEntries;
}

function putFlow(name: string): void {
  const { generation } = config(name);
  const zero = {
    packets: 0n,
    bytes: 0n,
    replyPackets: 0n,
    replyBytes: 0n,
    judgedStart: 0,
    judgedEnd: 0,
    flags: 0,
    next: 0,
    openedS: 0,
  };
  const lastSeenNs = BigInt(Math.round(monotonicMs() * 1e6));
  for (const of of ["flows4", "flows6"] as const) {
    const map = native.openPinnedMap(join(pins(name), "maps", of));
    map.put(flowKeys[of], encodeFlow({ ...zero, lastSeenNs, generation, rule: 4711, verdict: 3, reason: 3 }));
    map.close();
  }
}

function countOf(name: string, map: string): number {
  const open = native.openPinnedMap(join(pins(name), "maps", map));
  const { count } = open.entries();
  open.close();
  return count;
}

for (const attach of ["tcx", "clsact"]) {
  describe(`start and stop, attached by ${attach}`, () => {
    const at = withRouter();

    it("what status says is attached, and nothing is left after SIGTERM", async () => {
      const clean = await snapshot(at.router, at.name);
      const daemon = await start(at, options(at, ["--attach", attach, "--lan", "lan1"]));
      const now = await status(at);
      const line = daemon.stdout.split("\n").find((one) => one.includes('"msg":"ready"')) ?? "";
      const { rules, resolvers, queues } = JSON.parse(line) as Record<string, unknown>;
      assert.deepEqual({ rules, resolvers, queues }, { rules: 1, resolvers: now.resolvers, queues: [0] });
      assert.deepEqual(
        now.attached.map((one) => `${one.program} ${one.point} ${one.interfaceName}`),
        [
          "classify ingress lan0",
          "classify ingress lan1",
          "watch egress lan0",
          "watch egress lan1",
          "back ingress wan0",
          "gate egress wan0",
        ],
      );
      assert.equal(now.attachMode, attach);
      assert.equal(now.iptables, "up");
      assert.deepEqual(
        now.queues.map((queue) => [queue.queue, queue.depth]),
        [[0, 0]],
      );
      const dirty = await snapshot(at.router, at.name);
      // It sees what it is to compare: programs (at TCX or as filters), chains, folders.
      for (const part of [/lan0 ingress classify|direct-action .* name classify /, /L7EGG-FWD/, /its folder in/])
        assert.match(dirty, part);
      const programs = attach === "tcx" ? [...links(at.name).values()].map((link) => link.programId) : [];
      assert.equal(programs.length, attach === "tcx" ? 6 : 0);
      for (const id of programs) assert.ok(isProgramLoaded(id));
      assert.equal((await daemon.stop(8000)).code, 0, daemon.stderr);
      for (const id of programs) await until(`program ${id} to go`, () => !isProgramLoaded(id));
      assert.equal(await snapshot(at.router, at.name), clean);
    });

    it("clean after kill -9 leaves nothing, twice is fine", async () => {
      const before = await snapshot(at.router, at.name);
      await kill9(await start(at, options(at, ["--attach", attach])));
      const programs = attach === "tcx" ? [...links(at.name).values()].map((link) => link.programId) : [];
      for (const id of programs) assert.ok(isProgramLoaded(id), "it stays governed");
      const killed = await snapshot(at.router, at.name);
      assert.notEqual(killed, before, "it stays governed");
      const dead = await cli(at, "status", "--name", at.name);
      assert.equal(dead.code, 1);
      assert.match(dead.stderr, /was killed and its traffic stays governed/);
      const out = await cli(at, "clean", "--name", at.name);
      assert.equal(out.code, 0, out.stderr);
      assert.equal(await snapshot(at.router, at.name), before, out.stdout);
      for (const id of programs) await until(`program ${id} to go`, () => !isProgramLoaded(id));
      assert.match((await cli(at, "clean", "--name", at.name)).stdout, /nothing to clean/);
    });

    it("a start after kill -9 takes over; the other way of attaching leaves nothing of the first", async () => {
      const before = await snapshot(at.router, at.name);
      await kill9(await start(at, options(at, ["--attach", attach])));
      const daemon = await start(at, options(at, ["--attach", attach === "tcx" ? "clsact" : "tcx"]));
      assert.equal((await daemon.stop(8000)).code, 0, daemon.stderr);
      assert.equal(await snapshot(at.router, at.name), before);
    });
  });
}

describe("kill -9 and start again", () => {
  const at = withRouter();

  it("the links stay, their programs are swapped; flows, generation and hash seed stay with the same rules", async () => {
    const first = await start(at);
    putFlow(at.name);
    const old = { links: links(at.name), config: config(at.name) };
    await kill9(first);
    const second = await start(at);
    const now = { links: links(at.name), config: config(at.name) };
    assert.equal(old.links.size, 4);
    for (const [name, { id, programId }] of old.links) {
      assert.equal(now.links.get(name)?.id, id, `${name} was never detached`);
      assert.notEqual(now.links.get(name)?.programId, programId, `${name} has the new program`);
    }
    assert.equal(now.config.generation, old.config.generation);
    assert.deepEqual(now.config.hashSeed, old.config.hashSeed);
    assert.deepEqual(flowsKept(at.name), ["flows4", "flows6"]);
    assert.equal((await status(at)).adoptedFlows, true);
    await kill9(second);
  });

  it("other rules: another generation, so that every flow is judged anew", async () => {
    const { generation } = config(at.name);
    const daemon = await start(at, options(at, ["--domain", "y.io"]));
    assert.equal(config(at.name).generation, generation + 1);
    assert.deepEqual(flowsKept(at.name), ["flows4", "flows6"], "kept, and worth nothing");
    await kill9(daemon);
  });

  it("another size: the flows are not taken over", async () => {
    const daemon = await start(at, options(at, ["--domain", "y.io", "--max-flows", "1001"]));
    assert.equal((await status(at)).adoptedFlows, false);
    assert.deepEqual(flowsKept(at.name), []);
    assert.deepEqual([roomOf(at.name, "flows4"), roomOf(at.name, "flows6")], [1001, 501], "IPv6 has half the room");
    await kill9(daemon);
  });

  it("learned names come back as far as the rules of today allow them", async () => {
    const client = "04000000000002000000000100000000";
    const line = (name: string, address: string, expires: number) =>
      `${JSON.stringify({ p: 1, c: client, n: name, a: address, ch: [name], e: expires })}\n`;
    const later = Math.round(monotonicMs() + 600_000);
    appendFileSync(
      journalPath(at.name),
      line("x.io", "08080808", later) +
        line("gone.io", "08080404", later) +
        line("x.io", "20014860486000000000000000008888", later) +
        line("x.io", "01010101", 1),
    );
    const daemon = await start(at);
    assert.equal(countOf(at.name, "names4"), 1);
    assert.equal(countOf(at.name, "names6"), 1);
    assert.equal(countOf(at.name, "bindings"), 2);
    const now = await status(at);
    assert.deepEqual(
      now.learned.entries.map((one) => [one.name, one.address, one.rule]),
      [
        ["x.io", "8.8.8.8", "--domain x.io"],
        ["x.io", "2001:4860:4860::8888", "--domain x.io"],
      ],
    );
    await kill9(daemon);
    const again = await start(at);
    assert.equal((await status(at)).learned.total, 2, "also the second time");
    await kill9(again);
  });

  it("a start that fails changes nothing: what was left governs on", async () => {
    const before = { links: links(at.name), snapshot: await snapshot(at.router, at.name) };
    const record = readFileSync(`/run/l7egg/${at.name}/instance.json`, "utf8");
    const failed = await cli(at, "run", ...options(at, ["--lan", "nolan"]));
    assert.equal(failed.code, 2);
    assert.deepEqual(links(at.name), before.links);
    assert.equal(await snapshot(at.router, at.name), before.snapshot);
    assert.equal(readFileSync(`/run/l7egg/${at.name}/instance.json`, "utf8"), record);
  });
});

describe("this machine's own egress", () => {
  const at = withRouter();
  const own = () => ["--name", at.name, "--eface", "wan0", "--domain", "x.io", "--log-format", "json"];

  it("the classifier of OUTPUT is pinned and called; restart after kill -9; nothing left after SIGTERM", async () => {
    const clean = await snapshot(at.router, at.name);
    await kill9(await start(at, own()));
    const daemon = await start(at, own());
    assert.ok(existsSync(join(pins(at.name), "output")));
    assert.match(
      (await at.router.runBare(["iptables-save"])).stdout,
      new RegExp(`object-pinned ${pins(at.name)}/output`),
    );
    assert.deepEqual(
      (await status(at)).attached.map((one) => `${one.program} ${one.point} ${one.interfaceName}`),
      ["watch ingress wan0", "gate egress wan0"],
    );
    assert.equal((await daemon.stop(8000)).code, 0, daemon.stderr);
    assert.equal(await snapshot(at.router, at.name), clean);
  });

  it("from a LAN to own egress and back over a kill -9: no link of the other picture stays", async () => {
    await kill9(await start(at));
    await kill9(await start(at, own()));
    assert.deepEqual([...links(at.name).keys()].map((name) => name.split("_")[0]).sort(), ["gate", "watch"]);
    const daemon = await start(at);
    assert.deepEqual([...links(at.name).keys()].map((name) => name.split("_")[0]).sort(), [
      "back",
      "classify",
      "gate",
      "watch",
    ]);
    for (const program of ["past", "answer"]) assert.ok(existsSync(join(pins(at.name), program)), program);
    assert.ok(!existsSync(join(pins(at.name), "output")));
    assert.equal((await daemon.stop(8000)).code, 0, daemon.stderr);
  });
});

describe("who else is there", () => {
  const at = withRouter();

  it("a queue that another process holds: its number and its owner, and nothing is changed", async () => {
    const clean = await snapshot(at.router, at.name);
    const module = fileURLToPath(new URL("../../src/native/index.ts", import.meta.url));
    const script = `const { native } = await import(${JSON.stringify(module)}); native.openQueue({ queue: 3 }, () => {}); console.log("held"); setInterval(() => {}, 1000);`;
    const holder = at.router.startBare([process.execPath, "--import", "tsx", "--input-type=module", "-e", script]);
    await until(
      () => `the holder: ${holder.stderr}`,
      () => holder.stdout.includes("held"),
    );
    const out = await cli(at, "run", ...options(at, ["--queue", "2:4"]));
    assert.equal(out.code, 2);
    assert.match(out.stderr, /^l7egg: --queue 2:4: queue 3 is taken by another process \(pid \d+, .+\)\n$/);
    assert.equal(await snapshot(at.router, at.name), clean);
    await kill9(holder);
  });

  it("two instances on one LAN with their own marks; a third thing in common is an error that says which", async () => {
    const first = await start(at);
    const name = `${at.name}b`;
    const second = ["--name", name, "--lan", "lan0", "--eface", "lan1", "--domain", "x.io", "--log-format", "json"];
    const refused = await cli(at, "run", ...second);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /--queue 0 is taken: instance/);
    assert.match(
      refused.stderr,
      /--lan lan0 is shared with instance .* both use mark 0x30: give this one --mark-mask 0xc0/,
    );
    assert.ok(!existsSync(`/run/l7egg/${name}`));
    const daemon = await start(at, [...second, "--queue", "1", "--mark-mask", "0xc0"]);
    assert.equal((await status(at, name)).markMask, "0xc0");
    assert.equal((await daemon.stop(8000)).code, 0, daemon.stderr);
    assert.equal((await status(at)).iptables, "up", "the first one's rules are untouched");

    const unforced = await cli(at, "clean", "--name", at.name);
    assert.equal(unforced.code, 2);
    assert.match(unforced.stderr, /is running \(pid \d+\): stop it, or clean with --force/);
    const forced = await cli(at, "clean", "--name", at.name, "--force");
    assert.equal(forced.code, 0, forced.stderr);
    assert.equal((await first.exited).code, 0, "asked to stop, it stopped in order");
    assert.ok(!existsSync(pins(at.name)) && !existsSync(`/run/l7egg/${at.name}`));
  });
});

describe("interfaces that change while nobody is there", () => {
  const at = withRouter();

  it("the next start finds the dead links, and governs the new interfaces", async () => {
    await kill9(await start(at, options(at, ["--lan", "lan1"])));
    assert.match(await snapshot(at.router, at.name), /L7EGG[^]*its folder in/, "the snapshot sees one");
    at.router.ip(["link del lan0"]);
    addLink(at, "lan0");
    const daemon = await start(at);
    const attached = (await status(at)).attached.map((one) => `${one.program}_${one.ifindex}`);
    assert.deepEqual([...links(at.name).keys()].sort(), attached.sort(), "no pin of a dead link, none of lan1");
    assert.equal((await daemon.stop(8000)).code, 0, daemon.stderr);
    assert.doesNotMatch(await snapshot(at.router, at.name), /L7EGG|its folder in/);
  });

  it("clean finds them, too", async () => {
    await kill9(await start(at));
    at.router.ip(["link del lan0", "link del wan0"]);
    const out = await cli(at, "clean", "--name", at.name);
    assert.equal(out.code, 0, out.stderr);
    assert.ok(!existsSync(pins(at.name)));
    addLink(at, "lan0");
    addLink(at, "wan0");
  });
});

describe("an interface that goes and comes back", () => {
  const at = withRouter();

  it("is attached again under its new number, a LAN and the way out", async () => {
    const daemon = await start(at);
    const before = (await status(at)).attached;
    for (const name of ["lan0", "wan0"]) {
      at.router.ip([`link del ${name}`]);
      addLink(at, name);
    }
    const attached = await until("the new links", async () => {
      const now = (await status(at)).attached;
      return now.length === 4 && now.every((one) => !before.some((old) => old.ifindex === one.ifindex)) && now;
    });
    const numbers = new Map(attached.map((one) => [one.interfaceName, one.ifindex]));
    for (const [map, name] of [
      ["interfaces", "lan0"],
      ["egress", "wan0"],
    ] as const) {
      const open = native.openPinnedMap(join(pins(at.name), "maps", map));
      const { count, keys } = open.entries();
      open.close();
      assert.deepEqual([count, keys.readUInt32LE(0)], [1, numbers.get(name)], map);
    }
    assert.deepEqual([...links(at.name).keys()].sort(), attached.map((one) => `${one.program}_${one.ifindex}`).sort());
    assert.equal((await daemon.stop(8000)).code, 0, daemon.stderr);
  });
});
