/**
 * The edge around the engine, from a queue's batch to the verdicts: `Runner`, `KernelFlows`, and a real engine. In the kernel's place are memory and
 * counters, so what is measured is JavaScript's own part.
 */
import {
  FLOW_OPENED,
  FLOW_READ_SIZE,
  FLOW_READS,
  FlowOffset,
  FlowReadOffset,
  Reason,
  Verdict,
} from "../../src/core/abi.generated.js";
import { Engine } from "../../src/core/engine/engine.js";
import { defaultLimits } from "../../src/core/engine/limits.js";
import { parseAddr } from "../../src/core/net/address.js";
import { writeNs } from "../../src/edge/fields.js";
import { KernelFlows } from "../../src/edge/kernelFlows.js";
import { Runner } from "../../src/edge/runner.js";
import { META_STRIDE, type BpfMap, type BpfProgram, type Queue } from "../../src/native/types.js";
import { allowedName, clientId, policyWith } from "./inputs.js";
import { connection, deliver, FIRST_SEQ, FLOWS, interfaces, memory, server, type Queued } from "./queued.js";

/** Connections whose packets come together. */
const BATCH = 8;
const GENERATION = 7;

export class EdgeLoop {
  #verdicts = 0;
  #written = 0;
  #told = 0;
  readonly #meta = new Uint32Array(BATCH * META_STRIDE);
  #id = 0;
  /** A fraction, as the clock has. */
  #now = 1_000_000.25;
  readonly #runner: Runner;

  constructor() {
    const engine: Engine = new Engine({
      policies: [policyWith({})],
      limits: defaultLimits,
      lookupFlow: (key) => flows.get(key),
      lookupAsked: () => undefined,
      hashSeed: Buffer.from("edge loop"),
    });
    const flows = new KernelFlows({ flows4: this.#map(), flows6: this.#map() }, GENERATION, this.#reader());
    this.#runner = new Runner({
      engine,
      maps: { learn: () => undefined, forget: () => undefined },
      flows,
      questions: { allow: () => undefined, answered: () => undefined },
      journal: { append: () => undefined, flush: () => undefined },
      interfaces,
      mark: { mask: 0x30, shift: 4 },
      failMode: "closed",
      send: () => undefined,
      decided: ({ verdict }) => {
        if (verdict === "allow") this.#told++;
      },
      failed: (message) => {
        throw new Error(message);
      },
      now: () => this.#now,
    });
    this.#runner.start({ verdict: () => this.#verdicts++, flush: () => undefined } as unknown as Queue);
    const address = parseAddr(server)!;
    const learned = { policy: 1, client: clientId, name: allowedName, address, chain: [allowedName] };
    this.#runner.inject([{ type: "restored", ...learned, expires: Infinity }]);
  }

  /** `segments`: packets that the hello comes in; the second one comes in another batch. */
  connections(segments: 1 | 2): (times: number) => void {
    const all = Array.from({ length: FLOWS }, (_, i) => connection(i, segments));
    const batches: Queued[][] = [];
    for (let from = 0; from < FLOWS; from += BATCH) {
      for (let segment = 0; segment < segments; segment++) {
        batches.push(all.slice(from, from + BATCH).map((packets) => packets[segment]!));
      }
    }
    let next = 0;
    return (times) => {
      const before = this.#verdicts;
      for (let i = 0; i < times; i += BATCH) {
        for (let segment = 0; segment < segments; segment++) this.#batch(batches[next++ % batches.length]!);
        this.#now += 4;
      }
      const connections = Math.ceil(times / BATCH) * BATCH;
      if (this.#verdicts - before !== connections * segments) throw new Error(`${this.#verdicts - before} verdicts`);
    };
  }

  #batch(packets: readonly Queued[]): void {
    for (let i = 0; i < BATCH; i++) deliver(packets[i]!, i, this.#meta, ++this.#id & 0x7fff_ffff);
    this.#runner.onBatch(BATCH, this.#meta, memory);
    if (this.#written !== this.#told) throw new Error("a decision and no flow, or the other way round");
  }

  /** Of flows: takes what is put, and is read only by the program. */
  #map(): BpfMap {
    const putBatch = (_keys: unknown, _values: unknown, count: number) => {
      this.#written += count;
      return count;
    };
    return { putBatch, put: () => this.#written++ } as unknown as BpfMap;
  }

  /** `read_flows`: every flow is open, as after its SYN and the answer to it. */
  #reader(): BpfProgram {
    let words: Uint32Array | undefined;
    const run = ({ buffer, byteOffset, length }: Uint8Array) => {
      words ??= new Uint32Array(buffer, byteOffset, length / 4);
      for (let i = 0; i < FLOW_READS; i++) {
        const entry = (i * FLOW_READ_SIZE) / 4;
        const flow = entry + FlowReadOffset.flow / 4;
        words[entry + FlowReadOffset.found / 4] = 1;
        writeNs(words, flow + FlowOffset.lastSeenNs / 4, this.#now);
        words[flow + FlowOffset.generation / 4] = GENERATION;
        words[flow + FlowOffset.judgedStart / 4] = words[flow + FlowOffset.judgedEnd / 4] = FIRST_SEQ;
        // Verdict, reason and flags are bytes of one word.
        words[flow + FlowOffset.verdict / 4] = Verdict.PENDING | (Reason.PENDING << 8) | (FLOW_OPENED << 16);
        words[flow + FlowOffset.openedS / 4] = 1_000;
      }
      return 0;
    };
    return { run } as unknown as BpfProgram;
  }
}
