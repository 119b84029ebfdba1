/**
 * What clients learned, in the kernel maps. Each key and value has one buffer that is used again: the maps copy.
 * A full map is no error: the address is not learned, and `full` counts it (documented, deny-safe).
 */
import {
  BINDING_KEY_SIZE,
  BINDING_SIZE,
  BindingKeyOffset,
  BindingOffset,
  NAME4_KEY_SIZE,
  NAME6_KEY_SIZE,
  NAME_SHARED,
  NAME_SIZE,
  Name4KeyOffset,
  Name6KeyOffset,
  NameOffset,
  encodeBinding,
  encodeName,
} from "../core/abi.generated.js";
import type { ForgetCommand, LearnCommand } from "../core/engine/commands.js";
import type { NameHasher } from "../core/names/hash.js";
import type { Addr } from "../core/net/address.js";
import type { Writable } from "../core/writable.js";
import type { BpfMap } from "../native/types.js";
import { toNs } from "./clock.js";
import { errnoOf } from "./errors.js";
import { memory, readMs, writeAddr16, writeLatin1 } from "./fields.js";

/** The maps that change while the gateway runs; what every thread that judges needs of the kernel. */
export const liveMapNames = ["names4", "names6", "bindings", "flows4", "flows6"] as const;
export type LiveMaps = Readonly<Record<(typeof liveMapNames)[number], BpfMap>>;
export type NameMaps = Pick<LiveMaps, "names4" | "names6" | "bindings">;

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
  readonly #maps: NameMaps;
  readonly #hasher: NameHasher;
  readonly #name4 = Buffer.alloc(NAME4_KEY_SIZE);
  readonly #name6 = Buffer.alloc(NAME6_KEY_SIZE);
  readonly #name = memory(NAME_SIZE);
  readonly #bindingKey = Buffer.alloc(BINDING_KEY_SIZE);
  readonly #binding = memory(BINDING_SIZE);
  readonly #found: Writable<LearnedInKernel> = { expires: 0, rule: 0, ports: 0 };
  /** Entries that found no room. */
  full = 0;

  constructor(maps: NameMaps, hasher: NameHasher) {
    this.#maps = maps;
    this.#hasher = hasher;
  }

  /** The binding first: an address that the kernel knows of must never lack the name it was learned for. */
  learn(command: LearnCommand): void {
    const expiresNs = toNs(command.expires);
    const bindingKey = this.#writeBindingKey(command.policy, command.client, command.address, command.name);
    this.#put(
      this.#maps.bindings,
      bindingKey,
      encodeBinding({ expiresNs, rule: command.rule, ports: command.ports }, this.#binding.bytes),
    );
    const value = encodeName(
      {
        expiresNs: toNs(command.addressExpires),
        rule: command.rule,
        ports: command.addressPorts,
        flags: command.shared ? NAME_SHARED : 0,
      },
      this.#name.bytes,
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

  /** What the kernel knows of an address that a client learned; times in milliseconds of CLOCK_MONOTONIC. Valid until the next question. */
  nameGet(policy: number, client: string, address: Addr): LearnedInKernel | undefined {
    const { bytes, words } = this.#name;
    if (!this.#namesMap(address).read(this.#writeNameKey(policy, client, address), bytes)) return undefined;
    const found = this.#found;
    found.expires = readMs(words, NameOffset.expiresNs / 4);
    found.rule = words[NameOffset.rule / 4] as number;
    found.ports = words[NameOffset.ports / 4] as number;
    return found;
  }

  bindingGet(policy: number, client: string, address: Addr, name: string): LearnedInKernel | undefined {
    const { bytes, words } = this.#binding;
    if (!this.#maps.bindings.read(this.#writeBindingKey(policy, client, address, name), bytes)) return undefined;
    const found = this.#found;
    found.expires = readMs(words, BindingOffset.expiresNs / 4);
    found.rule = words[BindingOffset.rule / 4] as number;
    found.ports = words[BindingOffset.ports / 4] as number;
    return found;
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
      writeLatin1(key, Name4KeyOffset.client, client);
      writeLatin1(key, Name4KeyOffset.addr, address);
      return key;
    }
    const key = this.#name6;
    key.writeUInt32LE(policy, Name6KeyOffset.policy);
    writeLatin1(key, Name6KeyOffset.client, client);
    writeLatin1(key, Name6KeyOffset.addr, address);
    return key;
  }

  #writeBindingKey(policy: number, client: string, address: Addr, name: string): Buffer {
    const key = this.#bindingKey;
    key.writeUInt32LE(policy, BindingKeyOffset.policy);
    writeLatin1(key, BindingKeyOffset.client, client);
    writeAddr16(key, BindingKeyOffset.addr, address);
    this.#hasher.hashInto(name, key, BindingKeyOffset.nameHash);
    return key;
  }
}
