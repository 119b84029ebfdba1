/** One promise: exactly one verdict for each packet, whatever the engine does. The queues are fakes that count. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Reason, Verdict, encodeEvent } from "../../src/core/abi.generated.js";
import type { Command, DecisionCommand, LearnCommand } from "../../src/core/engine/commands.js";
import type { ClientId, Event, PacketEvent, PacketId } from "../../src/core/engine/events.js";
import type { Addr } from "../../src/core/net/address.js";
import type { GovernedInterface } from "../../src/edge/clients.js";
import type { RunnerOptions } from "../../src/edge/runner.js";
import { Runner } from "../../src/edge/runner.js";
import type { Queue } from "../../src/native/types.js";
import { META_STRIDE, Meta } from "../../src/native/types.js";

interface Verdicted {
  id: number;
  action: string;
  mark: number | undefined;
  bytes: Uint8Array | undefined;
}

/** Everything that happens, in order. */
class Bench {
  readonly trace: string[] = [];
  readonly verdicts: Verdicted[] = [];
  readonly events: Event[] = [];
  readonly failures: string[] = [];
  readonly decisions: DecisionCommand[] = [];
  now = 1000;
  deadline: number | undefined = undefined;
  answer: (event: Event, out: { push(...commands: Command[]): void }) => void = () => {};
  readonly runner: Runner;
  readonly queue: Queue;

  constructor(options: Partial<RunnerOptions> = {}) {
    this.queue = {
      queue: 0,
      verdict: (id, action, mark, bytes) => {
        this.trace.push(`verdict ${id} ${action}`);
        this.verdicts.push({ id, action, mark, bytes });
      },
      flush: () => this.trace.push("flush"),
      stats: () => assert.fail("not asked"),
      close: () => {},
    };
    const lan: GovernedInterface = { ifindex: 4, policy: 7, clientBy: 0, l3: false };
    this.runner = new Runner({
      engine: {
        handle: (event, _now, out) => {
          this.events.push(event.type === "packet" ? { ...event, bytes: Buffer.from(event.bytes) } : event);
          this.answer(event, { push: (...commands) => commands.forEach((command) => out.push(command)) });
        },
        nextDeadline: () => this.deadline,
      },
      maps: {
        learn: (command) => this.trace.push(`learn ${command.name}`),
        forget: (command) => this.trace.push(`forget ${command.name}`),
      },
      flows: {
        put: (command, now) => this.trace.push(`flowPut ${command.verdict} ${now}`),
        flush: () => this.trace.push("flows flush"),
        lookAhead: (from, to) => this.trace.push(`lookAhead ${from} ${to}`),
      },
      questions: {
        allow: (command) => this.trace.push(`allowQuestion ${command.name}`),
        answered: (command) => this.trace.push(`answered ${command.key.id}`),
      },
      journal: {
        append: (entry) => this.trace.push(`journal ${entry.name}`),
        flush: () => this.trace.push("journal flush"),
      },
      interfaces: new Map([[4, lan]]),
      mark: { mask: 0x30, shift: 4 },
      failMode: "closed",
      send: (packet) => this.trace.push(`send ${packet.length}`),
      decided: (decision) => this.decisions.push(decision),
      failed: (message) => this.failures.push(message),
      now: () => this.now,
      ...options,
    });
    this.runner.start(this.queue);
  }

