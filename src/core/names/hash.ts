/**
 * The keyed hash of a name in map `bindings` (`l7_binding_key.name_hash`): SipHash-2-4 with 128 bits of output, as in the
 * reference of Aumasson and Bernstein ("SipHash: a fast short-input PRF", and its 128-bit variant). Keyed, because the
 * name is an adversary's choice: without the key nobody can find a denied name that collides with an allowed one.
 *
 * Input: the name in normal form (lower case, no trailing dot) as bytes, at most 253. Key: `l7_config.hash_seed`, 16 bytes.
 * Output: 16 bytes, first half first, each half little-endian. The kernel computes the same; test/vectors/name-hash.json
 * is the table that both are held to.
 *
 * 64-bit words are pairs of 32-bit halves (low, high): BigInt would be 20 times slower.
 */
export class NameHasher {
  readonly #key = new Uint32Array(4);
  readonly #v = new Uint32Array(8);

  /** `seed`: 16 bytes; random, made at start. */
  constructor(seed: Uint8Array) {
    if (seed.length !== 16) throw new RangeError(`hash seed of ${seed.length} bytes; 16 wanted`);
    for (let i = 0; i < 4; i++) this.#key[i] = word(seed, i * 4);
  }

  /** Hash the characters of `name` as bytes (a name in normal form is ASCII) into `out` at `offset`. */
  hashInto(name: string, out: Uint8Array, offset: number): void {
    const v = this.#v;
    const [k0, k1, k2, k3] = this.#key as unknown as [number, number, number, number];
    // "somepseudorandomlygeneratedbytes", and 0xee into v1 for 128 bits of output.
    v[0] = 0x70736575 ^ k0;
    v[1] = 0x736f6d65 ^ k1;
    v[2] = 0x6e646f6d ^ k2 ^ 0xee;
    v[3] = 0x646f7261 ^ k3;
    v[4] = 0x6e657261 ^ k0;
    v[5] = 0x6c796765 ^ k1;
    v[6] = 0x79746573 ^ k2;
    v[7] = 0x74656462 ^ k3;

    const length = name.length;
    const whole = length & ~7;
    for (let i = 0; i < whole; i += 8) absorb(v, charWord(name, i, 4), charWord(name, i + 4, 4));
    const rest = length - whole;
    absorb(
      v,
      charWord(name, whole, Math.min(rest, 4)),
      (charWord(name, whole + 4, Math.max(rest - 4, 0)) | ((length & 0xff) << 24)) >>> 0,
    );

    v[4] = v[4] ^ 0xee;
    for (let i = 0; i < 4; i++) round(v);
    emit(v, out, offset);
    v[2] = v[2] ^ 0xdd;
    for (let i = 0; i < 4; i++) round(v);
    emit(v, out, offset + 8);
  }

  hash(name: string): Uint8Array {
    const out = new Uint8Array(16);
    this.hashInto(name, out, 0);
    return out;
  }
}

function absorb(v: Uint32Array, low: number, high: number): void {
  v[6] = (v[6] as number) ^ low;
  v[7] = (v[7] as number) ^ high;
  round(v);
  round(v);
  v[0] = (v[0] as number) ^ low;
  v[1] = (v[1] as number) ^ high;
}

function round(v: Uint32Array): void {
  add(v, 0, 2);
  rotate(v, 2, 13);
  mix(v, 2, 0);
  swap(v, 0);
  add(v, 4, 6);
  rotate(v, 6, 16);
  mix(v, 6, 4);
  add(v, 0, 6);
  rotate(v, 6, 21);
  mix(v, 6, 0);
  add(v, 4, 2);
  rotate(v, 2, 17);
  mix(v, 2, 4);
  swap(v, 4);
}

/** v[a] += v[b], both 64 bits. */
function add(v: Uint32Array, a: number, b: number): void {
  const low = (v[a] as number) + (v[b] as number);
  v[a + 1] = (v[a + 1] as number) + (v[b + 1] as number) + (low > 0xffffffff ? 1 : 0);
  v[a] = low;
}

function mix(v: Uint32Array, a: number, b: number): void {
  v[a] = (v[a] as number) ^ (v[b] as number);
  v[a + 1] = (v[a + 1] as number) ^ (v[b + 1] as number);
}

/** Rotate left by less than 32. */
function rotate(v: Uint32Array, a: number, bits: number): void {
  const low = v[a] as number;
  const high = v[a + 1] as number;
  v[a] = (low << bits) | (high >>> (32 - bits));
  v[a + 1] = (high << bits) | (low >>> (32 - bits));
}

/** Rotate by 32. */
function swap(v: Uint32Array, a: number): void {
  const low = v[a] as number;
  v[a] = v[a + 1] as number;
  v[a + 1] = low;
}

function emit(v: Uint32Array, out: Uint8Array, offset: number): void {
  const low = (v[0] as number) ^ (v[2] as number) ^ (v[4] as number) ^ (v[6] as number);
  const high = (v[1] as number) ^ (v[3] as number) ^ (v[5] as number) ^ (v[7] as number);
  for (let i = 0; i < 4; i++) {
    out[offset + i] = low >>> (8 * i);
    out[offset + 4 + i] = high >>> (8 * i);
  }
}

function word(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

/** `count` characters (0–4) as a little-endian word. */
function charWord(text: string, at: number, count: number): number {
  let out = 0;
  for (let i = 0; i < count; i++) out |= (text.charCodeAt(at + i) & 0xff) << (8 * i);
  return out >>> 0;
}
