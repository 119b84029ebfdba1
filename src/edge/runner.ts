/**
 * Between a queue and the engine: turns what the kernel hands over into events, and carries out the engine's commands in order.
 *
 * The promise: **exactly one verdict for each packet**, whatever happens. A packet is either judged by the time `onBatch` returns,
 * or held by the engine and remembered with its mark (verdicts.ts). An exception drops it (reason `internal`); a packet held for longer than
 * `maxHoldMs` is dropped too; a second verdict for a packet is ignored and counted. With fail mode `open`, "drops" reads "lets pass".
 * And no verdict leaves before the journal, the maps and the flows hold what it follows from.
 */
import { Reason, Verdict } from "../core/abi.generated.js";
import { CommandList } from "../core/engine/commandList.js";
import type { Command, DecisionCommand, LearnCommand } from "../core/engine/commands.js";
import type { Event, PacketEvent, PacketId } from "../core/engine/events.js";
import { META_STRIDE, Meta, type Queue } from "../native/types.js";
import { Alarm } from "./alarm.js";
import type { GovernedInterface } from "./clients.js";
import { monotonicMs } from "./clock.js";
import { describe } from "./errors.js";
import { kernelDecisionEvent, PacketEvents } from "./kernelEvents.js";
import { lookAheadPackets, type KernelFlows } from "./kernelFlows.js";
import type { KernelMaps } from "./kernelMaps.js";
import type { KernelQuestions } from "./kernelQuestions.js";
import type { FailMode, MarkBits } from "./options.js";
import { ReasonCounters, type ReasonCounts } from "./reasonCounters.js";
import { Verdicts } from "./verdicts.js";

export interface EngineLike {
  handle(event: Event, now: number, out: CommandList): void;
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
  /** The decision is valid only during the call. */
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

const sweepMs = 1000;

export class Runner {
  readonly #options: RunnerOptions;
  readonly #now: () => number;
  readonly #verdicts: Verdicts;
  /** The commands of a batch, of which #carriedOut are; the decisions among them are told when the verdicts are on their way. */
  readonly #out = new CommandList();
  #carriedOut = 0;
  readonly #events = new PacketEvents();
  readonly #alarm: Alarm;
  #sweeper: NodeJS.Timeout | undefined;
  #stopped = false;
  #packets = 0;
  #exceptions = 0;
  #sendErrors = 0;
  readonly #reasons: ReasonCounters;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#now = options.now ?? monotonicMs;
    this.#reasons = options.reasons ?? new ReasonCounters();
    const { mark, failMode, maxHoldMs = 60_000 } = options;
    this.#verdicts = new Verdicts({ mark, failMode, maxHoldMs, reasons: this.#reasons, write: () => this.#write() });
    this.#alarm = new Alarm(this.#now, () => this.inject([{ type: "tick" }]));
  }

  /** `queue` gives the verdicts for the packets of `onBatch`. */
  start(queue: Queue): void {
    this.#verdicts.start(queue);
    this.#sweeper = setInterval(() => this.#sweep(), sweepMs);
    this.#sweeper.unref();
    this.#arm();
  }

  /** The handler of the queue's batches. Never throws. */
  onBatch(count: number, meta: Uint32Array, data: Buffer): void {
    const now = this.#now();
    for (let i = 0; i < count; i++) {
      if (i % lookAheadPackets === 0 && count - i > 1) this.#lookAhead(i, count, meta, data, now);
      this.#onPacket(meta, i * META_STRIDE, data, now);
    }
    this.#packets += count;
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
    this.#alarm.clear();
    clearInterval(this.#sweeper);
    this.#verdicts.abandonAllHeld();
    this.#flush();
  }

  stats(): RunnerStats {
    return {
      packets: this.#packets,
      held: this.#verdicts.held,
      exceptions: this.#exceptions,
      overdue: this.#verdicts.overdue,
      duplicateVerdicts: this.#verdicts.duplicates,
      sendErrors: this.#sendErrors,
      reasons: this.#reasons.counted(),
    };
  }

  /** What is cached for the next packets, in one system call; without it each is asked for by itself. */
  #lookAhead(from: number, count: number, meta: Uint32Array, data: Buffer, now: number): void {
    try {
      const to = Math.min(from + lookAheadPackets, count);
      this.#options.flows.lookAhead(from, to, meta, data, this.#options.interfaces, now);
    } catch (error) {
      this.#fail("cached flows can't be read", error);
    }
  }

  #onPacket(meta: Uint32Array, at: number, data: Buffer, now: number): void {
    const id = meta[at + Meta.id] as PacketId;
    const mark = meta[at + Meta.mark] as number;
    const event = this.#stopped ? Reason.INTERNAL : this.#eventOf(meta, at, data, mark);
    if (typeof event === "number") {
      this.#verdicts.abandon(id, mark, meta[at + Meta.wireLength] as number, event);
      return;
    }
    this.#verdicts.expect(id, mark);
    if (this.#run(event, now)) this.#verdicts.holdExpected(now);
    else this.#verdicts.abandonExpected(event.wireLength);
  }

  /**
   * What a packet is to the engine; a number: why it must be dropped unasked.
   *
   * In FORWARD, INSPECT says that it is on its way out by eface; what else is on the queue is DNS that goes elsewhere, to another LAN, say. In
   * OUTPUT it is the other way round: the rules mark the DNS that goes elsewhere. INSPECT from an interface that nobody knows is of a LAN that
   * has just come back, and whose number is still news to us: it must not be taken for an answer on its way to a client.
   */
  #eventOf(meta: Uint32Array, at: number, data: Buffer, mark: number): PacketEvent | number {
    const event = this.#events.read(meta, at, data, this.#options.interfaces);
    if (typeof event === "number" || event.hook === "input") return event;
    const isInspect = (mark & this.#options.mark.mask) >>> this.#options.mark.shift === Verdict.INSPECT;
    if (event.policy === undefined) return event.hook === "forward" && isInspect ? Reason.NO_POLICY : event;
    if (isInspect !== (event.hook === "forward")) event.hook = "input";
    return event;
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
    for (; this.#carriedOut < out.length; this.#carriedOut++) {
      const command = out.at(this.#carriedOut);
      try {
        this.#carryOut(command, now);
      } catch (error) {
        fine = false;
        this.#fail(`the command ${command.type} failed`, error);
      }
    }
    return fine;
  }

  #carryOut(command: Command, now: number): void {
    switch (command.type) {
      case "verdict":
        this.#verdicts.judge(command);
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
        return;
      case "count":
        this.#reasons.count(command.reason, command.bytes);
        return;
    }
  }

  /** Verdicts first: a line of the log takes longer than the judgement, and nobody waits for it. */
  #flush(): void {
    this.#verdicts.send();
    const out = this.#out;
    for (let i = 0; i < out.length; i++) {
      const command = out.at(i);
      if (command.type !== "decision") continue;
      try {
        this.#options.decided(command);
      } catch (error) {
        this.#fail("a decision could not be told", error);
      }
    }
    out.clear();
    this.#carriedOut = 0;
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
    if (!this.#stopped) this.#alarm.set(this.#options.engine.nextDeadline());
  }

  #sweep(): void {
    if (this.#verdicts.abandonOverdue(this.#now())) this.#flush();
  }

  #fail(what: string, error: unknown): void {
    this.#exceptions++;
    this.#options.failed(`${what}: ${describe(error)}`);
  }
}
