/**
 * Flows after their allow. The client may try to send other bytes for the judged range (the judged ones may never arrive: low TTL, bad
 * checksum, stale sequence). eBPF sends every payload that touches the range back here until the server has acknowledged it; bytes that
 * differ revoke the flow.
 */
import { Reason } from "../abi.generated.js";
import { JudgedBytes, type FoundFlow, type JudgedFlow } from "../flow/judgedBytes.js";
import type { FlowEnds } from "../flow/keyHash.js";
import { seqAdd, seqDiff } from "../flow/seq.js";
import type { CommandList } from "./commandList.js";
import type { CachedFlow, TcpPacket } from "./flowState.js";
import type { EngineLimits } from "./limits.js";
import { putFlow, resetServer } from "./flowCommands.js";
import { judgedFlags } from "./flowFlags.js";
import { MARK_ALLOW, type Voice } from "./voice.js";

export class JudgedFlows {
  readonly #voice: Voice;
  #flows: JudgedBytes;
  readonly #empty: () => JudgedBytes;

  constructor(limits: EngineLimits, voice: Voice, hashSeed: Uint8Array) {
    this.#voice = voice;
    this.#empty = () =>
      new JudgedBytes({ max: limits.judgedFlows, bytes: limits.judgedBytes, ttl: limits.judgedMs, hashSeed });
    this.#flows = this.#empty();
  }

  get size(): number {
    return this.#flows.size;
  }

  get evicted(): number {
    return this.#flows.evicted;
  }

  /** A flow is allowed by these first bytes, `bytes` [from, to), which must not change any more. */
  remember(flow: FlowEnds & JudgedFlow, bytes: Uint8Array, from: number, to: number, now: number): void {
    this.#flows.set(flow, bytes, from, to, now);
  }

  /** Another connection begins on its ports. */
  forget(flow: FlowEnds): void {
    this.#flows.delete(flow);
  }

  clear(): void {
    this.#flows = this.#empty();
  }

  expire(now: number): void {
    this.#flows.expire(now);
  }

  /** A packet of a flow (`ends`) that was allowed, here or by eBPF. false: nothing is known of it, and nothing was said. `firstRule`: of the policies in force. */
  packet(
    ends: FlowEnds,
    cached: CachedFlow | undefined,
    packet: TcpPacket,
    firstRule: number,
    now: number,
    out: CommandList,
  ): boolean {
    let judged = this.#flows.get(ends, now);
    // A policy that is gone allowed it: without the kernel's entry, which says so anew, that proves nothing.
    const isOld = judged !== undefined && judged.rule < firstRule;
    if (isOld && !cached) {
      this.#flows.delete(ends);
      judged = undefined;
    }
    if (judged && (!cached || cached.judgedStart === judged.firstSeq))
      this.#again(ends, judged, isOld, packet, now, out);
    else if (cached) this.#againUnknown(cached, packet, now, out);
    else return false;
    return true;
  }

  /** The same bytes again, or the flow is revoked. `isOld`: its rule is of a policy before; the kernel's entry says by which it goes on. */
  #again(ends: FlowEnds, judged: FoundFlow, isOld: boolean, packet: TcpPacket, now: number, out: CommandList): void {
    const { tcp, bytes } = packet;
    if (tcp.payloadEnd === tcp.payloadOffset) return this.#voice.accept(packet.id, MARK_ALLOW, out);
    const from = seqDiff(tcp.seq, judged.firstSeq);
    if (from >= 0 && this.#flows.same(judged, from, bytes, tcp.payloadOffset, tcp.payloadEnd)) {
      // Wholly behind the judged range: the kernel's entry was evicted, and this proves it.
      if (from >= judged.length && !isOld) {
        const end = seqAdd(judged.firstSeq, judged.length);
        putFlow(packet, judged, "allow", judgedFlags(judged.fast), judged.firstSeq, end, out);
      }
      return this.#voice.accept(packet.id, MARK_ALLOW, out);
    }
    this.#flows.delete(ends);
    this.#revoke(packet, from < 0 ? "bytes before the judged ones" : "other bytes", now, out);
  }

  /**
   * eBPF judged the beginning of this flow, and what comes now is not that beginning again (it would have seen that itself). Its bytes are
   * not known here, so other ones can't be told from the same ones cut differently: revoked.
   */
  #againUnknown(cached: CachedFlow, packet: TcpPacket, now: number, out: CommandList): void {
    if (cached.final || seqDiff(packet.tcp.seq, cached.judgedEnd) >= 0) {
      return this.#voice.accept(packet.id, MARK_ALLOW, out);
    }
    this.#revoke(packet, "judged in the kernel, sent again in other pieces", now, out);
  }

  #revoke(packet: TcpPacket, detail: string, now: number, out: CommandList): void {
    const why = { reason: Reason.REWRITTEN, detail };
    putFlow(packet, why, "deny", 0, 0, 0, out);
    this.#voice.deny(packet, why, now, out);
    resetServer(packet, out);
  }
}
