/**
 * The verdicts of one queue's packets: exactly one for each, and none is sent before what it follows from is written.
 *
 * A packet is expected while the engine is asked about it. Then it is judged, or held with its mark until the engine judges it later. What nobody
 * else can judge is abandoned: dropped, or let pass with fail mode `open`. A second verdict for a packet is ignored and counted.
 */
import { Reason, Verdict } from "../core/abi.generated.js";
import type { VerdictCommand } from "../core/engine/commands.js";
import type { PacketId } from "../core/engine/events.js";
import type { Queue } from "../native/types.js";
import { HeldMarks } from "./heldMarks.js";
import type { FailMode, MarkBits } from "./options.js";
import type { ReasonCounters } from "./reasonCounters.js";

export interface VerdictsOptions {
  readonly mark: MarkBits;
  readonly failMode: FailMode;
  /** Longest that a packet may be held. */
  readonly maxHoldMs: number;
  readonly reasons: ReasonCounters;
  /** Writes all that verdicts follow from. Called before any of them leaves; must not throw. */
  readonly write: () => void;
}

/** Verdicts that wait at most: fewer than a queue takes before it sends them by itself, which must not be before what they follow from is written. */
const maxUnsent = 512;
/** Kernel ids are unsigned. */
const nobody = -1 as PacketId;

export class Verdicts {
  readonly #options: VerdictsOptions;
  #queue: Queue | undefined;
  readonly #held = new HeldMarks();
  #expected = nobody;
  #expectedMark = 0;
  #unsent = 0;
  #overdue = 0;
  #duplicates = 0;

  constructor(options: VerdictsOptions) {
    this.#options = options;
  }

  /** Before the first packet. */
  start(queue: Queue): void {
    this.#queue = queue;
  }

  /** Packets that wait for the engine. */
  get held(): number {
    return this.#held.size;
  }

  /** Held for too long, and abandoned. */
  get overdue(): number {
    return this.#overdue;
  }

  /** Verdicts for a packet that had one already. */
  get duplicates(): number {
    return this.#duplicates;
  }

  /** The engine is about to be asked about this packet. */
  expect(id: PacketId, mark: number): void {
    this.#expected = id;
    this.#expectedMark = mark;
  }

  /** The engine has answered, by `now`: if not about the expected packet, it holds it. */
  holdExpected(now: number): void {
    if (this.#expected === nobody) return;
    this.#held.set(this.#expected, this.#expectedMark, now);
    this.#expected = nobody;
  }

  /** The engine failed: it may believe that it holds the expected packet, but nobody can tell. `bytes`: its length. */
  abandonExpected(bytes: number): void {
    const id = this.#expected;
    if (id === nobody) return;
    this.#expected = nobody;
    this.abandon(id, this.#expectedMark, bytes, Reason.INTERNAL);
  }

  /** The engine's verdict about the expected packet or one that is held. */
  judge({ id, action, mark, bytes }: VerdictCommand): void {
    let before: number;
    if (id === this.#expected) {
      before = this.#expectedMark;
      this.#expected = nobody;
    } else {
      before = this.#held.take(id);
      if (before < 0) {
        this.#duplicates++;
        return;
      }
    }
    this.#give(id, action, mark === undefined ? undefined : this.#marked(before, mark), bytes);
  }

  /** The verdict of a packet that is neither expected nor held, and that nobody else can judge. */
  abandon(id: PacketId, mark: number, bytes: number, reason: number): void {
    if (this.#options.failMode === "open") {
      this.#options.reasons.count(Reason.ALLOW_FAIL_OPEN, bytes);
      this.#give(id, "accept", this.#marked(mark, Verdict.ALLOW));
    } else {
      this.#options.reasons.count(reason, bytes);
      this.#give(id, "drop");
    }
  }

  /** What has been held for too long by `now` is abandoned. false: there was nothing. */
  abandonOverdue(now: number): boolean {
    const ids = this.#held.heldSince(now - this.#options.maxHoldMs);
    this.#overdue += ids.length;
    for (const id of ids) this.#abandonHeld(id);
    return ids.length > 0;
  }

  abandonAllHeld(): void {
    for (const id of this.#held.heldSince(Infinity)) this.#abandonHeld(id);
  }

  /** What waits leaves, and before it what it follows from. */
  send(): void {
    this.#unsent = 0;
    this.#options.write();
    this.#queue?.flush();
  }

  #abandonHeld(id: PacketId): void {
    this.abandon(id, this.#held.take(id), 0, Reason.INTERNAL);
  }

  /** A queue sends what waits while it takes a verdict with bytes for which it has no room, or when it is full: what they follow from must be written. */
  #give(id: PacketId, action: "accept" | "drop", mark?: number, bytes?: Uint8Array): void {
    if (++this.#unsent >= maxUnsent) this.send();
    else if (bytes) this.#options.write();
    this.#queue!.verdict(id, action, mark, bytes);
  }

  #marked(mark: number, value: number): number {
    return ((mark & ~this.#options.mark.mask) | (value << this.#options.mark.shift)) >>> 0;
  }
}
