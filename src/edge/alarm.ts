/** A timer for a deadline that may come nearer: it goes off once, at the earliest time that it was set to. It keeps no process alive. */

/** setTimeout can't wait longer. */
const maxWaitMs = 2 ** 31 - 1;

export class Alarm {
  readonly #now: () => number;
  readonly #ring: () => void;
  #timer: NodeJS.Timeout | undefined;
  #at = Infinity;

  /** `now`: the clock of the times that it is set to, in milliseconds. */
  constructor(now: () => number, ring: () => void) {
    this.#now = now;
    this.#ring = ring;
  }

  /** undefined: nothing to wait for. A later time than it is set to already changes nothing: who is rung too early sets it again. */
  set(at: number | undefined): void {
    if (at === undefined || at >= this.#at) return;
    clearTimeout(this.#timer);
    this.#at = at;
    const wait = Math.min(Math.max(Math.ceil(at - this.#now()), 1), maxWaitMs);
    this.#timer = setTimeout(() => {
      this.#at = Infinity;
      this.#ring();
    }, wait);
    this.#timer.unref();
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#at = Infinity;
  }
}
