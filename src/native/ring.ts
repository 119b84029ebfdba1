import { binding } from "./binding.js";
import type { Handle } from "./binding.js";
import { mapHandle } from "./bpf.js";
import type { BpfMap, RingBuffer } from "./types.js";
import { callable, integer } from "./validate.js";

export function openRingBuffer(map: BpfMap, handler: (record: Buffer) => void, maxPerTurn = 1024): RingBuffer {
  const source = mapHandle(map, "map");
  callable(handler, "handler");
  integer(maxPerTurn, "maxPerTurn", 1, 1 << 20);
  let deliver: (count: number) => void = () => {};
  const { handle, memory } = binding().ringbufOpen(source, maxPerTurn, (count) => deliver(count));
  const ring = new OpenRing(handle);
  const index = new Uint32Array(memory.buffer, memory.byteOffset, maxPerTurn * 2);
  const records = memory.subarray(maxPerTurn * 2 * 4);
  // Records are read when the event loop turns, so none can come before this line.
  deliver = (count) => {
    // The kernel's side has moved on already: a record that throws must not take those behind it with it.
    let failure: { error: unknown } | undefined;
    for (let i = 0; i < count && !ring.closed; i++) {
      const offset = index[2 * i]!;
      try {
        handler(records.subarray(offset, offset + index[2 * i + 1]!));
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  };
  return ring;
}

class OpenRing implements RingBuffer {
  readonly #handle: Handle;
  closed = false;

  constructor(handle: Handle) {
    this.#handle = handle;
  }

  read(): void {
    if (!this.closed) binding().ringbufRead(this.#handle);
  }

  close(): void {
    this.closed = true;
    binding().ringbufClose(this.#handle);
  }
}
