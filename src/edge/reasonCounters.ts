/** Counters of user space, by reason: the kernel has counters of its own. */
import { Reason } from "../core/abi.generated.js";

export type ReasonCounts = Readonly<Record<number, { readonly packets: number; readonly bytes: number }>>;

export class ReasonCounters {
  /** Bytes of the memory that one needs. */
  static readonly size = 2 * Reason.MAX * Float64Array.BYTES_PER_ELEMENT;
  readonly #packets: Float64Array;
  readonly #bytes: Float64Array;

  /** `memory`: where they live, so that another thread may read them. One thread writes. Default: memory of their own. */
  constructor(memory: ArrayBuffer | SharedArrayBuffer = new ArrayBuffer(ReasonCounters.size)) {
    this.#packets = new Float64Array(memory, 0, Reason.MAX);
    this.#bytes = new Float64Array(memory, Reason.MAX * Float64Array.BYTES_PER_ELEMENT, Reason.MAX);
  }

  count(reason: number, bytes: number): void {
    this.#packets[reason] = (this.#packets[reason] ?? 0) + 1;
    this.#bytes[reason] = (this.#bytes[reason] ?? 0) + bytes;
  }

  /** Reasons that never happened are left out. */
  counted(): ReasonCounts {
    const out: Record<number, { packets: number; bytes: number }> = {};
    this.#packets.forEach((packets, reason) => {
      if (packets > 0) out[reason] = { packets, bytes: this.#bytes[reason] as number };
    });
    return out;
  }
}

/** Several threads' counters together. */
export function addCounts(all: readonly ReasonCounts[]): ReasonCounts {
  const out: Record<number, { packets: number; bytes: number }> = {};
  for (const counts of all) {
    for (const [reason, { packets, bytes }] of Object.entries(counts)) {
      const one = (out[Number(reason)] ??= { packets: 0, bytes: 0 });
      one.packets += packets;
      one.bytes += bytes;
    }
  }
  return out;
}
