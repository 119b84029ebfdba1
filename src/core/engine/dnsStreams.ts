/**
 * DNS over TCP (RFC 7766) to trusted resolvers: both directions are put together, each message is judged as a datagram would be.
 * Packets are held until every message that they complete is judged; a message's beginning may go on (its peer can't use it).
 */
import { Reason } from "../abi.generated.js";
import { HeldPackets } from "../flow/held.js";
import { StreamAssembler } from "../flow/reassembly.js";
import { seqAdd } from "../flow/seq.js";
import { BoundedTable } from "../flow/table.js";
import { tcpReplyFor, tcpResetFor, tcpResetToServer } from "../wire/build.js";
import type { IpPacket } from "../wire/ip.js";
import { TcpFlag, type TcpSegment } from "../wire/tcp.js";
import type { Addr } from "../net/address.js";
import type { Policy } from "../policy/types.js";
import type { CommandList } from "./commandList.js";
import { answerDecision } from "./dnsDatagrams.js";
import { denialFor, judgeAnswer, judgeQuery, underPolicies, type Query } from "./dnsMessages.js";
import type { PacketEvent, PacketId } from "./events.js";
import type { LearnedNames } from "./learned.js";
import type { EngineLimits } from "./limits.js";
import type { TcpPacket } from "./flowState.js";
import { IPPROTO_TCP, MARK_ALLOW, type Voice, type Why } from "./voice.js";

/** Largest message (RFC 1035 4.2.2: two bytes of length) with its length. */
const MAX_MESSAGE = 65_537;

interface Direction {
  readonly stream: StreamAssembler;
  readonly held: HeldPackets<PacketId>;
}

interface Connection {
  readonly toServer: Direction;
  toClient: Direction | undefined;
  /** Outstanding questions by id. */
  readonly queries: Map<number, Query>;
  readonly mark: 2 | 3 | undefined;
  /** Interface by which it goes to the resolver (`Query.ifindex`). */
  readonly ifindex: number;
}

/** What becomes of a packet after its payload was looked at. */
type Outcome =
  { readonly kind: "ok" } | { readonly kind: "close"; readonly why: Why; readonly denial?: Uint8Array | undefined };

const OK: Outcome = { kind: "ok" };

export class DnsStreams {
  readonly #limits: EngineLimits;
  readonly #learned: LearnedNames;
  readonly #voice: Voice;
  readonly #policies: ReadonlyMap<number, Policy>;
  readonly #connections: BoundedTable<string, Connection>;
  readonly #evictions: Connection[] = [];

