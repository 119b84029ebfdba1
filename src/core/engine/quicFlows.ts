/**
 * Flows of QUIC that a name decides (RFC 9000, RFC 9001, RFC 9369): the name stands in the ClientHello, the ClientHello in the CRYPTO frames of the
 * client's Initials, whose keys anybody can make.
 *
 * Datagrams are held until every hello is complete of which they may carry a part, and then let go or dropped, all of them. From then on short headers
 * pass in the kernel; what has a long header comes here for as long as the flow lives. So an Initial that never reached the server (a decoy, with a low
 * time to live or lost on its way) opens nothing: the one that reaches it is judged as well, and on the same ports nothing begins unjudged.
 */
import { FLOW_FAST, FLOW_QUIC, Reason } from "../abi.generated.js";
import { QuicDatagram, readDatagram } from "../wire/quicDatagram.js";
import { hidesLongHeader } from "../wire/quicMerged.js";
import type { UdpDatagram } from "../wire/udp.js";
import { emptyFlowKey, type CommandList } from "./commandList.js";
import { putFlow } from "./flowCommands.js";
import type { FlowLookup } from "./flowState.js";
import type { LearnedNames } from "./learned.js";
import type { EngineLimits } from "./limits.js";
import type { NameJudge } from "./nameJudge.js";
import type { PolicyChange } from "./policyChange.js";
import type { QuicConnection, QuicFlow } from "./quicFlow.js";
import { openInitials, type InitialReading } from "./quicInitials.js";
import { QuicTable, type QuicStats } from "./quicTable.js";
import { refuseAddress, refusePort } from "./addressWhy.js";
import { fillFlowKey, MARK_ALLOW, type ClientPacket, type Voice, type Why } from "./voice.js";

/** Does a name in it decide? Where names are proved by the wire, on their ports, unless QUIC is denied as a whole. */
export function isInspectedQuic({ policy, ip, dport }: ClientPacket): boolean {
  const { verify, quic } = policy.spec;
  return verify !== "dns" && quic === "inspect" && policy.isNamePort(ip.proto, dport);
}

export class QuicFlows {
  readonly #learned: LearnedNames;
  readonly #names: NameJudge;
  readonly #voice: Voice;
  readonly #lookup: FlowLookup;
  readonly #change: PolicyChange;
  readonly #table: QuicTable;
  /** Of the packet at hand. */
  readonly #key = emptyFlowKey();
  readonly #datagram = new QuicDatagram();

  constructor(
    limits: EngineLimits,
    learned: LearnedNames,
    names: NameJudge,
    voice: Voice,
    lookup: FlowLookup,
    change: PolicyChange,
  ) {
    this.#change = change;
    this.#learned = learned;
    this.#names = names;
    this.#voice = voice;
    this.#lookup = lookup;
    this.#table = new QuicTable(limits, voice);
  }

  stats(): QuicStats {
    return this.#table.stats();
  }