  packets(
    ...packets: { id: number; hook?: number; mark?: number; ifindexIn?: number; flags?: number; bytes?: Buffer }[]
  ): void {
    const meta = new Uint32Array(packets.length * META_STRIDE);
    const parts: Buffer[] = [];
    let offset = 0;
    packets.forEach((packet, i) => {
      const at = i * META_STRIDE;
      const bytes = packet.bytes ?? Buffer.from("4500", "hex");
      meta[at + Meta.id] = packet.id;
      meta[at + Meta.hook] = packet.hook ?? 2;
      meta[at + Meta.mark] = packet.mark ?? 0x10;
      meta[at + Meta.ifindexIn] = packet.ifindexIn ?? 4;
      meta[at + Meta.ifindexOut] = 9;
      meta[at + Meta.offset] = offset;
      meta[at + Meta.length] = bytes.length;
      meta[at + Meta.wireLength] = 1500;
      meta[at + Meta.flags] = packet.flags ?? 8;
      meta[at + Meta.mac0] = 0x04030201;
      meta[at + Meta.mac1] = 0x0605;
      parts.push(bytes);
      offset += bytes.length;
    });
    this.runner.onBatch(packets.length, meta, Buffer.concat(parts));
  }
}

/** As the queue gives them. */
function packetId(kernel: number): PacketId {
  return kernel as PacketId;
}

function accept(id: PacketId, mark: 2 | 3 | undefined = 3): Command {
  return { type: "verdict", id, action: "accept", mark, bytes: undefined };
}

function drop(id: PacketId): Command {
  return { type: "verdict", id, action: "drop", mark: undefined, bytes: undefined };
}

function learn(name: string): LearnCommand {
  return {
    type: "learn",
    policy: 7,
    client: "c".repeat(16) as ClientId,
    address: "\x01\x02\x03\x04" as Addr,
    name,
    chain: [name],
    rule: 1,
    ports: 0,
    addressPorts: 0,
    expires: 1,
    addressExpires: 1,
    shared: false,
  };
}

test("the mark's two bits change, the others stay", () => {
  const bench = new Bench();
  bench.answer = (event, out) => out.push(accept((event as PacketEvent).id));
  bench.packets({ id: 5, mark: 0xdead0019 });
  assert.deepEqual(bench.verdicts, [{ id: 5, action: "accept", mark: 0xdead0039, bytes: undefined }]);
});

test("no mark in the command: the mark is left alone; changed bytes go along", () => {
  const bench = new Bench();
  const bytes = Buffer.from("changed");
  bench.answer = (event, out) =>
    out.push({ type: "verdict", id: (event as PacketEvent).id, action: "accept", mark: undefined, bytes });
  bench.packets({ id: 5, mark: 0x10 });
  assert.deepEqual(bench.verdicts, [{ id: 5, action: "accept", mark: undefined, bytes }]);
});

test("commands in order; journal, flows and maps are written before the verdict that follows from them is sent", () => {
  const bench = new Bench();
  bench.answer = (event, out) => {
    const { id } = event as PacketEvent;
    out.push(learn("a.io"), learn("b.io"), accept(id, undefined));
  };
  bench.packets({ id: 1 });
  assert.deepEqual(bench.trace, [
    "journal a.io",
    "learn a.io",
    "journal b.io",
    "learn b.io",
    "verdict 1 accept",
    "journal flush",
    "flows flush",
    "flush",
  ]);
});

test("a queue never sends by itself what follows from something that isn't written: not when it is full, nor for want of room for changed bytes", () => {
  const bench = new Bench();
  const ids = Array.from({ length: 1200 }, (_, i) => i + 1);
  bench.packets(...ids.map((id) => ({ id })));
  bench.trace.length = 0;
  bench.answer = (event, out) => {
    if (event.type === "tick") for (const id of ids) out.push(drop(packetId(id)));
  };
  bench.runner.inject([{ type: "tick" }]);
  let waiting = 0;
  for (const [i, step] of bench.trace.entries()) {
    if (step.startsWith("verdict")) waiting++;
    if (step === "flush") {
      waiting = 0;
      assert.deepEqual(bench.trace.slice(i - 2, i), ["journal flush", "flows flush"]);
    }
    assert.ok(waiting <= 512, String(waiting));
  }
  assert.deepEqual([waiting, bench.verdicts.length], [0, 1200]);

  bench.trace.length = 0;
  bench.answer = (event, out) => {
    const { id } = event as PacketEvent;
    out.push({ type: "verdict", id, action: "accept", mark: undefined, bytes: Buffer.alloc(40) });
  };
  bench.packets({ id: 2000 });
  assert.deepEqual(bench.trace.slice(0, 3), ["journal flush", "flows flush", "verdict 2000 accept"]);
});

