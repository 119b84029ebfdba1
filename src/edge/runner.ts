/**
 * Between the queues and the engine: turns what the kernel hands over into events, and carries out the engine's commands in order.
 *
 * The promise: **exactly one verdict for each packet**, whatever happens. A packet is either judged by the time `onBatch` returns,
 * or held by the engine and remembered here with its mark. An exception drops it (reason `internal`); a packet held for longer than
 * `maxHoldMs` is dropped too; a second verdict for a packet is ignored and counted. With fail mode `open`, "drops" reads "lets pass".
 */
import { Reason, Verdict } from "../core/abi.generated.js";
import type { Command, DecisionCommand, LearnCommand, VerdictCommand } from "../core/engine/commands.js";
import type { Event, PacketEvent, PacketId } from "../core/engine/events.js";
import { META_STRIDE, Meta } from "../native/types.js";
import type { Queue } from "../native/types.js";
import type { GovernedInterface } from "./clients.js";
import { monotonicMs } from "./clock.js";
import { describe } from "./errors.js";
import { kernelDecisionEvent, kernelId, packetEvent, packetId, queueIndex } from "./kernelEvents.js";
import { lookAheadPackets, type KernelFlows } from "./kernelFlows.js";
import type { KernelMaps } from "./kernelMaps.js";
import type { KernelQuestions } from "./kernelQuestions.js";
import type { FailMode, MarkBits } from "./options.js";
import type { ReasonCounts } from "./reasonCounters.js";
import { ReasonCounters } from "./reasonCounters.js";

export interface EngineLike {
  handle(event: Event, now: number, out: Command[]): void;
  nextDeadline(): number | undefined;
}

export interface RunnerOptions {
  readonly engine: EngineLike;
  readonly maps: Pick<KernelMaps, "learn" | "forget">;
  readonly flows: Pick<KernelFlows, "put" | "flush" | "lookAhead">;
  readonly questions: Pick<KernelQuestions, "allow" | "answered">;
  readonly journal: { append(entry: LearnCommand): void; flush(): void };
  readonly interfaces: ReadonlyMap<number, GovernedInterface>;
  readonly mark: MarkBits;
  readonly failMode: FailMode;
  readonly send: (packet: Uint8Array) => void;
  readonly decided: (decision: DecisionCommand) => void;
  readonly failed: (message: string) => void;
  /** Default: counters of its own. */
  readonly reasons?: ReasonCounters;
  /** Default: CLOCK_MONOTONIC. */
  readonly now?: () => number;
  /** Longest that a packet may be held, default 60 s: longer than any bound of the engine. */
  readonly maxHoldMs?: number;
}

export interface RunnerStats {
  readonly packets: number;
  readonly held: number;
  readonly exceptions: number;
  /** Held for longer than `maxHoldMs`. */
  readonly overdue: number;
  /** Verdicts for a packet that had one already. */
  readonly duplicateVerdicts: number;
  readonly sendErrors: number;
  /** Counted in user space, by reason; the kernel has counters of its own. */
  readonly reasons: ReasonCounts;
}

interface Held {
  readonly mark: number;
  readonly since: number;
}

const sweepMs = 1000;
/** Verdicts that wait at most: fewer than a queue takes before it sends them by itself, which must not be before what they follow from is written. */
const maxUnsent = 512;
/** setTimeout can't wait longer. */
const maxTimerMs = 2 ** 31 - 1;