  /** A client's datagram to a port where QUIC's name belongs, at an address that no CIDR rule speaks of. `merged`: it may be several (GSO). */
  packet(packet: ClientPacket, udp: UdpDatagram, merged: boolean, now: number, out: CommandList): void {
    fillFlowKey(packet, this.#key);
    const found = this.#lookup(this.#key);
    const outdated = found?.outdated;
    const cached = found && outdated ? this.#change.renew(packet, found, outdated, out) : found;
    const fast = cached?.fast ?? false;
    if (cached?.verdict === "deny") return this.#voice.discard(packet.id, cached.reason, packet.bytes.length, out);
    const isAllowed = cached?.verdict === "allow";
    const known = this.#table.get(packet, now);
    if (!known && !isAllowed) {
      const why = this.#refuse(packet, now);
      if (why) return this.#denyAddress(packet, why, now, out);
    }
    const isNews = !known && !isAllowed;
    const datagram = this.#read(packet.bytes, udp, merged, isAllowed);
    if (typeof datagram === "string") return this.#refusePacket(packet, isNews, datagram, now, out);
    if (!datagram.hasInitial) {
      if (datagram.packets[0]!.type === "short") return this.#refusePacket(packet, isNews, "no long header", now, out);
      // Of a connection whose hello was judged, or that began before this engine did: it can't bring another name.
      if (isAllowed) return this.#voice.accept(packet.id, MARK_ALLOW, out);
      // Early data may come before a part of the hello. It belongs to one that has come, or it decides nothing.
      if (known && datagram.packets[0]!.type === "0-rtt") return this.#table.hold(known, packet, known.incomplete, out);
      return this.#refusePacket(packet, isNews, "no Initial before it", now, out);
    }
    const readings = openInitials(packet.bytes, datagram, known?.connections.map((one) => one.keys) ?? []);
    // A server that can't open it discards it, too; one that can has keys that nobody here knows.
    if (typeof readings === "string") return this.#refusePacket(packet, isNews, readings, now, out);
    const reason = this.#table.refuse(packet, known, readings, now);
    if (reason !== undefined) return this.#voice.discard(packet.id, reason, packet.bytes.length, out);
    const flow = known ?? this.#table.begin(packet, isAllowed, now, out);
    if (flow.allowed !== isAllowed) {
      const why = this.#changed(flow, packet, isAllowed, now, out);
      if (why) return this.#deny(flow, packet, why, now, out);
    }
    this.#initials(flow, packet, readings, fast, now, out);
  }

  /** A string: why it is none that can be judged. */
  #read(
    bytes: Uint8Array,
    { payloadOffset: start, payloadEnd: end }: UdpDatagram,
    merged: boolean,
    greased: boolean,
  ): QuicDatagram | string {
    const read = readDatagram(bytes, start, end, this.#datagram, greased);
    if (read.kind === "invalid") return `QUIC packet: ${read.code}`;
    return merged && hidesLongHeader(bytes, start, end, read.value)
      ? "merged datagrams that can't be told apart"
      : read.value;
  }

  /** Before the first Initial of a flow. undefined: names may decide. */
  #refuse(packet: ClientPacket, now: number): Why | undefined {
    const { policy, client, ip } = packet;
    if (policy.spec.verify === "sni") return undefined;
    const learned = this.#learned.latest(policy.id, client, ip.dst);
    return refuseAddress(learned, now) ?? refusePort(packet, learned);
  }

