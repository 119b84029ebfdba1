/**
 * Packets of one direction that wait for a verdict, and how far the direction's bytes have gone on already.
 */
import { seqDiff } from "./seq.js";

interface Held<Id> {
  readonly id: Id;
  readonly seq: number;
  readonly end: number;
}

export class HeldPackets<Id> {
  #packets: Held<Id>[] = [];
  #releasedTo: number;

  /** `firstSeq`: sequence number of the direction's first byte. */
  constructor(firstSeq: number) {
    this.#releasedTo = firstSeq;
  }

  get count(): number {
    return this.#packets.length;
  }

  /** Have all bytes before `end` gone on? */
  hasReleased(end: number): boolean {
    return seqDiff(this.#releasedTo, end) >= 0;
  }

  /** Hold a packet with the bytes [seq, end). */
  hold(id: Id, seq: number, end: number): void {
    this.#packets.push({ id, seq, end });
  }

  /** Let go all but `keep` packets: those whose beginning joins what has gone on, in order; behind a gap nothing goes. */
  releaseInOrder(keep: number): Id[] {
    const ids: Id[] = [];
    while (this.#packets.length > keep) {
      const at = this.#packets.findIndex((packet) => this.hasReleased(packet.seq));
      const next = this.#packets[at];
      if (!next) break;
      this.#packets.splice(at, 1);
      ids.push(this.#released(next));
    }
    return ids;
  }

  /** Let go what ends at or before `seq`. */
  releaseUpTo(seq: number): Id[] {
    const ids: Id[] = [];
    this.#packets = this.#packets.filter((packet) => {
      if (seqDiff(seq, packet.end) < 0) return true;
      ids.push(this.#released(packet));
      return false;
    });
    return ids;
  }

  /** All of them, in order of arrival; nothing is held afterwards. */
  takeAll(): Id[] {
    const ids = this.#packets.map((packet) => packet.id);
    this.#packets = [];
    return ids;
  }

  #released(packet: Held<Id>): Id {
    if (!this.hasReleased(packet.end)) this.#releasedTo = packet.end;
    return packet.id;
  }
}
