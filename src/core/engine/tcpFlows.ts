/**
 * TCP flows that a name decides: from the SYN to the verdict on the first bytes. What follows an allow is judgedFlows.ts.
 *
 * Packets are held until the first bytes are judged, then released or dropped in order. A sender whose window is full of
 * held packets would never send the rest, so past `heldPerFlow` the oldest go on as PENDING: the peer gets a beginning that
 * decides nothing, and the packet that would complete it is still here.
 */
import { Reason } from "../abi.generated.js";
import { seqAdd, seqDiff } from "../flow/seq.js";
import { TcpFlag } from "../wire/tcp.js";
import { emptyFlowKey, type CommandList } from "./commandList.js";
import { readFirstBytes } from "./firstBytes.js";
import type { CachedFlow, FlowLookup, TcpPacket } from "./flowState.js";
import { JudgedFlows } from "./judgedFlows.js";
import type { LearnedNames } from "./learned.js";
import type { EngineLimits } from "./limits.js";
import type { NameJudge } from "./nameJudge.js";
import { PendingFlows, type PendingFlow } from "./pendingFlows.js";
import type { PolicyChange } from "./policyChange.js";
import { TcpByAddress } from "./tcpByAddress.js";
import { putFlow, resetServer } from "./flowCommands.js";
import { byAddress, refusePort } from "./addressWhy.js";
import { judgedFlags, releasedFlags } from "./flowFlags.js";
import { fillFlowKey, IPPROTO_TCP, MARK_ALLOW, MARK_PENDING, type Voice, type Why } from "./voice.js";

/** Sizes and losses of the tables of flows. */
export interface TcpStats {
  readonly pendingFlows: number;
  readonly pendingEvicted: number;
  readonly heldPackets: number;
  readonly judgedFlows: number;
  readonly judgedEvicted: number;
}

export class TcpFlows {
  readonly #limits: EngineLimits;
  readonly #learned: LearnedNames;
  readonly #voice: Voice;
  readonly #lookup: FlowLookup;
  readonly #change: PolicyChange;
  readonly #byAddress: TcpByAddress;
  readonly #pending: PendingFlows;
  readonly #judged: JudgedFlows;
  readonly #names: NameJudge;
  #held = 0;
  evicted = 0;
  /** Of the packet at hand. */
  readonly #key = emptyFlowKey();

  constructor(
    limits: EngineLimits,
    learned: LearnedNames,
    names: NameJudge,
    voice: Voice,
    lookup: FlowLookup,
    change: PolicyChange,
    hashSeed: Uint8Array,
  ) {
    this.#change = change;
    this.#limits = limits;
    this.#learned = learned;
    this.#voice = voice;
    this.#lookup = lookup;
    this.#byAddress = new TcpByAddress(learned, voice);
    this.#pending = new PendingFlows(limits, hashSeed);
    this.#judged = new JudgedFlows(limits, voice, hashSeed);
    this.#names = names;
  }

  stats(): TcpStats {
    return {
      pendingFlows: this.#pending.size,
      pendingEvicted: this.evicted,
      heldPackets: this.#held,
      judgedFlows: this.#judged.size,
      judgedEvicted: this.#judged.evicted,
    };
  }

