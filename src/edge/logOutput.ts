/**
 * Where the log's lines go: a file descriptor, written asynchronously, so nobody waits for a terminal or a pipe. What a slow reader leaves behind
 * beyond 4 MiB is dropped and counted. Lines wait some milliseconds for more, to be written together: each write is a wake-up of the thread that
 * does it, and of the reader.
 */
import pino from "pino";

/** How long the end waits for a reader that doesn't read. */
const closeMs = 500;
const maxBuffered = 4 * 1024 * 1024;
/** Longest that a line waits for more. */
const gatherMs = 20;
/** Characters that wait for more: what one write takes. */
const maxGathered = 16 * 1024;

export class LogOutput {
  /** For who can't wait, or must have a stream. */
  readonly direct: ReturnType<typeof pino.destination>;
  #gathered = "";
  #timer: NodeJS.Timeout | undefined;
  #dropped = 0;
  #closesAt = Infinity;

  /** `fd`: closed with it, unless it is 1 or 2. */
  constructor(fd: number) {
    this.direct = pino.destination({
      dest: fd,
      sync: false,
      minLength: 0,
      maxLength: maxBuffered,
      // A reader that doesn't read is waited for, but not for ever by a process that wants to end.
      retryEAGAIN: () => Date.now() < this.#closesAt,
    });
    this.direct.on("drop", (text: string) => (this.#dropped += text.split("\n").length - 1));
    // A reader that went away (EPIPE) must not end the gateway.
    this.direct.on("error", () => this.#dropped++);
  }

  /** Lines that a slow reader cost. */
  get dropped(): number {
    return this.#dropped;
  }

  /** `line` ends with a newline. */
  write(line: string): void {
    this.#gathered += line;
    if (this.#gathered.length >= maxGathered) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), gatherMs);
  }

  /** What waits for more waits no longer. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#gathered === "") return;
    const lines = this.#gathered;
    this.#gathered = "";
    this.direct.write(lines);
  }

  /** Write out what there is, synchronously. */
  close(): void {
    this.#closesAt = Date.now() + closeMs;
    try {
      this.flush();
      this.direct.flushSync();
    } catch {
      // Not open any more, or nobody reads: there is nobody to tell.
    }
    this.direct.destroy();
  }
}
