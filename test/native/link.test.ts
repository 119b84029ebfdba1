import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";

import { native } from "../../src/native/index.js";
import { bpffs, compile, namespace, run, succeeds } from "./place.js";

const path = compile("fixture");
const pins = bpffs();
const inside = namespace();
const env = { FIXTURE: path, PINS: pins };

/** In a child: the fixture with `counts` read as numbers, loopback's index (1 in every namespace), and packets to a closed port. */
const setUp = `
  const object = native.loadObject({ path: process.env.FIXTURE });
  const [one, two, counts] = [object.program("count_one"), object.program("count_two"), object.map("counts")];
  const seen = () => { const { values } = counts.entries(); return [0, 8].map((at) => Number(values.readBigUInt64LE(at))); };
  const sender = native.openRawSender();
  const send = (n) => { for (let i = 0; i < n; i++) sender.send(udp(9, "x")); };
  const lo = 1;
`;

describe("TCX", () => {
  test("attach, info, close: the program runs while the link is open, at its point", async () => {
    await succeeds(
      `${setUp}
      const link = native.attachTcx(one, lo, "ingress");
      assert.deepEqual(link.info(), { id: link.info().id, programId: one.id, ifindex: lo, attachType: "ingress" });
      send(3);
      const sent = seen()[0];
      assert.ok(sent >= 3, "UDP and the ICMP answers");
      const out = native.attachTcx(two, lo, "egress");
      assert.equal(out.info().attachType, "egress");
      link.close();
      link.close();
      send(3);
      assert.equal(seen()[0], sent);
      assert.ok(seen()[1] >= 3);
      assert.throws(() => link.info(), { message: "BPF link is closed" });
      `,
      { in: inside, env },
    );
  });

  test("other people's programs on the same interface keep running: a TCX link and a clsact filter", async () => {
    const foreign = join(pins, "foreign");
    const object = native.loadObject({ path });
    object.program("count_two").pin(foreign);
    const counts = object.map("counts");
    const total = (): bigint => counts.get(Buffer.from([1, 0, 0, 0]))!.readBigUInt64LE();
    inside.run("tc", "qdisc", "add", "dev", "lo", "clsact");
    inside.run(
      "tc",
      "filter",
      "add",
      "dev",
      "lo",
      "ingress",
      "prio",
      "7",
      "handle",
      "1",
      "bpf",
      "da",
      "object-pinned",
      foreign,
    );
    await succeeds(
      `${setUp}
      const other = native.attachTcx(two, lo, "ingress");
      const link = native.attachTcx(one, lo, "ingress");
      send(5);
      const [a, b] = seen();
      assert.ok(a >= 5);
      assert.equal(a, b);
      link.close();
      send(5);
      assert.equal(seen()[0], a);
      assert.ok(seen()[1] >= b + 5);
      `,
      { in: inside, env },
    );
    assert.ok(total() >= 10n, "the filter that was there ran for each packet");
    inside.run("tc", "qdisc", "del", "dev", "lo", "clsact");
    object.close();
  });

  test("update swaps without a gap: under a flood each packet is counted by exactly one of two programs", async () => {
    await succeeds(
      `${setUp}
      import { Worker } from "node:worker_threads";
      const link = native.attachTcx(one, lo, "egress");
      const total = 60000;
      const flood = new Worker(
        'const { createRequire } = require("node:module"); const { workerData } = require("node:worker_threads");' +
        'const addon = require(workerData.addon); const sender = addon.rawOpen(0);' +
        'for (let i = 0; i < workerData.total; i++) addon.rawSend(sender, workerData.packet, 0);',
        { eval: true, execArgv: [], workerData: { addon: process.cwd() + "/build/l7egg.node", total, packet: new Uint8Array(udp(9, "x")) } },
      );
      let running = true, swaps = 0;
      flood.on("exit", () => (running = false));
      flood.on("error", (error) => { throw error; });
      while (running) { link.update(swaps++ % 2 ? one : two); await sleep(0); }
      const [a, b] = seen();
      assert.ok(swaps > 20 && a > 0 && b > 0, swaps + " swaps, " + a + " and " + b);
      assert.equal(a + b, total);
      `,
      { in: quiet(), env },
    );
  });

  test("a pinned link survives its process; opened again, it can be updated, and detached for good", async () => {
    const pinned = join(pins, "link");
    await succeeds(
      `${setUp}
      native.attachTcx(one, lo, "ingress").pin(process.env.PINS + "/link");
      counts.pin(process.env.PINS + "/counts");
      `,
      { in: inside, env },
    );
    await succeeds(
      `const reuse = { counts: native.openPinnedMap(process.env.PINS + "/counts") };
      const link = native.openPinnedLink(process.env.PINS + "/link");
      ${setUp.replace("path: process.env.FIXTURE", "path: process.env.FIXTURE, reuse")}
      send(4);
      const before = seen();
      assert.ok(before[0] >= 4 && before[1] === 0, String(before));
      link.update(two);
      assert.equal(link.info().programId, two.id);
      send(4);
      assert.equal(seen()[0], before[0]);
      assert.ok(seen()[1] >= 4);
      link.detach();
      const after = seen();
      send(4);
      assert.deepEqual(seen(), after);
      assert.equal(link.info().ifindex, 0);
      `,
      { in: inside, env },
    );
    assert.throws(() => native.openPinnedMap(pinned), /another kind/);
    run("rm", pinned, join(pins, "counts"));
  });

  test("errors name what is wrong", () => {
    const object = native.loadObject({ path });
    const program = object.program("count_one");
    assert.throws(() => native.attachTcx(program, 0x7ffffff0, "ingress"), { code: "ENODEV", operation: "attach TCX" });
    assert.throws(() => native.attachTcx(program, 0, "ingress"), /RangeError: ifindex/);
    assert.throws(() => native.attachTcx(program, 1, "sideways" as "ingress"), /point must be one of ingress, egress/);
    assert.throws(
      () => native.attachTcx(object.map("hash") as never, 1, "ingress"),
      /TypeError: program must be a BpfProgram/,
    );
    program.close();
    assert.throws(() => native.attachTcx(program, 1, "ingress"), { message: "BPF program is closed" });
    object.close();
  });
});

