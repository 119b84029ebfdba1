import assert from "node:assert/strict";
import { test } from "node:test";

import { binding } from "../../src/native/binding.js";
import type { Handle } from "../../src/native/binding.js";
import { compile, namespace, succeeds } from "./place.js";

const path = compile("fixture");
const inside = namespace();

test("a handle opens only what it is a handle of", () => {
  const addon = binding();
  const object = addon.loadObject(path, [], []);
  const map = addon.objectMap(object, "hash");
  const program = addon.objectProgram(object, "emit");
  const sender = addon.rawOpen(0);
  const wrong = (call: () => unknown, message: RegExp): void => assert.throws(call, { name: "TypeError", message });
  wrong(() => addon.mapGet(program, Buffer.alloc(4)), /not a handle of a BPF map but of a BPF program/);
  wrong(() => addon.programInfo(map), /not a handle of a BPF program but of a BPF map/);
  wrong(() => addon.linkInfo(map), /not a handle of a BPF link/);
  wrong(() => addon.mapInfo(object), /not a handle of a BPF map/);
  wrong(() => addon.objectMap(map, "hash"), /not a handle of a BPF object/);
  wrong(() => addon.queueStats(map), /not a handle of a queue/);
  wrong(() => addon.rawSend(object, Buffer.alloc(40, 0x45), 0), /not a handle of a raw sender/);
  wrong(() => addon.ringbufClose(sender), /not a handle of a ring buffer/);
  for (const fake of [
    undefined,
    null,
    1,
    "handle",
    {},
    [],
    Object.create(map),
    new Proxy(map, {}),
    structuredClone(map),
  ]) {
    wrong(() => addon.mapInfo(fake as Handle), /not a handle of a BPF map/);
  }
});

test("a callback that is no function is an exception, before anything is opened", () => {
  const addon = binding();
  const object = addon.loadObject(path, [], []);
  const ring = addon.objectMap(object, "ring");
  for (const wrong of [undefined, null, 1, "f", {}, Symbol("f")]) {
    const callback = wrong as () => void;
    assert.throws(() => addon.ringbufOpen(ring, 8, callback), { name: "TypeError", message: /onRecords.*function/ });
    assert.throws(() => addon.queueOpen(4, 1000, 10, false, true, 1 << 16, 8, callback), {
      name: "TypeError",
      message: /onBatch.*function/,
    });
  }
});

test("a throwing log handler is an exception like any other", () => {
  const addon = binding();
  addon.setLog(() => {
    throw new Error("from the log");
  });
  assert.throws(() => addon.loadObject("/nowhere.o", [], []), /from the log/);
  addon.setLog(undefined);
});

test("garbage for arguments is an exception, never a crash", async () => {
  const out = await succeeds(
    `
    const addon = binding();
    const object = addon.loadObject(process.env.FIXTURE, [], []);
    const open = addon.queueOpen(3, 1000, 10, false, true, 1 << 16, 8, () => {});
    const handles = [object, addon.objectMap(object, "hash"), addon.objectMap(object, "ring"), addon.objectMap(object, "percpu"),
      addon.objectProgram(object, "emit"), addon.rawOpen(0), open.handle];
    const values = [undefined, null, true, 0, 1, -1, 4, 5, 0.5, NaN, Infinity, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53, 10n, Symbol("s"), "", "hash", "emit",
      "x".repeat(5000), "a\\0b", "\\ud800", {}, [], ["hash", 5], ["hash", handles[1]], ["ring", -1], [1, 2, 3], new Uint8Array(0), new Uint8Array(4), new Uint8Array(8),
      Buffer.alloc(64), Buffer.alloc(40, 0x45), Buffer.alloc(48, 0x60), new Uint16Array(4), new Uint32Array(4), new ArrayBuffer(8), new DataView(new ArrayBuffer(8)), () => {}, () => { throw 1; },
      process.env.FIXTURE, new Date(), new Proxy({}, {})];
    const detached = new Uint8Array(8);
    structuredClone(detached, { transfer: [detached.buffer] });
    values.push(detached);
    // closeFd would close the test's own descriptors, setErrorClass take the errors away.
    const names = Object.keys(addon).filter((name) => !["closeFd", "setErrorClass"].includes(name));
    let seed = 12345, calls = 0, errors = 0;
    const random = (n) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % n;
    const opened = [];
    for (let i = 0; i < 30000; i++) {
      const name = names[random(names.length)];
      const args = Array.from({ length: random(10) }, (_, at) => {
        const pool = (at === 0 && random(4) > 0) || random(8) === 0 ? handles : values;
        return pool[random(pool.length)];
      });
      if (/[cC]lose$/.test(name) && random(50) > 0) continue;
      // Nothing of 4 GB: packed buffers can't be, a queue's options are bounded.
      calls++;
      try {
        const result = addon[name](...args);
        if (result && typeof result === "object") opened.push(result.handle ?? result);
      } catch (error) {
        errors++;
      }
      // Every page that is shared with JavaScript can be written by it.
      if (i % 100 === 0) {
        new Uint32Array(open.memory.buffer, open.memory.byteOffset, 2000).forEach((_, at, words) => (words[at] = random(2 ** 32)));
        try { addon.queueFlush(open.handle); } catch {}
      }
    }
    console.log(calls, errors);
    process.exit(0);
    `,
    { in: inside, env: { FIXTURE: path } },
  );
  const [calls, errors] = out.trim().split(" ").map(Number);
  assert.ok(calls! > 20000 && errors! > calls! / 2, out);
});
