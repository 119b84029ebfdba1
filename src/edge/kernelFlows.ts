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
  FLOW_READ_SIZE,
  FLOW_RELEASED,
  FLOW_SIZE,
  Flow4KeyOffset,
  Flow6KeyOffset,
  FlowOffset,
  FlowReadOffset,
  Verdict,
} from "../core/abi.generated.js";
import type { FlowKey, FlowPutCommand } from "../core/engine/commands.js";
import type { CachedFlow } from "../core/engine/flowState.js";
import { META_STRIDE, Meta, type BpfMap, type BpfProgram } from "../native/types.js";
import type { GovernedInterface } from "./clients.js";
import { monotonicMs } from "./clock.js";
import { flowIdle } from "./datapath.js";
import { errnoOf } from "./errors.js";
import { writeLatin1, writeNs, readMs } from "./fields.js";

const verdicts = { pending: Verdict.PENDING, allow: Verdict.ALLOW, deny: Verdict.DENY } as const;

/** Packets that one `lookAhead` takes. */
export const lookAheadPackets = FLOW_READS;
/** Writes that wait for `flush`; one more, and they are written. */
const waiting = 64;

const IPPROTO_TCP = 6;

export interface FlowMaps {
  readonly flows4: BpfMap;
  readonly flows6: BpfMap;
}

export class KernelFlows {
  readonly #generation: number;
  readonly #four: Table;
  readonly #six: Table;
  readonly #value = Buffer.alloc(FLOW_SIZE);
  readonly #ahead: FlowReads | undefined;

  /** `reader`: the program `read_flows`; without it every `get` is a system call. */
  constructor(maps: FlowMaps, generation: number, reader: BpfProgram | undefined) {
    this.#generation = generation;
    this.#four = new Table(maps.flows4, FLOW4_KEY_SIZE);
    this.#six = new Table(maps.flows6, FLOW6_KEY_SIZE);
    this.#ahead = reader && new FlowReads(reader);
  }

  /** Entries that found no room: those flows are judged anew with their next packet. */
  get full(): number {
    return this.#four.full + this.#six.full;
  }

  /**
   * Read what is cached for the packets [from, to) of a batch, `lookAheadPackets` at most; what was read ahead before is forgotten. Only for what
   * reads are saved with certainty: TCP with a plain header, from a client.
   */
  lookAhead(
    from: number,
    to: number,
    meta: Uint32Array,
    data: Uint8Array,
    interfaces: ReadonlyMap<number, GovernedInterface>,
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
  }

