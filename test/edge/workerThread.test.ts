/** A worker's thread on a real queue and real maps, without a gateway around it. */
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { namespace, succeeds } from "../native/place.js";

const inside = namespace();
// The resets of denied connections carry ALLOW.
const rule = [
  "-p",
  "tcp",
  "--dport",
  "443",
  "-m",
  "mark",
  "!",
  "--mark",
  "0x30/0x30",
  "-j",
  "NFQUEUE",
  "--queue-num",
  "5",
];
inside.run("iptables", "-A", "OUTPUT", ...rule);

const url = (path: string) => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);

/** In a child: maps as a gateway has them, a flow whose beginning is awaited, and half a hello for it. */
const setUp = `
  const { WorkerThread, WorkerRefused } = await import(${url("src/edge/workerThread.ts")});
  const { KernelMaps, liveMapNames } = await import(${url("src/edge/kernelMaps.ts")});
  const { KernelFlows } = await import(${url("src/edge/kernelFlows.ts")});
  const { NameHasher } = await import(${url("src/core/names/hash.ts")});
  const { ReasonCounters } = await import(${url("src/edge/reasonCounters.ts")});
  const { parsePolicy } = await import(${url("src/core/policy/parse.ts")});
  const { compilePolicies } = await import(${url("src/core/policy/compile.ts")});
  const { parseAddr } = await import(${url("src/core/net/address.ts")});
  const { defaultLimits } = await import(${url("src/core/engine/limits.ts")});
  const { monotonicMs } = await import(${url("src/edge/clock.ts")});
  const { ip, tcp } = await import(${url("test/lab/packets.ts")});
  const { hello } = await import(${url("test/lab/hello.ts")});
  const object = native.loadObject({ path: ${JSON.stringify(fileURLToPath(new URL("../../build/l7egg.bpf.o", import.meta.url)))}, maxEntries: { flows4: 1000, flows6: 1000 } });
  const maps = Object.fromEntries(liveMapNames.map((name) => [name, object.map(name)]));
  const parsed = parsePolicy({ cidr: [], denyCidr: [], cn: [], port: [], namePort: [], domain: ["www.x.io"], resolver: ["192.0.2.53"] }, { id: 1, name: "t" });
  assert.ok(parsed.ok, JSON.stringify(parsed));
  const seed = new Uint8Array(16).fill(7);
  const kernel = new KernelMaps(maps, new NameHasher(seed));
  const flowReader = object.program("read_flows");
  const flows = new KernelFlows(maps, 1, undefined);
  const setup = (more = {}) => ({
    queue: 5, policies: compilePolicies([parsed.spec]).policies.map((policy) => policy.toPlain()), previous: 0, limits: defaultLimits, hashSeed: seed, generation: 1,
    maps: Object.fromEntries(Object.entries(maps).map(([name, map]) => [name, map.fd])), flowReader: flowReader.fd,
    interfaces: [{ ifindex: 0, policy: 1, clientBy: 2, l3: false }],
    mark: { mask: 0x30, shift: 4 }, failMode: "closed",
    reasons: new SharedArrayBuffer(ReasonCounters.size), ...more,
  });
  const told = [];
  const deaths = [];
  const events = { news: (news) => told.push(...news.decisions.map(({ decision }) => decision)), died: (cause) => deaths.push(cause) };
  const own = parseAddr("127.0.0.1");
  const open = (sport) => { flows.put({ key: { policy: 1, src: own, dst: own, proto: 6, sport, dport: 443 }, verdict: "pending", reason: 0, rule: 0, flags: 8, judgedStart: 1000, judgedEnd: 1000 }, monotonicMs()); flows.flush(); };
  const sender = native.openRawSender();
  const bytes = hello("www.x.io");
  const send = (sport, from, to) => sender.send(ip("127.0.0.1", "127.0.0.1", 6, tcp("127.0.0.1", "127.0.0.1", { sport, dport: 443, seq: 1000 + from, ack: 1, flags: "PA", data: bytes.subarray(from, to) })));
  const until = async (what, is) => { for (let i = 0; i < 200; i++) { if (await is()) return; await sleep(20); } assert.fail(what); };
`;

test("stop: what is held gets its verdict, what comes afterwards, too; close: the queue is free, the thread gone", async () => {
  await succeeds(
    `${setUp}
    const thread = await WorkerThread.start(setup(), events);
    open(4001);
    send(4001, 0, 40);
    await until("one held", async () => (await thread.stats()).runner.held === 1);
    assert.equal((await thread.stats()).queue.verdicts, 0);
    await thread.stop();
    assert.deepEqual([thread.last.runner.held, thread.last.queue.packets, thread.last.queue.verdicts], [0, 1, 1]);
    send(4001, 0, 40);
    await until("a verdict for the late one", async () => (await thread.stats()).queue.verdicts === 2);
    await thread.close();
    native.openQueue({ queue: 5 }, () => {}).close();
    assert.deepEqual(deaths, []);
    await thread.close();
    await thread.stop();
    assert.equal(await thread.stats(), undefined);
    `,
    { in: inside },
  );
});

