import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import { native, SystemError } from "../../src/native/index.js";
import { bpffs, compile, succeeds } from "./place.js";

const path = compile("fixture");
const pins = bpffs();
const object = native.loadObject({ path, maxEntries: { hash: 8 } });
after(() => object.close());

const u32 = (...values: number[]): Buffer => Buffer.from(Uint32Array.from(values).buffer);
const u64 = (...values: number[]): Buffer => Buffer.from(BigUint64Array.from(values, BigInt).buffer);
const hasCode = (code: string) => (error: unknown) => error instanceof SystemError && error.code === code;

describe("objects", () => {
  test("max entries are those asked for, and one map's don't change another's", () => {
    assert.equal(object.map("hash").maxEntries, 8);
    assert.equal(object.map("lru").maxEntries, 1024);
  });

  test("maps and programs outlive their object", () => {
    const second = native.loadObject({ path });
    const map = second.map("hash");
    const program = second.program("mark_it");
    second.close();
    second.close();
    assert.throws(() => second.map("hash"), /BPF object is closed/);
    map.put(u32(1), u64(2));
    assert.deepEqual(map.get(u32(1)), u64(2));
    assert.equal(program.testRun({ data: Buffer.alloc(64) }).mark, 0x30);
  });

  test("a map of one object is reused by another: both see the same entries", () => {
    const counts = object.map("counts");
    counts.put(u32(2), u64(77));
    const second = native.loadObject({ path, reuse: { counts } });
    assert.deepEqual(second.map("counts").get(u32(2)), u64(77));
    const before = counts.get(u32(0))!.readBigUInt64LE();
    second.program("count_one").testRun({ data: Buffer.alloc(64), repeat: 3 });
    assert.equal(counts.get(u32(0))!.readBigUInt64LE() - before, 3n);
    second.close();
  });

  test("what isn't there is named", () => {
    assert.throws(() => object.map("none"), /find map: .*none \(ENOENT\)/);
    assert.throws(() => object.program("none"), /find program: .*none \(ENOENT\)/);
    assert.throws(() => native.loadObject({ path: "/nowhere.o" }), hasCode("ENOENT"));
    assert.throws(() => native.loadObject({ path, maxEntries: { none: 1 } }), /none \(ENOENT\)/);
    assert.throws(
      () => native.loadObject({ path, reuse: { hash: object.map("array") } }),
      /reuse map: .*hash \(EINVAL\)/,
    );
  });

  test("a refused program says why: the verifier's log is in the error, and goes to setLog line by line", () => {
    const lines: string[] = [];
    native.setLog((line) => lines.push(line));
    assert.throws(
      () => native.loadObject({ path: compile("refused") }),
      (error) => error instanceof SystemError && /invalid mem access 'map_value_or_null'/.test(error.log ?? ""),
    );
    native.setLog(undefined);
    assert.ok(lines.some((line) => line.includes("map_value_or_null")));
    const heard = lines.length;
    assert.throws(() => native.loadObject({ path: "/nowhere.o" }), hasCode("ENOENT"));
    assert.equal(lines.length, heard);
  });
});

