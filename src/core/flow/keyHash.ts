/**
 * A keyed hash of flows. A client chooses ports and addresses, so without a key it could choose those that collide in a table.
 *
 * Multilinear hashing modulo 2^32: of characters of 16 bits the upper 17 bits are strongly universal (Lemire and Kaser, "Strongly universal
 * string hashing is fast", 2014). A table takes its index from the upper bits, so up to 2^17 places are safe.
 */
import { createHash } from "node:crypto";
import type { Addr } from "../net/address.js";

/** A flow, by what a table finds it by. Policy and ports have 16 bits each. */
export interface FlowEnds {
  readonly policy: number;
  readonly sport: number;
  readonly dport: number;
  readonly src: Addr;
  readonly dst: Addr;
}

/** Characters of a flow, each of 16 bits: policy, two ports, two addresses of 16 bytes. */
export const KEY_CHARS = 3 + 2 * 16;

export class KeyHash {
  readonly #multipliers: Int32Array;

  /** `seed`: random bytes. They change no answer of a table. */
  constructor(seed: Uint8Array) {
    const count = KEY_CHARS + 1;
    const stream = createHash("shake256", { outputLength: count * 4 })
      .update(seed)
      .digest();
    this.#multipliers = Int32Array.from({ length: count }, (_, i) => stream.readInt32LE(i * 4));
  }

  /** A signed number of 32 bits. */
  of({ policy, sport, dport, src, dst }: FlowEnds): number {
    return this.ofParts(policy, sport, dport, src, dst);
  }

  /** The same of any three numbers of 16 bits and two addresses. */
  ofParts(first: number, second: number, third: number, src: Addr, dst: Addr): number {
    const by = this.#multipliers;
    let hash = by[KEY_CHARS]!;
    hash = (hash + Math.imul(by[0]!, first) + Math.imul(by[1]!, second) + Math.imul(by[2]!, third)) | 0;
    return this.#text(dst, 3 + src.length, this.#text(src, 3, hash));
  }

  /** Add the characters of `text`, of which the first stands at `at`. */
  #text(text: string, at: number, initial: number): number {
    const by = this.#multipliers;
    let hash = initial;
    for (let i = 0; i < text.length; i++) hash = (hash + Math.imul(by[at + i]!, text.charCodeAt(i))) | 0;
    return hash;
  }
}