test("names and bindings are those of the maps at the moment of the hello; verdicts are in the map of flows", async () => {
  await succeeds(
    `${setUp}
    const reasons = new SharedArrayBuffer(ReasonCounters.size);
    const thread = await WorkerThread.start(setup({ reasons }), events);
    const client = "\\0".repeat(16);
    const learn = (name, expires) => kernel.learn({ type: "learn", policy: 1, client, address: own, name, chain: [name], rule: 1, ports: 0, addressPorts: 0, expires, addressExpires: expires, shared: false });
    const judged = async (sport) => {
      const before = told.length;
      open(sport);
      send(sport, 0, 40);
      send(sport, 40);
      await until("a decision", () => told.length > before);
      return [told[before].verdict, told[before].reason, flows.get({ policy: 1, src: own, dst: own, proto: 6, sport, dport: 443 }).verdict];
    };
    assert.deepEqual(await judged(4101), ["deny", 45, "deny"], "never learned");
    learn("other.io", monotonicMs() + 60_000);
    assert.deepEqual(await judged(4102), ["deny", 45, "deny"], "learned for another name");
    learn("www.x.io", monotonicMs() - 2_000);
    assert.deepEqual(await judged(4103), ["deny", 45, "deny"], "its time is over");
    learn("www.x.io", monotonicMs() + 60_000);
    assert.deepEqual(await judged(4104), ["allow", 5, "allow"]);
    kernel.forget({ type: "forget", policy: 1, client, address: own, name: "www.x.io", last: false });
    assert.deepEqual(await judged(4105), ["deny", 45, "deny"], "forgotten");
    const counted = new ReasonCounters(reasons).counted();
    assert.deepEqual([counted[45].packets, counted[5].packets], [4, 1]);
    await thread.close();
    `,
    { in: inside },
  );
});

test("a queue that is taken is refused with its code; the thread is gone", async () => {
  await succeeds(
    `${setUp}
    const first = await WorkerThread.start(setup(), events);
    await assert.rejects(WorkerThread.start(setup(), events), (error) => error instanceof WorkerRefused && error.code === "EBUSY");
    const stats = await first.stats();
    assert.equal(stats.queue.packets, 0);
    await first.close();
    assert.deepEqual(deaths, []);
    `,
    { in: inside },
  );
});

test("interfaces that come are known from then on; those that nobody told of are not governed by guess", async () => {
  await succeeds(
    `${setUp}
    const thread = await WorkerThread.start(setup({ interfaces: [] }), events);
    const packets = async () => (await thread.stats()).queue.packets;
    open(4301);
    send(4301, 0, 40);
    await until("it", async () => (await packets()) === 1);
    // Not of a governed interface: on its way to a client, and no DNS.
    assert.equal((await thread.stats()).runner.held, 0);
    thread.send({ type: "interfaces", interfaces: setup().interfaces });
    send(4301, 0, 40);
    await until("it again", async () => (await packets()) === 2);
    assert.equal((await thread.stats()).runner.held, 1);
    await thread.close();
    `,
    { in: inside },
  );
});

test("one of several queues is taken: said so, and none of the threads stays", async () => {
  await succeeds(
    `${setUp}
    const { QueueWorkers } = await import(${url("src/edge/queueWorkers.ts")});
    const { readdirSync } = await import("node:fs");
    const threads = () => readdirSync("/proc/self/task").length;
    const log = { decision() {}, beyond() {}, error: (fields, message) => assert.fail(message) };
    const options = (queues) => ({ queues, setup: setup(), interfaces: new Map(), engine: { learnedAt: () => undefined }, log, learned() {}, gaveUp: (error) => { throw error; } });
    const before = threads();
    const taken = native.openQueue({ queue: 6 }, () => {});
    await assert.rejects(QueueWorkers.start(options([5, 6, 7])), { name: "UsageError", message: /^--queue: a queue has just been taken by another process: .*EBUSY/ });
    taken.close();
    await until("the threads to end", () => threads() <= before);
    const workers = await QueueWorkers.start(options([5, 6, 7]));
    assert.deepEqual((await workers.status()).map((one) => [one.queue, one.state, one.restarts]), [[5, "running", 0], [6, "running", 0], [7, "running", 0]]);
    await workers.stop();
    await workers.close();
    assert.deepEqual((await QueueWorkers.start(options([]))).reasons(), [], "one queue: no thread at all");
    `,
    { in: inside },
  );
});
