import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { child, compile, namespace, succeeds } from "./place.js";

const path = compile("fixture");
const inside = namespace();
inside.run("iptables", "-A", "OUTPUT", "-p", "udp", "--dport", "9001", "-j", "NFQUEUE", "--queue-num", "1");
const env = { FIXTURE: path };

/** In a child: one of each resource, all with work pending: packets wait in the queue, records in the ring. */
const setUp = `
  const sender = native.openRawSender();
  const send = (n) => { for (let i = 0; i < n; i++) sender.send(udp(9001, "x")); };
  const object = native.loadObject({ path: process.env.FIXTURE });
  const emit = object.program("emit");
  const write = (n) => { for (let i = 1; i <= n; i++) emit.testRun({ data: Buffer.alloc(64), mark: i }); };
`;
const open = `
  const queue = native.openQueue({ queue: 1 }, () => {});
  const ring = native.openRingBuffer(object.map("ring"), () => {});
  const link = native.attachTcx(object.program("count_one"), 1, "ingress");
  const fd = native.openTransparentSocket({ type: "tcp", family: 4, address: "0.0.0.0", port: 0 });
  send(20); write(20);
`;

describe("a process may end in every stage; its exit code is its own", () => {
  for (const [stage, body] of [
    ["loaded, nothing opened", `native.possibleCpus();`],
    ["everything open, process.exit", `${open} process.exit(0);`],
    [
      "everything open, a verdict pending, process.exit",
      `${open} queue.verdict(1, "accept", 5, udp(9001, "y")); process.exit(0);`,
    ],
    ["exit from the queue's handler", `native.openQueue({ queue: 1 }, () => process.exit(0)); send(5);`],
    ["exit from the ring's handler", `native.openRingBuffer(object.map("ring"), () => process.exit(0)); write(5);`],
    ["exit in the same turn as close", `${open} queue.close(); ring.close(); process.exit(0);`],
    ["closed: nothing keeps the event loop alive", `${open} queue.close(); ring.close(); native.closeFd(fd);`],
    [
      "closed after a turn",
      `${open} await sleep(20); queue.close(); ring.close(); link.close(); object.close(); sender.close();`,
    ],
    [
      "close from the queue's handler",
      `const q = native.openQueue({ queue: 1 }, () => { q.close(); q.close(); }); send(50);`,
    ],
    [
      "close from the ring's handler",
      `let n = 0; const r = native.openRingBuffer(object.map("ring"), () => { n++; r.close(); }); write(5); process.on("exit", () => assert.equal(n, 1));`,
    ],
    [
      "each closes the other",
      `const q = native.openQueue({ queue: 1 }, () => r.close()); const r = native.openRingBuffer(object.map("ring"), () => q.close()); send(5); write(5); setTimeout(() => { q.close(); r.close(); }, 100);`,
    ],
    [
      "the map goes before its ring",
      `const map = object.map("ring"); const r = native.openRingBuffer(map, () => { r.close(); }); map.close(); object.close(); write(2);`,
    ],
  ] as const) {
    test(stage, async () => {
      await succeeds(setUp + body, { in: inside, env });
    });
  }

  test("an exception in a handler ends the process like any other: code 1 and its message, no crash", async () => {
    for (const body of [
      `native.openQueue({ queue: 1 }, () => { throw new Error("on purpose"); }); send(3);`,
      `native.openRingBuffer(object.map("ring"), () => { throw new Error("on purpose"); }); write(3);`,
    ]) {
      const { code, signal, err } = await child(setUp + body, { in: inside, env });
      assert.equal(code, 1, signal ?? err);
      assert.match(err, /Error: on purpose/);
    }
  });

  test("killed with everything open: the queue is free for the next process", async () => {
    const { signal } = await child(`${setUp}${open} process.kill(process.pid, "SIGKILL"); await sleep(1000);`, {
      in: inside,
      env,
    });
    assert.equal(signal, "SIGKILL");
    await succeeds(`native.openQueue({ queue: 1 }, () => {}).close();`, { in: inside });
  });
});

test("close twice, then every other call: a clear Error", async () => {
  await succeeds(
    `${setUp}${open}
    const data = Buffer.alloc(64);
    for (const thing of [queue, ring, link, sender, object, emit]) { thing.close(); thing.close(); }
    const closed = (call, what) => assert.throws(call, { name: "Error", message: what + " is closed" });
    closed(() => queue.verdict(1, "accept"), "queue");
    closed(() => queue.flush(), "queue");
    closed(() => queue.stats(), "queue");
    closed(() => sender.send(udp(1, "")), "raw sender");
    closed(() => object.map("hash"), "BPF object");
    closed(() => emit.testRun({ data }), "BPF program");
    closed(() => link.info(), "BPF link");
    closed(() => link.update(emit), "BPF link");
    closed(() => link.detach(), "BPF link");
    closed(() => link.pin("/nowhere"), "BPF link");
    `,
    { in: inside, env },
  );
});

