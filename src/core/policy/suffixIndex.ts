/**
 * Which of many suffixes does a name end with? All suffixes lie reversed and sorted in one byte buffer, so those that share
 * an ending are neighbours. A lookup reads the name from its end and narrows the range of candidates one byte at a time;
 * it stops as soon as no suffix goes on like the name, after about log2(n) comparisons in all. A Map by length would have
 * to cut and hash the name once for each length in use (up to 253); a trie of objects would need several hundred bytes a
 * name. This needs the suffix's own bytes and 8 more.
 */
export class SuffixIndex {
  /** Reversed suffixes, one behind the other. */
  readonly #bytes: Buffer;
  /** Suffix i is #bytes[#start[i], #start[i + 1]). */
  readonly #start: Uint32Array;
  readonly #rule: Uint32Array;

  /** Texts of bytes (latin1), not empty. Of equal texts the first one counts. */
  constructor(suffixes: readonly { readonly text: string; readonly rule: number }[]) {
    const rules = new Map<string, number>();
    for (const { text, rule } of suffixes) {
      const reversed = Buffer.from(text, "latin1").reverse().toString("latin1");
      if (!rules.has(reversed)) rules.set(reversed, rule);
    }
    const sorted = [...rules.keys()].sort();
    this.#bytes = Buffer.from(sorted.join(""), "latin1");
    this.#start = new Uint32Array(sorted.length + 1);
    this.#rule = new Uint32Array(sorted.length);
    let at = 0;
    sorted.forEach((text, i) => {
      this.#rule[i] = rules.get(text) as number;
      this.#start[i] = at;
      at += text.length;
    });
    this.#start[sorted.length] = at;
  }

  /** Rule of the longest suffix; 0: none. `all` collects the rule of every one, shortest first. */
  match(name: string, all?: number[]): number {
    let best = 0;
    let low = 0;
    let high = this.#rule.length;
    for (let depth = 0; depth < name.length && low < high; depth++) {
      const byte = name.charCodeAt(name.length - 1 - depth);
      // Common endings (".com") keep the whole range: two looks instead of two searches.
      if (this.#byte(low, depth) !== byte) low = this.#bound(low, high, depth, byte);
      if (low < high && this.#byte(high - 1, depth) !== byte) high = this.#bound(low, high, depth, byte + 1);
      // The shorter sorts first, and there are no two equal ones: only `low` can end here.
      if (low < high && this.#length(low) === depth + 1) {
        best = this.#rule[low] as number;
        all?.push(best);
        low++;
      }
    }
    return best;
  }

  /** First of [low, high) whose byte at `depth` is at least `byte`; all of them are longer than `depth`. */
  #bound(low: number, high: number, depth: number, byte: number): number {
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#byte(middle, depth) < byte) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #byte(i: number, depth: number): number {
    return this.#bytes[(this.#start[i] as number) + depth] as number;
  }

  #length(i: number): number {
    return (this.#start[i + 1] as number) - (this.#start[i] as number);
  }
}
