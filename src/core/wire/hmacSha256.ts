/**
 * HMAC-SHA-256 of short messages (RFC 2104, FIPS 180-4), on words of 32 bits in arrays that are used again. Five of them are the keys of one QUIC connection: by
 * node:crypto each costs two objects with memory outside the heap, 10 µs and the garbage collector's work; here all five take half of that and allocate
 * nothing. Nothing is kept secret by it: QUIC's Initial keys are everybody's.
 */
import { put32 } from "./bytes.js";

/** Most bytes of a message: with its padding it is one block. */
export const MAX_MESSAGE = 55;

export class HmacSha256 {
  /** States after the key's block, inner and outer. */
  readonly #inner = new Int32Array(8);
  readonly #outer = new Int32Array(8);
  readonly #state = new Int32Array(8);

  /** `bytes`: at most 64. */
  setKey(bytes: Uint8Array): void {
    if (bytes.length > BLOCK) throw new RangeError(`key of ${bytes.length} bytes`);
    this.#keyState(bytes, 0x36, this.#inner);
    this.#keyState(bytes, 0x5c, this.#outer);
  }

  /** Write the 32 bytes of `message`'s code to the start of `out`. The message: at most MAX_MESSAGE bytes. */
  code(message: Uint8Array, out: Uint8Array): void {
    if (message.length > MAX_MESSAGE) throw new RangeError(`message of ${message.length} bytes`);
    BYTES.fill(0);
    BYTES.set(message);
    endBlock(message.length);
    loadBlock();
    this.#state.set(this.#inner);
    compress(this.#state);

    for (let i = 0; i < 8; i++) WORDS[i] = this.#state[i]!;
    WORDS[8] = 0x80000000;
    WORDS.fill(0, 9, 15);
    WORDS[15] = (BLOCK + 32) * 8;
    this.#state.set(this.#outer);
    compress(this.#state);
    for (let i = 0; i < 8; i++) put32(out, 4 * i, this.#state[i]!);
  }

  #keyState(key: Uint8Array, pad: number, state: Int32Array): void {
    BYTES.fill(pad);
    for (let i = 0; i < key.length; i++) BYTES[i] = key[i]! ^ pad;
    loadBlock();
    state.set(INITIAL);
    compress(state);
  }
}

const BLOCK = 64;
/** One block, and the 64 words that it is extended to: filled and read within one call. */
const BYTES = new Uint8Array(BLOCK);
const WORDS = new Int32Array(64);

/** A 1 bit behind the message, and the length in bits of it and the key's block before it. */
function endBlock(length: number): void {
  BYTES[length] = 0x80;
  put32(BYTES, 60, (BLOCK + length) * 8);
}

function loadBlock(): void {
  for (let i = 0; i < 16; i++) {
    const at = 4 * i;
    WORDS[i] = (BYTES[at]! << 24) | (BYTES[at + 1]! << 16) | (BYTES[at + 2]! << 8) | BYTES[at + 3]!;
  }
}

/** FIPS 180-4 6.2.2, over the block in the first 16 of WORDS. */
function compress(state: Int32Array): void {
  for (let t = 16; t < 64; t++) {
    const x = WORDS[t - 15]!;
    const y = WORDS[t - 2]!;
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    WORDS[t] = (WORDS[t - 16]! + s0 + WORDS[t - 7]! + s1) | 0;
  }
  let a = state[0]!;
  let b = state[1]!;
  let c = state[2]!;
  let d = state[3]!;
  let e = state[4]!;
  let f = state[5]!;
  let g = state[6]!;
  let h = state[7]!;
  for (let t = 0; t < 64; t++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[t]! + WORDS[t]!) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0]! += a;
  state[1]! += b;
  state[2]! += c;
  state[3]! += d;
  state[4]! += e;
  state[5]! += f;
  state[6]! += g;
  state[7]! += h;
}

const PRIMES = firstPrimes(64);
/** The first 32 bits of the fractional parts of the square roots of 8 primes, and of the cube roots of 64 (FIPS 180-4 4.2.2 and 5.3.3). */
const INITIAL = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(2n, prime));
const K = Int32Array.from(PRIMES, (prime) => fraction(3n, prime));

function firstPrimes(count: number): bigint[] {
  const primes: bigint[] = [];
  for (let n = 2n; primes.length < count; n++) if (primes.every((prime) => n % prime !== 0n)) primes.push(n);
  return primes;
}

/** The largest whole number whose power is at most value * 2^(32 * power), without what stands before the point. */
function fraction(power: bigint, value: bigint): number {
  const target = value << (32n * power);
  let root = 0n;
  for (let bit = 1n << 40n; bit > 0n; bit >>= 1n) if ((root + bit) ** power <= target) root += bit;
  return Number(BigInt.asIntN(32, root));
}