test("flows that can't be written or read ahead are said, and no verdict's business", () => {
  const fails = () => {
    throw new Error("EINVAL");
  };
  const bench = new Bench({ flows: { put: () => {}, flush: fails, lookAhead: fails } });
  bench.answer = (event, out) => out.push(accept((event as PacketEvent).id));
  bench.packets({ id: 1 }, { id: 2 });
  assert.equal(bench.verdicts.length, 2);
  assert.deepEqual(bench.trace.slice(-2), ["journal flush", "flush"]);
  assert.match(bench.failures.join("; "), /flows can't be read.*flows can't be written/);
});

test("what the engine is told of a client's packet", () => {
  const bench = new Bench();
  bench.answer = (event, out) => out.push(drop((event as PacketEvent).id));
  bench.packets({ id: 0xfffffffe, mark: 0x10, bytes: Buffer.from("450000001234", "hex"), flags: 9 });
  const event = bench.events[0] as PacketEvent;
  assert.equal(event.hook, "forward");
  assert.equal(event.policy, 7);
  assert.equal(event.ifindexIn, 4);
  assert.equal(event.ifindexOut, 9);
  assert.equal(event.wireLength, 1500);
  assert.equal(event.checksumPending, true);
  assert.equal(
    Buffer.from(event.client as string, "latin1").toString("hex"),
    "04000000" + "0000" + "010203040506" + "00000000",
  );
  assert.equal(Buffer.from(event.bytes).toString("hex"), "450000001234");
  assert.equal(bench.verdicts[0]?.id, 0xfffffffe);
});

test("a packet from an interface that is not governed is nobody's: an answer", () => {
  const bench = new Bench();
  bench.answer = (event, out) => out.push(accept((event as PacketEvent).id, undefined));
  bench.packets({ id: 1, mark: 0, ifindexIn: 9 });
  const event = bench.events[0] as PacketEvent;
  assert.equal(event.client, undefined);
  assert.equal(event.policy, undefined);
});

test("what is not on its way out is given as input: the mark tells, in OUTPUT the other way round", () => {
  const self: GovernedInterface = { ifindex: 0, policy: 7, clientBy: 2, l3: false };
  const lan: GovernedInterface = { ifindex: 4, policy: 7, clientBy: 0, l3: false };
  const bench = new Bench({ interfaces: new Map([[0, self], [4, lan]]) }); // prettier-ignore
  bench.answer = (event, out) => out.push(drop((event as PacketEvent).id));
  const [input, forward, output] = [1, 2, 3];
  const cases: readonly (readonly [hook: number, mark: number, ifindexIn: number, expected: string])[] = [
    [forward, 0x10, 4, "forward"],
    [forward, 0xffffff1f, 4, "forward"],
    // To another LAN: no mark of ours, or one that decides already.
    [forward, 0x00, 4, "input"],
    [forward, 0xffffff0f, 4, "input"],
    [forward, 0x20, 4, "input"],
    [forward, 0x30, 4, "input"],
    // From a network that is not governed: an answer, wherever it comes from.
    [forward, 0x00, 9, "forward"],
    [input, 0x00, 4, "input"],
    [output, 0x00, 0, "output"],
    [output, 0x10, 0, "input"],
  ];
  cases.forEach(([hook, mark, ifindexIn], id) => bench.packets({ id, hook, mark, ifindexIn, bytes: Buffer.alloc(40, 0x45) })); // prettier-ignore
  assert.deepEqual(
    bench.events.map((event) => (event as PacketEvent).hook),
    cases.map(([, , , expected]) => expected),
  );
  assert.deepEqual(
    bench.events.map((event) => (event as PacketEvent).policy),
    cases.map(([, , ifindexIn]) => (ifindexIn === 9 ? undefined : 7)),
  );
});

