/** Questions that were allowed a moment ago pass in eBPF, and so do answers that teach nothing new: the same to the client, and no hole. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { COUNTER_SIZE, Reason, decodeCounter } from "../../src/core/abi.generated.js";
import { callControl } from "../../src/control/client.js";
import type { GatewayStatus } from "../../src/edge/status.js";
import { native } from "../../src/native/index.js";
import { question, type DnsReply } from "../lab/agent/dns.js";
import { Gateway } from "../lab/gateway.js";
import { ip, udp } from "../lab/packets.js";
import { craftedResolver, resolver, server } from "../lab/plan.js";
import { until } from "../lab/process.js";
import { dig } from "../lab/tools.js";
import { families, fails, passes, scene, type Scene } from "./scene.js";

const flags = ["--domain", "www.allowed.example", "--domain", "*.crafted.example"];
const name = "www.allowed.example";

const status = (s: Scene) =>
  callControl({ path: s.gateway.socket, method: "status", params: { learned: 1000 } }) as Promise<GatewayStatus>;

/** Counted in user space and in the kernel. Slow: it asks iptables, too. */
const counted = async (s: Scene, reason: string) =>
  (await status(s)).counters.find((one) => one.reason === reason)?.packets ?? 0;

/** What only the kernel has counted. Fast: a question is remembered for two seconds. */
function kernelCounts(s: Scene): { questions: number; answers: number } {
  const map = native.openPinnedMap(`/sys/fs/bpf/l7egg/${s.gateway.name}/maps/counters`);
  const packets = (reason: number) => {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(reason);
    const all = map.get(key) as Buffer;
    let sum = 0;
    for (let at = 0; at < all.length; at += COUNTER_SIZE) sum += Number(decodeCounter(all, at).packets);
    return sum;
  };
  try {
    return { questions: packets(Reason.ALLOW_QUERY), answers: packets(Reason.ALLOW_ANSWER) };
  } finally {
    map.close();
  }
}

interface Asked {
  readonly reply: DnsReply | undefined;
  /** Passed in the kernel. */
  readonly question: boolean;
  readonly answer: boolean;
}

type AskOptions = { readonly type?: "A" | "AAAA"; readonly localPort?: number; readonly id?: number };

async function ask(s: Scene, at: string, what: string, options: AskOptions = {}): Promise<Asked> {
  const before = kernelCounts(s);
  const reply = await s.agent.call("queryUdp", { server: at, name: what, timeoutMs: 500, ...options });
  const after = kernelCounts(s);
  return { reply, question: after.questions > before.questions, answer: after.answers > before.answers };
}

/** Ask until nothing of it climbs: not the first time nor the second, and once a second the time to live moves on. */
async function untilInKernel(s: Scene, at: string, what: string, type: "A" | "AAAA" = "A"): Promise<DnsReply> {
  const got = await until(
    () => `a question for ${what} to pass in the kernel`,
    async () => {
      const asked = await ask(s, at, what, { type });
      return asked.question && asked.answer ? asked : undefined;
    },
    10_000,
    5,
  );
  assert.ok(got.reply);
  return got.reply;
}

let serial = 0;

/**
 * Of a name that has passed in the kernel and is answered with `first`: what comes of a question after `change`. On a machine that is so slow that the moment was over, it
 * is tried anew with another name.
 */
async function afterChange(
  s: Scene,
  at: string,
  first: string,
  change: (what: string) => Promise<void>,
  options?: AskOptions,
  ttl?: number,
): Promise<Asked & { readonly what: string }> {
  for (let i = 0; i < 10; i++) {
    const what = `n${serial++}.crafted.example`;
    await craft(s, what, [first], { ttl });
    await untilInKernel(s, at, what);
    await change(what);
    const asked = await ask(s, at, what, options);
    if (asked.question) return { ...asked, what };
  }
  throw new Error("the question climbed each time");
}

/** Let the crafted resolver say this. */
async function craft(
  s: Scene,
  what: string,
  addresses: readonly string[],
  change: { ttl?: number | undefined; copies?: number } = {},
): Promise<void> {
  const records = addresses.map(
    (data) => ({ type: data.includes(":") ? "AAAA" : "A", data, ttl: change.ttl ?? 300 }) as const,
  );
  const answers = Array.from({ length: change.copies ?? 1 }, () => ({ records, compress: true }));
  await s.lab.servers.call("craft", { name: what, answers });
}

for (const masquerade of [true, false]) {
  describe(`DNS in the kernel, ${masquerade ? "behind NAT" : "where flows skip netfilter"}`, () => {
    const s = scene({ masquerade }, { flags });

    it("neither question nor answer climbs, and the address can be reached", async () => {
      if (!masquerade) await s.gateway.fastPath(true);
      for (const [family, at] of families(resolver)) {
        const type = family === 4 ? "A" : "AAAA";
        const address = family === 4 ? server(10).v4 : server(10).v6;
        const reply = await untilInKernel(s, at, name, type);
        assert.deepEqual([reply.rcode, ...reply.addresses], ["NOERROR", address]);
        assert.deepEqual((await dig(s.client, name, { server: at, type })).answers, [address]);
        await passes(s, "tcp", address, 5432, { reason: "allow-address", name });
      }
    });

    it("is logged as the kernel's", async () => {
      const since = s.gateway.decisions.length;
      await untilInKernel(s, resolver.v4, name);
      const match = { verdict: "allow", reason: "allow-query", name, address: resolver.v4, port: 53 } as const;
      const line = await s.gateway.decision(match, since);
      assert.deepEqual([line.client, line.rule], [s.client.v4, `--domain ${name}`]);
    });

    it("a question in any letters passes, and its answer has the same ones", async () => {
      await untilInKernel(s, resolver.v4, name);
      const mixed = "wWw.AlLoWeD.eXaMpLe";
      const reply = await untilInKernel(s, resolver.v4, mixed);
      assert.deepEqual(reply.addresses, [server(10).v4]);
    });

    it("a hundred questions at once are all answered", async () => {
      await untilInKernel(s, resolver.v4, name);
      const all = Array.from({ length: 100 }, () =>
        s.agent.call("queryUdp", { server: resolver.v4, name, timeoutMs: 2_000 }),
      );
      for (const reply of await Promise.all(all)) assert.deepEqual(reply?.addresses, [server(10).v4]);
    });
  });
}

