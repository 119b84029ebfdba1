/** TCP packets that are decided without their flow's first bytes: SYNs, and those of flows of which nothing is known. */
import { FLOW_FINAL, Reason } from "../abi.generated.js";
import { seqAdd } from "../flow/seq.js";
import { tcpWithoutPayload } from "../wire/build.js";
import { TcpFlag } from "../wire/tcp.js";
import type { CommandList } from "./commandList.js";
import type { CachedFlow, TcpPacket } from "./flowState.js";
import type { LearnedEntry, LearnedNames } from "./learned.js";
import { putFlow, resetServer } from "./flowCommands.js";
import { byAddress, refuseAddress, refusePort } from "./addressWhy.js";
import { MARK_ALLOW, MARK_PENDING, type Voice, type Why } from "./voice.js";

export class TcpByAddress {
  readonly #learned: LearnedNames;
  readonly #voice: Voice;

  constructor(learned: LearnedNames, voice: Voice) {
    this.#learned = learned;
    this.#voice = voice;
  }

  /** Only the SYNs climb that eBPF doesn't pass by itself: with data, with FIN or RST, in fragments. */
  syn(packet: TcpPacket, cached: CachedFlow | undefined, now: number, out: CommandList): void {
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

  /** Nothing is known of the flow: after a restart, an eviction, or a forged packet. `wasAllowed`: until now, so the server has the connection, too. */
  midFlow(packet: TcpPacket, detail: string | undefined, now: number, out: CommandList, wasAllowed = false): void {
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
    if (wasAllowed) resetServer(packet, out);
  }

  /** Allow this packet's flow by its address; nothing of its content was judged. */
  #allow(packet: TcpPacket, why: Why, out: CommandList): void {
    putFlow(packet, why, "allow", FLOW_FINAL, 0, 0, out);
    this.#voice.accept(packet.id, MARK_ALLOW, out);
    this.#voice.allowed(packet, why, out);
  }
}