describe("maps", () => {
  test("put, get, delete, flags", () => {
    const map = object.map("hash");
    assert.equal(map.get(u32(5)), undefined);
    map.put(u32(5), u64(6), 1);
    assert.throws(() => map.put(u32(5), u64(7), 1), hasCode("EEXIST"));
    assert.throws(() => map.put(u32(6), u64(7), 2), hasCode("ENOENT"));
    assert.deepEqual(map.get(u32(5)), u64(6));
    assert.equal(map.delete(u32(5)), true);
    assert.equal(map.delete(u32(5)), false);
  });

  test("a batch stops at a full map and says how many were stored; a single put is E2BIG", () => {
    const map = object.map("hash");
    const keys = u32(...Array.from({ length: 20 }, (_, i) => i + 100));
    assert.equal(map.putBatch(keys, u64(...Array.from({ length: 20 }, (_, i) => i)), 20), 8);
    assert.equal(map.entries().count, 8);
    assert.throws(() => map.put(u32(999), u64(1)), hasCode("E2BIG"));
    assert.equal(map.deleteBatch(keys, 20), 8);
    assert.equal(map.entries().count, 0);
  });

  test("a batch of deletes steps over keys that aren't there", () => {
    const map = object.map("hash");
    map.putBatch(u32(1, 2, 3), u64(1, 2, 3), 3);
    assert.equal(map.deleteBatch(u32(9, 1, 8, 3, 7), 5), 2);
    assert.deepEqual(map.entries(), { count: 1, keys: u32(2), values: u64(2) });
    map.delete(u32(2));
  });

  test("batches and entries of a type whose kernel has no batch for it, or only some", () => {
    const trie = object.map("trie");
    const key = (length: number, ...address: number[]) => Buffer.concat([u32(length), Buffer.from(address)]);
    const keys = [key(8, 10, 0, 0, 0), key(16, 10, 1, 0, 0), key(32, 10, 1, 2, 3)];
    assert.equal(trie.putBatch(Buffer.concat(keys), u32(1, 2, 3), 3), 3);
    const found = trie.entries();
    assert.equal(found.count, 3);
    assert.deepEqual(
      new Set(keys.map((k) => k.toString("hex"))),
      new Set([0, 1, 2].map((i) => found.keys.subarray(i * 8, i * 8 + 8).toString("hex"))),
    );
    assert.deepEqual(trie.get(key(32, 10, 1, 9, 9)), u32(2));
    assert.equal(trie.deleteBatch(Buffer.concat(keys), 3), 3);
    assert.equal(trie.entries().count, 0);

    // An array has entries from the start, and none can be deleted.
    const array = object.map("array");
    assert.equal(array.putBatch(u32(0, 1, 2, 3), u64(4, 5, 6, 7), 4), 4);
    assert.deepEqual(array.entries().values, u64(4, 5, 6, 7));
    assert.throws(() => array.deleteBatch(u32(0), 1), SystemError);
  });

  test("entries: thousands, more than one chunk, each once; bounded by limit", () => {
    const map = native.loadObject({ path, maxEntries: { hash: 20000 } }).map("hash");
    const all = Array.from({ length: 15000 }, (_, i) => i * 7);
    assert.equal(map.putBatch(u32(...all), u64(...all), all.length), all.length);
    const { count, keys, values } = map.entries();
    assert.equal(count, all.length);
    const seen = new Set<number>();
    for (let i = 0; i < count; i++) {
      seen.add(keys.readUInt32LE(i * 4));
      assert.equal(values.readBigUInt64LE(i * 8), BigInt(keys.readUInt32LE(i * 4)));
    }
    assert.equal(seen.size, all.length);
    assert.equal(map.entries(10).count, 10);
    assert.equal(map.entries(0).count, 0);
    map.close();
  });

  test("per-CPU maps: one value for each possible CPU, each rounded up to 8 bytes", () => {
    const cpus = native.possibleCpus();
    const map = object.map("percpu");
    assert.equal(map.valueSize, 4);
    const value = Buffer.alloc(8 * cpus);
    for (let cpu = 0; cpu < cpus; cpu++) value.writeUInt32LE(cpu + 1, cpu * 8);
    map.put(u32(3), value);
    assert.deepEqual(map.get(u32(3)), value);
    assert.equal(map.entries().values.length, 4 * 8 * cpus);
    const hash = object.map("percpu_hash");
    assert.equal(hash.putBatch(u32(1, 2), Buffer.alloc(2 * 8 * cpus, 1), 2), 2);
    assert.equal(hash.entries().count, 2);
  });

  test("read: into a buffer of the caller's, which stays as it is where there is nothing", () => {
    const map = object.map("hash");
    map.put(u32(8), u64(9));
    const value = u64(1);
    assert.equal(map.read(u32(7), value), false);
    assert.deepEqual(value, u64(1));
    assert.equal(map.read(u32(8), value), true);
    assert.deepEqual(value, u64(9));
    assert.throws(() => map.read(u32(8), Buffer.alloc(7)), RangeError);
    assert.throws(() => map.read(u32(1, 2), value), RangeError);
    const perCpu = object.map("percpu");
    const all = Buffer.alloc(8 * native.possibleCpus());
    assert.equal(perCpu.read(u32(3), all), true);
    assert.deepEqual(all, perCpu.get(u32(3)));
    map.delete(u32(8));
  });

  test("sizes are checked before anything is done", () => {
    const map = object.map("hash");
    assert.throws(() => map.get(u32(1, 2)), /RangeError: key must have 4 bytes, not 8/);
    assert.throws(() => map.put(u32(1), u32(1)), /value must have 8 bytes/);
    assert.throws(() => map.put(u32(1), u64(1), -1), /flags must be an integer from 0 to 7/);
    assert.throws(() => map.putBatch(u32(1, 2), u64(1), 2), /values must have 16 bytes/);
    assert.throws(() => map.get("key" as unknown as Uint8Array), /TypeError: key must be a Uint8Array/);
    assert.throws(() => native.loadObject({ path, maxEntries: { hash: 0 } }), /RangeError: maxEntries.hash/);
  });

  test("close twice, use after close", () => {
    const map = object.map("hash");
    map.close();
    map.close();
    assert.throws(() => map.get(u32(1)), { name: "Error", message: "BPF map is closed" });
    assert.throws(() => native.loadObject({ path, reuse: { hash: map } }), /BPF map is closed/);
    assert.equal(map.fd, -1);
  });

  test("pinned: opened again by path, kinds are not mixed up, pinning over something is EEXIST", () => {
    const map = object.map("lru");
    const file = join(pins, "lru");
    map.pin(file);
    map.put(u32(1), u64(11));
    const again = native.openPinnedMap(file);
    assert.equal(again.type, "lru_hash");
    assert.equal(again.name, "lru");
    assert.deepEqual(again.get(u32(1)), u64(11));
    assert.throws(() => map.pin(file), hasCode("EEXIST"));
    assert.throws(() => native.openPinnedProgram(file), /another kind of BPF object/);
    assert.throws(() => native.openPinnedMap(join(pins, "none")), hasCode("ENOENT"));
    assert.throws(() => native.openPinnedMap("a\0b"), /RangeError: path must not contain NUL/);
    again.close();
  });
});

