import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { native } from "../../src/native/index.js";
import type { Namespace } from "./place.js";
import { child, namespace, succeeds } from "./place.js";

const inside = namespace();
inside.run("ip", "link", "set", "lo", "mtu", "1500");
inside.run("ip", "addr", "add", "fd00::1/128", "dev", "lo", "nodad");
const queued = (queue: number, ...match: string[]): string[] => [
  "-A",
  "OUTPUT",
  ...match,
  "-j",
  "NFQUEUE",
  "--queue-num",
  String(queue),
];
// One port and one queue for each test; mangle, so that the filter table sees the mark that a verdict sets.
inside.run("iptables", "-t", "mangle", ...queued(1, "-p", "udp", "--dport", "9001"));
inside.run("iptables", "-t", "mangle", ...queued(2, "-p", "tcp", "--dport", "9002"));
inside.run("iptables", "-t", "mangle", ...queued(3, "-p", "udp", "--dport", "9003"));
inside.run("ip6tables", "-t", "mangle", ...queued(1, "-p", "udp", "--dport", "9001"));
for (const mark of ["0x0", "0x30", "0x80000010"])
  inside.run("iptables", "-A", "OUTPUT", "-p", "udp", "--dport", "9001", "-m", "mark", "--mark", mark);

/** Packets that passed the rule of filter OUTPUT that matches this mark. */
function passed(mark: string): number {
  const rules = inside.run("iptables", "-nvxL", "OUTPUT").split("\n");
  const rule = rules.find((line) => line.endsWith(`mark match ${mark}`));
  assert.ok(rule, rules.join("\n"));
  return Number(rule.trim().split(/\s+/)[0]);
}

/** In a child: a socket that hears, and a sender that needs no event loop. */
const setUp = `
  import dgram from "node:dgram";
  const heard = [];
  const listen = async (port, type = "udp4") => {
    const socket = dgram.createSocket({ type, ipv6Only: type === "udp6" }).on("message", (bytes) => heard.push(bytes.toString()));
    await new Promise((resolve) => socket.bind(port, resolve));
    return socket;
  };
  const until = async (condition) => {
    for (let i = 0; i < 500 && !condition(); i++) await sleep(10);
    assert.ok(condition(), "did not happen: " + condition);
  };
  const sender = native.openRawSender();
  const { readFileSync } = await import("node:fs");
  // Packets that wait in the kernel for a verdict (third column of the kernel's table).
  const waiting = (queue) => Number(readFileSync("/proc/thread-self/net/netfilter/nfnetlink_queue", "utf8").split("\\n")
    .map((line) => line.trim().split(/ +/)).find((words) => Number(words[0]) === queue)[2]);
  const ids = (count, meta) => Array.from({ length: count }, (_, i) => meta[i * META_STRIDE + Meta.id]);
`;
const inChild = (body: string, options: { in?: Namespace; node?: string[] } = {}) =>
  succeeds(setUp + body, { in: inside, ...options });

