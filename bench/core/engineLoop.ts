/**
 * A real engine with real packets that come again and again, as a gateway's would: connections are opened, decided and opened anew, so the tables are full
 * and steady, and what grows is a leak.
 */
import { Reason } from "../../src/core/abi.generated.js";
import { CommandList } from "../../src/core/engine/commandList.js";
import { Engine } from "../../src/core/engine/engine.js";
import type { CachedFlow } from "../../src/core/engine/flowState.js";
import { defaultLimits } from "../../src/core/engine/limits.js";
import type { Verify } from "../../src/core/policy/types.js";
import { PacketEvents } from "../../src/edge/kernelEvents.js";
import { META_STRIDE } from "../../src/native/types.js";
import { policyWith } from "./inputs.js";
import {
  answer,
  connection,
  deliver,
  FIRST_SEQ,
  FLOWS,
  initial,
  interfaces,
  memory,
  query,
  type Queued,
} from "./queued.js";

/** What eBPF has cached for each of these connections: it saw the SYN and its answer. */
const opened: CachedFlow = {
  verdict: "pending",
  reason: Reason.PENDING,
  final: false,
  opened: true,
  released: false,
  fast: false,
  openedAt: 1_000_000,
  judgedStart: FIRST_SEQ,
  judgedEnd: FIRST_SEQ,
};

export class EngineLoop {
  readonly engine: Engine;
  readonly #events = new PacketEvents();
  readonly #out = new CommandList();
  readonly #meta = new Uint32Array(META_STRIDE);
  #id = 0;
  /** A fraction, as the clock has. */
  #now = 1_000_000.25;

  constructor(verify: Verify = "both") {
    this.engine = new Engine({
      policies: [policyWith({ verify })],
      // The same connections come again and again, faster than they would be forgotten.
      limits: { ...defaultLimits, quicSpentMs: 20_000 },
      lookupFlow: () => opened,
      lookupAsked: () => undefined,
      hashSeed: Buffer.from("engine loop"),
    });
    this.#lookUp(query(), answer());
  }

  /** `segments`: packets that the hello comes in. */
  connections(segments: 1 | 2): (times: number) => void {
    const packets = Array.from({ length: FLOWS }, (_, i) => connection(i, segments));
    return (times) => {
      for (let i = 0; i < times; i++) {
        const all = packets[i & (FLOWS - 1)]!;
        for (let k = 0; k < all.length; k++) this.#give(all[k]!);
        this.#expect("decision", "allow");
        this.#now += 0.5;
      }
    };
  }

  /** Each with a connection id of its own; forgotten by the engine before it comes again. */
  quic(): (times: number) => void {
    const packets = Array.from({ length: FLOWS }, (_, i) => initial(i));
    const [question, reply] = [query(), answer()];
    // Goes on from call to call: an id must not come again before its time.
    let i = 0;
    return (times) => {
      for (const end = i + times; i < end; i++) {
        // Its clock runs two hundred times as fast as that of the others.
        if ((i & (FLOWS - 1)) === 0) this.#lookUp(question, reply);
        this.#give(packets[i & (FLOWS - 1)]!);
        this.#expect("verdict", "accept");
        this.#now += 100;
        if ((i & 15) === 0) this.engine.handle({ type: "tick" }, this.#now, this.#out);
        this.#out.clear();
      }
    };
  }

  lookups(): (times: number) => void {
    const [question, reply] = [query(), answer()];
    return (times) => {
      for (let i = 0; i < times; i++) {
        this.#lookUp(question, reply);
        this.#now += 0.5;
      }
    };
  }

  #lookUp(question: Queued, reply: Queued): void {
    this.#give(question);
    this.#out.clear();
    this.#give(reply);
    this.#expect("decision", "allow");
  }

  #give(packet: Queued): void {
    deliver(packet, 0, this.#meta, ++this.#id & 0x7fff_ffff);
    const event = this.#events.read(this.#meta, 0, memory, interfaces);
    if (typeof event === "number") throw new Error(`packet not taken: reason ${event}`);
    this.engine.handle(event, this.#now, this.#out);
  }

  /** The last command must be this one (but for what may follow it about the next question); the commands are carried out by nobody and forgotten. */
  #expect(type: "decision" | "verdict", said: string): void {
    let last = this.#out.at(this.#out.length - 1);
    if (last.type === "allowQuestion") last = this.#out.at(this.#out.length - 2);
    const is = last.type === "decision" ? last.verdict : last.type === "verdict" ? last.action : undefined;
    if (last.type !== type || is !== said) throw new Error(`the engine said ${JSON.stringify(last)}`);
    this.#out.clear();
  }
}