describe("answers in the kernel", () => {
  const s = scene({ clients: [1, 1], masquerade: false }, { lan: ["lan0", "lan1"], flags });
  const at = craftedResolver.v4;

  it("one with a new address climbs, and is learned before the client has it", async () => {
    await fails(s, "tcp", server(61).v4, 5432, { reason: "unlearned" });
    const got = await afterChange(s, at, server(60).v4, (what) => craft(s, what, [server(60).v4, server(61).v4]));
    assert.equal(got.answer, false, "it climbed");
    assert.deepEqual(got.reply?.addresses, [server(60).v4, server(61).v4]);
    await passes(s, "tcp", server(61).v4, 5432, { reason: "allow-address", name: got.what });
    assert.ok((await status(s)).engine.answersToKernel >= 1);
    await untilInKernel(s, at, got.what);
  });

  it("one that gives more time climbs, and gives it", async () => {
    const change = (what: string) => craft(s, what, [server(62).v4], { ttl: 3_600 });
    const got = await afterChange(s, at, server(62).v4, change, {}, 5);
    assert.equal(got.answer, false, "it climbed");
    const left = (await status(s)).learned.entries.find((one) => one.name === got.what)?.secondsLeft ?? 0;
    assert.ok(left > 3_600, String(left));
  });

  it("of three to one question, one comes through, whoever lets it pass", async () => {
    const before = await counted(s, "dns-unsolicited");
    const got = await afterChange(s, at, server(63).v4, (what) => craft(s, what, [server(63).v4], { copies: 3 }));
    assert.deepEqual(got.reply?.addresses, [server(63).v4]);
    await until(
      () => "two answers to be unsolicited",
      async () => (await counted(s, "dns-unsolicited")) >= before + 2,
    );
  });

  it("one with a wrong id is dropped", async () => {
    const records = [{ type: "A", data: server(63).v4 }] as const;
    const change = (what: string) =>
      s.lab.servers.call("craft", { name: what, answers: [{ records, idOffset: 1, compress: true }] });
    const got = await afterChange(s, at, server(63).v4, change);
    assert.deepEqual([got.reply, got.answer], [undefined, false]);
  });

  it("one that a host in another LAN forges never counts, known address or not", async () => {
    // The router's own guard against forged sources must not be what stops it.
    await s.lab.router.must(["sh", "-c", "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done"]);
    const other = await s.lab.clients[1]!.agent();
    const before = await counted(s, "dns-unsolicited");
    for (const [i, forged] of [server(60).v4, server(21).v4].entries()) {
      const [id, localPort] = [4711, 50_077 + i];
      let sent = Promise.resolve();
      // The resolver keeps silent: only the forger answers.
      const got = await afterChange(
        s,
        at,
        server(60).v4,
        async (what) => {
          await s.lab.servers.call("craft", { name: what, answers: [] });
          const packet = forge({ at, to: s.client.v4, port: localPort, id, what, address: forged });
          sent = new Promise((resolve) => setTimeout(resolve, 200)).then(() => other.call("rawPackets", { packets: [packet] })); // prettier-ignore
        },
        { id, localPort },
      );
      await sent;
      assert.deepEqual([got.reply, got.answer], [undefined, false], forged);
    }
    await fails(s, "tcp", server(21).v4, 5432, { reason: "unlearned" });
    assert.ok((await counted(s, "dns-unsolicited")) >= before + 2, "they were seen");
  });

  it("a name that the policy no longer has is refused after a restart, also one over a kill -9", async () => {
    await untilInKernel(s, resolver.v4, name);
    await s.gateway.kill9();
    s.gateway = await Gateway.start(s.lab, { ...s.gateway.options, flags: ["--domain", "*.crafted.example"] });
    const got = await ask(s, resolver.v4, name);
    assert.deepEqual([got.reply?.rcode, got.question], ["REFUSED", false]);
  });
});

/** An answer in the resolver's name. */
function forge(of: { at: string; to: string; port: number; id: number; what: string; address: string }): Buffer {
  const asks = question({ server: of.at, name: of.what, id: of.id });
  const head = Buffer.from(asks.subarray(0, asks.indexOf(0, 12) + 5));
  head.writeUInt16BE(0x8180, 2);
  head.writeUInt16BE(1, 6);
  head.writeUInt16BE(0, 10);
  const record = Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...of.address.split(".").map(Number)]);
  return ip(of.at, of.to, 17, udp(of.at, of.to, 53, of.port, Buffer.concat([head, record])));
}