  constructor(limits: EngineLimits, learned: LearnedNames, voice: Voice, policies: ReadonlyMap<number, Policy>) {
    this.#policies = policies;
    this.#limits = limits;
    this.#learned = learned;
    this.#voice = voice;
    this.#connections = new BoundedTable({
      max: limits.dnsStreams,
      ttl: limits.dnsStreamIdleMs,
      full: "evict-oldest",
      onEvict: (_id, connection) => this.#evictions.push(connection),
    });
  }

  get size(): number {
    return this.#connections.size;
  }

  /** A client's TCP packet to port 53 of a trusted resolver. */
  fromClient(packet: TcpPacket, now: number, out: CommandList): void {
    const { tcp, ip } = packet;
    const key = connectionKey(ip.src, tcp.sport, ip.dst);
    const mark = packet.toThisBox ? undefined : MARK_ALLOW;
    if ((tcp.flags & (TcpFlag.SYN | TcpFlag.ACK)) === TcpFlag.SYN) {
      const firstSeq = seqAdd(tcp.seq, 1);
      const known = this.#connections.get(key, now);
      if (!known || known.toServer.stream.firstSeq !== firstSeq) {
        if (known) this.#dropHeld(known, out);
        this.#connections.set(
          key,
          { toServer: direction(firstSeq), toClient: undefined, queries: new Map(), mark, ifindex: packet.ifindexOut },
          now,
        );
        this.#dropEvicted(out);
      }
      // Data in the SYN (RFC 7413) is not awaited by resolvers here: without it the SYN is sent again.
      if (tcp.payloadEnd > tcp.payloadOffset) {
        return this.#voice.deny(packet, { reason: Reason.DNS_MALFORMED, detail: "data in the SYN" }, now, out);
      }
      return this.#voice.accept(packet.id, mark, out);
    }
    const connection = this.#connections.get(key, now);
    if (!connection) return this.#voice.deny(packet, { reason: Reason.MID_FLOW }, now, out);
    this.#connections.touch(key, now);
    if (tcp.payloadEnd === tcp.payloadOffset) return this.#voice.accept(packet.id, mark, out);
    if ((tcp.flags & TcpFlag.ACK) === 0 || tcp.flags & (TcpFlag.SYN | TcpFlag.RST | TcpFlag.URG)) {
      return this.#voice.discard(packet.id, Reason.MALFORMED, packet.bytes.length, out);
    }
    const side = connection.toServer;
    if (!this.#add(side, packet.id, packet.bytes, tcp, mark, out)) return;
    const outcome = this.#judgeQueries(connection, packet);
    if (outcome.kind === "ok") return this.#release(side, mark, out);
    this.#close(key, connection, out);
    this.#voice.denied(packet, outcome.why, now, out);
    // The denial comes as the resolver's own answer would; the reset tells the resolver that it is over.
    if (outcome.denial) out.push({ type: "send", bytes: tcpReplyFor(ip, tcp, framed(outcome.denial)) });
    else out.push({ type: "send", bytes: tcpResetFor(packet.bytes, ip, tcp) });
    if (!packet.toThisBox) out.push({ type: "send", bytes: tcpResetToServer(packet.bytes, ip, tcp) });
  }

  /** A TCP packet from port 53 on its way to a client. */
  toClient(event: PacketEvent, ip: IpPacket, tcp: TcpSegment, trusted: boolean, now: number, out: CommandList): void {
    if (!trusted) return this.#voice.accept(event.id, undefined, out);
    const key = connectionKey(ip.dst, tcp.dport, ip.src);
    const connection = this.#connections.get(key, now);
    const empty = tcp.payloadEnd === tcp.payloadOffset;
    if (connection && connection.ifindex !== event.ifindexIn) {
      return this.#voice.discard(event.id, Reason.DNS_UNSOLICITED, event.bytes.length, out);
    }
    if (!connection) {
      // Closing a connection that is forgotten is harmless; its content would not be learned from, so it doesn't pass.
      if (empty) return this.#voice.accept(event.id, undefined, out);
      return this.#voice.discard(event.id, Reason.DNS_UNSOLICITED, event.bytes.length, out);
    }
    if (tcp.flags & TcpFlag.SYN) {
      if (!empty) return this.#voice.discard(event.id, Reason.DNS_MALFORMED, event.bytes.length, out);
      connection.toClient ??= direction(seqAdd(tcp.seq, 1));
      return this.#voice.accept(event.id, undefined, out);
    }
    if (empty) return this.#voice.accept(event.id, undefined, out);
    const side = connection.toClient;
    if (!side) return this.#voice.discard(event.id, Reason.DNS_UNSOLICITED, event.bytes.length, out);
    this.#connections.touch(key, now);
    if (!this.#add(side, event.id, event.bytes, tcp, undefined, out)) return;
    const outcome = this.#judgeAnswers(connection, now, out);
    if (outcome.kind === "ok") return this.#release(side, undefined, out);
    this.#close(key, connection, out);
    out.count(outcome.why.reason, event.bytes.length);
    // Seen from here the resolver is the sender: its reset goes on to the client, and back to itself.
    out.push({ type: "send", bytes: tcpResetToServer(event.bytes, ip, tcp) });
    out.push({ type: "send", bytes: tcpResetFor(event.bytes, ip, tcp) });
  }

  /** false: the packet has had its verdict already. */
  #add(
    side: Direction,
    id: PacketId,
    bytes: Uint8Array,
    tcp: TcpSegment,
    mark: 2 | 3 | undefined,
    out: CommandList,
  ): boolean {
    const payload = bytes.subarray(tcp.payloadOffset, tcp.payloadEnd);
    const end = seqAdd(tcp.seq, payload.length);
    switch (side.stream.add(tcp.seq, payload)) {
      case "ok":
        side.held.hold(id, tcp.seq, end);
        return true;
      case "duplicate":
        if (side.held.hasReleased(end)) this.#voice.accept(id, mark, out);
        else this.#voice.drop(id, out);
        return false;
      case "overlap-conflict":
        this.#voice.discard(id, Reason.OVERLAP, bytes.length, out);
        return false;
      case "too-large":
      case "too-many":
        this.#voice.discard(id, Reason.OVERLOAD, bytes.length, out);
        return false;
      case "outside":
        this.#voice.discard(id, Reason.MALFORMED, bytes.length, out);
        return false;
    }
  }

  #judgeQueries(connection: Connection, packet: TcpPacket): Outcome {
    const { stream } = connection.toServer;
    for (let message = nextMessage(stream); message; message = nextMessage(stream)) {
      const judgement = judgeQuery(packet.policy, message, 0, message.length);
      if (judgement.kind === "deny") {
        return { kind: "close", why: judgement.why, denial: denialFor(packet.policy, judgement.message, message) };
      }
      if (connection.queries.size >= this.#limits.queriesPerStream) {
        return { kind: "close", why: { reason: Reason.OVERLOAD, detail: "too many outstanding queries" } };
      }
      const { message: query, name, rule, ports } = judgement;
      connection.queries.set(query.id, {
        policy: packet.policy,
        client: packet.client,
        source: packet.ip.src,
        resolver: packet.ip.dst,
        ifindex: packet.ifindexOut,
        forwarded: false,
        id: query.id,
        name,
        type: query.questions[0]?.type ?? 0,
        rule,
        ports,
        questionBytes: query.questionBytes,
      });
      stream.consume(message.length + 2);
    }
    return OK;
  }

  #judgeAnswers(connection: Connection, now: number, out: CommandList): Outcome {
    const stream = (connection.toClient as Direction).stream;
    for (let message = nextMessage(stream); message; message = nextMessage(stream)) {
      const id = message.length < 2 ? -1 : ((message[0] as number) << 8) | (message[1] as number);
      const known = connection.queries.get(id);
      const query = known && underPolicies(known, this.#policies);
      if (!query) return { kind: "close", why: { reason: known ? Reason.DNS_NAME : Reason.DNS_UNSOLICITED } };
      const judged = judgeAnswer(query, message, 0, message.length, this.#learned, this.#limits, now, out);
      answerDecision(judged.kind === "release" ? "allow" : "deny", query, IPPROTO_TCP, judged.why, out);
      if (judged.kind === "drop") return { kind: "close", why: judged.why };
      connection.queries.delete(id);
      stream.consume(message.length + 2);
    }
    return OK;
  }

  /** Let go what is judged; of an unfinished message all but the newest packets, so that the sender's window opens. */
  #release(side: Direction, mark: 2 | 3 | undefined, out: CommandList): void {
    const { stream, held } = side;
    const unfinished = stream.bufferedBytes > 0;
    for (const id of held.releaseInOrder(unfinished ? this.#limits.heldPerFlow : 0)) this.#voice.accept(id, mark, out);
    // Packets that end before the unfinished message are judged wholly.
    for (const id of held.releaseUpTo(stream.firstSeq)) this.#voice.accept(id, mark, out);
  }

  #close(key: string, connection: Connection, out: CommandList): void {
    this.#dropHeld(connection, out);
    this.#connections.delete(key);
  }

  #dropHeld(connection: Connection, out: CommandList): void {
    for (const side of [connection.toServer, connection.toClient]) {
      for (const id of side?.held.takeAll() ?? []) this.#voice.drop(id, out);
    }
  }

  #dropEvicted(out: CommandList): void {
    for (const connection of this.#evictions.splice(0)) this.#dropHeld(connection, out);
  }

  expire(now: number, out: CommandList): void {
    this.#connections.expire(now);
    this.#dropEvicted(out);
  }

  shutdown(out: CommandList): void {
    this.expire(Infinity, out);
  }
}

function direction(firstSeq: number): Direction {
  return {
    stream: new StreamAssembler({ firstSeq, maxBytes: 2 * MAX_MESSAGE, maxSegments: 256 }),
    held: new HeldPackets(firstSeq),
  };
}

/** The next whole message of the stream, without its length; undefined if it isn't there yet. */
function nextMessage(stream: StreamAssembler): Uint8Array | undefined {
  const bytes = stream.contiguous();
  if (bytes.length < 2) return undefined;
  const length = ((bytes[0] as number) << 8) | (bytes[1] as number);
  return bytes.length < 2 + length ? undefined : bytes.slice(2, 2 + length);
}

function framed(message: Uint8Array): Uint8Array {
  const out = new Uint8Array(message.length + 2);
  out[0] = message.length >> 8;
  out[1] = message.length & 0xff;
  out.set(message, 2);
  return out;
}

function connectionKey(client: Addr, port: number, resolver: Addr): string {
  return String.fromCharCode(port) + client + resolver;
}
