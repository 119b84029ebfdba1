/**
 * Names to rules. Exact names, and the names that `*.x.io` and `.x.io` stand on, are keys of Maps: they share their strings
 * with the spec, so the index costs a Map slot a name. A lookup walks the dots from the right, and asks only for as many
 * labels as some pattern has, so a name of 127 labels costs no more than one of five. Suffixes that don't end at a dot
 * are in a structure of their own (suffixIndex.ts).
 */
import { SuffixIndex } from "./suffixIndex.js";
import type { NamePattern } from "./types.js";

export interface IndexedName {
  readonly pattern: NamePattern;
  /** Greater than 0. */
  readonly rule: number;
}

/** RFC 1035: 255 bytes on the wire hold at most 127 labels. */
const MAX_LABELS = 127;

export class NameIndex {
  readonly #exact = new Map<string, number>();
  readonly #below = new Map<string, number>();
  readonly #apexAndBelow = new Map<string, number>();
  readonly #suffix: SuffixIndex;
  /** #labels[n] is 1 if a pattern of #below or #apexAndBelow has n labels. */
  readonly #labels = new Uint8Array(MAX_LABELS + 1);
  #maxLabels = 0;

  /** Of two equal patterns the first one counts. */
  constructor(names: Iterable<IndexedName>) {
    const suffixes: { readonly text: string; readonly rule: number }[] = [];
    for (const { pattern, rule } of names) {
      if (pattern.kind === "suffix") {
        suffixes.push({ text: pattern.name, rule });
        continue;
      }
      const map = pattern.kind === "exact" ? this.#exact : pattern.kind === "below" ? this.#below : this.#apexAndBelow;
      if (map.has(pattern.name)) continue;
      map.set(pattern.name, rule);
      if (pattern.kind !== "exact") this.#noteLabels(pattern.name);
    }
    this.#suffix = new SuffixIndex(suffixes);
  }

  /** Rule of the most specific pattern: exact, then the longest of `*.x` and `.x`, then the longest suffix. 0: none. */
  match(name: string): number {
    return this.#exact.get(name) ?? (this.#matchDots(name) || this.#suffix.match(name));
  }

  /** Every rule whose pattern matches, most specific first. */
  matchAll(name: string): number[] {
    const exact = this.#exact.get(name);
    const dots: number[] = [];
    this.#matchDots(name, dots);
    const suffixes: number[] = [];
    this.#suffix.match(name, suffixes);
    return [...(exact === undefined ? [] : [exact]), ...dots.reverse(), ...suffixes.reverse()];
  }

  /** The longest match; `all` collects every one, shortest first. */
  #matchDots(name: string, all?: number[]): number {
    let best = 0;
    let at = name.length;
    for (let labels = 1; labels <= this.#maxLabels && at > 0; labels++) {
      at = name.lastIndexOf(".", at - 1);
      if (this.#labels[labels] === 1) {
        const suffix = at < 0 ? name : name.slice(at + 1);
        const apex = this.#apexAndBelow.get(suffix);
        if (apex !== undefined) {
          best = apex;
          all?.push(apex);
        }
        // `*.x` matches what `.x` does but for the apex, so it is the more specific of the two.
        const below = at < 0 ? undefined : this.#below.get(suffix);
        if (below !== undefined) {
          best = below;
          all?.push(below);
        }
      }
      if (at < 0) break;
    }
    return best;
  }

  #noteLabels(name: string): void {
    let labels = 1;
    for (let i = name.indexOf("."); i >= 0; i = name.indexOf(".", i + 1)) labels++;
    this.#labels[labels] = 1;
    this.#maxLabels = Math.max(this.#maxLabels, labels);
  }
}
