/**
 * The kernel's events. An allow wakes this process at most once in EVENT_QUIET_MS (bpf/report.h); whatever follows without a wake-up is read
 * by one more look a little later. Without events there is no timer.
 */
import { EVENT_QUIET_MS } from "../core/abi.generated.js";
import type { BpfMap, Native, RingBuffer } from "../native/types.js";

const lookAgainMs = EVENT_QUIET_MS + 10;

export class EventReader {
  readonly #ring: RingBuffer;
  #timer: NodeJS.Timeout | undefined;

  /** `onRecord`: the bytes are valid only during the call. */
  constructor(native: Native, events: BpfMap, onRecord: (record: Buffer) => void) {
    this.#ring = native.openRingBuffer(events, (record) => {
      // Counted from the last record: only then nothing without a wake-up is left behind it.
      if (this.#timer) this.#timer.refresh();
      else this.#timer = setTimeout(() => this.#lookAgain(), lookAgainMs);
      onRecord(record);
    });
  }

  /** Hand over now what is there. */
  read(): void {
    this.#ring.read();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#ring.close();
  }

  #lookAgain(): void {
    this.#timer = undefined;
    this.#ring.read();
  }
}
