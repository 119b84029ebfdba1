import { MAX_PORT_SETS } from "../abi.generated.js";
import { PolicyError } from "./policyError.js";
import type { KernelPortRange } from "./types.js";

/** The rows of map `port_sets`, equal ones stored once. Set 0 is empty. */
export class PortSets {
  readonly sets: (readonly KernelPortRange[])[] = [[]];
  readonly #ids = new Map<string, number>([["", 0]]);

  /** Number of the set. `text` names the rule in the PolicyError that is thrown when the map is full. */
  intern(ranges: readonly KernelPortRange[], text: string): number {
    const key = ranges
      .map((range) => `${range.proto} ${range.low} ${range.high} ${range.verdict} ${range.rule}`)
      .join();
    let id = this.#ids.get(key);
    if (id === undefined) {
      if (this.sets.length >= MAX_PORT_SETS) {
        throw new PolicyError(`${text}: needs one more set of ports; at most ${MAX_PORT_SETS - 1} different ones fit`);
      }
      id = this.sets.length;
      this.sets.push(ranges);
      this.#ids.set(key, id);
    }
    return id;
  }
}
