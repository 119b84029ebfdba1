/**
 * What the engine's commands do to the kernel maps. Each key and value has one buffer that is used again: the maps copy.
 * A full map is no error: the address is not learned or the flow not cached, and `full` counts it (documented, deny-safe).
 */
import {
  BINDING_KEY_SIZE,
  BINDING_SIZE,
  BindingKeyOffset,
  FLOW_FAST,
  FLOW_FINAL,
  FLOW_KEY_SIZE,
  FLOW_OPENED,
  FLOW_SIZE,
  FlowKeyOffset,
  NAME4_KEY_SIZE,
  NAME6_KEY_SIZE,
  NAME_SHARED,
  NAME_SIZE,
  Name4KeyOffset,
  Name6KeyOffset,
  Verdict,
  decodeBinding,
  decodeFlow,
  decodeName,
  encodeBinding,
  encodeFlow,
  encodeName,
} from "../core/abi.generated.js";
import type { FlowKey, FlowPutCommand, ForgetCommand, LearnCommand } from "../core/engine/commands.js";
import type { CachedFlow } from "../core/engine/flowState.js";
import type { NameHasher } from "../core/names/hash.js";
import type { Addr } from "../core/net/address.js";
import type { BpfMap } from "../native/types.js";
import { monotonicMs, toNs } from "./clock.js";
import { flowIdle } from "./datapath.js";
import { errnoOf } from "./errors.js";

const verdicts = { pending: Verdict.PENDING, allow: Verdict.ALLOW, deny: Verdict.DENY } as const;

/** The maps that change while the gateway runs. */
export interface LiveMaps {
  readonly names4: BpfMap;
  readonly names6: BpfMap;
  readonly bindings: BpfMap;
  readonly flows: BpfMap;
}

export interface LearnedInKernel {
  readonly expires: number;
  readonly rule: number;
  /** Port set, 0 = everywhere. */
  readonly ports: number;
}

export class KernelMaps {
  readonly #maps: LiveMaps;
  readonly #hasher: NameHasher;
  readonly #generation: number;
  readonly #name4 = Buffer.alloc(NAME4_KEY_SIZE);
  readonly #name6 = Buffer.alloc(NAME6_KEY_SIZE);
  readonly #name = Buffer.alloc(NAME_SIZE);
  readonly #bindingKey = Buffer.alloc(BINDING_KEY_SIZE);
  readonly #binding = Buffer.alloc(BINDING_SIZE);
  readonly #flowKey = Buffer.alloc(FLOW_KEY_SIZE);
  readonly #flow = Buffer.alloc(FLOW_SIZE);
  /** Entries that found no room. */
  full = 0;

  constructor(maps: LiveMaps, hasher: NameHasher, generation: number) {
    this.#maps = maps;
    this.#hasher = hasher;
    this.#generation = generation;
  }

