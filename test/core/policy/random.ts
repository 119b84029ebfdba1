/** Reproducible randomness for property tests: a failure names its seed. */
import { compilePolicies } from "../../../src/core/policy/compile.js";
import type { CompiledPolicy } from "../../../src/core/policy/compiledPolicy.js";
import type { PolicyFlags } from "../../../src/core/policy/flags.js";
import { parsePolicy } from "../../../src/core/policy/parse.js";
import type { PolicySpec } from "../../../src/core/policy/types.js";

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** [0, below). xorshift32 behind an odd multiplier. */
  int(below: number): number {
    let x = (this.#state = (this.#state + 0x9e3779b9) >>> 0);
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return ((x ^ (x >>> 15)) >>> 0) % below;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.int(from.length)] as T;
  }

  chance(oneIn: number): boolean {
    return this.int(oneIn) === 0;
  }
}

export const noFlags: PolicyFlags = {
  cidr: [],
  denyCidr: [],
  cn: [],
  domain: [],
  resolver: [],
  port: [],
  namePort: [],
};

/** The spec of good flags; bad ones fail the test. */
export function specOf(flags: Partial<PolicyFlags>, id = 1): PolicySpec {
  const parsed = parsePolicy({ ...noFlags, ...flags }, { id, name: `p${id}` });
  if (!parsed.ok) throw new Error(parsed.errors.join("\n"));
  return parsed.spec;
}

export function policyOf(flags: Partial<PolicyFlags>): CompiledPolicy {
  return compilePolicies([specOf(flags)]).policies[0] as CompiledPolicy;
}
