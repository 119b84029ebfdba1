/** Names on the wire that were allowed, where no DNS answer binds names to addresses (verify sni). */
import { SeenBefore } from "../flow/seenBefore.js";
import type { CommandList } from "./commandList.js";
import type { LearnedNames } from "./learned.js";
import type { EngineLimits } from "./limits.js";
import type { ClientPacket } from "./voice.js";

export class WireNames {
  readonly #learned: LearnedNames;
  readonly #ttl: number;
  /** Names that came once, with policy, client and address. */
  readonly #seen: SeenBefore;
  /** What it is asked. */
  readonly #parts = ["", "", "", ""];

  constructor(limits: EngineLimits, learned: LearnedNames) {
    this.#learned = learned;
    this.#ttl = limits.seenMs;
    this.#seen = new SeenBefore({ max: limits.seenNames, ttl: limits.seenMs });
  }

  /**
   * A name that this client comes with for the second time is bound here, so that from the third time on the kernel confirms it by itself. Names that come
   * once cost no write. (One that is taken for known by mistake is bound the first time: it was allowed like the others.)
   */
  allowed(packet: ClientPacket, name: string, rule: number, ports: number, now: number, out: CommandList): void {
    const { policy, client, ip } = packet;
    const parts = this.#parts;
    parts[0] = String.fromCharCode(policy.id);
    parts[1] = client;
    parts[2] = ip.dst;
    parts[3] = name;
    if (!this.#seen.test(parts, now)) return;
    const expires = now + this.#ttl;
    if (this.#learned.knows(policy.id, client, ip.dst, name, rule, ports, expires)) return;
    this.#learned.learn({ policy: policy.id, client, address: ip.dst, name, chain: [], rule, ports, expires }, out);
  }
}