test("INSPECT from an interface that nobody knows is no answer: dropped unasked; in OUTPUT it is", () => {
  const bench = new Bench();
  bench.answer = (event, out) => out.push(accept((event as PacketEvent).id, undefined));
  bench.packets(
    { id: 1, mark: 0x10, ifindexIn: 9 },
    { id: 2, mark: 0, ifindexIn: 9 },
    { id: 3, hook: 3, mark: 0x10, ifindexIn: 0 },
  );
  assert.deepEqual(
    bench.verdicts.map(({ id, action }) => `${id} ${action}`),
    ["1 drop", "2 accept", "3 accept"],
  );
  assert.equal(bench.events.length, 2);
  assert.equal(bench.runner.stats().reasons[Reason.NO_POLICY]?.packets, 1);
});

test("a client that can't be told is dropped without asking", () => {
  const bench = new Bench();
  bench.packets({ id: 1, flags: 0 });
  assert.deepEqual(bench.verdicts, [{ id: 1, action: "drop", mark: undefined, bytes: undefined }]);
  assert.equal(bench.events.length, 0);
  assert.equal(bench.runner.stats().reasons[Reason.MALFORMED]?.packets, 1);
});

test("a held packet gets its verdict later, with its own mark", () => {
  const bench = new Bench();
  bench.packets({ id: 1, mark: 0x110 });
  assert.equal(bench.runner.stats().held, 1);
  bench.answer = (event, out) => out.push(accept(packetId(1)), accept((event as PacketEvent).id));
  bench.packets({ id: 2, mark: 0x210 });
  assert.deepEqual(
    bench.verdicts.map(({ id, mark }) => [id, mark]),
    [
      [1, 0x130],
      [2, 0x230],
    ],
  );
  assert.equal(bench.runner.stats().held, 0);
});

test("an exception before the verdict: dropped once, counted, said; the batch goes on", () => {
  const bench = new Bench();
  bench.answer = (event, out) => {
    const { id } = event as PacketEvent;
    if (id === packetId(2)) throw new Error("boom");
    out.push(accept(id));
  };
  bench.packets({ id: 1 }, { id: 2 }, { id: 3 });
  assert.deepEqual(
    bench.verdicts.map(({ id, action }) => `${id} ${action}`),
    ["1 accept", "2 drop", "3 accept"],
  );
  assert.equal(bench.runner.stats().exceptions, 1);
  assert.equal(bench.runner.stats().reasons[Reason.INTERNAL]?.packets, 1);
  assert.match(bench.failures[0] as string, /packet event: boom/);
});

test("an exception after the verdict: that verdict and no other; what was released before is released", () => {
  const bench = new Bench();
  bench.packets({ id: 1 });
  bench.answer = (event, out) => {
    out.push(accept(packetId(1)), accept((event as PacketEvent).id));
    throw new Error("late");
  };
  bench.packets({ id: 2 });
  assert.deepEqual(
    bench.verdicts.map(({ id, action }) => `${id} ${action}`),
    ["1 accept", "2 accept"],
  );
});

test("the engine believes it holds a packet that an exception dropped: its late verdict is ignored", () => {
  const bench = new Bench();
  bench.answer = () => {
    throw new Error("boom");
  };
  bench.packets({ id: 1 });
  bench.answer = (event, out) =>
    out.push(accept(packetId(1)), accept((event as PacketEvent).id), drop((event as PacketEvent).id));
  bench.packets({ id: 2 });
  assert.deepEqual(
    bench.verdicts.map(({ id, action }) => `${id} ${action}`),
    ["1 drop", "2 accept"],
  );
  assert.equal(bench.runner.stats().duplicateVerdicts, 2);
});