  #denyAddress(packet: ClientPacket, why: Why, now: number, out: CommandList): void {
    putFlow(packet, why, "deny", 0, 0, 0, out);
    this.#voice.deny(packet, why, now, out);
  }

  /**
   * It doesn't pass, but it decides nothing either: what comes before an Initial may be anything, a decoy among it. Said aloud, and to the client, only where nothing
   * is known of a flow: there it may be that a connection went on that began elsewhere (migration, a restart of this engine).
   */
  #refusePacket(packet: ClientPacket, isNews: boolean, detail: string, now: number, out: CommandList): void {
    if (!isNews) return this.#voice.discard(packet.id, Reason.QUIC, packet.bytes.length, out);
    this.#voice.deny(packet, { reason: Reason.QUIC, detail }, now, out);
  }

  /**
   * The kernel is of another mind than when this flow was looked at last. Allowed: by an engine before this one, or of another thread; short headers pass in any
   * case. No longer allowed: the entry was evicted, or the policy is a new one. What was judged is judged again.
   */
  #changed(flow: QuicFlow, packet: ClientPacket, isAllowed: boolean, now: number, out: CommandList): Why | undefined {
    flow.allowed = isAllowed;
    if (isAllowed) return undefined;
    for (const connection of flow.connections) {
      const why = connection.complete ? this.#judge(connection, packet, now, out) : undefined;
      if (why) return why;
    }
    return undefined;
  }

  /** Initials that opened, each under one key or several: every reading of them must be allowed. */
  #initials(
    flow: QuicFlow,
    packet: ClientPacket,
    readings: readonly InitialReading[],
    fast: boolean,
    now: number,
    out: CommandList,
  ): void {
    const touched = new Set<QuicConnection>();
    for (const { keys, frames } of readings) {
      const connection = flow.find(keys.dcid) ?? this.#table.connect(flow, keys, now, out);
      if (!connection) return this.#voice.discard(packet.id, Reason.OVERLOAD, packet.bytes.length, out);
      touched.add(connection);
      const why = this.#table.add(connection, frames, now);
      if (why) return this.#deny(flow, packet, why, now, out);
    }
    this.#table.makeRoom(flow, now, out);
    let begun: Why | undefined;
    for (const connection of touched) {
      const isNew = connection.allowedBy === undefined;
      const why = connection.complete ? undefined : this.#judge(connection, packet, now, out);
      if (why) return this.#deny(flow, packet, why, now, out);
      this.#table.await(connection, now);
      if (isNew) begun ??= connection.allowedBy;
    }
    if (!flow.allowed) this.#allow(flow, packet, fast, out);
    else if (begun) this.#joined(flow, packet, begun, fast, out);
    this.#table.release(flow, out);
    const waits = [...touched].filter((connection) => !connection.complete);
    if (waits.length === 0) this.#voice.accept(packet.id, MARK_ALLOW, out);
    else this.#table.hold(flow, packet, waits, out);
  }

  /** Judge its hello, if it is whole. undefined: nothing speaks against it. */
  #judge(connection: QuicConnection, packet: ClientPacket, now: number, out: CommandList): Why | undefined {
    const found = connection.read();
    switch (found.kind) {
      case "needMore":
        return undefined;
      case "bad":
        return found;
      case "nameless":
        return { reason: Reason.NO_NAME, detail: found.detail };
      case "name": {
        const known = this.#learned.latest(packet.policy.id, packet.client, packet.ip.dst);
        // A copy: it is lent, and the next question is another one.
        const learned = known && { name: known.name, rule: known.rule };
        const why = this.#names.judge(packet, found.name, connection.begun, learned, now, out);
        if (why.reason !== Reason.ALLOW_NAME) return why;
        connection.allow(why);
        return undefined;
      }
    }
  }

  /** As soon as one of its connections is allowed. */
  #allow(flow: QuicFlow, packet: ClientPacket, fast: boolean, out: CommandList): void {
    const why = flow.allowedBy;
    if (!why) return;
    flow.allowed = true;
    flow.rule = why.rule;
    putFlow(packet, why, "allow", FLOW_QUIC | (fast ? FLOW_FAST : 0), 0, 0, out);
    this.#voice.allowed(packet, why, out);
  }

  /**
   * Another connection, or one of a flow of which only the kernel knows. Where another rule allows it, the flow stands for no single one any more: another policy
   * that covers one of them must not let the other go on (policyChange.ts), so the kernel's entry says none.
   */
  #joined(flow: QuicFlow, packet: ClientPacket, why: Why, fast: boolean, out: CommandList): void {
    if (flow.rule !== why.rule && flow.rule !== 0) {
      flow.rule = 0;
      putFlow(packet, { ...why, rule: 0 }, "allow", FLOW_QUIC | (fast ? FLOW_FAST : 0), 0, 0, out);
    }
    this.#voice.allowed(packet, why, out);
  }

  /** The flow is over, also where it was allowed: whatever it carries is no longer known to be allowed. */
  #deny(flow: QuicFlow, packet: ClientPacket, why: Why, now: number, out: CommandList): void {
    this.#table.giveUp(flow, now, out);
    putFlow(packet, why, "deny", 0, 0, 0, out);
    this.#voice.deny(packet, why, now, out);
  }

  /** Deny the hellos whose time is over. */
  expire(now: number, out: CommandList): void {
    for (let connection = this.#table.due(now); connection; connection = this.#table.due(now)) {
      const { flow } = connection;
      const why = { reason: Reason.HELLO_TIMEOUT };
      if (flow.allowed) {
        out.count(why.reason, 0);
        this.#table.giveUpHello(connection, now, out);
      } else {
        this.#table.giveUp(flow, now, out);
        putFlow(flow.first, why, "deny", 0, 0, 0, out);
        this.#voice.denied(flow.first, why, now, out);
        this.#voice.reject(flow.first, out);
      }
    }
    this.#table.expire(now, out);
  }

  nextDeadline(): number | undefined {
    return this.#table.nextDeadline();
  }

  /** Give every held packet its verdict: drop. */
  shutdown(now: number, out: CommandList): void {
    this.#table.clear(now, out);
  }
}
