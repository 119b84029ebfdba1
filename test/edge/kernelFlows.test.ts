/** Flows in the real maps: each family's in its own, found again, read ahead and written together as if each had been done at once. */
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
import { addrToBytes, parseAddr } from "../../src/core/net/address.js";
import { monotonicMs } from "../../src/edge/clock.js";
import { KernelFlows, lookAheadPackets } from "../../src/edge/kernelFlows.js";
import { objectPath } from "../../src/edge/paths.js";
import { native } from "../../src/native/index.js";
import { META_STRIDE, Meta } from "../../src/native/types.js";
import { tcp, udp } from "../packets.js";

const room = { flows4: 64, flows6: 32 };
const object = native.loadObject({ path: objectPath, maxEntries: room });
const live = { flows4: object.map("flows4"), flows6: object.map("flows6") };
after(() => object.close());

const generation = 7;
const reader = object.program("read_flows");
let flows: KernelFlows;
const four: FlowKey = {
  policy: 1,
  src: parseAddr("10.0.0.1")!,
  dst: parseAddr("192.0.2.1")!,
  proto: 6,
  sport: 0x1234,
  dport: 443,
};
const six: FlowKey = { ...four, src: parseAddr("fd00::1")!, dst: parseAddr("2001:db8::1")! };
const wait = (key: FlowKey, verdict: FlowPutCommand["verdict"] = "allow") =>
  flows.put(
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
const put = (key: FlowKey, verdict: FlowPutCommand["verdict"] = "allow") => {
  wait(key, verdict);
  flows.flush();
};

beforeEach(() => {
  flows = new KernelFlows(live, generation, reader);
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
      assert.equal(flows.get(key)?.verdict, "allow");
      put({ ...key, policy: 2 }, "deny");
      assert.equal(flows.get({ ...key, policy: 2 })?.verdict, "deny");
      assert.equal(flows.get(key)?.verdict, "allow");
      for (const other of [{ policy: 3 }, { policy: 257 }, { proto: 17 }, { sport: 0x3412 }, { dport: 444 }]) {
        assert.equal(flows.get({ ...key, ...other }), undefined, JSON.stringify(other));
      }
    }
    // One buffer for each family's keys: what another key left in it doesn't matter.
    assert.equal(flows.get(four)?.verdict, "allow");
    assert.equal(flows.get(six)?.verdict, "allow");
  });

  it("full: an LRU makes room, each family for itself, and that is no failure", () => {
    for (const [key, map, size] of [
      [six, live.flows6, room.flows6],
      [four, live.flows4, room.flows4],
    ] as const) {
      for (let sport = 1; sport <= 1000; sport++) put({ ...key, sport });
      const { count } = map.entries();
      assert.ok(count > 0 && count <= size, String(count));
      assert.equal(flows.get({ ...key, sport: 1000 })?.verdict, "allow", "the newest");
      assert.equal(flows.get({ ...key, sport: 1 }), undefined, "the oldest");
    }
    assert.equal(flows.get({ ...six, sport: 1000 })?.verdict, "allow", "not pushed out by the other family");
    assert.equal(flows.full, 0);
  });
});

describe("writes that wait", () => {
  it("are found at once, the newest of a flow, and are in the map after a flush", () => {
    for (const key of [four, six]) {
      wait(key, "pending");
      wait({ ...key, sport: 9 }, "deny");
      wait(key, "allow");
      assert.equal(flows.get(key)?.verdict, "allow");
      assert.equal(flows.get({ ...key, sport: 9 })?.verdict, "deny");
      assert.equal(flows.get({ ...key, sport: 10 }), undefined);
    }
    assert.deepEqual([live.flows4.entries().count, live.flows6.entries().count], [0, 0]);
    flows.flush();
    assert.deepEqual([live.flows4.entries().count, live.flows6.entries().count], [2, 2]);
    const again = new KernelFlows(live, generation, reader);
    for (const key of [four, six]) {
      assert.equal(again.get(key)?.verdict, "allow");
      assert.equal(again.get({ ...key, sport: 9 })?.verdict, "deny");
    }
  });

  it("are bounded: the next one writes those before it", () => {
    for (let sport = 1; sport <= 65; sport++) wait({ ...four, sport });
    const { count } = live.flows4.entries();
    assert.ok(count > 0 && count <= room.flows4, String(count));
    assert.equal(flows.get({ ...four, sport: 65 })?.verdict, "allow");
  });
});

