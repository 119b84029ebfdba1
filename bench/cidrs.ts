/** 100,000 different networks, the same in every run. */

export interface Cidr {
  /** Network address as one number, host order. */
  readonly address: number;
  readonly prefix: number;
}

/**
 * Prefix lengths as in a list of networks that people collect: 40 % single hosts, 40 % /24, the rest /20 to /31. None holds another, and none
 * touches 10/8, 198.51/16 or 203.0.112/20, where the lab's addresses are.
 */
export function manyCidrs(count: number): Cidr[] {
  const next = random(1);
  const taken = new Set<number>();
  const cidrs: Cidr[] = [];
  while (cidrs.length < count) {
    const draw = next() % 10;
    const prefix = draw < 4 ? 32 : draw < 8 ? 24 : 20 + (next() % 12);
    const first = 11 + (next() % 180);
    // Each network has a /20 of its own, or two of them could hold each other.
    const address = ((first << 24) | (next() & 0xffffff)) >>> 0;
    const block = address >>> 12;
    if (first === 127 || first === 169 || first === 172 || taken.has(block)) continue;
    taken.add(block);
    cidrs.push({ address: (address & (prefix === 32 ? 0xffffffff : ~(0xffffffff >>> prefix))) >>> 0, prefix });
  }
  return cidrs;
}

export function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join(".");
}

/** xorshift32: numbers that are the same on every machine. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}
