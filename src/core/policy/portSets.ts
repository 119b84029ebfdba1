import { MAX_PORT_SETS, PORT_RANGES } from "../abi.generated.js";
import { PolicyError } from "./policyError.js";
import type { KernelPortRange } from "./types.js";

/** The rows of map `port_sets`, equal ones stored once. Set 0 is empty; the others have the numbers base + 1, base + 2, … */
export class PortSets {
  readonly sets: (readonly KernelPortRange[])[] = [[]];
  readonly base: number;
  readonly #ids = new Map<string, number>([["", 0]]);
  /** Most arrays come again and again: no need to spell them out each time. */
  readonly #known = new WeakMap<readonly KernelPortRange[], number>();

  constructor(base: number) {
    this.base = base;
  }

  /** Number of the set. Throws PolicyError, which begins with `text`, if the set is too long or the map is full. */
  intern(ranges: readonly KernelPortRange[], text: string): number {
    const known = this.#known.get(ranges);
    if (known !== undefined) return known;
    if (ranges.length > PORT_RANGES) {
      const count = `${ranges.length} port ranges, with those of the networks around it`;
      throw new PolicyError(`${text}: needs ${count}; at most ${PORT_RANGES}`);
    }
    const key = ranges
      .map((range) => `${range.proto} ${range.low} ${range.high} ${range.verdict} ${range.rule}`)
      .join();
    let id = this.#ids.get(key);
    if (id === undefined) {
      if (this.sets.length >= MAX_PORT_SETS) {
        throw new PolicyError(`${text}: needs one more set of ports; at most ${MAX_PORT_SETS - 1} different ones fit`);
      }
      id = this.base + this.sets.length;
      this.sets.push(ranges);
      this.#ids.set(key, id);
    }
    this.#known.set(ranges, id);
    return id;
  }
}
