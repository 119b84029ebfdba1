/**
 * What clients learned, as the kernel's maps have it: for the engines of workers, which judge no DNS. The main thread writes the maps before it
 * releases the answer that taught a client, so a worker never misses one. The names themselves are not there, only their hashes.
 */
import { LEARN_AGAIN_MS } from "../core/abi.generated.js";
import type { CommandList } from "../core/engine/commandList.js";
import type { LearnCommand } from "../core/engine/commands.js";
import type { ClientId } from "../core/engine/events.js";
import type { LearnedEntry, LearnedNames } from "../core/engine/learned.js";
import type { Addr } from "../core/net/address.js";
import type { Writable } from "../core/writable.js";
import type { KernelMaps, LearnedInKernel } from "./kernelMaps.js";

/** Stands for the name that an address was learned for; the main thread puts the real one in its place. No name in normal form is empty. */
export const unknownName = "";

export class KernelNames implements LearnedNames {
  readonly #maps: Pick<KernelMaps, "nameGet" | "bindingGet">;
  // The table is the main thread's.
  readonly size = 0;
  readonly evicted = 0;
  /** What is found, each time. */
  readonly #entry: Writable<LearnedEntry> = {
    policy: 0,
    client: "" as ClientId,
    address: "" as Addr,
    name: unknownName,
    chain: [],
    rule: 0,
    ports: 0,
    expires: 0,
  };

  constructor(maps: Pick<KernelMaps, "nameGet" | "bindingGet">) {
    this.#maps = maps;
  }

  entries(): Iterable<LearnedEntry> {
    return [];
  }

  commands(): Iterable<LearnCommand> {
    return [];
  }

  change(): void {
    // The main thread has changed the maps by then.
  }

  expire(): void {
    // The main thread forgets.
  }

  /** By its time alone: rule and ports are the main thread's to compare. */
  knows(
    policy: number,
    client: ClientId,
    address: Addr,
    name: string,
    _rule: number,
    _ports: number,
    expires: number,
  ): boolean {
    const known = this.#maps.bindingGet(policy, client, address, name);
    return known !== undefined && expires - known.expires < LEARN_AGAIN_MS;
  }

  /** Says it; it is in the maps when the main thread has heard of it. */
  learn(entry: LearnedEntry, out: CommandList): boolean {
    const known = this.#maps.bindingGet(entry.policy, entry.client, entry.address, entry.name);
    if (known && entry.expires - known.expires < LEARN_AGAIN_MS) return true;
    out.push({ type: "learn", ...entry, addressPorts: entry.ports, addressExpires: entry.expires, shared: false });
    return known !== undefined;
  }

  binding(policy: number, client: ClientId, address: Addr, name: string): LearnedEntry | undefined {
    return this.#entryOf(this.#maps.bindingGet(policy, client, address, name), policy, client, address, name);
  }

  latest(policy: number, client: ClientId, address: Addr): LearnedEntry | undefined {
    return this.#entryOf(this.#maps.nameGet(policy, client, address), policy, client, address, unknownName);
  }

  #entryOf(
    found: LearnedInKernel | undefined,
    policy: number,
    client: ClientId,
    address: Addr,
    name: string,
  ): LearnedEntry | undefined {
    if (!found) return undefined;
    const entry = this.#entry;
    entry.policy = policy;
    entry.client = client;
    entry.address = address;
    entry.name = name;
    entry.rule = found.rule;
    entry.ports = found.ports;
    entry.expires = found.expires;
    return entry;
  }
}
