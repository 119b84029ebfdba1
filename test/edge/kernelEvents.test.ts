/** Packets of a queue as events: one event and a few views for all of them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientBy, Reason } from "../../src/core/abi.generated.js";
import { PacketEvents } from "../../src/edge/kernelEvents.js";
import { META_STRIDE, Meta } from "../../src/native/types.js";
import { Random } from "../core/wire/bytes.js";

const interfaces = new Map([[4, { ifindex: 4, policy: 7, clientBy: ClientBy.MAC, l3: false }]]);

function meta(fields: Partial<Record<keyof typeof Meta, number>>): Uint32Array {
  const out = new Uint32Array(META_STRIDE);
  const all = { id: 1, hook: 2, ifindexIn: 4, ifindexOut: 9, flags: 8, ...fields };
  for (const [field, value] of Object.entries(all)) out[Meta[field as keyof typeof Meta]] = value;
  return out;
}

test("an event has what stands in meta, and nothing of the packet before it", () => {
  const events = new PacketEvents();
  const data = Buffer.from("....abcdef");
  const first = events.read(
    meta({ offset: 4, length: 3, wireLength: 1500, mark: 0x10, flags: 11 }),
    0,
    data,
    interfaces,
  );
  assert.ok(typeof first !== "number");
  assert.deepEqual({ ...first, bytes: Buffer.from(first.bytes).toString() }, {
    type: "packet",
    id: 1,
    hook: "forward",
    ifindexIn: 4,
    ifindexOut: 9,
    mark: 0x10,
    client: "\x04\0\0\0\0\0" + "\0".repeat(10),
    policy: 7,
    bytes: "abc",
    wireLength: 1500,
    merged: true,
    checksumPending: true,
  }); // prettier-ignore
  const second = events.read(meta({ id: 2, hook: 1, ifindexIn: 5, offset: 7, length: 3, wireLength: 3 }), 0, data, interfaces); // prettier-ignore
  assert.ok(typeof second !== "number");
  const { id, hook, client, policy, bytes, merged, checksumPending } = second;
  assert.deepEqual(
    [id, hook, client, policy, merged, checksumPending],
    [2, "input", undefined, undefined, false, false],
  );
  assert.equal(Buffer.from(bytes).toString(), "def");
});

test("what can't be an event has its reason", () => {
  const events = new PacketEvents();
  assert.equal(events.read(meta({ hook: 4 }), 0, Buffer.alloc(9), interfaces), Reason.INTERNAL);
  assert.equal(events.read(meta({ flags: 0 }), 0, Buffer.alloc(9), interfaces), Reason.MALFORMED);
});

test("the bytes are those of this packet, whatever lay there before, in this memory or another", () => {
  const events = new PacketEvents();
  const random = new Random(11);
  const memories = [Buffer.alloc(70_000), Buffer.alloc(70_000)];
  for (let step = 0; step < 30_000; step++) {
    // A batch's slots and usual lengths, and anything.
    const usual = random.below(2) === 0;
    const offset = usual ? 2_240 * random.below(16) : random.below(60_000);
    const length = usual ? [0, 40, 117, 1_500][random.below(4)]! : random.below(2_000);
    const data = memories[random.below(50) === 0 ? 1 : 0]!;
    data[offset] = random.below(256);
    const event = events.read(meta({ offset, length }), 0, data, interfaces);
    assert.ok(typeof event !== "number");
    const { bytes } = event;
    if (length === 0) assert.equal(bytes.length, 0);
    else assert.deepEqual([bytes.buffer === data.buffer, bytes.byteOffset - data.byteOffset, bytes.length], [true, offset, length]); // prettier-ignore
  }
});
