/**
 * What clients learned: which address, for which name, until when. The kernel's `names4/6` and `bindings` are this table's
 * image; every change leaves here as a `learn` or `forget` command.
 */
import { LEARN_AGAIN_MS } from "../abi.generated.js";
import type { Addr } from "../net/address.js";
import type { NameDecision, Verify } from "../policy/types.js";
import type { CommandList } from "./commandList.js";
import type { LearnCommand } from "./commands.js";
import type { ClientId } from "./events.js";

export interface LearnedEntry {
  readonly policy: number;
  readonly client: ClientId;
  readonly address: Addr;
  /** The name that was asked for, in normal form. */
  readonly name: string;
  /** From the question (first) to the owner of the address record (last). Empty: no answer said so, the client did (wireNames.ts). */
  readonly chain: readonly string[];
  readonly rule: number;
  readonly ports: number;
  /** Milliseconds of CLOCK_MONOTONIC. */
  readonly expires: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
/** For which name an address was learned, and by which rule. */
export type LearnedFor = Pick<LearnedEntry, "name" | "rule">;

/** What only the client said counts where names on the wire are all the proof there is. */
export function isProven({ chain }: { readonly chain: readonly string[] }, verify: Verify): boolean {
  return verify === "sni" || chain.length > 0;
}

/** All names of one address for one client, folded: any number of names costs the same. */
interface AddressGroup {
  names: number;
  /** The name that holds the address longest; stays as it was when that name is evicted early. */
  latest: LearnedEntry;
  /** `latest` is what the table has of its name: not evicted, not learned anew since. */
  isKnown: boolean;
  /** Port set that covers every name's: 0 as soon as one of them may go everywhere. */
  ports: number;
}

/** What the engine asks of learned names, and how it adds to them. What `binding` and `latest` give is valid until the next question. */
export interface LearnedNames {
  readonly size: number;
  readonly evicted: number;
  entries(): Iterable<LearnedEntry>;
  /** `learn` would change nothing: no entry need be made for it. */
  knows(
    policy: number,
    client: ClientId,
    address: Addr,
    name: string,
    rule: number,
    ports: number,
    expires: number,
  ): boolean;
  /** true: it was known, from this name. */
  learn(entry: LearnedEntry, out: CommandList): boolean;
  /** The binding of this name to this address, also if its time is over. */
  binding(policy: number, client: ClientId, address: Addr, name: string): LearnedEntry | undefined;
  /** The name that holds this address longest, also if its time is over. */
  latest(policy: number, client: ClientId, address: Addr): LearnedEntry | undefined;
  /** The policies have changed: what `decide` allows stays, under its new rule; the rest is forgotten. */
  change(decide: (entry: LearnedEntry) => NameDecision | undefined, out: CommandList): void;
  /** A `learn` command for each entry, for when rules have other numbers. */
  commands(): Iterable<LearnCommand>;
  /** Housekeeping: look at `budget` entries, forget those whose time is over for longer than `graceMs`. */
  expire(now: number, graceMs: number, budget: number, out: CommandList): void;
}

export class LearnedTable implements LearnedNames {
  /** Oldest first; learning again moves an entry to the end. */
  readonly #entries = new Map<string, LearnedEntry>();
  /** By policy, client and address: strings that are there, where one key of all three would have to be made for each packet. */
  readonly #policies = new Map<number, Map<ClientId, Map<Addr, AddressGroup>>>();
  readonly #max: number;
  #sweep: IterableIterator<LearnedEntry>;
  evicted = 0;
  forgotten = 0;

  constructor(max: number) {
    this.#max = max;
    this.#sweep = this.#entries.values();
  }

  get size(): number {
    return this.#entries.size;
  }

  entries(): Iterable<LearnedEntry> {
    return this.#entries.values();
  }

  /**
   * What would move an expiry by less than LEARN_AGAIN_MS changes nothing: a client that asks a thousand times a second costs no map and no journal a
   * thousand writes. (Far below the grace that every time to live gets; eBPF lets go as much, bpf/dns.h.)
   */
  knows(
    policy: number,
    client: ClientId,
    address: Addr,
    name: string,
    rule: number,
    ports: number,
    expires: number,
  ): boolean {
    const old = this.binding(policy, client, address, name);
    return old !== undefined && expires - old.expires < LEARN_AGAIN_MS && old.rule === rule && old.ports === ports;
  }

