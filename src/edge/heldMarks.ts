/**
 * The packets of a queue that are held: the mark of each, and since when. Every packet of a hello that comes in pieces passes through here, so it is three arrays
 * and no object for each, which grow to what is held at the same time (`EngineLimits` bounds that) and stay so.
 */
import type { PacketId } from "../core/engine/events.js";

const FIRST_PLACES = 256;

export class HeldMarks {
  /** Open addressing with linear probing, a power of two, at most half of it taken. Id + 1, 0: free; a double, since ids have 32 bits. */
  #ids = new Float64Array(FIRST_PLACES);
  #marks = new Uint32Array(FIRST_PLACES);
  #since = new Float64Array(FIRST_PLACES);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  set(id: PacketId, mark: number, since: number): void {
    if (2 * (this.#size + 1) > this.#ids.length) this.#grow();
    const at = this.#find(id);
    if (this.#ids[at] === 0) this.#size++;
    this.#ids[at] = id + 1;
    this.#marks[at] = mark;
    this.#since[at] = since;
  }

  /** Its mark, and it is held no more; -1: it isn't held. */
  take(id: PacketId): number {
    const at = this.#find(id);
    if (this.#ids[at] === 0) return -1;
    const mark = this.#marks[at]!;
    this.#vacate(at);
    this.#size--;
    return mark;
  }

  /** Those held since `latest` or longer, the oldest first. */
  heldSince(latest: number): PacketId[] {
    const found: { readonly id: number; readonly since: number }[] = [];
    this.#ids.forEach((id, at) => {
      if (id !== 0 && this.#since[at]! <= latest) found.push({ id: id - 1, since: this.#since[at]! });
    });
    return found.sort((a, b) => a.since - b.since || a.id - b.id).map(({ id }) => id as PacketId);
  }

  /** Where this id stands, or would stand. */
  #find(id: PacketId): number {
    const mask = this.#ids.length - 1;
    let at = placeOf(id, mask);
    while (this.#ids[at] !== 0 && this.#ids[at] !== id + 1) at = (at + 1) & mask;
    return at;
  }

  /** Move up those behind it that stand there only because it was taken. */
  #vacate(place: number): void {
    const mask = this.#ids.length - 1;
    let hole = place;
    for (let at = (hole + 1) & mask; this.#ids[at] !== 0; at = (at + 1) & mask) {
      // The hole lies on its way from where it wanted to be to where it is.
      if (((at - placeOf(this.#ids[at]! - 1, mask)) & mask) < ((at - hole) & mask)) continue;
      this.#ids[hole] = this.#ids[at]!;
      this.#marks[hole] = this.#marks[at]!;
      this.#since[hole] = this.#since[at]!;
      hole = at;
    }
    this.#ids[hole] = 0;
  }

  #grow(): void {
    const [ids, marks, since] = [this.#ids, this.#marks, this.#since];
    this.#ids = new Float64Array(2 * ids.length);
    this.#marks = new Uint32Array(2 * ids.length);
    this.#since = new Float64Array(2 * ids.length);
    for (let from = 0; from < ids.length; from++) {
      if (ids[from] === 0) continue;
      const at = this.#find((ids[from]! - 1) as PacketId);
      this.#ids[at] = ids[from]!;
      this.#marks[at] = marks[from]!;
      this.#since[at] = since[from]!;
    }
  }
}

/** The kernel counts ids up, so neighbours stand side by side. */
function placeOf(id: number, mask: number): number {
  return id & mask;
}
