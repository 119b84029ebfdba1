import { QUERY_MS, TTL_GRACE_MS, TTL_MAX_S } from "../abi.generated.js";

/** Bounds of everything the engine keeps. At each bound something documented happens, and a counter of `Engine.stats()` says so. */
export interface EngineLimits {
  /** Flows whose beginning is incomplete; full: the oldest goes, what it held is dropped and awaited anew. */
  readonly pendingFlows: number;
  /** Milliseconds from the first payload to a complete hello or request head. */
  readonly helloMs: number;
  /** Bytes of a flow's beginning; more is denied as hello-too-large. */
  readonly helloBytes: number;
  /** Segments of a flow's beginning that are kept apart (out of order); more is denied as overload. */
  readonly helloSegments: number;
  /** Packets of one flow held back; past it the oldest go on as PENDING, so that the sender's window opens. */
  readonly heldPerFlow: number;
  /** Packets held back in all; full: the flow that would hold one more is denied as overload. */
  readonly held: number;
  /** Allowed hellos remembered until the server has surely acknowledged them; full: the oldest goes, a later retransmission is denied. */
  readonly judgedFlows: number;
  /**
   * Bytes of all of these hellos together; full: as above. Memory is taken as it is first written, and kept: these bytes and about 110 for each
   * of `judgedFlows`, so 39 MiB at most by default, once for each queue.
   */
  readonly judgedBytes: number;
  readonly judgedMs: number;
  /** Flows of QUIC that wait for their hellos or whose hellos were judged less than `judgedMs` ago; full: the oldest goes, what it held is dropped and awaited anew. */
  readonly quicFlows: number;
  /** Bytes of all of their hellos together; full: as above. */
  readonly quicBytes: number;
  /** Datagrams of one flow held back; one more is dropped, and sent again by its client. In all: `held`, a count of their own. */
  readonly quicHeldPerFlow: number;
  /** Connection ids of QUIC, of connections that are known and of those that were; full: the oldest of these goes if it is older than `judgedMs`, else no connection begins (overload). */
  readonly quicConnections: number;
  /** How long an id begins nothing after its connection was allowed and forgotten: longer than servers wait for the rest of a hello. */
  readonly quicSpentMs: number;
  /** Names on the wire that came once under `verify sni`, a power of two; full: an older one goes, and counts as new when it comes again. */
  readonly seenNames: number;
  /** Milliseconds for which a name that came on the wire is remembered, and bound once it has come twice. */
  readonly seenMs: number;
  /** Outstanding DNS queries; full: the oldest goes, its answer is dropped as unsolicited. */
  readonly queries: number;
  readonly queryMs: number;
  /** How long the kernel may let a question pass by itself that was allowed and taught nothing new. */
  readonly questionMs: number;
  /** DNS over TCP connections; full: the oldest goes, its next packet is denied (mid-flow). */
  readonly dnsStreams: number;
  readonly dnsStreamIdleMs: number;
  /** Outstanding queries of one DNS connection; full: the next one is denied as overload. */
  readonly queriesPerStream: number;
  /** Learned (policy, client, address, name); full: the oldest goes and is forgotten in the kernel too. */
  readonly learned: number;
  /** Addresses taken from one answer; the rest is not learned. */
  readonly addressesPerAnswer: number;
  /** Longest time to live that is taken from an answer, milliseconds. */
  readonly maxTtlMs: number;
  /** Added to every time to live: caches serve a name a little longer than its TTL (Firefox: 60 s), and TTL 0 must survive until the connection. */
  readonly ttlGraceMs: number;
  /** Denials remembered so that a retransmission gets no second line in the log; full: the oldest goes. */
  readonly recentDenials: number;
  readonly recentDenialMs: number;
}

export const defaultLimits: EngineLimits = {
  pendingFlows: 65_536,
  helloMs: 10_000,
  helloBytes: 16_384,
  helloSegments: 64,
  heldPerFlow: 4,
  held: 4_096,
  judgedFlows: 65_536,
  judgedBytes: 32 * 2 ** 20,
  judgedMs: 60_000,
  quicFlows: 16_384,
  quicBytes: 32 * 2 ** 20,
  quicHeldPerFlow: 16,
  quicConnections: 131_072,
  quicSpentMs: 600_000,
  seenNames: 16_384,
  seenMs: 600_000,
  queries: 65_536,
  queryMs: QUERY_MS,
  questionMs: 10_000,
  dnsStreams: 8_192,
  dnsStreamIdleMs: 120_000,
  queriesPerStream: 64,
  learned: 262_144,
  addressesPerAnswer: 512,
  maxTtlMs: TTL_MAX_S * 1_000,
  ttlGraceMs: TTL_GRACE_MS,
  recentDenials: 8_192,
  recentDenialMs: 5_000,
};
