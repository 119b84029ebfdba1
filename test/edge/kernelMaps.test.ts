/** What the engine's commands do to the real maps: each family's flows in their own, found again, and nothing thrown when they are full. */
import assert from "node:assert/strict";
import { after, beforeEach, describe, it } from "node:test";
import {
  FLOW_FINAL,
  Reason,
  Verdict,
  decodeFlow,
  encodeFlow4Key,
  encodeFlow6Key,
} from "../../src/core/abi.generated.js";
import type { FlowKey, FlowPutCommand } from "../../src/core/engine/commands.js";
import { NameHasher } from "../../src/core/names/hash.js";
import { addrToBytes, parseAddr } from "../../src/core/net/address.js";
import { monotonicMs } from "../../src/edge/clock.js";
import { KernelMaps } from "../../src/edge/kernelMaps.js";
import { objectPath } from "../../src/edge/paths.js";
import { native } from "../../src/native/index.js";

const room = { flows4: 64, flows6: 32 };
const object = native.loadObject({ path: objectPath, maxEntries: { names4: 64, names6: 64, bindings: 64, ...room } });
const live = {
  names4: object.map("names4"),
  names6: object.map("names6"),
  bindings: object.map("bindings"),
  flows4: object.map("flows4"),
  flows6: object.map("flows6"),
};
after(() => object.close());

const generation = 7;
const maps = new KernelMaps(live, new NameHasher(new Uint8Array(16)), generation);
const four: FlowKey = {
  policy: 1,
  src: parseAddr("10.0.0.1")!,
  dst: parseAddr("192.0.2.1")!,
  proto: 6,
  sport: 0x1234,
  dport: 443,
};
const six: FlowKey = { ...four, src: parseAddr("fd00::1")!, dst: parseAddr("2001:db8::1")! };
const put = (key: FlowKey, verdict: FlowPutCommand["verdict"] = "allow") =>
  maps.flowPut(
    {
      type: "flowPut",
      key,
      verdict,
      reason: Reason.ALLOW_NAME,
      rule: 3,
      flags: FLOW_FINAL,
      judgedStart: 5,
      judgedEnd: 9,
    },
    monotonicMs(),
  );

beforeEach(() => {
  for (const map of [live.flows4, live.flows6]) {
    const { count, keys } = map.entries();
    for (let i = 0; i < count; i++) map.delete(keys.subarray(i * map.keySize, (i + 1) * map.keySize));
  }
});

describe("flows", () => {
  it("an IPv4 flow is in flows4 under the key that eBPF builds, an IPv6 flow in flows6", () => {
    put(four);
    put(six);
    const { policy, proto, sport, dport } = four;
    const tail = { policy, proto, sport, dport };
    const key4 = encodeFlow4Key({ src: 0x0a000001, dst: 0xc0000201, ...tail });
    const key6 = encodeFlow6Key({ src: addrToBytes(six.src), dst: addrToBytes(six.dst), ...tail });
    assert.deepEqual([live.flows4.entries().count, live.flows6.entries().count], [1, 1]);
    for (const value of [live.flows4.get(key4), live.flows6.get(key6)]) {
      const { verdict, generation: of, rule, judgedStart, judgedEnd } = decodeFlow(value!);
      assert.deepEqual([verdict, of, rule, judgedStart, judgedEnd], [Verdict.ALLOW, generation, 3, 5, 9]);
    }
  });

  it("is found again by its own key only", () => {
    for (const key of [four, six]) {
      put(key);
      assert.equal(maps.flowGet(key)?.verdict, "allow");
      put({ ...key, policy: 2 }, "deny");
      assert.equal(maps.flowGet({ ...key, policy: 2 })?.verdict, "deny");
      assert.equal(maps.flowGet(key)?.verdict, "allow");
      for (const other of [{ policy: 3 }, { policy: 257 }, { proto: 17 }, { sport: 0x3412 }, { dport: 444 }]) {
        assert.equal(maps.flowGet({ ...key, ...other }), undefined, JSON.stringify(other));
      }
    }
    // One buffer for each family's keys: what another key left in it doesn't matter.
    assert.equal(maps.flowGet(four)?.verdict, "allow");
    assert.equal(maps.flowGet(six)?.verdict, "allow");
  });

  it("full: an LRU makes room, each family for itself, and that is no failure", () => {
    for (const [key, map, size] of [
      [six, live.flows6, room.flows6],
      [four, live.flows4, room.flows4],
    ] as const) {
      for (let sport = 1; sport <= 1000; sport++) put({ ...key, sport });
      const { count } = map.entries();
      assert.ok(count > 0 && count <= size, String(count));
      assert.equal(maps.flowGet({ ...key, sport: 1000 })?.verdict, "allow", "the newest");
      assert.equal(maps.flowGet({ ...key, sport: 1 }), undefined, "the oldest");
    }
    assert.equal(maps.flowGet({ ...six, sport: 1000 })?.verdict, "allow", "not pushed out by the other family");
    assert.equal(maps.full, 0);
  });
});
