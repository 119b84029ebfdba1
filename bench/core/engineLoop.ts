/**
 * A real engine with real packets that come again and again, as a gateway's would: the same 1,024 connections (a source port each) are opened,
 * decided and opened anew, so the tables are full and steady, and what grows is a leak.
 */
import { ClientBy, Reason } from "../../src/core/abi.generated.js";
import type { Command } from "../../src/core/engine/commands.js";
import type { PacketId } from "../../src/core/engine/events.js";
import { Engine } from "../../src/core/engine/engine.js";
import type { CachedFlow } from "../../src/core/engine/flowState.js";
import { defaultLimits } from "../../src/core/engine/limits.js";
import type { GovernedInterface } from "../../src/edge/clients.js";
import { packetEvent } from "../../src/edge/kernelEvents.js";
import { META_STRIDE, Meta } from "../../src/native/types.js";
import { tcp, udp } from "../../test/packets.js";
import { allowedName, client, dnsMessage, opensslHello, policyWith, resolver } from "./inputs.js";

const FLOWS = 1024;
const FIRST_PORT = 20_000;
const LAN = 2;
const WAN = 3;
const server = "198.51.100.7";

/** What eBPF has cached for each of these connections: it saw the SYN and its answer. */
const opened: CachedFlow = {
  verdict: "pending",
  reason: Reason.PENDING,
  final: false,
  opened: true,
  released: false,
  fast: false,
  openedAt: 1_000_000,
  judgedStart: 1_001,
  judgedEnd: 1_001,
};

/** What the packets of all loops lie in, as those of a queue lie in its memory. */
const memory = Buffer.alloc(2 ** 21);
let used = 0;

/** One packet, as the addon hands it over: its slice of the batch's `meta`. */
type Queued = Uint32Array;

export class EngineLoop {
  readonly engine: Engine;
  readonly #interfaces: ReadonlyMap<number, GovernedInterface>;
  readonly #out: Command[] = [];
  #id = 0;
  /** A fraction, as the clock has. */
  #now = 1_000_000.25;

  constructor(domains: readonly string[] = []) {
    this.engine = new Engine({
      policies: [policyWith({ domain: [...domains] })],
      limits: defaultLimits,
      lookupFlow: () => opened,
      lookupAsked: () => undefined,
      hashSeed: Buffer.from("engine loop"),
    });
    this.#interfaces = new Map([[LAN, { ifindex: LAN, policy: 1, clientBy: ClientBy.MAC, l3: false }]]);
    this.#lookUp(query(), answer());
  }

  /** `segments`: packets that the hello comes in. */
  connections(segments: 1 | 2): (times: number) => void {
    const packets = Array.from({ length: FLOWS }, (_, i) => connection(FIRST_PORT + i, segments));
    return (times) => {
      for (let i = 0; i < times; i++) {
        const all = packets[i & (FLOWS - 1)]!;
        for (let k = 0; k < all.length; k++) this.#give(all[k]!);
        this.#expect("decision", "allow");
        this.#now += 0.5;
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
    this.#out.length = 0;
    this.#give(reply);
    this.#expect("decision", "allow");
  }

  #give(meta: Queued): void {
    const event = packetEvent((++this.#id & 0x7fff_ffff) as PacketId, meta, 0, memory, this.#interfaces);
    if (typeof event === "number") throw new Error(`packet not taken: reason ${event}`);
    this.engine.handle(event, this.#now, this.#out);
  }

  /** The last command must be this one (but for what may follow it about the next question); the commands are carried out by nobody and forgotten. */
  #expect(type: "decision" | "verdict", said: string): void {
    let last = this.#out[this.#out.length - 1];
    if (last?.type === "allowQuestion") last = this.#out[this.#out.length - 2];
    const is = last?.type === "decision" ? last.verdict : last?.type === "verdict" ? last.action : undefined;
    if (last?.type !== type || is !== said) throw new Error(`the engine said ${JSON.stringify(last)}`);
    this.#out.length = 0;
  }
}

function connection(sport: number, segments: 1 | 2): Queued[] {
  const ends = { src: client, dst: server };
  const hello = opensslHello(allowedName);
  const cut = segments === 1 ? hello.length : 100;
  const parts = [hello.subarray(0, cut), hello.subarray(cut)].filter((part) => part.length > 0);
  let seq = 1_001;
  const packets: Queued[] = [];
  for (const part of parts) {
    packets.push(fromClient(tcp(ends, { sport, seq, flags: "PA" }, part)));
    seq += part.length;
  }
  return packets;
}

function query(): Queued {
  return fromClient(udp({ src: client, dst: resolver }, { sport: 40_000, dport: 53 }, dnsMessage(allowedName, 7)));
}

function answer(): Queued {
  const message = dnsMessage(allowedName, 7, [server]);
  return queued(udp({ src: resolver, dst: client }, { sport: 53, dport: 40_000 }, message), WAN, LAN);
}

function fromClient(bytes: Uint8Array): Queued {
  return queued(bytes, LAN, WAN);
}

function queued(bytes: Uint8Array, ifindexIn: number, ifindexOut: number): Queued {
  const meta = new Uint32Array(META_STRIDE);
  meta[Meta.hook] = 2;
  meta[Meta.mark] = 0x10;
  meta[Meta.ifindexIn] = ifindexIn;
  meta[Meta.ifindexOut] = ifindexOut;
  meta[Meta.length] = meta[Meta.wireLength] = bytes.length;
  meta[Meta.flags] = 8; // the hardware address is there
  meta[Meta.mac0] = 0x12005452;
  meta[Meta.mac1] = 0x5634;
  if (used + bytes.length > memory.length) throw new RangeError("more packets than there is memory for");
  meta[Meta.offset] = used;
  memory.set(bytes, used);
  used += bytes.length;
  return meta;
}