/** Packets of one batch, from interface 4 (policy 1) unless said otherwise, handed to `lookAhead`. */
function lookAhead(packets: readonly Uint8Array[], ifindexIn = 4, now = monotonicMs()): void {
  const data = Buffer.concat(packets);
  const meta = new Uint32Array(packets.length * META_STRIDE);
  let offset = 0;
  packets.forEach((bytes, i) => {
    meta[i * META_STRIDE + Meta.ifindexIn] = ifindexIn;
    meta[i * META_STRIDE + Meta.offset] = offset;
    meta[i * META_STRIDE + Meta.length] = bytes.length;
    offset += bytes.length;
  });
  const interfaces = new Map([[4, { ifindex: 4, policy: 1, clientBy: 0, l3: false }]]);
  flows.lookAhead(0, packets.length, meta, data, interfaces, now);
}
const ends4 = { src: "10.0.0.1", dst: "192.0.2.1" };
const ends6 = { src: "fd00::1", dst: "2001:db8::1" };
const packet = (ends: typeof ends4, sport: number) => Buffer.from(tcp(ends, { sport, flags: "PA" }, Buffer.from("x")));
/** As somebody else would change it: read ahead or not, that is the difference. */
const behindItsBack = (key: FlowKey) => {
  const other = new KernelFlows(live, generation, undefined);
  const deny = {
    verdict: "deny",
    reason: Reason.NAME_DENIED,
    rule: 0,
    flags: 0,
    judgedStart: 0,
    judgedEnd: 0,
  } as const;
  other.put({ type: "flowPut", key, ...deny }, monotonicMs());
  other.flush();
};

describe("reading ahead", () => {
  it("gives what was there when it was asked, in any order, also that there was nothing", () => {
    const keys = [four, six].flatMap((key) => [1, 2, 3].map((sport) => ({ ...key, sport })));
    for (const key of keys) if (key.sport !== 2) put(key);
    lookAhead(keys.map(({ src, sport }) => packet(src.length === 4 ? ends4 : ends6, sport)));
    for (const key of keys) behindItsBack(key);
    for (const key of [...keys].reverse().concat(keys)) {
      assert.equal(flows.get(key)?.verdict, key.sport === 2 ? undefined : "allow", JSON.stringify(key));
    }
    assert.equal(flows.get({ ...four, sport: 4 }), undefined, "not asked for: a read of its own");
    wait(keys[0]!, "pending");
    assert.equal(flows.get(keys[0]!)?.verdict, "pending", "what was written since is newer");
    flows.flush();
    assert.equal(flows.get(keys[1]!)?.verdict, "deny", "a flush forgets what was read ahead");
  });

  it("a flow has been idle for as long as it had when it was read", () => {
    behindItsBack(four);
    for (const [later, expected] of [
      [4000, "deny"],
      [6000, undefined],
    ] as const) {
      lookAhead([packet(ends4, four.sport)], 4, monotonicMs() + later);
      assert.equal(flows.get(four)?.verdict, expected, String(later));
    }
  });

  it("that fails gives no answer of an earlier time", () => {
    const program = native.shareProgram(reader.fd);
    flows = new KernelFlows(live, generation, program);
    put({ ...four, sport: 1 });
    lookAhead([packet(ends4, 1)]);
    assert.equal(flows.get({ ...four, sport: 1 })?.verdict, "allow");
    program.close();
    assert.throws(() => lookAhead([packet(ends4, 2)]));
    assert.equal(flows.get({ ...four, sport: 2 }), undefined);
  });

  it("as many as it takes at once; the next ones take their places", () => {
    const keys = Array.from({ length: lookAheadPackets }, (_, i) => ({ ...four, sport: i + 1 }));
    for (const key of keys) put(key);
    lookAhead(keys.map(({ sport }) => packet(ends4, sport)));
    for (const key of keys) behindItsBack(key);
    for (const key of keys) assert.equal(flows.get(key)?.verdict, "allow", String(key.sport));
    lookAhead([packet(ends4, 1)]);
    put({ ...four, sport: 1 });
    lookAhead([packet(ends4, 1)]);
    behindItsBack({ ...four, sport: 1 });
    assert.equal(flows.get({ ...four, sport: 1 })?.verdict, "allow");
    assert.equal(flows.get({ ...four, sport: 2 })?.verdict, "deny", "not of this batch");
  });

  it("leaves out what it can't be sure of", () => {
    const whole = packet(ends4, four.sport);
    const fragment = Buffer.from(whole);
    fragment[6] = 0x20;
    const rest = Buffer.from(whole);
    rest[7] = 1;
    const odd = [
      [fragment],
      [rest],
      [whole.subarray(0, 23)],
      [packet(ends6, six.sport).subarray(0, 43)],
      [Buffer.from(udp(ends4, { sport: four.sport, dport: 443 }, Buffer.from("x")))],
      [Buffer.alloc(0)],
    ];
    for (const packets of odd) {
      put(four);
      lookAhead(packets);
      behindItsBack(four);
      assert.equal(flows.get(four)?.verdict, "deny");
    }
    put(four);
    lookAhead([whole], 5);
    behindItsBack(four);
    assert.equal(flows.get(four)?.verdict, "deny", "of no client");
  });

  it("options of IPv4 stand before the ports", () => {
    const plain = packet(ends4, four.sport);
    const options = Buffer.concat([plain.subarray(0, 20), Buffer.alloc(8, 1), plain.subarray(20)]);
    options[0] = 0x47;
    put(four);
    lookAhead([options]);
    behindItsBack(four);
    assert.equal(flows.get(four)?.verdict, "allow");
  });
});