describe("NFQUEUE, real packets", () => {
  test("accept and drop, with the packet's bytes and meta", async () => {
    await inChild(`
      const socket = await listen(9001);
      const metas = [], bodies = [];
      const queue = native.openQueue({ queue: 1 }, (count, meta, data) => {
        for (let i = 0; i < count; i++) {
          const m = meta.slice(i * META_STRIDE, (i + 1) * META_STRIDE);
          const packet = data.subarray(m[Meta.offset], m[Meta.offset] + m[Meta.length]);
          metas.push(m);
          bodies.push(packet.toString("latin1", 28));
          queue.verdict(m[Meta.id], bodies.at(-1).startsWith("yes") ? "accept" : "drop");
        }
      });
      for (const text of ["yes1", "no", "yes2"]) sender.send(udp(9001, text));
      await until(() => heard.length === 2);
      assert.deepEqual(heard, ["yes1", "yes2"]);
      assert.deepEqual(bodies, ["yes1", "no", "yes2"]);
      const [m] = metas;
      assert.equal(m[Meta.hook], 3);
      assert.equal(m[Meta.ifindexIn], 0);
      assert.equal(m[Meta.ifindexOut], 1);
      assert.equal(m[Meta.length], 32);
      assert.equal(m[Meta.wireLength], 32);
      assert.equal(m[Meta.queue], 1);
      assert.equal(m[Meta.flags] & 8, 0, "no hardware address on a packet that is leaving");
      const stats = queue.stats();
      assert.equal(stats.packets, 3);
      assert.equal(stats.verdicts, 3);
      assert.ok(stats.batches >= 1 && stats.batches <= 3);
      assert.equal(stats.overruns + stats.verdictErrors + stats.queueDropped + stats.userDropped + stats.malformed, 0);
      queue.close();
      socket.close();
    `);
  });

  test("a verdict's mark is what the next table sees; without one the packet's own mark stays", async () => {
    const before = ["0x30", "0x80000010", "0x0"].map(passed);
    await inChild(`
      const socket = await listen(9001);
      const marks = [];
      const queue = native.openQueue({ queue: 1 }, (count, meta, data) => {
        for (let i = 0; i < count; i++) {
          const at = i * META_STRIDE;
          marks.push(meta[at + Meta.mark]);
          const kind = data[meta[at + Meta.offset] + 28];
          queue.verdict(meta[at], "accept", kind === 97 ? 0x30 : kind === 98 ? 0x80000010 : undefined);
        }
      });
      const marked = native.openRawSender(0x30);
      for (const text of ["a", "b", "b", "c"]) sender.send(udp(9001, text));
      marked.send(udp(9001, "d"));
      await until(() => heard.length === 5);
      assert.deepEqual(marks, [0, 0, 0, 0, 0x30]);
      queue.close();
      socket.close();
    `);
    const after = ["0x30", "0x80000010", "0x0"].map(passed);
    assert.deepEqual(
      after.map((count, i) => count - before[i]!),
      [2, 2, 1],
    );
  });

  test("a changed payload arrives, longer and shorter than the packet was; IPv6 too", async () => {
    await inChild(`
      const socket = await listen(9001), socket6 = await listen(9001, "udp6");
      const queue = native.openQueue({ queue: 1 }, (count, meta, data) => {
        for (let i = 0; i < count; i++) {
          const at = i * META_STRIDE;
          const packet = data.subarray(meta[at + Meta.offset], meta[at + Meta.offset] + meta[at + Meta.length]);
          if (packet[0] >> 4 === 6) { queue.verdict(meta[at], "accept"); heard.push("six " + packet.length); continue; }
          const text = packet[28] === 97 ? "a much longer payload than it was" : "s";
          const changed = udp(9001, text);
          changed.writeUInt16BE(sum(changed.subarray(0, 20)), 10);
          queue.verdict(meta[at], "accept", 0x30, changed);
          changed.fill(0); // it was copied
        }
      });
      sender.send(udp(9001, "a"));
      sender.send(udp(9001, "bbbbbbbbbbbbbbbb"));
      await until(() => heard.length === 2);
      assert.deepEqual(heard, ["a much longer payload than it was", "s"]);
      socket6.send("sixth", 9001, "fd00::1");
      await until(() => heard.length === 4);
      assert.deepEqual(heard.slice(2), ["six 53", "sixth"]);
      queue.close(); socket.close(); socket6.close();
    `);
  });

  test("copyRange cuts, and the length on the wire is told", async () => {
    await inChild(`
      let seen;
      const queue = native.openQueue({ queue: 1, copyRange: 40 }, (count, meta) => {
        seen = [meta[Meta.length], meta[Meta.wireLength]];
        for (const id of ids(count, meta)) queue.verdict(id, "drop");
      });
      sender.send(udp(9001, "x".repeat(500)));
      await until(() => seen);
      assert.deepEqual(seen, [40, 528]);
      queue.close();
    `);
  });

  test("GSO: TCP segments arrive as super-packets, whole, and the stream is intact", async () => {
    await inChild(`
      import net from "node:net";
      import { createHash, randomBytes } from "node:crypto";
      let longest = 0, gso = 0, unsummed = 0;
      const queue = native.openQueue({ queue: 2 }, (count, meta) => {
        for (let i = 0; i < count; i++) {
          const at = i * META_STRIDE;
          longest = Math.max(longest, meta[at + Meta.length]);
          assert.equal(meta[at + Meta.length], meta[at + Meta.wireLength]);
          if (meta[at + Meta.flags] & 2) gso++;
          if (meta[at + Meta.flags] & 1) unsummed++;
          queue.verdict(meta[at], "accept");
        }
      });
      const bytes = randomBytes(4 << 20), hash = createHash("sha256");
      let length = 0;
      const server = net.createServer((socket) => socket.on("data", (part) => { hash.update(part); length += part.length; }));
      await new Promise((resolve) => server.listen(9002, "127.0.0.1", resolve));
      const client = net.connect(9002, "127.0.0.1", () => client.end(bytes));
      await until(() => length === bytes.length);
      assert.equal(hash.digest("hex"), createHash("sha256").update(bytes).digest("hex"));
      assert.ok(longest > 3000, "longest packet on a link of MTU 1500: " + longest);
      assert.ok(gso > 0 && unsummed > 0, gso + " GSO, " + unsummed + " without checksum");
      assert.equal(queue.stats().malformed, 0);
      queue.close(); server.close();
    `);
  });

  test("gso: false: the kernel splits and finishes checksums", async () => {
    await inChild(`
      import net from "node:net";
      let longest = 0, flags = 0, length = 0;
      const queue = native.openQueue({ queue: 2, gso: false }, (count, meta) => {
        for (let i = 0; i < count; i++) {
          longest = Math.max(longest, meta[i * META_STRIDE + Meta.length]);
          flags |= meta[i * META_STRIDE + Meta.flags];
          queue.verdict(meta[i * META_STRIDE], "accept");
        }
      });
      const server = net.createServer((socket) => socket.on("data", (part) => (length += part.length)));
      await new Promise((resolve) => server.listen(9002, "127.0.0.1", resolve));
      const client = net.connect(9002, "127.0.0.1", () => client.end(Buffer.alloc(300000)));
      await until(() => length === 300000);
      assert.ok(longest <= 1500, "longest " + longest);
      assert.equal(flags & 3, 0);
      queue.close(); server.close();
    `);
  });

  test("a receive buffer that is too small: overruns and the kernel's drops are counted, and it goes on", async () => {
    await inChild(`
      const socket = await listen(9001);
      const queue = native.openQueue({ queue: 1, receiveBuffer: 1, batch: 8 }, (count, meta) => {
        for (const id of ids(count, meta)) queue.verdict(id, "accept");
      });
      for (let i = 0; i < 200; i++) sender.send(udp(9001, "x"));
      await until(() => queue.stats().overruns > 0);
      const { packets, userDropped } = queue.stats();
      assert.ok(userDropped > 100, "dropped " + userDropped);
      assert.equal(packets + userDropped, 200);
      const before = heard.length;
      sender.send(udp(9001, "last"));
      await until(() => heard.at(-1) === "last");
      queue.close(); socket.close();
    `);
  });

  test("a full queue drops, or lets pass with failOpen", async () => {
    await inChild(`
      const socket = await listen(9001);
      for (const failOpen of [false, true]) {
        heard.length = 0;
        const queue = native.openQueue({ queue: 1, maxLength: 5, failOpen }, () => {});
        for (let i = 0; i < 12; i++) sender.send(udp(9001, "x"));
        if (failOpen) await until(() => heard.length === 7);
        else await sleep(50);
        assert.equal(heard.length, failOpen ? 7 : 0);
        assert.equal(queue.stats().queueDropped, failOpen ? 0 : 7);
        queue.close();
        await sleep(0);
      }
      socket.close();
    `);
  });

  test("verdicts across batches: held packets are answered later, in any order, once; a second verdict is an error that is counted", async () => {
    await inChild(`
      const socket = await listen(9001);
      const held = [];
      const queue = native.openQueue({ queue: 1 }, (count, meta) => held.push(...ids(count, meta)));
      for (const text of ["1", "2", "3"]) sender.send(udp(9001, text));
      await until(() => held.length === 3);
      assert.deepEqual(heard, []);
      for (const id of [...held].reverse()) queue.verdict(id, "accept");
      queue.flush();
      await until(() => heard.length === 3);
      assert.deepEqual(heard, ["3", "2", "1"]);
      queue.verdict(held[0], "accept");
      queue.flush();
      await until(() => queue.stats().verdictErrors === 1);
      queue.close(); socket.close();
    `);
  });

  test("a verdict is one packet's, not that of others that wait: nothing older is taken along, in the batch or from before", async () => {
    await inChild(`
      const socket = await listen(9001);
      let batches = [], hold = [];
      const queue = native.openQueue({ queue: 1 }, (count, meta) => {
        const all = ids(count, meta);
        batches.push(count);
        for (const [i, id] of all.entries()) if (!hold.includes(i)) queue.verdict(id, "accept");
        held.push(...all.filter((_, i) => hold.includes(i)));
      });
      const held = [];
      const round = async (texts, holding) => {
        [batches, hold, heard.length] = [[], holding, 0];
        for (const text of texts) sender.send(udp(9001, text));
        await until(() => batches.length > 0 && heard.length === texts.length - holding.length);
        await sleep(20);
        assert.deepEqual(batches, [texts.length]);
        assert.deepEqual(heard, texts.filter((_, i) => !holding.includes(i)));
        assert.equal(waiting(1), held.length);
      };
      await round(["a", "b", "c", "d"], []);
      await round(["a", "b", "c", "d"], [1]);
      await round(["e", "f", "g"], []);
      queue.verdict(held.pop(), "accept");
      queue.flush();
      await until(() => heard.at(-1) === "b");
      await round(["h", "i", "j"], [0]);
      queue.verdict(held.pop(), "drop");
      await round(["k", "l", "m"], [2]);
      queue.verdict(held.pop(), "accept");
      queue.flush();
      await until(() => heard.at(-1) === "m");
      assert.equal(queue.stats().verdictErrors, 0);
      queue.close(); socket.close();
    `);
  });

  test("any order and any mix of verdicts, marks, changed bytes and held packets: each packet gets its own verdict, once", async () => {
    const before = ["0x30", "0x80000010", "0x0"].map(passed);
    const said = await inChild(`
      const socket = await listen(9001);
      socket.setRecvBufferSize(1 << 24);
      let seed = 0x2545f491;
      const random = (below) => { seed ^= seed << 13; seed ^= seed >>> 17; seed ^= seed << 5; return (seed >>> 0) % below; };
      const marks = [undefined, 0x30, 0x80000010];
      const wanted = [], passes = [0, 0, 0], held = [];
      let judged = 0, run = 0, kind = 0;
      const changedBytes = (text) => {
        const changed = udp(9001, text);
        changed.writeUInt16BE(sum(changed.subarray(0, 20)), 10);
        return changed;
      };
      const judge = (queue, { id, text }) => {
        // Runs of one kind, as a gateway's verdicts are.
        if (run-- <= 0) [run, kind] = [random(12), random(8)];
        judged++;
        if (kind < 2) return queue.verdict(id, "drop", kind ? 0x30 : undefined);
        const mark = random(10) ? kind % 3 : random(3);
        passes[mark]++;
        const changed = random(6) === 0 || (mark === 1 && random(2) === 0);
        wanted.push(changed ? "changed " + text : text);
        queue.verdict(id, "accept", marks[mark], changed ? changedBytes("changed " + text) : undefined);
      };
      const queue = native.openQueue({ queue: 1, batch: 64 }, (count, meta, data) => {
        const packets = Array.from({ length: count }, (_, i) => {
          const at = i * META_STRIDE, from = meta[at + Meta.offset];
          return { id: meta[at], text: Buffer.from(data.subarray(from + 28, from + meta[at + Meta.length])).toString() };
        });
        if (random(4) === 0) packets.reverse();
        for (const packet of packets) random(60) ? judge(queue, packet) : held.push(packet);
        while (held.length > 0 && random(3) === 0) judge(queue, held.splice(random(held.length), 1)[0]);
        if (random(5) === 0) queue.flush();
      });
      const total = 6000;
      for (let i = 0; i < total; ) {
        for (let n = random(200) + 1; n > 0 && i < total; n--) sender.send(udp(9001, String(i++)));
        await sleep(0);
      }
      await until(() => judged + held.length === total);
      assert.ok(held.length > 0, "some are held at the end");
      while (held.length > 0) judge(queue, held.splice(random(held.length), 1)[0]);
      queue.flush();
      await until(() => heard.length >= wanted.length);
      await sleep(50);
      assert.deepEqual(heard, wanted);
      assert.equal(waiting(1), 0);
      assert.equal(queue.stats().verdictErrors, 0);
      assert.equal(queue.stats().verdicts, total);
      queue.close(); socket.close();
      console.log(JSON.stringify(passes));
    `);
    const [unmarked, ...marked] = JSON.parse(said.trim().split("\n").at(-1)!) as number[];
    const after = ["0x30", "0x80000010", "0x0"].map(passed);
    assert.deepEqual(
      after.map((count, i) => count - before[i]!),
      [...marked, unmarked],
    );
  });

  test("more verdicts and more changed bytes than the pending list holds: sent in between, none lost", async () => {
    await inChild(`
      const socket = await listen(9001);
      socket.setRecvBufferSize(1 << 24);
      const held = [];
      const queue = native.openQueue({ queue: 1 }, (count, meta) => held.push(...ids(count, meta)));
      for (let i = 0; i < 2500; i++) { sender.send(udp(9001, "x")); if (i % 100 === 0) await sleep(0); }
      await until(() => held.length === 2500);
      const changed = udp(9001, "y".repeat(1400));
      changed.writeUInt16BE(sum(changed.subarray(0, 20)), 10);
      let n = 0;
      for (const id of held) { queue.verdict(id, "accept", undefined, n % 2 ? changed : undefined); if (++n % 200 === 0) await sleep(1); }
      queue.flush();
      await until(() => heard.length === 2500);
      assert.equal(heard.filter((text) => text.length === 1400).length, 1250);
      assert.equal(queue.stats().verdictErrors, 0);
      queue.close(); socket.close();
    `);
  });

  test("a handler that throws: the exception is uncaught, what it left of the batch is dropped, what it answered stands, later batches come", async () => {
    await inChild(`
      const socket = await listen(9001);
      const errors = [], held = [];
      process.on("uncaughtException", (error) => errors.push(error.message));
      let batches = 0;
      const queue = native.openQueue({ queue: 1 }, (count, meta) => {
        batches++;
        if (batches === 1) { held.push(...ids(count, meta)); return; }
        if (batches === 2) {
          assert.equal(count, 4);
          queue.verdict(meta[0], "accept");
          queue.verdict(meta[2 * META_STRIDE], "accept");
          queue.verdict(held[0], "accept");
          throw new Error("on purpose");
        }
        for (const id of ids(count, meta)) queue.verdict(id, "accept");
      });
      sender.send(udp(9001, "held")); sender.send(udp(9001, "still held"));
      await until(() => held.length === 2);
      for (const text of ["1", "2", "3", "4"]) sender.send(udp(9001, text));
      await until(() => errors.length === 1);
      sender.send(udp(9001, "after"));
      await until(() => heard.includes("after"));
      assert.deepEqual(heard, ["1", "3", "held", "after"]);
      assert.deepEqual(errors, ["on purpose"]);
      assert.equal(waiting(1), 1, "only what the handler holds on purpose waits");
      assert.equal(queue.stats().verdictErrors, 0);
      queue.verdict(held[1], "accept");
      queue.flush();
      await until(() => heard.at(-1) === "still held");
      queue.close(); socket.close();
    `);
  });

  test("a turn of the event loop has a bound: other work comes in between 16 batches", async () => {
    await inChild(`
      let packets = 0;
      const steps = [];
      const queue = native.openQueue({ queue: 3, batch: 4 }, (count, meta) => {
        packets += count;
        for (const id of ids(count, meta)) queue.verdict(id, "drop");
      });
      for (let i = 0; i < 1000; i++) sender.send(udp(9003, "x"));
      assert.equal(waiting(3), 1000);
      const tick = () => { steps.push(packets); if (packets < 1000 && steps.length < 10000) setImmediate(tick); };
      setImmediate(tick);
      await until(() => packets === 1000);
      const jumps = steps.map((count, i) => count - (steps[i - 1] ?? 0));
      assert.ok(Math.max(...jumps) <= 64, "packets a turn: " + jumps);
      assert.equal(waiting(3), 0);
      queue.close();
    `);
  });

  test("many packets a turn: it waits a moment for more; one at a time, nobody waits", async () => {
    await inChild(`
      let packets = 0;
      const queue = native.openQueue({ queue: 3, batch: 4 }, (count, meta) => {
        packets += count;
        for (const id of ids(count, meta)) queue.verdict(id, "drop");
      });
      for (let i = 1; i <= 50; i++) {
        sender.send(udp(9003, "x"));
        while (packets < i) await new Promise(setImmediate);
      }
      assert.equal(queue.stats().gathered, 0);
      // Turns of 64 packets each, one upon the other.
      for (let i = 0; i < 1000; i++) sender.send(udp(9003, "x"));
      await until(() => packets === 1050);
      const { gathered } = queue.stats();
      assert.ok(gathered > 0, "no turn waited");
      queue.close();
    `);
  });

  test("the event loop breathes under a flood, and nothing is lost", async () => {
    await inChild(`
      import { Worker } from "node:worker_threads";
      let ticks = 0, packets = 0, sent = -1;
      const queue = native.openQueue({ queue: 3, maxLength: 65535, receiveBuffer: 64 << 20 }, (count, meta) => {
        packets += count;
        for (let i = 0; i < count; i++) queue.verdict(meta[i * META_STRIDE], "drop");
      });
      const timer = setInterval(() => ticks++, 5);
      const flood = new Worker(
        'const { parentPort, workerData } = require("node:worker_threads"); const addon = require(workerData.addon);' +
        'const sender = addon.rawOpen(0); const end = Date.now() + 600; let n = 0;' +
        // EAGAIN: all of the sender's buffer waits in the queue.
        'while (Date.now() < end) { try { addon.rawSend(sender, workerData.packet, 0); n++; } catch {} } parentPort.postMessage(n);',
        { eval: true, execArgv: [], workerData: { addon: process.cwd() + "/build/l7egg.node", packet: new Uint8Array(udp(9003, "x")) } },
      );
      flood.on("message", (n) => (sent = n)).on("error", (error) => { throw error; });
      await until(() => sent >= 0);
      assert.ok(ticks >= 10, ticks + " ticks of the timer");
      await until(() => packets === sent);
      assert.ok(sent > 2000, sent + " packets");
      clearInterval(timer);
      queue.close();
    `);
  });

  test("a queue that another process holds is EBUSY and says whose; without privilege it is EPERM", async () => {
    await inChild(`
      const queue = native.openQueue({ queue: 7 }, () => {});
      import { spawnSync } from "node:child_process";
      assert.throws(() => native.openQueue({ queue: 7 }, () => {}), { code: "EBUSY", operation: "bind NFQUEUE", detail: /queue 7 is held by netlink port \\d+/ });
      const other = native.openQueue({ queue: 8 }, () => {});
      other.close();
      queue.close();
      const again = native.openQueue({ queue: 7 }, () => {});
      again.close();
    `);
    const holder = child(
      `native.openQueue({ queue: 9 }, () => {}); console.log("held"); await sleep(3000); process.exit(0);`,
      { in: inside },
    );
    for (
      let i = 0;
      i < 200 && !inside.run("cat", "/proc/thread-self/net/netfilter/nfnetlink_queue").match(/^ *9 /m);
      i++
    ) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await inChild(`assert.throws(() => native.openQueue({ queue: 9 }, () => {}), { code: "EBUSY" });`);
    assert.equal((await holder).code, 0);
    await inChild(
      `native.probe(); process.setuid(65534); assert.throws(() => native.openQueue({ queue: 7 }, () => {}), { code: "EPERM" });`,
    );
  });
});

test("bad options are refused before a socket is opened", () => {
  const handler = (): void => {};
  for (const [options, message] of [
    [{ queue: 65536 }, /RangeError: queue must be an integer from 0 to 65535, not 65536/],
    [{ queue: 1.5 }, /RangeError: queue/],
    [{ queue: "1" }, /TypeError: queue must be a number, not string/],
    [{ queue: 1, copyRange: 65532 }, /RangeError: copyRange/],
    [{ queue: 1, maxLength: 0 }, /RangeError: maxLength/],
    [{ queue: 1, batch: 1025 }, /RangeError: batch/],
    [{ queue: 1, gso: 1 }, /TypeError: gso must be a boolean/],
    [{ queue: 1, receiveBuffer: 2 ** 40 }, /RangeError: receiveBuffer/],
    [null, /TypeError: options must be an object, not null/],
  ] as const) {
    assert.throws(() => native.openQueue(options as never, handler), message);
  }
  assert.throws(
    () => native.openQueue({ queue: 1 }, undefined as never),
    /TypeError: handler must be a function, not undefined/,
  );
});