describe("clsact", () => {
  const filters = (): string => inside.run("tc", "filter", "show", "dev", "lo", "ingress");
  const qdisc = (): string => inside.run("tc", "qdisc", "show", "dev", "lo");

  test("attach makes the qdisc, attaching again replaces, detach removes both", async () => {
    await succeeds(
      `${setUp}
      native.attachClsact(one, lo, "ingress", 0xe66, 100);
      native.attachClsact(one, lo, "egress", 0xe66, 100);
      send(3);
      const [a] = seen();
      assert.ok(a >= 6, "both ways");
      native.attachClsact(two, lo, "ingress", 0xe66, 100);
      native.attachClsact(two, lo, "egress", 0xe66, 100);
      send(3);
      assert.equal(seen()[0], a);
      assert.ok(seen()[1] >= 6);
      `,
      { in: inside, env },
    );
    assert.match(filters(), /pref 100 bpf .*handle 0xe66 l7egg direct-action/);
    await succeeds(
      `assert.equal(native.detachClsact(1, "ingress", 0xe66, 100), true);
      assert.equal(native.detachClsact(1, "ingress", 0xe66, 100), false);`,
      { in: inside, env },
    );
    assert.match(qdisc(), /clsact/, "the egress filter still needs it");
    await succeeds(`assert.equal(native.detachClsact(1, "egress", 0xe66, 100), true);`, { in: inside, env });
    assert.doesNotMatch(qdisc(), /clsact/);
    await succeeds(`assert.equal(native.detachClsact(1, "egress", 0xe66, 100), false);`, { in: inside, env });
  });

  test("foreign filters stay: another priority, another handle of the same priority", async () => {
    const program = join(pins, "stranger");
    const object = native.loadObject({ path });
    object.program("count_two").pin(program);
    inside.run("tc", "qdisc", "add", "dev", "lo", "clsact");
    for (const [prio, handle] of [
      ["7", "0xe66"],
      ["100", "0xe65"],
    ] as const) {
      inside.run(
        "tc",
        "filter",
        "add",
        "dev",
        "lo",
        "ingress",
        "prio",
        prio,
        "handle",
        handle,
        "bpf",
        "da",
        "object-pinned",
        program,
      );
    }
    await succeeds(
      `${setUp}
      native.attachClsact(one, lo, "ingress", 0xe66, 100);
      send(2);
      assert.ok(seen()[0] >= 2);
      assert.equal(native.detachClsact(lo, "ingress", 0xe66, 100), true);
      assert.equal(native.detachClsact(lo, "ingress", 0xe66, 100), false);
      `,
      { in: inside, env },
    );
    const left = filters();
    assert.match(left, /pref 7 bpf .*handle 0xe66/);
    assert.match(left, /pref 100 bpf .*handle 0xe65/);
    assert.doesNotMatch(left, /pref 100 bpf .*handle 0xe66/);
    assert.match(qdisc(), /clsact/);
    inside.run("tc", "qdisc", "del", "dev", "lo", "clsact");
    object.close();
  });

  test("an ingress qdisc in the way of egress is an error that says so: there the filter would run at ingress", async () => {
    inside.run("tc", "qdisc", "add", "dev", "lo", "ingress");
    await succeeds(
      `${setUp}
      assert.throws(() => native.attachClsact(one, lo, "egress", 1, 1), { code: "EBUSY", detail: /ingress qdisc/ });
      native.attachClsact(one, lo, "ingress", 1, 1);
      send(2);
      assert.ok(seen()[0] >= 2);
      assert.equal(native.detachClsact(lo, "ingress", 1, 1), true);
      `,
      { in: inside, env },
    );
    assert.match(qdisc(), /ingress/, "not ours, so it stays");
    inside.run("tc", "qdisc", "del", "dev", "lo", "ingress");
  });

  test("the kernel's own message is in the error", async () => {
    const program = join(pins, "ip-only");
    const object = native.loadObject({ path });
    object.program("count_two").pin(program);
    inside.run("tc", "qdisc", "add", "dev", "lo", "clsact");
    const filter = ["dev", "lo", "ingress", "protocol", "ip", "prio", "5", "handle", "1"];
    inside.run("tc", "filter", "add", ...filter, "bpf", "da", "object-pinned", program);
    const out = await succeeds(
      `${setUp}
      assert.throws(() => native.attachClsact(one, 0x7ffffff0, "egress", 1, 1), { code: "ENODEV" });
      // Priority 5 belongs to a filter of another protocol.
      assert.equal(native.detachClsact(lo, "ingress", 1, 5), false);
      try { native.attachClsact(one, lo, "ingress", 1, 5); } catch (error) { console.log(error.message); }
      `,
      { in: inside, env },
    );
    assert.match(out, /add clsact filter: .*[Pp]rotocol.*priority.* \(E[A-Z]+\)/);
    assert.match(filters(), /protocol ip pref 5 bpf .*handle 0x1/);
    inside.run("tc", "qdisc", "del", "dev", "lo", "clsact");
    object.close();
  });
});

/** A namespace where packets to loopback are neither delivered nor answered. */
function quiet(): ReturnType<typeof namespace> {
  const place = namespace();
  place.run("iptables", "-A", "INPUT", "-j", "DROP");
  return place;
}
