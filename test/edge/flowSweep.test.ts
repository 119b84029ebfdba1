/** The look at every cached flow that a change of the policy takes, on the real maps. */
import assert from "node:assert/strict";
import { after, beforeEach, describe, it } from "node:test";
import { FLOW_FINAL, FLOW_QUIC, FlowOffset, Reason } from "../../src/core/abi.generated.js";
import type { FlowPutCommand } from "../../src/core/engine/commands.js";
import { parseAddr } from "../../src/core/net/address.js";
import { compilePolicies } from "../../src/core/policy/compile.js";
import type { CompiledPolicy } from "../../src/core/policy/compiledPolicy.js";
import type { PolicyFlags } from "../../src/core/policy/flags.js";
import { monotonicMs } from "../../src/edge/clock.js";
import { sweepFlows, type Swept } from "../../src/edge/flowSweep.js";
import { KernelFlows } from "../../src/edge/kernelFlows.js";
import { objectPath } from "../../src/edge/paths.js";
import { native } from "../../src/native/index.js";
import { specOf } from "../core/policy/random.js";

const object = native.loadObject({ path: objectPath, maxEntries: { flows4: 8_192, flows6: 4_096 } });
const live = { flows4: object.map("flows4"), flows6: object.map("flows6") };
const carrier = object.program("carry_flows");
after(() => object.close());

const compiled = (flags: Partial<PolicyFlags>, firstRule: number) =>
  compilePolicies([specOf(flags)], { firstRule, portSetBase: 0 }).policies[0] as CompiledPolicy;
const old = compiled({ domain: ["www.x.io", "*.y.io"] }, 1);
const coming = compiled({ domain: ["first.io", "*.x.io"] }, 11);

/** Flow `i` of a family, allowed by this rule. */
function put(
  generation: number,
  i: number,
  family: 4 | 6,
  rule: number,
  verdict: FlowPutCommand["verdict"] = "allow",
): void {
  const flows = new KernelFlows(live, generation, undefined);
  const [src, dst] = family === 4 ? ["10.0.0.1", "192.0.2.1"] : ["fd00::1", "2001:db8::1"];
  const key = {
    policy: 1,
    src: parseAddr(src)!,
    dst: parseAddr(dst)!,
    proto: 6,
    sport: i,
    dport: 443,
  };
  const rest = { reason: Reason.ALLOW_NAME, flags: FLOW_FINAL, judgedStart: 0, judgedEnd: 0 };
  flows.put({ type: "flowPut", key, verdict, rule, ...rest }, monotonicMs());
  flows.flush();
}

function sweep(now: boolean, from = 7, previous = 0, to = 8, again = true): Swept {
  const before = { verify: old.spec.verify, patternOf: (rule: number) => old.patternOf(rule) };
  const flows = [live.flows4, live.flows6];
  return sweepFlows({ flows, carrier, policy: coming, before, from, previous, to, now, again });
}

/** Of all flows: generation, mark and rule, each as often as it is there. */
function stored(): Record<string, number> {
  const out: Record<string, number> = {};
  for (const map of [live.flows4, live.flows6]) {
    const { count, values } = map.entries();
    for (let at = 0; at < count * map.valueSize; at += map.valueSize) {
      const word = (offset: number) => values.readUInt32LE(at + offset);
      const what = `${word(FlowOffset.generation)} ${values[at + FlowOffset.next]} ${word(FlowOffset.rule)}`;
      out[what] = (out[what] ?? 0) + 1;
    }
  }
  return out;
}

beforeEach(() => {
  for (const map of [live.flows4, live.flows6]) {
    const { count, keys } = map.entries();
    for (let i = 0; i < count; i++) map.delete(keys.subarray(i * map.keySize, (i + 1) * map.keySize));
  }
});

describe("sweep", () => {
  it("thousands, of both families: those that the coming policy allows are marked, once; then they are its own", () => {
    for (let i = 1; i <= 1_000; i++) put(7, i, 4, i % 4 === 0 ? 2 : 1);
    for (let i = 1; i <= 101; i++) put(7, i, 6, 1);
    assert.deepEqual(sweep(false), { carried: 851, left: 250 });
    assert.deepEqual(stored(), { "7 8 1": 851, "7 0 2": 250 });
    assert.deepEqual(sweep(false), { carried: 851, left: 250 }, "nothing is asked twice");
    // One that comes in the last moment.
    put(7, 2_000, 4, 1);
    assert.deepEqual(sweep(true), { carried: 852, left: 250 });
    assert.deepEqual(stored(), { "8 0 12": 852, "7 0 2": 250 });
  });

  it("denied flows, and those of other generations, are nobody's business", () => {
    put(7, 1, 4, 1, "deny");
    put(6, 2, 4, 1);
    put(8, 3, 4, 1);
    assert.deepEqual(sweep(false), { carried: 0, left: 0 });
    assert.deepEqual(stored(), { "7 0 1": 1, "6 0 1": 1, "8 0 1": 1 });
  });

  it("an attempt that came to nothing leaves no trace that counts, and hinders no other", () => {
    put(7, 1, 4, 1);
    put(7, 2, 4, 2);
    sweep(false);
    assert.deepEqual(sweep(false, 7, 0, 10), { carried: 1, left: 1 });
    assert.deepEqual(stored(), { "7 10 1": 1, "7 0 2": 1 });
  });

  it("what was carried by the change before, and is not its own yet, is carried on", () => {
    put(6, 1, 4, 1);
    const { keys, values } = live.flows4.entries();
    values[FlowOffset.next] = 7;
    live.flows4.put(keys, values);
    assert.deepEqual(sweep(false, 7, 6), { carried: 1, left: 0 });
    assert.deepEqual(stored(), { "7 8 1": 1 });
  });

  it("a mark that a killed run left for another policy under the same number is taken away, before it counts", () => {
    put(7, 1, 4, 1);
    put(7, 2, 4, 2);
    const { count, keys, values } = live.flows4.entries();
    for (let i = 0; i < count; i++) values[i * live.flows4.valueSize + FlowOffset.next] = 8;
    live.flows4.putBatch(keys, values, count);
    assert.deepEqual(stored(), { "7 8 1": 1, "7 8 2": 1 });
    assert.deepEqual(sweep(false, 7, 0, 8, false), { carried: 1, left: 1 });
    assert.deepEqual(stored(), { "7 8 1": 1, "7 0 2": 1 });
    assert.deepEqual(sweep(true), { carried: 1, left: 1 });
    assert.deepEqual(stored(), { "8 0 12": 1, "7 0 2": 1 });
  });

  it("a flow's flags stay: of QUIC, long headers climb for as long as it lives", () => {
    put(7, 1, 4, 1);
    const { keys, values } = live.flows4.entries();
    values[FlowOffset.flags] = FLOW_QUIC;
    live.flows4.put(keys, values);
    sweep(false);
    assert.deepEqual(sweep(true), { carried: 1, left: 0 });
    assert.deepEqual(stored(), { "8 0 12": 1 });
    assert.equal(live.flows4.entries().values[FlowOffset.flags], FLOW_QUIC);
  });
});
