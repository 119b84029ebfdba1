/**
 * What the engine's commands do to the kernel maps. Each key and value has one buffer that is used again: the maps copy.
 * A full map is no error: the address is not learned or the flow not cached, and `full` counts it (documented, deny-safe).
 */
import {
  BINDING_KEY_SIZE,
  BINDING_SIZE,
  BindingKeyOffset,
  BindingOffset,
  FLOW_FAST,
  FLOW_FINAL,
  FLOW4_KEY_SIZE,
  FLOW6_KEY_SIZE,
  FLOW_OPENED,
  FLOW_RELEASED,
  FLOW_SIZE,
  Flow4KeyOffset,
  Flow6KeyOffset,
  FlowOffset,
  NAME4_KEY_SIZE,
  NAME6_KEY_SIZE,
  NAME_SHARED,
  NAME_SIZE,
  Name4KeyOffset,
  Name6KeyOffset,
  NameOffset,
  Verdict,
  encodeBinding,
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

/** The maps that change while the gateway runs; what every thread that judges needs of the kernel. */
export const liveMapNames = ["names4", "names6", "bindings", "flows4", "flows6"] as const;
export type LiveMaps = Readonly<Record<(typeof liveMapNames)[number], BpfMap>>;

/** One value for each of the live maps. */
export function forLiveMaps<T>(
  of: (name: (typeof liveMapNames)[number]) => T,
): Record<(typeof liveMapNames)[number], T> {
  return Object.fromEntries(liveMapNames.map((name) => [name, of(name)])) as Record<(typeof liveMapNames)[number], T>;
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
  readonly #flow4 = Buffer.alloc(FLOW4_KEY_SIZE);
  readonly #flow6 = Buffer.alloc(FLOW6_KEY_SIZE);
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
    const value = this.#flow;
    // Field by field: `encodeFlow` makes a view and a bigint for each of them, and this is written with every connection.
    value.fill(0);
    writeNs(value, FlowOffset.lastSeenNs, now);
    value.writeUInt32LE(this.#generation, FlowOffset.generation);
    value.writeUInt32LE(command.rule, FlowOffset.rule);
    value.writeUInt32LE(command.judgedStart, FlowOffset.judgedStart);
    value.writeUInt32LE(command.judgedEnd, FlowOffset.judgedEnd);
    value[FlowOffset.verdict] = verdicts[command.verdict];
    value[FlowOffset.reason] = command.reason;
    value[FlowOffset.flags] = command.flags;
    value.writeUInt32LE(command.verdict === "pending" ? Math.floor(now / 1000) : 0, FlowOffset.openedS);
    this.#put(this.#flowsMap(command.key), this.#writeFlowKey(command.key), value);
  }

  /** What is cached for a TCP flow, if eBPF would go by it. */
  flowGet(key: FlowKey): CachedFlow | undefined {
    const flow = this.#flow;
    if (!this.#flowsMap(key).read(this.#writeFlowKey(key), flow)) return undefined;
    const verdict = flow[FlowOffset.verdict];
    const flags = flow[FlowOffset.flags] as number;
    const idleMs = monotonicMs() - readMs(flow, FlowOffset.lastSeenNs);
    const limit = verdict === Verdict.DENY ? flowIdle.deny : flowIdle.tcp;
    if (flow.readUInt32LE(FlowOffset.generation) !== this.#generation || idleMs >= limit * 1000) return undefined;
    return {
      verdict: verdict === Verdict.ALLOW ? "allow" : verdict === Verdict.PENDING ? "pending" : "deny",
      reason: flow[FlowOffset.reason] as number,
      final: (flags & FLOW_FINAL) !== 0,
      opened: (flags & FLOW_OPENED) !== 0,
      released: (flags & FLOW_RELEASED) !== 0,
      fast: (flags & FLOW_FAST) !== 0,
      openedAt: flow.readUInt32LE(FlowOffset.openedS) * 1000,
      judgedStart: flow.readUInt32LE(FlowOffset.judgedStart),
      judgedEnd: flow.readUInt32LE(FlowOffset.judgedEnd),
    };
  }

  /** What the kernel knows of an address that a client learned; times in milliseconds of CLOCK_MONOTONIC. */
  nameGet(policy: number, client: string, address: Addr): LearnedInKernel | undefined {
    const name = this.#name;
    if (!this.#namesMap(address).read(this.#writeNameKey(policy, client, address), name)) return undefined;
    return {
      expires: readMs(name, NameOffset.expiresNs),
      rule: name.readUInt32LE(NameOffset.rule),
      ports: name.readUInt32LE(NameOffset.ports),
    };
  }

  bindingGet(policy: number, client: string, address: Addr, name: string): LearnedInKernel | undefined {
    const binding = this.#binding;
    if (!this.#maps.bindings.read(this.#writeBindingKey(policy, client, address, name), binding)) return undefined;
    return {
      expires: readMs(binding, BindingOffset.expiresNs),
      rule: binding.readUInt32LE(BindingOffset.rule),
      ports: binding.readUInt32LE(BindingOffset.ports),
    };
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

  #flowsMap(flow: FlowKey): BpfMap {
    return flow.src.length === 4 ? this.#maps.flows4 : this.#maps.flows6;
  }

  #writeFlowKey(flow: FlowKey): Buffer {
    const v4 = flow.src.length === 4;
    const key = v4 ? this.#flow4 : this.#flow6;
    const at = v4 ? Flow4KeyOffset : Flow6KeyOffset;
    key.write(flow.src, at.src, flow.src.length, "latin1");
    key.write(flow.dst, at.dst, flow.dst.length, "latin1");
    // Network order, as the packet has them.
    key.writeUInt16BE(flow.sport, at.sport);
    key.writeUInt16BE(flow.dport, at.dport);
    key.writeUInt16LE(flow.policy, at.policy);
    key[at.proto] = flow.proto;
    return key;
  }
}

/** Milliseconds as a 64-bit count of nanoseconds, without a bigint: exact for the first 104 days after boot, then within some nanoseconds. */
function writeNs(target: Buffer, offset: number, ms: number): void {
  const ns = Math.round(ms * 1e6);
  target.writeUInt32LE(ns % 0x1_0000_0000, offset);
  target.writeUInt32LE(Math.floor(ns / 0x1_0000_0000), offset + 4);
}

function readMs(source: Buffer, offset: number): number {
  return (source.readUInt32LE(offset + 4) * 0x1_0000_0000 + source.readUInt32LE(offset)) / 1e6;
}

/** The 16 bytes of an address in keys: IPv4 as ::ffff:a.b.c.d. */
export function writeAddr16(target: Buffer, offset: number, address: Addr): void {
  if (address.length === 4) {
    target.fill(0, offset, offset + 10);
    target[offset + 10] = 0xff;
    target[offset + 11] = 0xff;
    target.write(address, offset + 12, 4, "latin1");
  } else {
    target.write(address, offset, 16, "latin1");
  }
}