export class Runner {
  readonly #options: RunnerOptions;
  readonly #now: () => number;
  readonly #maxHoldMs: number;
  readonly #failOpen: boolean;
  #queues: readonly Queue[] = [];
  readonly #held = new Map<PacketId, Held>();
  #out: Command[] = [];
  /** Decisions that nobody has been told of yet: until the verdicts of their batch are on their way. */
  readonly #undisclosed: DecisionCommand[] = [];
  #current = -1 as PacketId;
  #currentMark = 0;
  #currentJudged = true;
  #unsent = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;
  #sweeper: NodeJS.Timeout | undefined;
  #stopped = false;
  #packets = 0;
  #exceptions = 0;
  #overdue = 0;
  #duplicates = 0;
  #sendErrors = 0;
  readonly #reasons: ReasonCounters;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#now = options.now ?? monotonicMs;
    this.#maxHoldMs = options.maxHoldMs ?? 60_000;
    this.#failOpen = options.failMode === "open";
    this.#reasons = options.reasons ?? new ReasonCounters();
  }

  /** `queues[i]` gives the verdicts for the packets of `onBatch(i, …)`. */
  start(queues: readonly Queue[]): void {
    this.#queues = queues;
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs);
    this.#sweeper.unref();
    this.#arm();
  }

  /** The handler of one queue's batches. Never throws. */
  onBatch(queue: number, count: number, meta: Uint32Array, data: Buffer): void {
    const now = this.#now();
    for (let i = 0; i < count; i++) {
      if (i % lookAheadPackets === 0 && count - i > 1) this.#lookAhead(i, count, meta, data);
      const at = i * META_STRIDE;
      this.#packets++;
      this.#onPacket(queue, meta, at, data, now);
    }
    this.#flush();
    this.#arm();
  }

  /** A record of the ring buffer. Never throws. */
  onKernelEvent(record: Buffer): void {
    let event: Event;
    try {
      event = kernelDecisionEvent(record);
    } catch (error) {
      this.#fail("a kernel event can't be read", error);
      return;
    }
    this.#run(event);
    this.#flush();
    this.#arm();
  }

  /** Events that bring no packet: restored names, before the first packet. */
  inject(events: readonly Event[]): void {
    for (const event of events) this.#run(event);
    this.#flush();
    this.#arm();
  }

  /** Every held packet gets its verdict; packets that still arrive are dropped (fail mode open: let pass). */
  stop(): void {
    if (this.#stopped) return;
    this.#run({ type: "shutdown" });
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearInterval(this.#sweeper);
    for (const [id, held] of this.#held) {
      this.#held.delete(id);
      this.#abandon(id, held.mark, 0, Reason.INTERNAL);
    }
    this.#flush();
  }

  stats(): RunnerStats {
    return {
      packets: this.#packets,
      held: this.#held.size,
      exceptions: this.#exceptions,
      overdue: this.#overdue,
      duplicateVerdicts: this.#duplicates,
      sendErrors: this.#sendErrors,
      reasons: this.#reasons.counted(),
    };
  }

  /** What is cached for the next packets, in one system call; without it each is asked for by itself. */
  #lookAhead(from: number, count: number, meta: Uint32Array, data: Buffer): void {
    try {
      this.#options.flows.lookAhead(
        from,
        Math.min(from + lookAheadPackets, count),
        meta,
        data,
        this.#options.interfaces,
      );
    } catch (error) {
      this.#fail("cached flows can't be read", error);
    }
  }

  #onPacket(queue: number, meta: Uint32Array, at: number, data: Buffer, now: number): void {
    const id = packetId(queue, meta[at + Meta.id] as number);
    const mark = meta[at + Meta.mark] as number;
    const event = this.#stopped ? Reason.INTERNAL : this.#eventOf(id, meta, at, data, mark);
    if (typeof event === "number") {
      this.#abandon(id, mark, meta[at + Meta.wireLength] as number, event);
      return;
    }
    this.#current = id;
    this.#currentMark = mark;
    this.#currentJudged = false;
    const fine = this.#run(event, now);
    // No verdict and no exception: the engine holds it. After an exception it may believe so too, but nobody can tell.
    if (!this.#isJudged()) {
      if (fine) this.#held.set(id, { mark, since: now });
      else this.#abandon(id, mark, event.wireLength, Reason.INTERNAL);
    }
    this.#current = -1 as PacketId;
  }

  /**
   * What a packet is to the engine; a number: why it must be dropped unasked.
   *
   * In FORWARD, INSPECT says that it is on its way out by eface; what else is on the queue is DNS that goes elsewhere, to another LAN, say. In
   * OUTPUT it is the other way round: the rules mark the DNS that goes elsewhere. INSPECT from an interface that nobody knows is of a LAN that
   * has just come back, and whose number is still news to us: it must not be taken for an answer on its way to a client.
   */
  #eventOf(id: PacketId, meta: Uint32Array, at: number, data: Buffer, mark: number): PacketEvent | number {
    const event = packetEvent(id, meta, at, data, this.#options.interfaces);
    if (typeof event === "number" || event.hook === "input") return event;
    const isInspect = (mark & this.#options.mark.mask) >>> this.#options.mark.shift === Verdict.INSPECT;
    if (event.policy === undefined) return event.hook === "forward" && isInspect ? Reason.NO_POLICY : event;
    return isInspect === (event.hook === "forward") ? event : { ...event, hook: "input" };
  }

  /** A call, so that the compiler doesn't believe the answer beyond `#run`. */
  #isJudged(): boolean {
    return this.#currentJudged;
  }

  /**
   * false: something threw. What the engine had said before it threw is carried out all the same: each command is a whole
   * decision, and a released packet that lost its verdict would hang in the kernel.
   */
  #run(event: Event, now = this.#now()): boolean {
    if (this.#stopped) return false;
    const out = this.#out;
    let fine = true;
    try {
      this.#options.engine.handle(event, now, out);
    } catch (error) {
      fine = false;
      this.#fail(`the engine failed at a ${event.type} event`, error);
    }
    for (let i = 0; i < out.length; i++) {
      const command = out[i] as Command;
      try {
        this.#carryOut(command, now);
      } catch (error) {
        fine = false;
        this.#fail(`the command ${command.type} failed`, error);
      }
    }
    out.length = 0;
    return fine;
  }

  #carryOut(command: Command, now: number): void {
    switch (command.type) {
      case "verdict":
        this.#verdict(command);
        return;
      case "learn":
        this.#options.journal.append(command);
        this.#options.maps.learn(command);
        return;
      case "forget":
        this.#options.maps.forget(command);
        return;
      case "flowPut":
        this.#options.flows.put(command, now);
        return;
      case "allowQuestion":
        this.#options.questions.allow(command);
        return;
      case "answered":
        this.#options.questions.answered(command);
        return;
      case "send":
        try {
          this.#options.send(command.bytes);
        } catch {
          // Best effort: an unreachable or unroutable client gets no reset.
          this.#sendErrors++;
        }
        return;
      case "decision":
        if (!command.inKernel) this.#reasons.count(command.reason, 0);
        this.#undisclosed.push(command);
        return;
      case "count":
        this.#reasons.count(command.reason, command.bytes);
        return;
    }
  }

  #verdict(command: VerdictCommand): void {
    let mark: number;
    if (command.id === this.#current && !this.#currentJudged) {
      this.#currentJudged = true;
      mark = this.#currentMark;
    } else {
      const held = this.#held.get(command.id);
      if (!held) {
        this.#duplicates++;
        return;
      }
      this.#held.delete(command.id);
      mark = held.mark;
    }
    const newMark = command.mark === undefined ? undefined : this.#marked(mark, command.mark);
    this.#give(command.id, command.action, newMark, command.bytes);
  }

  /** A queue sends what waits while it takes a verdict with bytes for which it has no room, or when it is full: what they follow from must be written. */
  #give(id: PacketId, action: "accept" | "drop", mark?: number, bytes?: Uint8Array): void {
    if (++this.#unsent >= maxUnsent) this.#send();
    else if (bytes) this.#write();
    this.#queueOf(id).verdict(kernelId(id), action, mark, bytes);
  }

  /** The verdict of a packet that nobody else can judge. */
  #abandon(id: PacketId, mark: number, bytes: number, reason: number): void {
    if (this.#failOpen) {
      this.#reasons.count(Reason.ALLOW_FAIL_OPEN, bytes);
      this.#give(id, "accept", this.#marked(mark, Verdict.ALLOW));
    } else {
      this.#reasons.count(reason, bytes);
      this.#give(id, "drop");
    }
  }

  #marked(mark: number, value: number): number {
    return ((mark & ~this.#options.mark.mask) | (value << this.#options.mark.shift)) >>> 0;
  }

  #queueOf(id: PacketId): Queue {
    const queue = this.#queues[queueIndex(id)];
    if (!queue) throw new RangeError(`packet id ${id} is of no queue`);
    return queue;
  }

  /** Verdicts first: a line of the log takes longer than the judgement, and nobody waits for it. */
  #flush(): void {
    this.#send();
    const decisions = this.#undisclosed;
    for (let i = 0; i < decisions.length; i++) {
      try {
        this.#options.decided(decisions[i] as DecisionCommand);
      } catch (error) {
        this.#fail("a decision could not be told", error);
      }
    }
    decisions.length = 0;
  }

  #send(): void {
    this.#unsent = 0;
    this.#write();
    for (const queue of this.#queues) queue.flush();
  }

  /** Before the verdicts: the journal knows what an answer taught before the client can act on it, and the kernel how a flow was judged. */
  #write(): void {
    this.#options.journal.flush();
    try {
      this.#options.flows.flush();
    } catch (error) {
      // Those flows are judged anew with their next packet.
      this.#fail("flows can't be written", error);
    }
  }

  #arm(): void {
    const deadline = this.#stopped ? undefined : this.#options.engine.nextDeadline();
    if (deadline === undefined || deadline >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = deadline;
    const wait = Math.min(Math.max(Math.ceil(deadline - this.#now()), 1), maxTimerMs);
    this.#timer = setTimeout(() => {
      this.#timerAt = Infinity;
      this.inject([{ type: "tick" }]);
    }, wait);
    this.#timer.unref();
  }

  #sweep(): void {
    const limit = this.#now() - this.#maxHoldMs;
    let any = false;
    // Insertion order is the order of time.
    for (const [id, held] of this.#held) {
      if (held.since > limit) break;
      this.#held.delete(id);
      this.#overdue++;
      this.#abandon(id, held.mark, 0, Reason.INTERNAL);
      any = true;
    }
    if (any) this.#flush();
  }

  #fail(what: string, error: unknown): void {
    this.#exceptions++;
    this.#options.failed(`${what}: ${describe(error)}`);
  }
}
