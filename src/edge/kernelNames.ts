/**
 * What clients learned, as the kernel's maps have it: for the engines of workers, which judge no DNS. The main thread writes the maps before it
 * releases the answer that taught a client, so a worker never misses one. The names themselves are not there, only their hashes.
 */
import { LEARN_AGAIN_MS } from "../core/abi.generated.js";
import type { Command } from "../core/engine/commands.js";
import type { ClientId } from "../core/engine/events.js";
import type { LearnedEntry, LearnedNames } from "../core/engine/learned.js";
import type { Addr } from "../core/net/address.js";
import type { KernelMaps, LearnedInKernel } from "./kernelMaps.js";

/** Stands for the name that an address was learned for; the main thread puts the real one in its place. No name in normal form is empty. */
export const unknownName = "";

export class KernelNames implements LearnedNames {
  readonly #maps: Pick<KernelMaps, "nameGet" | "bindingGet">;
  // The table is the main thread's.
  readonly size = 0;
  readonly evicted = 0;

  constructor(maps: Pick<KernelMaps, "nameGet" | "bindingGet">) {
    this.#maps = maps;
  }

  entries(): Iterable<LearnedEntry> {
    return [];
  }

  expire(): void {
    // The main thread forgets.
  }

  /** Says it; it is in the maps when the main thread has heard of it. */
  learn(entry: LearnedEntry, out: Command[]): boolean {
    const known = this.#maps.bindingGet(entry.policy, entry.client, entry.address, entry.name);
    if (known && entry.expires - known.expires < LEARN_AGAIN_MS) return true;
    out.push({ type: "learn", ...entry, addressPorts: entry.ports, addressExpires: entry.expires, shared: false });
    return known !== undefined;
  }

  binding(policy: number, client: ClientId, address: Addr, name: string): LearnedEntry | undefined {
    return entryOf(this.#maps.bindingGet(policy, client, address, name), policy, client, address, name);
  }

  latest(policy: number, client: ClientId, address: Addr): LearnedEntry | undefined {
    return entryOf(this.#maps.nameGet(policy, client, address), policy, client, address, unknownName);
  }
}

function entryOf(
  found: LearnedInKernel | undefined,
  policy: number,
  client: ClientId,
  address: Addr,
  name: string,
): LearnedEntry | undefined {
  if (!found) return undefined;
  const { expires, rule, ports } = found;
  return { policy, client, address, name, chain: [], rule, ports, expires };
}