describe("programs", () => {
  test("test run: mark in and out, devices, data, duration", () => {
    const marked = object.program("mark_it").testRun({ data: Buffer.alloc(64, 7), mark: 0x8001, ingressIfindex: 42 });
    assert.equal(marked.returnValue, 42);
    assert.equal(marked.mark, 0x8031);
    assert.deepEqual(marked.data, Buffer.alloc(64, 7));
    assert.ok(marked.durationNs > 0);
    assert.equal(object.program("name_device").testRun({ data: Buffer.alloc(64), ifindex: 1 }).returnValue, 1);
    assert.throws(
      () => object.program("name_device").testRun({ data: Buffer.alloc(64), ifindex: 99999 }),
      hasCode("ENODEV"),
    );
  });

  test("test run: a packet that grew comes back whole, one too short is EINVAL", () => {
    assert.equal(object.program("push_vlan").testRun({ data: Buffer.alloc(64) }).data.length, 128);
    assert.throws(() => object.program("mark_it").testRun({ data: Buffer.alloc(3) }), hasCode("EINVAL"));
  });

  test("pinned program", () => {
    const program = object.program("mark_it");
    const file = join(pins, "program");
    program.pin(file);
    assert.ok(existsSync(file));
    const again = native.openPinnedProgram(file);
    assert.equal(again.id, program.id);
    assert.equal(again.name, "mark_it");
    assert.throws(() => native.openPinnedLink(file), /another kind/);
    again.close();
    again.close();
    assert.throws(() => again.testRun({ data: Buffer.alloc(64) }), { message: "BPF program is closed" });
  });
});

test("what is dropped without close is closed by the garbage collector", async () => {
  await succeeds(
    `
    import { readdirSync } from "node:fs";
    const fds = () => readdirSync("/proc/self/fd").length;
    const collect = async () => { for (let i = 0; i < 20; i++) { globalThis.gc(); await sleep(5); } };
    const object = native.loadObject({ path: process.env.FIXTURE });
    await collect();
    const before = fds();
    for (let i = 0; i < 300; i++) { object.map("hash").put(Buffer.alloc(4), Buffer.alloc(8)); object.program("emit"); }
    assert.ok(fds() > before + 100, "handles are open at first");
    await collect();
    assert.ok(fds() <= before + 5, fds() + " descriptors, before " + before);
    `,
    { node: ["--expose-gc"], env: { FIXTURE: path } },
  );
});

