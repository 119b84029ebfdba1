/** Counters of user space, by reason: the kernel has counters of its own. */
import { Reason } from "../core/abi.generated.js";

export type ReasonCounts = Readonly<Record<number, { readonly packets: number; readonly bytes: number }>>;

export class ReasonCounters {
  readonly #packets = new Float64Array(Reason.MAX);
  readonly #bytes = new Float64Array(Reason.MAX);

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
