/**
 * TCP flows that a name decides: from the SYN to the verdict on the first bytes. What follows an allow is judgedFlows.ts.
 *
 * Packets are held until the first bytes are judged, then released or dropped in order. A sender whose window is full of
 * held packets would never send the rest, so past `heldPerFlow` the oldest go on as PENDING: the peer gets a beginning that
 * decides nothing, and the packet that would complete it is still here.
 */
import { FLOW_FINAL, Reason } from "../abi.generated.js";
import { BufferPool } from "../flow/bufferPool.js";
import { HeldPackets } from "../flow/held.js";
import { StreamAssembler } from "../flow/reassembly.js";
import { seqAdd, seqDiff } from "../flow/seq.js";
import { BoundedTable } from "../flow/table.js";
import { tcpWithoutPayload } from "../wire/build.js";
import { TcpFlag } from "../wire/tcp.js";
import type { Command } from "./commands.js";
import { readFirstBytes } from "./firstBytes.js";
import type { CachedFlow, FlowLookup, PendingFlow, TcpPacket } from "./flowState.js";
import { JudgedFlows } from "./judgedFlows.js";
import type { LearnedEntry, LearnedNames } from "./learned.js";
import type { EngineLimits } from "./limits.js";
import { putFlow, resetServer } from "./tcpCommands.js";
import { byAddress, judgedFlags, mismatch, refuseAddress, refusePort, releasedFlags } from "./tcpWhy.js";
import { flowId, flowKey, IPPROTO_TCP, MARK_ALLOW, MARK_PENDING, type Voice, type Why } from "./voice.js";

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
  /** Insertion order is the order of deadlines. */
  readonly #pending = new Map<string, PendingFlow>();
  readonly #judged: JudgedFlows;
  /** Names on the wire that were allowed once (verify sni). */
  readonly #seen: BoundedTable<string, true>;
  /** 2 KiB hold all hellos but those with a post-quantum key share beside a session ticket. */
  readonly #buffers = new BufferPool(2_048, 256);
  #held = 0;
  evicted = 0;

  constructor(limits: EngineLimits, learned: LearnedNames, voice: Voice, lookup: FlowLookup, hashSeed: Uint8Array) {
    this.#limits = limits;
    this.#learned = learned;
    this.#voice = voice;
    this.#lookup = lookup;
    this.#judged = new JudgedFlows(limits, voice, hashSeed);
    this.#seen = new BoundedTable({ max: limits.seenNames, ttl: limits.seenMs, full: "evict-oldest" });
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
  packet(packet: TcpPacket, now: number, out: Command[]): void {
    const { tcp } = packet;
    const cached = this.#lookup(flowKey(packet));
    if ((tcp.flags & (TcpFlag.SYN | TcpFlag.ACK)) === TcpFlag.SYN) return this.#syn(packet, cached, now, out);
    const id = flowId(packet);
    if (cached?.verdict === "deny") return this.#voice.discard(packet.id, cached.reason, packet.bytes.length, out);
    if (cached?.verdict === "pending") {
      if (tcp.payloadEnd === tcp.payloadOffset) return this.#voice.accept(packet.id, MARK_PENDING, out);
      // The server stands elsewhere (RFC 9293 3.10.7.4): what is judged here would not be what it reads.
      if (!cached.opened) return this.#midFlow(packet, "the server has not answered this SYN", now, out);
      // An engine that is gone let it go, or this one, which had to forget the flow: other bytes could be judged in their place.
      if (cached.released && this.#pending.get(id)?.firstSeq !== cached.judgedStart) {
        return this.#midFlow(packet, "nobody knows what went on of its first bytes", now, out);
      }
      return this.#continue(id, this.#begun(id, cached, packet, now, out), packet, now, out);
    }
    const pending = this.#pending.get(id);
    // The kernel's entry was evicted, not ours.
    if (pending && !cached) return this.#continue(id, pending, packet, now, out);
    // The kernel allowed a whole hello while this one was in pieces: they are of two minds.
    if (pending) this.#forget(id, pending, out);
    if (this.#judged.packet(id, cached, packet, now, out)) return;
    this.#midFlow(packet, undefined, now, out);
  }

  /** Only the SYNs climb that eBPF doesn't pass by itself: with data, with FIN or RST, in fragments. */
  #syn(packet: TcpPacket, cached: CachedFlow | undefined, now: number, out: Command[]): void {
    const { policy, client, ip, tcp, bytes } = packet;
    let learned: LearnedEntry | undefined;
    if (policy.spec.verify !== "sni") {
      learned = this.#learned.latest(policy.id, client, ip.dst);
      const denied = refuseAddress(learned, now) ?? refusePort(packet, learned);
      if (denied) return this.#voice.deny(packet, denied, now, out);
    }
    // RFC 793 reserves no meaning for FIN or RST beside SYN: stacks differ, so it decides nothing.
    if (tcp.flags & (TcpFlag.FIN | TcpFlag.RST)) {
      return this.#voice.deny(packet, { reason: Reason.MALFORMED, detail: "SYN with FIN or RST" }, now, out);
    }
    if (policy.spec.verify === "dns") return this.#allow(packet, byAddress(learned), out);
    const start = seqAdd(tcp.seq, 1);
    // Sent again: what was judged since stays.
    const known = cached && cached.verdict !== "deny" && !cached.final && cached.judgedStart === start;
    if (!known) putFlow(packet, { reason: Reason.PENDING }, "pending", 0, start, start, out);
    // Data in the SYN (RFC 7413) is cut off, and sent again once the server has said where its stream begins.
    const bare = tcp.payloadEnd > tcp.payloadOffset ? tcpWithoutPayload(bytes, ip, tcp) : undefined;
    this.#voice.accept(packet.id, MARK_PENDING, out, bare);
  }

  /** What is known of the beginning of this connection, of which eBPF saw the SYN. */
  #begun(id: string, cached: CachedFlow, packet: TcpPacket, now: number, out: Command[]): PendingFlow {
    const known = this.#pending.get(id);
    if (known?.firstSeq === cached.judgedStart) return known;
    // An earlier connection on the same ports.
    if (known) this.#forget(id, known, out);
    this.#judged.forget(id);
    this.#makeRoom(out);
    const firstSeq = cached.judgedStart;
    const flow: PendingFlow = {
      firstSeq,
      opened: cached.openedAt,
      fast: cached.fast,
      deadline: now + this.#limits.helloMs,
      stream: new StreamAssembler({
        firstSeq,
        maxBytes: this.#limits.helloBytes,
        maxSegments: this.#limits.helloSegments,
        pool: this.#buffers,
      }),
      held: new HeldPackets(firstSeq),
      learned: this.#learned.latest(packet.policy.id, packet.client, packet.ip.dst),
      last: undefined,
      released: false,
    };
    this.#pending.set(id, flow);
    return flow;
  }

  #continue(id: string, flow: PendingFlow, packet: TcpPacket, now: number, out: Command[]): void {
    const { tcp } = packet;
    // A reset or FIN may be forged or out of window: no state is lost by it.
    if (tcp.payloadEnd === tcp.payloadOffset) return this.#voice.accept(packet.id, MARK_PENDING, out);
    // The receiver would discard these (RFC 9293 3.10.7.4, RFC 5925, RFC 2385), so they must not decide.
    if ((tcp.flags & TcpFlag.ACK) === 0 || tcp.flags & (TcpFlag.SYN | TcpFlag.RST) || tcp.md5) {
      return this.#voice.discard(packet.id, Reason.MALFORMED, packet.bytes.length, out);
    }
    // Stacks disagree on where urgent bytes belong (RFC 6093): the stream they make is ambiguous.
    if (tcp.flags & TcpFlag.URG) {
      return this.#denyFlow(id, flow, packet, { reason: Reason.HELLO_MALFORMED, detail: "urgent bytes" }, now, out);
    }
    this.#payload(id, flow, packet, tcp.seq, now, out);
  }

  #payload(id: string, flow: PendingFlow, packet: TcpPacket, seq: number, now: number, out: Command[]): void {
    const { tcp, bytes } = packet;
    // What lies beyond the bound (a request's body in the same packet) can't change the verdict; it waits with its packet.
    const room = Math.max(this.#limits.helloBytes - seqDiff(seq, flow.firstSeq), 0);
    const payload = bytes.subarray(tcp.payloadOffset, Math.min(tcp.payloadEnd, tcp.payloadOffset + room));
    const end = seqAdd(seq, tcp.payloadEnd - tcp.payloadOffset);
    switch (flow.stream.add(seq, payload)) {
      case "overlap-conflict":
        return this.#denyFlow(id, flow, packet, { reason: Reason.OVERLAP }, now, out);
      case "too-large":
        return this.#denyFlow(id, flow, packet, { reason: Reason.HELLO_TOO_LARGE }, now, out);
      case "too-many":
        return this.#denyFlow(id, flow, packet, { reason: Reason.OVERLOAD, detail: "too many segments" }, now, out);
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
      return this.#denyFlow(id, flow, packet, { reason: Reason.OVERLOAD, detail: "too many packets held" }, now, out);
    }
    flow.held.hold(packet.id, seq, end);
    this.#held++;
    this.#judge(id, flow, packet, now, out);
  }

  #judge(id: string, flow: PendingFlow, packet: TcpPacket, now: number, out: Command[]): void {
    const stream = flow.stream.contiguous();
    const found = readFirstBytes(stream, this.#limits.helloBytes);
    const { policy, client, ip, dport } = packet;
    const { verify } = policy.spec;
    switch (found.kind) {
      case "needMore":
        if (stream.length >= this.#limits.helloBytes) {
          return this.#denyFlow(id, flow, packet, { reason: Reason.HELLO_TOO_LARGE }, now, out, true);
        }
        flow.last = withoutBuffer(packet);
        return this.#letWindowOpen(flow, packet, this.#limits.heldPerFlow, out);
      case "bad":
        return this.#denyFlow(id, flow, packet, found, now, out, true);
      case "nameless":
        return this.#denyFlow(id, flow, packet, { reason: Reason.NO_NAME, detail: found.detail }, now, out, true);
      case "other": {
        if (verify === "sni" || policy.isNamePort(IPPROTO_TCP, dport)) {
          const why = { reason: Reason.NO_NAME, detail: "neither TLS nor HTTP" };
          return this.#denyFlow(id, flow, packet, why, now, out, true);
        }
        return this.#allowPending(id, flow, packet, byAddress(flow.learned), now, out);
      }
      case "name": {
        const { name } = found;
        const rule = policy.matchName(name);
        if (!rule) return this.#denyFlow(id, flow, packet, { reason: Reason.NAME_DENIED, name }, now, out, true);
        if (!policy.portAllowed(rule.ports, IPPROTO_TCP, dport)) {
          return this.#denyFlow(id, flow, packet, { reason: Reason.PORT, name, rule: rule.rule }, now, out, true);
        }
        if (verify === "both") {
          const binding = this.#learned.binding(policy.id, client, ip.dst, name);
          // The flow began with its SYN: an expiry since then doesn't end it.
          if (!binding || binding.expires <= flow.opened) {
            const why = { reason: Reason.NAME_IP_MISMATCH, name, rule: rule.rule, detail: mismatch(flow.learned) };
            return this.#denyFlow(id, flow, packet, why, now, out, true);
          }
        }
        if (verify === "sni") this.#bind(packet, name, rule.rule, rule.ports, now, out);
        return this.#allowPending(id, flow, packet, { reason: Reason.ALLOW_NAME, name, rule: rule.rule }, now, out);
      }
    }
  }

  /**
   * Under `sni` no DNS answer binds names to addresses. A name that this client comes with for the second time is bound here, so that from the
   * third time on the kernel confirms it by itself. Names that come once cost no write.
   */
  #bind(packet: TcpPacket, name: string, rule: number, ports: number, now: number, out: Command[]): void {
    const { policy, client, ip } = packet;
    // The address before the name: its length follows from the family.
    const key = String.fromCharCode(policy.id, ip.dst.length) + client + ip.dst + name;
    if (!this.#seen.get(key, now)) return void this.#seen.set(key, true, now);
    const expires = now + this.#limits.seenMs;
    this.#learned.learn({ policy: policy.id, client, address: ip.dst, name, chain: [name], rule, ports, expires }, out);
  }

  /** All but `keep` packets go on, oldest first, as long as nothing is missing before them. The kernel's entry says so before they do. */
  #letWindowOpen(flow: PendingFlow, packet: TcpPacket, keep: number, out: Command[]): void {
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

  #allowPending(id: string, flow: PendingFlow, packet: TcpPacket, why: Why, now: number, out: Command[]): void {
    const { firstSeq: start, fast } = flow;
    const { reason, rule = 0 } = why;
    const bytes = flow.stream.contiguous();
    const end = seqAdd(start, bytes.length);
    this.#judged.remember(id, { start, reason, rule, fast }, bytes, now);
    flow.stream.release();
    const held = flow.held.takeAll();
    this.#held -= held.length;
    this.#pending.delete(id);
    putFlow(packet, why, "allow", judgedFlags(fast), start, end, out);
    for (const one of held) this.#voice.accept(one, MARK_ALLOW, out);
    this.#voice.allowed(packet, why, out);
  }

  /** Allow this packet's flow by its address; nothing of its content was judged. */
  #allow(packet: TcpPacket, why: Why, out: Command[]): void {
    putFlow(packet, why, "allow", FLOW_FINAL, 0, 0, out);
    this.#voice.accept(packet.id, MARK_ALLOW, out);
    this.#voice.allowed(packet, why, out);
  }

  /** Nothing is known of the flow: after a restart, an eviction, or a forged packet. */
  #midFlow(packet: TcpPacket, detail: string | undefined, now: number, out: Command[]): void {
    const { policy, client, ip } = packet;
    if (policy.spec.verify === "dns") {
      const learned = this.#learned.latest(policy.id, client, ip.dst);
      if (learned && !refuseAddress(learned, now) && !refusePort(packet, learned)) {
        return this.#allow(packet, byAddress(learned), out);
      }
    }
    const why = { reason: Reason.MID_FLOW, detail };
    putFlow(packet, why, "deny", 0, 0, 0, out);
    this.#voice.deny(packet, why, now, out);
  }

  #denyFlow(
    id: string,
    flow: PendingFlow,
    packet: TcpPacket,
    why: Why,
    now: number,
    out: Command[],
    packetIsHeld = false,
  ): void {
    this.#forget(id, flow, out);
    putFlow(packet, why, "deny", 0, 0, 0, out);
    if (!packetIsHeld) this.#voice.drop(packet.id, out);
    this.#voice.denied(packet, why, now, out);
    this.#voice.reject(packet, out);
    resetServer(packet, out);
  }

  #makeRoom(out: Command[]): void {
    if (this.#pending.size < this.#limits.pendingFlows) return;
    for (const [id, flow] of this.#pending) {
      this.evicted++;
      out.push({ type: "count", reason: Reason.OVERLOAD, bytes: 0 });
      this.#forget(id, flow, out);
      return;
    }
  }

  /** Drop what is held and all that is known of an undecided flow. */
  #forget(id: string, flow: PendingFlow, out: Command[]): void {
    const held = flow.held.takeAll();
    for (const one of held) this.#voice.drop(one, out);
    this.#held -= held.length;
    flow.stream.release();
    this.#pending.delete(id);
  }

  /** Deny the hellos whose time is over. */
  expire(now: number, out: Command[]): void {
    for (const [id, flow] of this.#pending) {
      if (flow.deadline > now) break;
      // No `last`: only decoys came.
      if (flow.last) this.#denyFlow(id, flow, flow.last, { reason: Reason.HELLO_TIMEOUT }, now, out, true);
      else this.#forget(id, flow, out);
    }
    this.#judged.expire(now);
    this.#seen.expire(now);
  }

  nextDeadline(): number | undefined {
    for (const flow of this.#pending.values()) return flow.deadline;
    return undefined;
  }

  /** Give every held packet its verdict: drop. */
  shutdown(out: Command[]): void {
    for (const [id, flow] of this.#pending) this.#forget(id, flow, out);
  }
}

/** Keep the headers for a later reset, not the batch's buffer. */
function withoutBuffer(packet: TcpPacket): TcpPacket {
  const { id, bytes, ip, client, policy, sport, dport, tcp, toThisBox, ifindexOut } = packet;
  const headers = Uint8Array.prototype.slice.call(bytes, 0, tcp.payloadOffset);
  return { id, bytes: headers, ip, client, policy, sport, dport, tcp, toThisBox, ifindexOut };
}
