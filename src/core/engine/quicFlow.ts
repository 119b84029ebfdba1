/** What is kept of a flow of QUIC while its connections begin, and for a while after that. What becomes of it is quicFlows.ts' business. */
import { Reason } from "../abi.generated.js";
import { CryptoStream } from "../flow/cryptoStream.js";
import { InitialFrames, readInitialFrames } from "../wire/quicFrames.js";
import type { PacketId } from "./events.js";
import { sayQuicHello, type QuicHello } from "./firstBytes.js";
import type { EngineLimits } from "./limits.js";
import type { ConnectionKeys } from "./quicInitials.js";
import type { ClientPacket, Why } from "./voice.js";

/** Connections of one flow: one, another after a Retry (RFC 9000 17.2.5.2), and those that came before it on the same ports. */
export const MAX_CONNECTIONS = 8;

/** A datagram that waits until all hellos are complete of which it may carry a part. */
interface HeldDatagram {
  readonly id: PacketId;
  readonly waits: readonly QuicConnection[];
}

export class QuicFlow {
  /** `flowId` */
  readonly id: string;
  /** The kernel lets its short headers pass. */
  allowed: boolean;
  /** By the kernel's entry: the rule that allowed it; 0: several; undefined: not known here. */
  rule: number | undefined;
  readonly connections: QuicConnection[] = [];
  readonly held: HeldDatagram[] = [];
  /** Its first datagram, for denials that no packet triggers. */
  readonly first: ClientPacket;

  constructor(id: string, packet: ClientPacket, allowed: boolean) {
    this.id = id;
    this.allowed = allowed;
    this.first = keep(packet);
  }

  find(dcid: string): QuicConnection | undefined {
    return this.connections.find((one) => one.keys.dcid === dcid);
  }

  get incomplete(): QuicConnection[] {
    return this.connections.filter((one) => !one.complete);
  }

  /** What waits for nothing any more, in the order in which it came; it isn't held afterwards. */
  takeReady(): PacketId[] {
    return this.#take((one) => one.waits.every((connection) => connection.complete));
  }

  get allowedBy(): Why | undefined {
    return this.connections.find((one) => one.complete)?.allowedBy;
  }

  /** What may carry a part of its hello. */
  takeWaiting(connection: QuicConnection): PacketId[] {
    return this.#take((one) => one.waits.includes(connection));
  }

  /** Take a connection away, and with it what waits for it. */
  takeAway(connection: QuicConnection): PacketId[] {
    this.connections.splice(this.connections.indexOf(connection), 1);
    return this.takeWaiting(connection);
  }

  takeAll(): PacketId[] {
    return this.#take(() => true);
  }

  #take(wanted: (one: HeldDatagram) => boolean): PacketId[] {
    const ids: PacketId[] = [];
    let kept = 0;
    for (const one of this.held) {
      if (wanted(one)) ids.push(one.id);
      else this.held[kept++] = one;
    }
    this.held.length = kept;
    return ids;
  }
}

/**
 * A connection, named by the destination connection id of the Initial that began it: both sides' Initial keys come from that one, whatever ids they
 * use later (RFC 9001 5.2). The bytes of its hello stay, so that what comes again can be held against them.
 */
export class QuicConnection {
  readonly flow: QuicFlow;
  readonly keys: ConnectionKeys;
  /** Milliseconds of CLOCK_MONOTONIC at its first Initial. */
  readonly begun: number;
  /** And at its last one. */
  lastSeen: number;
  readonly #stream: CryptoStream;
  /** What its hello was allowed by, the name with it. */
  #allowedBy: Why | undefined;
  /** How many bytes that were. A HelloRetryRequest makes them more (RFC 8446 4.1.2). */
  #judged = 0;

  constructor(flow: QuicFlow, keys: ConnectionKeys, now: number, limits: EngineLimits) {
    this.flow = flow;
    this.keys = keys;
    this.begun = this.lastSeen = now;
    this.#stream = new CryptoStream({ maxBytes: limits.helloBytes, maxSegments: limits.helloSegments });
  }

  get allowedBy(): Why | undefined {
    return this.#allowedBy;
  }

  /** All that has come of it was judged and allowed, and that is a hello at least. */
  get complete(): boolean {
    return this.#allowedBy !== undefined && this.#stream.bufferedBytes === this.#judged;
  }

  /** Bytes that are kept of it. */
  get bytes(): number {
    return this.#stream.bufferedBytes;
  }

  /** An Initial's frames. Something: why they can't be of a hello that is allowed. */
  add(frames: Uint8Array): Why | undefined {
    const read = readInitialFrames(frames, FRAMES);
    if (read.kind === "invalid") return { reason: Reason.HELLO_MALFORMED, detail: `QUIC Initial: ${read.code}` };
    switch (this.#stream.add(frames, FRAMES)) {
      case "overlap-conflict":
        return { reason: this.#allowedBy ? Reason.REWRITTEN : Reason.OVERLAP, detail: "CRYPTO frames" };
      case "too-many":
        return { reason: Reason.OVERLOAD, detail: "too many CRYPTO frames out of order" };
      case "too-large":
        return { reason: Reason.HELLO_TOO_LARGE };
      case "ok":
      case "duplicate":
        return undefined;
    }
  }

  /** What the hello says, if it is whole and nothing stands behind it. */
  read(): QuicHello {
    return sayQuicHello(this.#stream.read());
  }

  /** All that has come is allowed. */
  allow(why: Why): void {
    this.#allowedBy = { ...why };
    this.#judged = this.#stream.bufferedBytes;
  }
}

/** Filled and read within one call. */
const FRAMES = new InitialFrames();

/** The headers, not the batch's buffer. */
function keep(packet: ClientPacket): ClientPacket {
  const { id, bytes, ip, client, policy, sport, dport, toThisBox, ifindexOut } = packet;
  const headers = bytes.slice(0, ip.payloadOffset + UDP_HEADER);
  return { id, bytes: headers, ip: { ...ip }, client, policy, sport, dport, tcp: undefined, toThisBox, ifindexOut };
}

const UDP_HEADER = 8;
