/** One of the kernel's tables of flows: the key that is being asked for, and the writes that wait to be done together. */
import { FLOW_SIZE, Flow4KeyOffset, Flow6KeyOffset } from "../core/abi.generated.js";
import type { FlowKey } from "../core/engine/commands.js";
import type { BpfMap } from "../native/types.js";
import { errnoOf } from "./errors.js";
import { areAt, memory, writeLatin1, type Memory } from "./fields.js";

/** Writes that wait for `flush`. */
const room = 64;

interface Writes {
  readonly keys: Buffer;
  readonly values: Buffer;
}

export class FlowTable {
  readonly #map: BpfMap;
  /** The values that wait. */
  readonly values = memory(room * FLOW_SIZE);
  readonly #keys: Memory;
  readonly #key: Memory;
  readonly #firsts: Writes[] = [];
  #waiting = 0;
  #full = 0;

  constructor(map: BpfMap, keySize: number) {
    this.#map = map;
    this.#key = memory(keySize);
    this.#keys = memory(room * keySize);
  }

  /** Entries that found no room. */
  get full(): number {
    return this.#full;
  }

  /** One more write is one too many. */
  get isFull(): boolean {
    return this.#waiting === room;
  }

  /** What the next calls are about. Returns the words of its key. */
  select(flow: FlowKey): Uint32Array {
    const key = this.#key.bytes;
    const at = flow.src.length === 4 ? Flow4KeyOffset : Flow6KeyOffset;
    writeLatin1(key, at.src, flow.src);
    writeLatin1(key, at.dst, flow.dst);
    // Network order, as the packet has them.
    key[at.sport] = flow.sport >> 8;
    key[at.sport + 1] = flow.sport & 0xff;
    key[at.dport] = flow.dport >> 8;
    key[at.dport + 1] = flow.dport & 0xff;
    key[at.policy] = flow.policy & 0xff;
    key[at.policy + 1] = flow.policy >> 8;
    key[at.proto] = flow.proto;
    return this.#key.words;
  }

  /** Where in `values` the newest write of this flow waits. */
  findWaiting(): number | undefined {
    const key = this.#key.words;
    for (let i = this.#waiting - 1; i >= 0; i--) {
      if (areAt(this.#keys.words, i * key.length, key)) return i * FLOW_SIZE;
    }
    return undefined;
  }

  /** What the map holds of this flow becomes `value`. false: nothing, `value` is as it was. */
  read(value: Buffer): boolean {
    return this.#map.read(this.#key.bytes, value);
  }

  /** This flow is written with the next `flush`; where in `values` its value belongs. There must be room. */
  add(): number {
    const i = this.#waiting++;
    const key = this.#key.words;
    const keys = this.#keys.words;
    for (let k = 0, at = i * key.length; k < key.length; k++, at++) keys[at] = key[k] as number;
    return i * FLOW_SIZE;
  }

  /** Throws SystemError if the kernel refuses for another reason than room. */
  flush(): void {
    const count = this.#waiting;
    if (count === 0) return;
    this.#waiting = 0;
    const first = this.#first(count);
    if (count === 1) return this.#put(first);
    let stored = 0;
    try {
      stored = this.#map.putBatch(first.keys, first.values, count);
    } catch {
      // One by one finds out which, and why.
    }
    for (let i = stored; i < count; i++) this.#put(this.#slice(i, i + 1));
  }

  /** The first `count` writes; made once for each number. */
  #first(count: number): Writes {
    return (this.#firsts[count] ??= this.#slice(0, count));
  }

  #slice(from: number, to: number): Writes {
    const size = this.#key.bytes.length;
    return {
      keys: this.#keys.bytes.subarray(from * size, to * size),
      values: this.values.bytes.subarray(from * FLOW_SIZE, to * FLOW_SIZE),
    };
  }

  /** One write. */
  #put({ keys, values }: Writes): void {
    try {
      this.#map.put(keys, values);
    } catch (error) {
      // E2BIG: no entry left. ENOMEM: the kernel found no memory for it.
      const code = errnoOf(error);
      if (code !== "E2BIG" && code !== "ENOMEM") throw error;
      this.#full++;
    }
  }
}