  /** The binding first: an address that the kernel knows of must never lack the name it was learned for. */
  learn(command: LearnCommand): void {
    const expiresNs = toNs(command.expires);
    const bindingKey = this.#writeBindingKey(command.policy, command.client, command.address, command.name);
    this.#put(
      this.#maps.bindings,
      bindingKey,
      encodeBinding({ expiresNs, rule: command.rule, ports: command.ports }, this.#binding),
    );
    const value = encodeName(
      {
        expiresNs: toNs(command.addressExpires),
        rule: command.rule,
        ports: command.addressPorts,
        flags: command.shared ? NAME_SHARED : 0,
      },
      this.#name,
    );
    this.#put(
      this.#namesMap(command.address),
      this.#writeNameKey(command.policy, command.client, command.address),
      value,
    );
  }

  forget(command: ForgetCommand): void {
    this.#maps.bindings.delete(this.#writeBindingKey(command.policy, command.client, command.address, command.name));
    if (command.last) {
      const key = this.#writeNameKey(command.policy, command.client, command.address);
      this.#namesMap(command.address).delete(key);
    }
  }

  /** `now`: milliseconds of CLOCK_MONOTONIC. */
  flowPut(command: FlowPutCommand, now: number): void {
    const value = encodeFlow(
      {
        lastSeenNs: toNs(now),
        packets: 0n,
        bytes: 0n,
        replyPackets: 0n,
        replyBytes: 0n,
        generation: this.#generation,
        rule: command.rule,
        judgedStart: command.judgedStart,
        judgedEnd: command.judgedEnd,
        verdict: verdicts[command.verdict],
        reason: command.reason,
        flags: command.flags,
        openedS: command.verdict === "pending" ? Math.floor(now / 1000) : 0,
      },
      this.#flow,
    );
    this.#put(this.#maps.flows, this.#writeFlowKey(command.key), value);
  }

  /** What is cached for a TCP flow, if eBPF would go by it. */
  flowGet(key: FlowKey): CachedFlow | undefined {
    const value = this.#maps.flows.get(this.#writeFlowKey(key));
    if (!value) return undefined;
    const flow = decodeFlow(value);
    const idleMs = monotonicMs() - Number(flow.lastSeenNs / 1_000_000n);
    const limit = flow.verdict === Verdict.DENY ? flowIdle.deny : flowIdle.tcp;
    if (flow.generation !== this.#generation || idleMs >= limit * 1000) return undefined;
    return {
      verdict: flow.verdict === Verdict.ALLOW ? "allow" : flow.verdict === Verdict.PENDING ? "pending" : "deny",
      reason: flow.reason,
      final: (flow.flags & FLOW_FINAL) !== 0,
      opened: (flow.flags & FLOW_OPENED) !== 0,
      fast: (flow.flags & FLOW_FAST) !== 0,
      openedAt: flow.openedS * 1000,
      judgedStart: flow.judgedStart,
      judgedEnd: flow.judgedEnd,
    };
  }

  /** What the kernel knows of an address that a client learned; times in milliseconds of CLOCK_MONOTONIC. */
  nameGet(policy: number, client: string, address: Addr): LearnedInKernel | undefined {
    const value = this.#namesMap(address).get(this.#writeNameKey(policy, client, address));
    return value && learnedInKernel(decodeName(value));
  }

  bindingGet(policy: number, client: string, address: Addr, name: string): LearnedInKernel | undefined {
    const value = this.#maps.bindings.get(this.#writeBindingKey(policy, client, address, name));
    return value && learnedInKernel(decodeBinding(value));
  }

  #put(map: BpfMap, key: Buffer, value: Buffer): void {
    try {
      map.put(key, value);
    } catch (error) {
      // E2BIG: no entry left. ENOMEM: the kernel found no memory for it.
      const code = errnoOf(error);
      if (code !== "E2BIG" && code !== "ENOMEM") throw error;
      this.full++;
    }
  }

  #namesMap(address: Addr): BpfMap {
    return address.length === 4 ? this.#maps.names4 : this.#maps.names6;
  }

  #writeNameKey(policy: number, client: string, address: Addr): Buffer {
    if (address.length === 4) {
      const key = this.#name4;
      key.writeUInt32LE(policy, Name4KeyOffset.policy);
      key.write(client, Name4KeyOffset.client, 16, "latin1");
      key.write(address, Name4KeyOffset.addr, 4, "latin1");
      return key;
    }
    const key = this.#name6;
    key.writeUInt32LE(policy, Name6KeyOffset.policy);
    key.write(client, Name6KeyOffset.client, 16, "latin1");
    key.write(address, Name6KeyOffset.addr, 16, "latin1");
    return key;
  }

  #writeBindingKey(policy: number, client: string, address: Addr, name: string): Buffer {
    const key = this.#bindingKey;
    key.writeUInt32LE(policy, BindingKeyOffset.policy);
    key.write(client, BindingKeyOffset.client, 16, "latin1");
    writeAddr16(key, BindingKeyOffset.addr, address);
    this.#hasher.hashInto(name, key, BindingKeyOffset.nameHash);
    return key;
  }

  #writeFlowKey(flow: FlowKey): Buffer {
    const key = this.#flowKey;
    writeAddr16(key, FlowKeyOffset.src, flow.src);
    writeAddr16(key, FlowKeyOffset.dst, flow.dst);
    // Network order, as the packet has them.
    key.writeUInt16BE(flow.sport, FlowKeyOffset.sport);
    key.writeUInt16BE(flow.dport, FlowKeyOffset.dport);
    key[FlowKeyOffset.proto] = flow.proto;
    key.writeUInt32LE(flow.policy, FlowKeyOffset.policy);
    return key;
  }
}

function learnedInKernel(value: { expiresNs: bigint; rule: number; ports: number }): LearnedInKernel {
  return { expires: Number(value.expiresNs) / 1e6, rule: value.rule, ports: value.ports };
}

function writeAddr16(target: Buffer, offset: number, address: Addr): void {
  if (address.length === 4) {
    target.fill(0, offset, offset + 10);
    target[offset + 10] = 0xff;
    target[offset + 11] = 0xff;
    target.write(address, offset + 12, 4, "latin1");
  } else {
    target.write(address, offset, 16, "latin1");
  }
}
