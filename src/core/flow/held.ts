/**
 * Packets of one direction that wait for a verdict, and how far the direction's bytes have gone on already.
 */
import { seqDiff } from "./seq.js";

interface Held<Id> {
  id: Id;
  seq: number;
  end: number;
}

export class HeldPackets<Id> {
  /** The first #count are held; those behind are used again. */
  readonly #slots: Held<Id>[] = [];
  #count = 0;
  #releasedTo: number;

  /** `firstSeq`: sequence number of the direction's first byte. */
  constructor(firstSeq: number) {
    this.#releasedTo = firstSeq;
  }

  /** Begin anew, with nothing held, for another direction. */
  restart(firstSeq: number): void {
    this.#count = 0;
    this.#releasedTo = firstSeq;
  }

  get count(): number {
    return this.#count;
  }

  /** Have all bytes before `end` gone on? */
  hasReleased(end: number): boolean {
    return seqDiff(this.#releasedTo, end) >= 0;
  }

  /** Hold a packet with the bytes [seq, end). */
  hold(id: Id, seq: number, end: number): void {
    const slot = this.#slots[this.#count];
    if (slot) {
      slot.id = id;
      slot.seq = seq;
      slot.end = end;
    } else {
      this.#slots.push({ id, seq, end });
    }
    this.#count++;
  }

  /** Let go all but `keep` packets: those whose beginning joins what has gone on, in order; behind a gap nothing goes. */
  releaseInOrder(keep: number): Id[] {
    const ids: Id[] = [];
    while (this.#count > keep) {
      const at = this.#slots.findIndex((packet, i) => i < this.#count && this.hasReleased(packet.seq));
      if (at < 0) break;
      ids.push(this.#release(at));
    }
    return ids;
  }

  /** Let go what ends at or before `seq`. */
  releaseUpTo(seq: number): Id[] {
    const ids: Id[] = [];
    for (let at = 0; at < this.#count;) {
      if (seqDiff(seq, this.#slots[at]!.end) < 0) at++;
      else ids.push(this.#release(at));
    }
    return ids;
  }

  /** The packet that came as number `index`, from 0 to `count` - 1. */
  idAt(index: number): Id {
    return this.#slots[index]!.id;
  }

  /** Nothing is held afterwards. */
  clear(): void {
    this.#count = 0;
  }

  /** All of them, in order of arrival; nothing is held afterwards. */
  takeAll(): Id[] {
    const ids = this.#slots.slice(0, this.#count).map((packet) => packet.id);
    this.#count = 0;
    return ids;
  }

  /** Take one out of the middle; its slot moves behind those that are held. */
  #release(at: number): Id {
    const [packet] = this.#slots.splice(at, 1) as [Held<Id>];
    this.#slots.push(packet);
    this.#count--;
    if (!this.hasReleased(packet.end)) this.#releasedTo = packet.end;
    return packet.id;
  }
}