  /** Keep the later expiry if the same name is learned again: an old answer may still be in a client's cache. true: it was known, from this name. */
  learn(entry: LearnedEntry, out: CommandList): boolean {
    const { policy, client, address, name } = entry;
    if (this.knows(policy, client, address, name, entry.rule, entry.ports, entry.expires)) return true;
    const old = this.binding(policy, client, address, name);
    const kept = old && old.expires > entry.expires ? { ...entry, expires: old.expires } : entry;
    const key = entryKey(policy, client, address, name);
    if (old) this.#entries.delete(key);
    else if (this.#entries.size >= this.#max) this.#evictOldest(out);
    this.#entries.set(key, kept);

    let group = this.#group(policy, client, address);
    if (!group) {
      group = { names: 1, latest: kept, isKnown: true, ports: kept.ports };
      this.#addGroup(policy, client, address, group);
    } else {
      if (!old) group.names++;
      if (kept.expires >= group.latest.expires) {
        group.latest = kept;
        group.isKnown = true;
      }
      // The address alone must not forbid what one of its names allows.
      if (kept.ports === 0) group.ports = 0;
    }
    const addressExpires = group.latest.expires;
    out.push({ type: "learn", ...kept, addressPorts: group.ports, addressExpires, shared: group.names > 1 });
    return old !== undefined;
  }

  change(decide: (entry: LearnedEntry) => NameDecision | undefined, out: CommandList): void {
    const moved = new Set<LearnedEntry>();
    /** Addresses that lost a name, now or by an eviction before: it must not hold them any longer. */
    const narrowed = new Set<AddressGroup>();
    for (const entry of this.#entries.values() as Iterable<Mutable<LearnedEntry>>) {
      const group = this.#group(entry.policy, entry.client, entry.address) as AddressGroup;
      const decision = decide(entry);
      if (!decision) {
        this.#remove(entry, out);
        group.isKnown = false;
        narrowed.add(group);
        continue;
      }
      if (!group.isKnown) narrowed.add(group);
      if (entry.ports !== decision.ports) moved.add(entry);
      entry.rule = decision.rule;
      entry.ports = decision.ports;
      // All names of a policy have the same ports.
      group.ports = decision.ports;
    }
    if (narrowed.size > 0) {
      for (const entry of this.#entries.values()) {
        const group = this.#group(entry.policy, entry.client, entry.address) as AddressGroup;
        if (!narrowed.has(group)) continue;
        if (!group.isKnown || entry.expires >= group.latest.expires) group.latest = entry;
        group.isKnown = true;
        moved.add(entry);
      }
    }
    for (const entry of moved) out.push(this.#commandOf(entry));
  }

  /** What the kernel should know of each entry. It may change while it is gone through. */
  *commands(): Iterable<LearnCommand> {
    for (const entry of this.#entries.values()) yield this.#commandOf(entry);
  }

  #commandOf(entry: LearnedEntry): LearnCommand {
    const { names, latest, ports } = this.#group(entry.policy, entry.client, entry.address) as AddressGroup;
    return { type: "learn", ...entry, addressPorts: ports, addressExpires: latest.expires, shared: names > 1 };
  }

  binding(policy: number, client: ClientId, address: Addr, name: string): LearnedEntry | undefined {
    const group = this.#group(policy, client, address);
    if (!group) return undefined;
    // Nearly always there is one name.
    if (group.isKnown && group.latest.name === name) return group.latest;
    return this.#entries.get(entryKey(policy, client, address, name));
  }

  latest(policy: number, client: ClientId, address: Addr): LearnedEntry | undefined {
    return this.#group(policy, client, address)?.latest;
  }

  expire(now: number, graceMs: number, budget: number, out: CommandList): void {
    for (let i = 0; i < budget; i++) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = this.#entries.values();
        return;
      }
      if (next.value.expires + graceMs <= now) {
        this.forgotten++;
        this.#remove(next.value, out);
      }
    }
  }

  #evictOldest(out: CommandList): void {
    for (const oldest of this.#entries.values()) {
      this.evicted++;
      this.#remove(oldest, out);
      return;
    }
  }

  #remove(entry: LearnedEntry, out: CommandList): void {
    this.#entries.delete(entryKey(entry.policy, entry.client, entry.address, entry.name));
    const { policy, client, address, name } = entry;
    const group = this.#group(policy, client, address);
    const last = !group || --group.names === 0;
    if (last) this.#removeGroup(policy, client, address);
    else if (group.latest === entry) group.isKnown = false;
    out.push({ type: "forget", policy, client, address, name, last });
  }

  #group(policy: number, client: ClientId, address: Addr): AddressGroup | undefined {
    return this.#policies.get(policy)?.get(client)?.get(address);
  }

  #addGroup(policy: number, client: ClientId, address: Addr, group: AddressGroup): void {
    let clients = this.#policies.get(policy);
    if (!clients) this.#policies.set(policy, (clients = new Map<ClientId, Map<Addr, AddressGroup>>()));
    let addresses = clients.get(client);
    if (!addresses) clients.set(client, (addresses = new Map<Addr, AddressGroup>()));
    addresses.set(address, group);
  }

  #removeGroup(policy: number, client: ClientId, address: Addr): void {
    const clients = this.#policies.get(policy);
    const addresses = clients?.get(client);
    addresses?.delete(address);
    if (addresses?.size === 0) clients?.delete(client);
  }
}

// Address before name: its length follows from the family, so the parts can't run into each other.
function entryKey(policy: number, client: ClientId, address: Addr, name: string): string {
  return `${String.fromCharCode(policy, address.length)}${client}${address}${name}`;
}