test("each worker thread has an addon of its own; ending one disturbs nobody", async () => {
  await succeeds(
    `
    import { Worker } from "node:worker_threads";
    const code = process.env.CODE;
    const object = native.loadObject({ path: process.env.FIXTURE });
    for (const ending of ["", "process.exit(0);", "setInterval(() => {}, 1000);", "throw new Error('on purpose');"]) {
      const worker = new Worker(new URL("data:text/javascript," + encodeURIComponent(code + ending)), { env: process.env });
      const errors = [];
      worker.on("error", (error) => errors.push(error));
      const exited = new Promise((resolve) => worker.on("exit", resolve));
      await new Promise((resolve) => worker.once("message", resolve));
      if (ending.startsWith("setInterval")) await worker.terminate();
      await exited;
      assert.equal(errors.length, ending.startsWith("throw") ? 1 : 0, String(errors[0]));
    }
    assert.equal(object.map("hash").entries().count, 0);
    `,
    {
      env: {
        FIXTURE: path,
        CODE: `
        import { createRequire } from "node:module";
        import { parentPort } from "node:worker_threads";
        const addon = createRequire(${JSON.stringify(import.meta.url)})("../../build/l7egg.node");
        const object = addon.loadObject(process.env.FIXTURE, [], []);
        addon.mapPut(addon.objectMap(object, "hash"), Buffer.alloc(4), Buffer.alloc(8), 0);
        addon.setLog(() => {});
        parentPort.postMessage("ready");
        `,
      },
    },
  );
});

test("a map shared with a thread: one map, two handles, each closed by its own; ending a thread amid its work closes none of ours", async () => {
  await succeeds(
    `
    import { readdirSync } from "node:fs";
    import { Worker } from "node:worker_threads";
    const object = native.loadObject({ path: process.env.FIXTURE });
    const map = object.map("hash");
    const fds = () => readdirSync("/proc/self/fd").length;
    for (const ending of ["parentPort.close();", "process.exit(0);", "for (;;) addon.mapPut(map, key, value, 0);", "throw new Error('on purpose');"]) {
      const before = fds();
      const worker = new Worker(
        'const { parentPort, workerData } = require("node:worker_threads"); const addon = require(workerData.addon);' +
        'const map = addon.share(0, workerData.fd); const [key, value] = [Buffer.alloc(4, 1), Buffer.alloc(8, 2)];' +
        'addon.mapPut(map, key, value, 0); parentPort.postMessage(addon.mapGet(map, Buffer.alloc(4, 7)));' + ending,
        { eval: true, execArgv: [], workerData: { addon: process.cwd() + "/build/l7egg.node", fd: map.fd } },
      );
      worker.on("error", (error) => assert.match(error.message, /on purpose/));
      const exited = new Promise((resolve) => worker.on("exit", resolve));
      map.put(Buffer.alloc(4, 7), Buffer.alloc(8, 9));
      assert.deepEqual(Buffer.from(await new Promise((resolve) => worker.once("message", resolve))), Buffer.alloc(8, 9));
      if (ending.startsWith("for")) await worker.terminate();
      await exited;
      assert.deepEqual(map.get(Buffer.alloc(4, 1)), Buffer.alloc(8, 2));
      assert.ok(map.delete(Buffer.alloc(4, 1)));
      assert.ok(fds() <= before, ending + ": " + fds() + " descriptors, before " + before);
    }
    const shared = native.shareMap(map.fd);
    assert.deepEqual([shared.name, shared.type, shared.maxEntries], [map.name, map.type, map.maxEntries]);
    map.close();
    assert.deepEqual(shared.get(Buffer.alloc(4, 7)), Buffer.alloc(8, 9));
    shared.close();
    assert.throws(() => native.shareMap(object.program("emit").fd), { name: "SystemError", code: "EINVAL" });
    assert.throws(() => native.shareMap(9_999), { name: "SystemError", code: "EBADF" });
    for (const wrong of [1, -1, 1.5, "3", undefined]) assert.throws(() => native.shareMap(wrong), /fd must be/);
    `,
    { env: { FIXTURE: path } },
  );
});