test("a map that fails: the commands after it are carried out, the packet is judged", () => {
  const bench = new Bench({
    maps: {
      learn: () => {
        throw new Error("EINVAL");
      },
      forget: () => {},
    },
  });
  bench.answer = (event, out) => out.push(learn("a.io"), accept((event as PacketEvent).id, undefined));
  bench.packets({ id: 1 });
  assert.equal(bench.verdicts.length, 1);
  assert.match(bench.failures[0] as string, /command learn failed/);
});

test("a send that fails is counted, nothing else", () => {
  const bench = new Bench({
    send: () => {
      throw new Error("ENETUNREACH");
    },
  });
  bench.answer = (event, out) => out.push({ type: "send", bytes: Buffer.alloc(40) }, drop((event as PacketEvent).id));
  bench.packets({ id: 1 });
  assert.equal(bench.verdicts.length, 1);
  assert.equal(bench.runner.stats().sendErrors, 1);
  assert.equal(bench.runner.stats().exceptions, 0);
});

test("stop: every held packet gets one verdict, the engine's or a drop; later packets are dropped", () => {
  const bench = new Bench();
  bench.packets({ id: 1 }, { id: 2 });
  bench.answer = (event, out) => {
    if (event.type === "shutdown") out.push(drop(packetId(1)));
  };
  bench.runner.stop();
  bench.runner.stop();
  bench.packets({ id: 3 });
  assert.deepEqual(
    bench.verdicts.map(({ id, action }) => `${id} ${action}`),
    ["1 drop", "2 drop", "3 drop"],
  );
  const late = ["verdict 3 drop", "journal flush", "flows flush", "flush"];
  assert.deepEqual(bench.trace.slice(-5), ["flush", ...late], "sent at once, not with the next batch");
});

test("fail mode open: an exception and a stop let pass, marked ALLOW", () => {
  const bench = new Bench({ failMode: "open" });
  bench.packets({ id: 1, mark: 0x10 });
  bench.answer = () => {
    throw new Error("boom");
  };
  bench.packets({ id: 2, mark: 0x10 });
  bench.answer = () => {};
  bench.runner.stop();
  assert.deepEqual(
    bench.verdicts.map(({ id, action, mark }) => [id, action, mark]),
    [
      [2, "accept", 0x30],
      [1, "accept", 0x30],
    ],
  );
  assert.equal(bench.runner.stats().reasons[Reason.ALLOW_FAIL_OPEN]?.packets, 2);
});

test("a packet held for longer than the limit is dropped", async () => {
  const bench = new Bench({ maxHoldMs: 5000 });
  bench.packets({ id: 1 });
  bench.now += 4000;
  bench.packets({ id: 2 });
  bench.now += 1001;
  await new Promise((resolve) => setTimeout(resolve, 1100));
  assert.deepEqual(
    bench.verdicts.map(({ id, action }) => `${id} ${action}`),
    ["1 drop"],
  );
  assert.equal(bench.runner.stats().overdue, 1);
  bench.runner.stop();
});

test("a tick comes at the engine's deadline, and its verdicts are flushed", async () => {
  const bench = new Bench();
  bench.deadline = 1020;
  bench.packets({ id: 1 });
  bench.answer = (event, out) => {
    if (event.type === "tick") {
      bench.deadline = undefined;
      out.push(drop(packetId(1)));
    }
  };
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual(bench.trace.slice(-4), ["verdict 1 drop", "journal flush", "flows flush", "flush"]);
  bench.runner.stop();
});