test("garbage collection takes nothing that works: queue and ring live without being referenced", async () => {
  await succeeds(
    `${setUp}
    let packets = 0, records = 0;
    const collect = async () => { for (let i = 0; i < 10; i++) { globalThis.gc(); await sleep(2); } };
    (() => {
      const queue = native.openQueue({ queue: 1 }, (count, meta) => { packets += count; for (let i = 0; i < count; i++) queue.verdict(meta[i * META_STRIDE], "drop"); });
      native.openRingBuffer(object.map("ring"), () => records++);
    })();
    for (let round = 1; round <= 3; round++) {
      await collect();
      send(10); write(10);
      await sleep(50);
      assert.deepEqual([packets, records], [round * 10, round * 10]);
    }
    process.exit(0);
    `,
    { in: inside, env, node: ["--expose-gc"] },
  );
});

test("memory that a handler kept may be read after close and collection; transferred away, the queue still works", async () => {
  await succeeds(
    `${setUp}
    let kept, packets = 0;
    const collect = async () => { for (let i = 0; i < 10; i++) { globalThis.gc(); await sleep(2); } };
    const open = () => native.openQueue({ queue: 1 }, (count, meta, data) => { kept = [meta, data]; packets += count; });
    let queue = open();
    send(3);
    await sleep(30);
    queue.close();
    queue = undefined;
    await collect();
    assert.equal(kept[0][Meta.length], 29);
    assert.equal(kept[1][kept[0][Meta.offset]], 0x45);
    kept = undefined;
    await collect();
    queue = open();
    send(1);
    await sleep(30);
    const clone = (transfer) => { try { structuredClone(kept[1].buffer, { transfer }); } catch (error) { assert.equal(error.name, "DataCloneError"); } };
    clone([kept[1].buffer]);
    await collect();
    send(2);
    await sleep(30);
    assert.equal(packets, 6);
    queue.close();
    `,
    { in: inside, env, node: ["--expose-gc"] },
  );
});

test("a hundred queues and rings, opened and closed: descriptors and memory come back", async () => {
  await succeeds(
    `${setUp}
    import { readdirSync, readFileSync } from "node:fs";
    const fds = () => readdirSync("/proc/self/fd").length;
    const size = () => Number(/VmSize:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
    const round = async () => {
      for (let i = 0; i < 50; i++) {
        const queue = native.openQueue({ queue: 1 }, () => {});
        const ring = native.openRingBuffer(object.map("ring"), () => {});
        queue.close(); ring.close();
        await sleep(0);
      }
      for (let i = 0; i < 20; i++) { globalThis.gc(); await sleep(2); }
    };
    await round();
    const before = [fds(), size()];
    await round();
    assert.ok(fds() <= before[0] + 2, "descriptors " + before[0] + " then " + fds());
    // A queue maps 17 MB: ten that stayed would show.
    assert.ok(size() < before[1] + 170_000, "KiB " + before[1] + " then " + size());
    `,
    { in: inside, env, node: ["--expose-gc"] },
  );
});

test("a worker thread that ends in any way takes its queue and ring with it, and the main thread's stay", async () => {
  await succeeds(
    `${setUp}
    import { Worker } from "node:worker_threads";
    let packets = 0;
    const main = native.openRingBuffer(object.map("ring"), () => packets++);
    for (const ending of ["parentPort.close(); addon.queueClose(queue.handle); addon.ringbufClose(ring.handle);", "process.exit(0);", "", "throw new Error('on purpose');"]) {
      const worker = new Worker(
        'const { parentPort, workerData } = require("node:worker_threads"); const addon = require(workerData.addon);' +
        'const object = addon.loadObject(workerData.fixture, [], []);' +
        'const queue = addon.queueOpen(1, 2048, 100, false, true, 1 << 20, 64, () => parentPort.postMessage("batch"));' +
        'const ring = addon.ringbufOpen(addon.objectMap(object, "ring"), 16, () => {});' +
        'parentPort.postMessage("ready"); parentPort.once("message", () => { ' + ending + ' });',
        { eval: true, execArgv: [], workerData: { addon: process.cwd() + "/build/l7egg.node", fixture: process.env.FIXTURE } },
      );
      worker.on("error", (error) => assert.match(error.message, /on purpose/));
      const exited = new Promise((resolve) => worker.on("exit", resolve));
      await new Promise((resolve) => worker.once("message", resolve));
      const batch = new Promise((resolve) => worker.once("message", resolve));
      send(5);
      assert.equal(await batch, "batch");
      worker.postMessage("end");
      if (ending === "") await worker.terminate();
      await exited;
      // The queue is free again.
      native.openQueue({ queue: 1 }, () => {}).close();
      await sleep(0);
    }
    write(3);
    await sleep(30);
    assert.equal(packets, 3);
    main.close();
    `,
    { in: inside, env },
  );
});
