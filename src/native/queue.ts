import { binding } from "./binding.js";
import type { Handle } from "./binding.js";
import { META_STRIDE } from "./types.js";
import type { BatchHandler, Queue, QueueOptions, QueueStats } from "./types.js";
import { callable, flag, integer, record } from "./validate.js";

/** The most that one netlink attribute holds: 65535 less its header. */
const maxCopy = 65531;
/** A verdict in the pending list, as `enum queue_verdict` in native/queue.h. */
const stride = 5;
const flags = { accept: 1, mark: 2, payload: 4 } as const;
/** Words of the control block, as `enum queue_control`. */
const control = { pending: 0, payload: 1 } as const;

export function openQueue(options: QueueOptions, handler: BatchHandler): Queue {
  record(options, "options");
  callable(handler, "handler");
  const queue = integer(options.queue, "queue", 0, 65535);
  const copyRange = integer(options.copyRange ?? maxCopy, "copyRange", 1, maxCopy);
  const maxLength = integer(options.maxLength ?? 8192, "maxLength", 1, 1 << 24);
  const failOpen = flag(options.failOpen ?? false, "failOpen");
  const gso = flag(options.gso ?? true, "gso");
  const receiveBuffer = integer(options.receiveBuffer ?? 8 << 20, "receiveBuffer", 1, 1 << 29);
  const batch = integer(options.batch ?? 256, "batch", 1, 1024);

  let deliver: (count: number) => void = () => {};
  const opened = binding().queueOpen(
    queue,
    copyRange,
    maxLength,
    failOpen,
    gso,
    receiveBuffer,
    batch,
    (count: number) => deliver(count),
  );
  if (opened.metaStride !== META_STRIDE) throw new Error("the native addon is of another version: build it again");
  const { buffer, byteOffset } = opened.memory;
  const meta = new Uint32Array(buffer, byteOffset + opened.metaOffset, batch * META_STRIDE);
  const data = opened.memory.subarray(opened.dataOffset);
  // Packets are read when the event loop turns, so none can come before this line.
  deliver = (count) => handler(count, meta, data);
  return new OpenQueue(queue, opened);
}

type Opened = ReturnType<ReturnType<typeof binding>["queueOpen"]>;

/**
 * Verdicts are written to memory that the addon reads at the flush: a verdict costs a few stores and no call into C.
 */
class OpenQueue implements Queue {
  readonly queue: number;
  readonly #handle: Handle;
  readonly #control: Uint32Array;
  readonly #verdicts: Uint32Array;
  readonly #payload: Uint8Array;
  readonly #capacity: number;
  #closed = false;

  constructor(queue: number, opened: Opened) {
    const { buffer, byteOffset } = opened.memory;
    this.queue = queue;
    this.#handle = opened.handle;
    this.#capacity = opened.verdictsCapacity;
    this.#control = new Uint32Array(buffer, byteOffset, 16);
    this.#verdicts = new Uint32Array(buffer, byteOffset + opened.verdictsOffset, this.#capacity * stride);
    this.#payload = new Uint8Array(buffer, byteOffset + opened.payloadOffset, opened.payloadCapacity);
  }

  verdict(id: number, action: "accept" | "drop", mark?: number, bytes?: Uint8Array): void {
    if (this.#closed) throw new Error("queue is closed");
    if (id >>> 0 !== id) throw new RangeError(`id must be an unsigned 32-bit integer, not ${String(id)}`);
    if (mark !== undefined && mark >>> 0 !== mark) {
      throw new RangeError(`mark must be an unsigned 32-bit integer, not ${String(mark)}`);
    }
    let word = 0;
    if (action === "accept") word = flags.accept;
    else if ((action as string) !== "drop") throw new RangeError(`action must be accept or drop, not ${action}`);

    if (this.#control[control.pending]! >= this.#capacity) this.flush();
    let at = this.#control[control.pending]! * stride;
    if (bytes !== undefined) {
      const offset = this.#store(bytes);
      // Storing may have flushed.
      at = this.#control[control.pending]! * stride;
      word |= flags.payload;
      this.#verdicts[at + 3] = offset;
      this.#verdicts[at + 4] = bytes.length;
    }
    if (mark !== undefined) {
      word |= flags.mark;
      this.#verdicts[at + 2] = mark;
    }
    this.#verdicts[at] = id;
    this.#verdicts[at + 1] = word;
    this.#control[control.pending]!++;
  }

  flush(): void {
    binding().queueFlush(this.#handle);
  }

  stats(): QueueStats {
    return binding().queueStats(this.#handle);
  }

  close(): void {
    this.#closed = true;
    binding().queueClose(this.#handle);
  }

  #store(bytes: Uint8Array): number {
    if (!(bytes instanceof Uint8Array)) throw new TypeError("bytes must be a Uint8Array");
    if (bytes.length === 0 || bytes.length > maxCopy) {
      throw new RangeError(`bytes must have 1 to ${maxCopy} bytes, not ${bytes.length}`);
    }
    if (this.#control[control.payload]! + bytes.length > this.#payload.length) this.flush();
    const offset = this.#control[control.payload]!;
    this.#payload.set(bytes, offset);
    this.#control[control.payload] = offset + bytes.length;
    return offset;
  }
}