test("the kernel's decisions reach the engine; a short record is refused", () => {
  const bench = new Bench();
  const data = Buffer.alloc(128);
  data.write("4500", 0, "hex");
  const record = encodeEvent({
    timeNs: 1n,
    ifindex: 4,
    policy: 7,
    rule: 3,
    wireLen: 60,
    snapLen: 60,
    verdict: Verdict.DENY,
    reason: Reason.UNLEARNED,
    hook: 0,
    family: 4,
    nameLen: 8,
    client: Buffer.alloc(16, 1),
    name: Buffer.from("www.x.io and what lay there before".padEnd(256)),
    data,
  });
  bench.runner.onKernelEvent(record);
  const event = bench.events[0];
  assert.equal(event?.type, "kernelDecision");
  assert.deepEqual(
    event?.type === "kernelDecision" && [
      event.verdict,
      event.reason,
      event.rule,
      event.policy,
      event.bytes.length,
      event.name,
    ],
    ["deny", Reason.UNLEARNED, 3, 7, 60, "www.x.io"],
  );
  bench.runner.onKernelEvent(record.subarray(0, 100));
  assert.equal(bench.events.length, 1);
  assert.equal(bench.runner.stats().exceptions, 1);
});

const decision: DecisionCommand = {
  type: "decision",
  verdict: "deny",
  reason: Reason.NAME_DENIED,
  inKernel: false,
  policy: 7,
  rule: 0,
  by: undefined,
  client: undefined,
  address: undefined,
  port: undefined,
  proto: undefined,
  name: undefined,
  detail: undefined,
};

test("decisions are told when the verdicts of their batch are on their way; one that can't be told is said and no verdict's business", () => {
  const bench = new Bench({
    decided: ({ name }) => {
      bench.trace.push(`decided ${name}`);
      if (name === "1") throw new Error("disk full");
    },
  });
  bench.answer = (event, out) => {
    const { id } = event as PacketEvent;
    out.push({ ...decision, name: String(id) }, drop(id));
  };
  bench.packets({ id: 1 }, { id: 2 });
  assert.deepEqual(bench.trace, [
    "lookAhead 0 2",
    "verdict 1 drop",
    "verdict 2 drop",
    "journal flush",
    "flows flush",
    "flush",
    "decided 1",
    "decided 2",
  ]);
  assert.deepEqual(bench.failures, ["a decision could not be told: disk full"]);
  bench.answer = () => {};
  bench.runner.inject([{ type: "tick" }]);
  assert.equal(bench.trace.filter((one) => one.startsWith("decided")).length, 2, "once");
});

test("commands are objects that are used again: each decision of a batch is told as it was made, and so are those of the next", () => {
  const told: string[] = [];
  const bench = new Bench({
    engine: {
      handle: (event, _now, out) => {
        if (event.type !== "packet") return;
        const { id } = event;
        out.verdict(id, id % 2 === 0 ? "accept" : "drop", id % 2 === 0 ? 3 : undefined, undefined);
        out.decision(id % 2 === 0 ? "allow" : "deny", Reason.NAME_DENIED, false, 7, id).name = `${id}.io`;
        if (id === 2) out.decision("deny", Reason.OVERLOAD, false, 7, 99);
      },
      nextDeadline: () => undefined,
    },
    decided: ({ verdict, rule, name }) => told.push(`${verdict} ${rule} ${name}`),
  });
  bench.packets({ id: 1 }, { id: 2 }, { id: 3 });
  bench.packets({ id: 4 });
  assert.deepEqual(told, ["deny 1 1.io", "allow 2 2.io", "deny 99 undefined", "deny 3 3.io", "allow 4 4.io"]);
  assert.deepEqual(
    bench.verdicts.map(({ id, action }) => `${id} ${action}`),
    ["1 drop", "2 accept", "3 drop", "4 accept"],
  );
});

test("a decision of user space is counted by reason, one of the kernel's is not counted twice", () => {
  const bench = new Bench();
  bench.answer = (event, out) =>
    out.push(
      decision,
      { ...decision, inKernel: true },
      { type: "count", reason: Reason.ALLOW_ANSWER, bytes: 90 },
      drop((event as PacketEvent).id),
    );
  bench.packets({ id: 1 });
  assert.equal(bench.decisions.length, 2);
  const { reasons } = bench.runner.stats();
  assert.equal(reasons[Reason.NAME_DENIED]?.packets, 1);
  assert.deepEqual(reasons[Reason.ALLOW_ANSWER], { packets: 1, bytes: 90 });
});