  /** What is cached for a TCP flow, if eBPF would go by it. */
  get(key: FlowKey): CachedFlow | undefined {
    const table = this.#tableOf(key);
    const words = table.write(key);
    const put = table.find(words);
    if (put !== undefined) return this.#decode(table.values, put);
    const read = this.#ahead?.find(key.src.length, words);
    if (read !== undefined) return read < 0 ? undefined : this.#decode(this.#ahead!.context, read);
    return table.map.read(table.key, this.#value) ? this.#decode(this.#value, 0) : undefined;
  }

  /** `now`: milliseconds of CLOCK_MONOTONIC. */
  put(command: FlowPutCommand, now: number): void {
    const table = this.#tableOf(command.key);
    if (table.waiting === waiting) this.flush();
    table.write(command.key);
    const value = table.values;
    const at = table.add();
    // Field by field: `encodeFlow` makes a view and a bigint for each of them, and this is written with every connection.
    value.fill(0, at, at + FLOW_SIZE);
    writeNs(value, at + FlowOffset.lastSeenNs, now);
    value.writeUInt32LE(this.#generation, at + FlowOffset.generation);
    value.writeUInt32LE(command.rule, at + FlowOffset.rule);
    value.writeUInt32LE(command.judgedStart, at + FlowOffset.judgedStart);
    value.writeUInt32LE(command.judgedEnd, at + FlowOffset.judgedEnd);
    value[at + FlowOffset.verdict] = verdicts[command.verdict];
    value[at + FlowOffset.reason] = command.reason;
    value[at + FlowOffset.flags] = command.flags;
    value.writeUInt32LE(command.verdict === "pending" ? Math.floor(now / 1000) : 0, at + FlowOffset.openedS);
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

  #tableOf(key: FlowKey): Table {
    return key.src.length === 4 ? this.#four : this.#six;
  }

  #decode(flow: Buffer, at: number): CachedFlow | undefined {
    const verdict = flow[at + FlowOffset.verdict];
    const flags = flow[at + FlowOffset.flags] as number;
    const idleMs = monotonicMs() - readMs(flow, at + FlowOffset.lastSeenNs);
    const limit = verdict === Verdict.DENY ? flowIdle.deny : flowIdle.tcp;
    const generation = flow.readUInt32LE(at + FlowOffset.generation);
    if (generation !== this.#generation || idleMs >= limit * 1000) return undefined;
    return {
      verdict: verdict === Verdict.ALLOW ? "allow" : verdict === Verdict.PENDING ? "pending" : "deny",
      reason: flow[at + FlowOffset.reason] as number,
      final: (flags & FLOW_FINAL) !== 0,
      opened: (flags & FLOW_OPENED) !== 0,
      released: (flags & FLOW_RELEASED) !== 0,
      fast: (flags & FLOW_FAST) !== 0,
      openedAt: flow.readUInt32LE(at + FlowOffset.openedS) * 1000,
      judgedStart: flow.readUInt32LE(at + FlowOffset.judgedStart),
      judgedEnd: flow.readUInt32LE(at + FlowOffset.judgedEnd),
    };
  }
}

/** One map, the key that is being asked for, and the writes that wait. */
class Table {
  readonly map: BpfMap;
  readonly key: Buffer;
  readonly values = Buffer.alloc(waiting * FLOW_SIZE);
  readonly #keys: Buffer;
  readonly #keyWords: Uint32Array;
  readonly #keysWords: Uint32Array;
  waiting = 0;
  full = 0;

  constructor(map: BpfMap, keySize: number) {
    this.map = map;
    this.key = Buffer.alloc(keySize);
    this.#keys = Buffer.alloc(waiting * keySize);
    this.#keyWords = wordsOf(this.key);
    this.#keysWords = wordsOf(this.#keys);
  }

  /** The key becomes `this.key`; its words. */
  write(flow: FlowKey): Uint32Array {
    const key = this.key;
    const at = flow.src.length === 4 ? Flow4KeyOffset : Flow6KeyOffset;
    writeLatin1(key, at.src, flow.src);
    writeLatin1(key, at.dst, flow.dst);
    // Network order, as the packet has them.
    key.writeUInt16BE(flow.sport, at.sport);
    key.writeUInt16BE(flow.dport, at.dport);
    key.writeUInt16LE(flow.policy, at.policy);
    key[at.proto] = flow.proto;
    return this.#keyWords;
  }

  /** Where in `values` the newest write of this key waits. */
  find(words: Uint32Array): number | undefined {
    for (let i = this.waiting - 1; i >= 0; i--) {
      if (isAt(this.#keysWords, i * words.length, words)) return i * FLOW_SIZE;
    }
    return undefined;
  }

  /** `this.key` waits; where in `values` its value belongs. */
  add(): number {
    const i = this.waiting++;
    this.#keysWords.set(this.#keyWords, i * this.#keyWords.length);
    return i * FLOW_SIZE;
  }

  flush(): void {
    const count = this.waiting;
    if (count === 0) return;
    this.waiting = 0;
    const size = this.key.length;
    let stored = 0;
    if (count > 1) {
      try {
        stored = this.map.putBatch(
          this.#keys.subarray(0, count * size),
          this.values.subarray(0, count * FLOW_SIZE),
          count,
        );
      } catch {
        // One by one finds out which, and why.
      }
    }
    for (let i = stored; i < count; i++) {
      const at = i * FLOW_SIZE;
      this.#put(this.#keys.subarray(i * size, (i + 1) * size), this.values.subarray(at, at + FLOW_SIZE));
    }
  }

  #put(key: Buffer, value: Buffer): void {
    try {
      this.map.put(key, value);
    } catch (error) {
      // E2BIG: no entry left. ENOMEM: the kernel found no memory for it.
      const code = errnoOf(error);
      if (code !== "E2BIG" && code !== "ENOMEM") throw error;
      this.full++;
    }
  }
}

/** What was read ahead: the context of `read_flows`. */
class FlowReads {
  readonly context = Buffer.alloc(FLOW_READS * FLOW_READ_SIZE);
  readonly #words = wordsOf(this.context);
  readonly #program: BpfProgram;
  #count = 0;
  /** The packets come in the order in which they were asked for. */
  #next = 0;

  constructor(program: BpfProgram) {
    this.#program = program;
  }

  clear(): void {
    for (let i = 0; i < this.#count; i++) this.#words[(i * FLOW_READ_SIZE + FlowReadOffset.family) / 4] = 0;
    this.#count = this.#next = 0;
  }

  ask(policy: number, data: Uint8Array, at: number, length: number): void {
    const four = (data[at] as number) >> 4 === 4;
    if (length < (four ? 20 : 40) + 4) return;
    const proto = data[at + (four ? 9 : 6)];
    const fragment = four && ((data[at + 6] as number) & 0x3f || data[at + 7]);
    const ports = at + (four ? ((data[at] as number) & 15) * 4 : 40);
    if (proto !== IPPROTO_TCP || fragment || ports + 4 > at + length) return;
    const entry = this.#count++ * FLOW_READ_SIZE;
    const { context } = this;
    this.#words[(entry + FlowReadOffset.family) / 4] = four ? 4 : 6;
    const key = entry + FlowReadOffset.key;
    // Source and destination stand side by side in both headers, as in both keys.
    const from = at + (four ? 12 : 8);
    const addresses = four ? 8 : 32;
    for (let i = 0; i < addresses; i++) context[key + i] = data[from + i] as number;
    for (let i = 0; i < 4; i++) context[key + addresses + i] = data[ports + i] as number;
    context[key + addresses + 4] = policy & 0xff;
    context[key + addresses + 5] = policy >> 8;
    context[key + addresses + 6] = IPPROTO_TCP;
    context[key + addresses + 7] = 0;
  }

  run(): void {
    if (this.#count > 0) this.#program.run(this.context);
  }

  /** Where in `context` this flow is; -1: there is none; undefined: it wasn't asked for. */
  find(addressLength: number, key: Uint32Array): number | undefined {
    const count = this.#count;
    const family = addressLength === 4 ? 4 : 6;
    for (let i = 0, at = this.#next; i < count; i++, at++) {
      if (at >= count) at = 0;
      const entry = (at * FLOW_READ_SIZE) / 4;
      if (this.#words[entry + FlowReadOffset.family / 4] !== family) continue;
      if (!isAt(this.#words, entry + FlowReadOffset.key / 4, key)) continue;
      this.#next = at + 1;
      return this.#words[entry + FlowReadOffset.found / 4] === 1 ? at * FLOW_READ_SIZE + FlowReadOffset.flow : -1;
    }
    return undefined;
  }
}

function wordsOf(buffer: Buffer): Uint32Array {
  // `Buffer.alloc` gives each its own memory, so it is aligned.
  return new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.length / 4);
}

function isAt(words: Uint32Array, at: number, key: Uint32Array): boolean {
  for (let i = key.length - 1; i >= 0; i--) if (words[at + i] !== key[i]) return false;
  return true;
}