  /** A client's TCP packet to an address that no CIDR rule speaks of. */
  packet(packet: TcpPacket, now: number, out: CommandList): void {
    const { tcp } = packet;
    const key = this.#key;
    fillFlowKey(packet, key);
    const found = this.#lookup(key);
    const outdated = found?.outdated;
    const wasAllowed = outdated !== undefined && found?.verdict === "allow";
    const cached = found && outdated ? this.#change.renew(packet, found, outdated, out) : found;
    if ((tcp.flags & (TcpFlag.SYN | TcpFlag.ACK)) === TcpFlag.SYN) return this.#byAddress.syn(packet, cached, now, out);
    if (cached?.verdict === "deny") return this.#voice.discard(packet.id, cached.reason, packet.bytes.length, out);
    if (cached?.verdict === "pending") {
      if (tcp.payloadEnd === tcp.payloadOffset) return this.#voice.accept(packet.id, MARK_PENDING, out);
      // The server stands elsewhere (RFC 9293 3.10.7.4): what is judged here would not be what it reads.
      if (!cached.opened) return this.#byAddress.midFlow(packet, "the server has not answered this SYN", now, out);
      // An engine that is gone let it go, or this one, which had to forget the flow: other bytes could be judged in their place.
      if (cached.released && this.#pending.get(key)?.firstSeq !== cached.judgedStart) {
        return this.#byAddress.midFlow(packet, "nobody knows what went on of its first bytes", now, out);
      }
      return this.#continue(this.#begun(cached, packet, now, out), packet, now, out);
    }
    const pending = this.#pending.get(key);
    // The kernel's entry was evicted, not ours.
    if (pending && !cached) return this.#continue(pending, packet, now, out);
    // The kernel allowed a whole hello while this one was in pieces: they are of two minds.
    if (pending) this.#forget(pending, out);
    if (this.#judged.packet(key, cached, packet, this.#change.firstRule, now, out)) return;
    this.#byAddress.midFlow(packet, wasAllowed ? "the policy was changed" : undefined, now, out, wasAllowed);
  }

  /** What is known of the beginning of this connection, of which eBPF saw the SYN. */
  #begun(cached: CachedFlow, packet: TcpPacket, now: number, out: CommandList): PendingFlow {
    const known = this.#pending.get(this.#key);
    if (known?.firstSeq === cached.judgedStart) return known;
    // An earlier connection on the same ports.
    if (known) this.#forget(known, out);
    this.#makeRoom(out);
    return this.#pending.begin(
      packet,
      cached,
      this.#learned.latest(packet.policy.id, packet.client, packet.ip.dst),
      now,
    );
  }

  #continue(flow: PendingFlow, packet: TcpPacket, now: number, out: CommandList): void {
    const { tcp } = packet;
    // A reset or FIN may be forged or out of window: no state is lost by it.
    if (tcp.payloadEnd === tcp.payloadOffset) return this.#voice.accept(packet.id, MARK_PENDING, out);
    // The receiver would discard these (RFC 9293 3.10.7.4, RFC 5925, RFC 2385), so they must not decide.
    if ((tcp.flags & TcpFlag.ACK) === 0 || tcp.flags & (TcpFlag.SYN | TcpFlag.RST) || tcp.md5) {
      return this.#voice.discard(packet.id, Reason.MALFORMED, packet.bytes.length, out);
    }
    // Stacks disagree on where urgent bytes belong (RFC 6093): the stream they make is ambiguous.
    if (tcp.flags & TcpFlag.URG) {
      return this.#denyFlow(flow, packet, { reason: Reason.HELLO_MALFORMED, detail: "urgent bytes" }, now, out);
    }
    this.#payload(flow, packet, tcp.seq, now, out);
  }

  #payload(flow: PendingFlow, packet: TcpPacket, seq: number, now: number, out: CommandList): void {
    const { tcp, bytes } = packet;
    // What lies beyond the bound (a request's body in the same packet) can't change the verdict; it waits with its packet.
    const room = Math.max(this.#limits.helloBytes - seqDiff(seq, flow.firstSeq), 0);
    const from = tcp.payloadOffset;
    const to = Math.min(tcp.payloadEnd, from + room);
    const end = seqAdd(seq, tcp.payloadEnd - from);
    switch (flow.stream.add(seq, bytes, from, to)) {
      case "overlap-conflict":
        return this.#denyFlow(flow, packet, { reason: Reason.OVERLAP }, now, out);
      case "too-large":
        return this.#denyFlow(flow, packet, { reason: Reason.HELLO_TOO_LARGE }, now, out);
      case "too-many":
        return this.#denyFlow(flow, packet, { reason: Reason.OVERLOAD, detail: "too many segments" }, now, out);
      case "outside":
        return this.#voice.discard(packet.id, Reason.MALFORMED, bytes.length, out);
      case "duplicate":
        // What went on may have been lost on its way.
        if (flow.held.hasReleased(end)) return this.#voice.accept(packet.id, MARK_PENDING, out);
        // What is held needs no second copy, but the sender waits for an acknowledgement of it before it sends the rest.
        this.#letWindowOpen(flow, packet, Math.max(flow.held.count - 1, 0), out);
        return this.#voice.drop(packet.id, out);
      case "ok":
        break;
    }
    if (this.#held >= this.#limits.held) {
      return this.#denyFlow(flow, packet, { reason: Reason.OVERLOAD, detail: "too many packets held" }, now, out);
    }
    flow.held.hold(packet.id, seq, end);
    this.#held++;
    this.#judge(flow, packet, now, out);
  }

  #judge(flow: PendingFlow, packet: TcpPacket, now: number, out: CommandList): void {
    const { bytes, start, end } = flow.stream;
    const found = readFirstBytes(bytes, start, end, this.#limits.helloBytes);
    const { policy, dport } = packet;
    switch (found.kind) {
      case "needMore":
        if (end - start >= this.#limits.helloBytes) {
          return this.#denyFlow(flow, packet, { reason: Reason.HELLO_TOO_LARGE }, now, out, true);
        }
        flow.keepLast(packet);
        return this.#letWindowOpen(flow, packet, this.#limits.heldPerFlow, out);
      case "bad":
        return this.#denyFlow(flow, packet, found, now, out, true);
      case "nameless":
        return this.#denyFlow(flow, packet, { reason: Reason.NO_NAME, detail: found.detail }, now, out, true);
      case "other": {
        if (policy.spec.verify === "sni" || policy.isNamePort(IPPROTO_TCP, dport)) {
          const why = { reason: Reason.NO_NAME, detail: "neither TLS nor HTTP" };
          return this.#denyFlow(flow, packet, why, now, out, true);
        }
        const refused = this.#change.firstRule > 0 ? this.#refuseNow(packet) : undefined;
        if (refused) return this.#denyFlow(flow, packet, refused, now, out, true);
        return this.#allowPending(flow, packet, byAddress(flow.learned), now, out);
      }
      case "name": {
        const why = this.#names.judge(packet, found.name, flow.opened, flow.learned, now, out);
        if (why.reason !== Reason.ALLOW_NAME) return this.#denyFlow(flow, packet, why, now, out, true);
        return this.#allowPending(flow, packet, why, now, out);
      }
    }
  }

  /** All but `keep` packets go on, oldest first, as long as nothing is missing before them. The kernel's entry says so before they do. */
  #letWindowOpen(flow: PendingFlow, packet: TcpPacket, keep: number, out: CommandList): void {
    if (flow.held.count <= keep) return;
    const released = flow.held.releaseInOrder(keep);
    if (released.length > 0 && !flow.released) {
      flow.released = true;
      putFlow(
        packet,
        { reason: Reason.PENDING },
        "pending",
        releasedFlags(flow.fast),
        flow.firstSeq,
        flow.firstSeq,
        out,
      );
    }
    for (const id of released) {
      this.#held--;
      this.#voice.accept(id, MARK_PENDING, out);
    }
  }

  /** By all that has come of it in order. */
  #allowPending(flow: PendingFlow, packet: TcpPacket, why: Why, now: number, out: CommandList): void {
    const { firstSeq, fast, held, stream } = flow;
    flow.reason = why.reason;
    flow.rule = why.rule ?? 0;
    this.#judged.remember(flow, stream.bytes, stream.start, stream.end, now);
    const judgedEnd = seqAdd(firstSeq, stream.end - stream.start);
    putFlow(packet, why, "allow", judgedFlags(fast), firstSeq, judgedEnd, out);
    for (let i = 0; i < held.count; i++) this.#voice.accept(held.idAt(i), MARK_ALLOW, out);
    this.#held -= held.count;
    this.#pending.end(flow);
    this.#voice.allowed(packet, why, out);
  }

  #denyFlow(flow: PendingFlow, packet: TcpPacket, why: Why, now: number, out: CommandList, packetIsHeld = false): void {
    this.#forget(flow, out);
    putFlow(packet, why, "deny", 0, 0, 0, out);
    if (!packetIsHeld) this.#voice.drop(packet.id, out);
    this.#voice.denied(packet, why, now, out);
    this.#voice.reject(packet, out);
    resetServer(packet, out);
  }

  #makeRoom(out: CommandList): void {
    const { oldest } = this.#pending;
    if (!oldest || this.#pending.size < this.#limits.pendingFlows) return;
    this.evicted++;
    out.count(Reason.OVERLOAD, 0);
    this.#forget(oldest, out);
  }

  /** Drop what is held and all that is known of an undecided flow; an earlier one on its ports was over when it began. */
  #forget(flow: PendingFlow, out: CommandList): void {
    const { held } = flow;
    for (let i = 0; i < held.count; i++) this.#voice.drop(held.idAt(i), out);
    this.#held -= held.count;
    this.#pending.end(flow);
    this.#judged.forget(flow);
  }

  /** The address was learned at the SYN, but the policy has changed since the start, maybe between. */
  #refuseNow(packet: TcpPacket): Why | undefined {
    const learned = this.#learned.latest(packet.policy.id, packet.client, packet.ip.dst);
    return learned ? refusePort(packet, learned) : { reason: Reason.UNLEARNED };
  }

  /** The numbers of rules begin anew: what was judged can't be told from what will be. */
  forgetJudged(): void {
    this.#judged.clear();
  }

  /** Deny the hellos whose time is over. */
  expire(now: number, out: CommandList): void {
    for (let flow = this.#pending.oldest; flow && flow.deadline <= now; flow = this.#pending.oldest) {
      const { last } = flow;
      // None: only decoys came.
      if (last) this.#denyFlow(flow, last, { reason: Reason.HELLO_TIMEOUT }, now, out, true);
      else this.#forget(flow, out);
    }
    this.#judged.expire(now);
  }

  nextDeadline(): number | undefined {
    return this.#pending.oldest?.deadline;
  }

  /** Give every held packet its verdict: drop. */
  shutdown(out: CommandList): void {
    for (let flow = this.#pending.oldest; flow; flow = this.#pending.oldest) this.#forget(flow, out);
  }
}
