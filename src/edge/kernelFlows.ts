/**
 * The kernel's cache of flows (`flows4`, `flows6`), as the engine reads and writes it: one system call for the flows of many packets.
 *
 * Reading: `lookAhead` asks for what the next packets of a batch belong to. Writing: `put` waits for `flush`, which must come before the verdicts
 * that it is about. What waits is found by `get`, so to the engine it is as if each had been done at once.
 */
import {
  FLOW4_KEY_SIZE,
  FLOW6_KEY_SIZE,
  FLOW_FAST,
  FLOW_FINAL,
  FLOW_OPENED,
  FLOW_READS,
  FLOW_RELEASED,
  FLOW_SIZE,
  FlowOffset,
  Verdict,
} from "../core/abi.generated.js";
import type { FlowKey, FlowPutCommand } from "../core/engine/commands.js";
import type { CachedFlow } from "../core/engine/flowState.js";
import { PROTO_TCP } from "../core/policy/ports.js";
import type { Writable } from "../core/writable.js";
import { META_STRIDE, Meta, type BpfMap, type BpfProgram } from "../native/types.js";
import type { GovernedInterface } from "./clients.js";
import { monotonicMs } from "./clock.js";
import { flowIdle } from "./datapath.js";
import { memory, readMs, writeNs, type Memory } from "./fields.js";
import { FlowReads } from "./flowReads.js";
import { FlowTable } from "./flowTable.js";

const verdicts = { pending: Verdict.PENDING, allow: Verdict.ALLOW, deny: Verdict.DENY } as const;

/** Packets that one `lookAhead` takes. */
export const lookAheadPackets = FLOW_READS;

export interface FlowMaps {
  readonly flows4: BpfMap;
  readonly flows6: BpfMap;
}

