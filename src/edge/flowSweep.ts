/** Every cached flow is asked about once when the policy changes: does the new one allow it? (core/engine/policyChange.ts; bpf/policy_change.h writes it down.) */
import {
  FLOW4_KEY_SIZE,
  FLOW_CARRY_SIZE,
  FLOW_READS,
  FLOW_SIZE,
  Flow4KeyOffset,
  Flow6KeyOffset,
  FlowCarryOffset,
  FlowOffset,
  Verdict,
} from "../core/abi.generated.js";
import { carryOver, type Predecessor } from "../core/engine/policyChange.js";
import type { Addr } from "../core/net/address.js";
import type { Policy } from "../core/policy/types.js";
import type { BpfMap, BpfProgram } from "../native/types.js";
import { memory } from "./fields.js";

export interface SweepOptions {
  readonly flows: readonly BpfMap[];
  /** `carry_flows` */
  readonly carrier: BpfProgram;
  readonly policy: Policy;
  readonly before: Predecessor;
  /** Flows of `from` are asked about, and those of `previous` that were carried to it. */
  readonly from: number;
  readonly previous: number;
  readonly to: number;
  /** The new policy is in force. */
  readonly now: boolean;
  /** Marks of this change come from a sweep before, so they needn't be asked about again. Else a run that was killed may have left them, for another policy. Default false. */
  readonly again?: boolean;
}

export interface Swept {
  readonly carried: number;
  /** Not allowed by the new policy, or not for certain. */
  readonly left: number;
}

export function sweepFlows(options: SweepOptions): Swept {
  const { carrier, policy, before, from, previous, to, now, again = false } = options;
  const context = memory(FLOW_READS * FLOW_CARRY_SIZE);
  const { bytes, words } = context;
  let waiting = 0;
  let carried = 0;
  let left = 0;
  const send = () => {
    if (waiting === 0) return;
    carrier.run(bytes);
    for (let i = 0; i < waiting; i++) {
      // A mark that was taken away: it is counted already.
      if (words[(i * FLOW_CARRY_SIZE + FlowCarryOffset.to) / 4] === 0) continue;
      if (words[(i * FLOW_CARRY_SIZE + FlowCarryOffset.carried) / 4] === 1) carried++;
      else left++;
    }
    bytes.fill(0);
    waiting = 0;
  };
  for (const map of options.flows) {
    const four = map.keySize === FLOW4_KEY_SIZE;
    const at = four ? Flow4KeyOffset : Flow6KeyOffset;
    const { count, keys, values } = map.entries();
    for (let i = 0; i < count; i++) {
      const value = i * FLOW_SIZE;
      const verdict = values[value + FlowOffset.verdict];
      const generation = values.readUInt32LE(value + FlowOffset.generation);
      const next = values[value + FlowOffset.next];
      const counts = generation === from || (generation === previous && next !== 0 && next === (from & 0xff));
      const isMarked = generation === from && next === (to & 0xff);
      if (!now && again && isMarked) {
        carried++;
        continue;
      }
      if (!counts || (verdict !== Verdict.ALLOW && verdict !== Verdict.PENDING)) continue;
      const key = i * map.keySize;
      if (keys.readUInt16LE(key + at.policy) !== policy.id) continue;
      const addressBytes = four ? 4 : 16;
      const flow = {
        verdict: verdict === Verdict.ALLOW ? "allow" : "pending",
        reason: values[value + FlowOffset.reason] as number,
        rule: values.readUInt32LE(value + FlowOffset.rule),
        dst: keys.toString("latin1", key + at.dst, key + at.dst + addressBytes) as Addr,
        proto: keys[key + at.proto] as number,
        dport: keys.readUInt16BE(key + at.dport),
      } as const;
      const found = carryOver(flow, before, policy);
      if (!found) {
        left++;
        if (!isMarked) continue;
      }
      const entry = waiting++ * FLOW_CARRY_SIZE;
      words[(entry + FlowCarryOffset.family) / 4] = four ? 4 : 6;
      keys.copy(bytes, entry + FlowCarryOffset.key, key, key + map.keySize);
      words[(entry + FlowCarryOffset.from) / 4] = from;
      words[(entry + FlowCarryOffset.previous) / 4] = previous;
      words[(entry + FlowCarryOffset.to) / 4] = found ? to : 0;
      words[(entry + FlowCarryOffset.rule) / 4] = found?.rule ?? 0;
      bytes[entry + FlowCarryOffset.reason] = found?.reason ?? 0;
      bytes[entry + FlowCarryOffset.verdict] = verdict;
      bytes[entry + FlowCarryOffset.now] = now && found ? 1 : 0;
      if (waiting === FLOW_READS) send();
    }
  }
  send();
  return { carried, left };
}
