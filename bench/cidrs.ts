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

/** The same for IPv6, as text: half /48, the rest /64 and single hosts, all in 2a00::/12. */
export function manyCidrs6(count: number): string[] {
  const next = random(2);
  const taken = new Set<number>();
  const cidrs: string[] = [];
  while (cidrs.length < count) {
    // Each network has a /44 of its own.
    const block = next() & 0xfffffff;
    if (taken.has(block)) continue;
    taken.add(block);
    const groups = [0x2a00 | (block >>> 24), (block >>> 8) & 0xffff, (block & 0xff) << 8];
    const draw = next() % 10;
    const lower = draw < 5 ? "::/48" : draw < 8 ? ":7::/64" : `:7::${(1 + (next() & 0x7fff)).toString(16)}/128`;
    cidrs.push(groups.map((group) => group.toString(16)).join(":") + lower);
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