export class KernelFlows {
  #generation: number;
  /** Of the policy before; -1: there was none. */
  #previous = -1;
  readonly #four: FlowTable;
  readonly #six: FlowTable;
  readonly #value = memory(FLOW_SIZE);
  readonly #ahead: FlowReads | undefined;
  /** When that was read. */
  #aheadAt = 0;
  /** What `get` gives. */
  readonly #cached: Writable<CachedFlow> = {
    verdict: "deny",
    reason: 0,
    final: false,
    opened: false,
    released: false,
    fast: false,
    openedAt: 0,
    judgedStart: 0,
    judgedEnd: 0,
    outdated: undefined,
  };

  /** `reader`: the program `read_flows`; without it every `get` is a system call. */
  constructor(maps: FlowMaps, generation: number, reader: BpfProgram | undefined) {
    this.#generation = generation;
    this.#four = new FlowTable(maps.flows4, FLOW4_KEY_SIZE);
    this.#six = new FlowTable(maps.flows6, FLOW6_KEY_SIZE);
    this.#ahead = reader && new FlowReads(reader);
  }

  /** Another policy is in force. What was put before is written, under the number of the one before; what was read ahead is forgotten. */
  setGeneration(generation: number, previous: number): void {
    this.flush();
    this.#generation = generation;
    this.#previous = previous === 0 ? -1 : previous;
  }

  /** Entries that found no room: those flows are judged anew with their next packet. */
  get full(): number {
    return this.#four.full + this.#six.full;
  }

  /**
   * Read what is cached for the packets [from, to) of a batch, `lookAheadPackets` at most; what was read ahead before is forgotten. Only for what
   * reads are saved with certainty: TCP with a plain header, from a client. `now`: milliseconds of CLOCK_MONOTONIC.
   */
  lookAhead(
    from: number,
    to: number,
    meta: Uint32Array,
    data: Uint8Array,
    interfaces: ReadonlyMap<number, GovernedInterface>,
    now: number,
  ): void {
    const ahead = this.#ahead;
    if (!ahead) return;
    ahead.clear();
    for (let i = from; i < to; i++) {
      const at = i * META_STRIDE;
      const policy = interfaces.get(meta[at + Meta.ifindexIn] as number)?.policy;
      if (policy !== undefined)
        ahead.ask(policy, data, meta[at + Meta.offset] as number, meta[at + Meta.length] as number);
    }
    ahead.run();
    this.#aheadAt = now;
  }

  /** What is cached for a flow, if eBPF would go by it. Valid until the next `get`. */
  get(key: FlowKey): CachedFlow | undefined {
    const table = this.#tableOf(key);
    const words = table.select(key);
    const waiting = table.findWaiting();
    if (waiting !== undefined) return this.#decode(key, table.values, waiting, monotonicMs());
    const ahead = this.#ahead;
    const read = ahead?.find(key.src.length, words);
    if (read !== undefined) return read < 0 ? undefined : this.#decode(key, ahead!.context, read, this.#aheadAt);
    return table.read(this.#value.bytes) ? this.#decode(key, this.#value, 0, monotonicMs()) : undefined;
  }

  /** `now`: milliseconds of CLOCK_MONOTONIC. */
  put(command: FlowPutCommand, now: number): void {
    const table = this.#tableOf(command.key);
    if (table.isFull) this.flush();
    table.select(command.key);
    const at = table.add();
    const { bytes, words } = table.values;
    // Word by word: `encodeFlow` makes a view and a bigint for each field, and this is written with every connection. The counters are never
    // written here, and stay 0.
    writeNs(words, (at + FlowOffset.lastSeenNs) / 4, now);
    words[(at + FlowOffset.generation) / 4] = this.#generation;
    words[(at + FlowOffset.rule) / 4] = command.rule;
    words[(at + FlowOffset.judgedStart) / 4] = command.judgedStart;
    words[(at + FlowOffset.judgedEnd) / 4] = command.judgedEnd;
    bytes[at + FlowOffset.verdict] = verdicts[command.verdict];
    bytes[at + FlowOffset.reason] = command.reason;
    bytes[at + FlowOffset.flags] = command.flags;
    words[(at + FlowOffset.openedS) / 4] = command.verdict === "pending" ? Math.floor(now / 1000) : 0;
  }

  /** Write what waits. What was read ahead is older, and forgotten. Throws SystemError if the kernel refuses for another reason than room. */
  flush(): void {
    this.#ahead?.clear();
    try {
      this.#four.flush();
    } finally {
      this.#six.flush();
    }
  }

  #tableOf(key: FlowKey): FlowTable {
    return key.src.length === 4 ? this.#four : this.#six;
  }

  #decode({ proto }: FlowKey, { bytes, words }: Memory, at: number, now: number): CachedFlow | undefined {
    const verdict = bytes[at + FlowOffset.verdict];
    const flags = bytes[at + FlowOffset.flags] as number;
    const idleMs = now - readMs(words, (at + FlowOffset.lastSeenNs) / 4);
    const limit = verdict === Verdict.DENY ? flowIdle.deny : proto === PROTO_TCP ? flowIdle.tcp : flowIdle.other;
    const generation = words[(at + FlowOffset.generation) / 4];
    const isOld = generation === this.#previous;
    if ((generation !== this.#generation && !isOld) || idleMs >= limit * 1000) return undefined;
    // Judged anew for this generation before it came (`is_of_generation` of bpf/decide.h).
    const next = bytes[at + FlowOffset.next];
    const isOutdated = isOld && (next === 0 || next !== (this.#generation & 0xff));
    const cached = this.#cached;
    cached.outdated = isOutdated ? { rule: words[(at + FlowOffset.rule) / 4] as number, flags } : undefined;
    cached.verdict = verdict === Verdict.ALLOW ? "allow" : verdict === Verdict.PENDING ? "pending" : "deny";
    cached.reason = bytes[at + FlowOffset.reason] as number;
    cached.final = (flags & FLOW_FINAL) !== 0;
    cached.opened = (flags & FLOW_OPENED) !== 0;
    cached.released = (flags & FLOW_RELEASED) !== 0;
    cached.fast = (flags & FLOW_FAST) !== 0;
    cached.openedAt = (words[(at + FlowOffset.openedS) / 4] as number) * 1000;
    cached.judgedStart = words[(at + FlowOffset.judgedStart) / 4] as number;
    cached.judgedEnd = words[(at + FlowOffset.judgedEnd) / 4] as number;
    return cached;
  }
}
