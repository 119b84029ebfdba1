/** Whether a name on the wire is allowed where it came: one answer for TLS, HTTP and QUIC. */
import { Reason } from "../abi.generated.js";
import type { Writable } from "../writable.js";
import type { CommandList } from "./commandList.js";
import type { LearnedFor, LearnedNames } from "./learned.js";
import type { EngineLimits } from "./limits.js";
import { mismatch } from "./addressWhy.js";
import type { ClientPacket, Why } from "./voice.js";
import { WireNames } from "./wireNames.js";

export class NameJudge {
  readonly #learned: LearnedNames;
  readonly #wireNames: WireNames;
  /** Of the name that was allowed last. */
  readonly #allowed: Writable<Why> = { reason: Reason.ALLOW_NAME, name: undefined, rule: 0, detail: undefined };

  constructor(limits: EngineLimits, learned: LearnedNames) {
    this.#learned = learned;
    this.#wireNames = new WireNames(limits, learned);
  }

  /**
   * ALLOW_NAME, or why not. `name` in normal form. `begun`: when the connection began; an expiry since then doesn't end it. `known`: what the address was
   * learned for, for the log. Valid until the next call.
   */
  judge(
    packet: ClientPacket,
    name: string,
    begun: number,
    known: LearnedFor | undefined,
    now: number,
    out: CommandList,
  ): Why {
    const { policy, client, ip, dport } = packet;
    const rule = policy.matchName(name);
    if (!rule) return { reason: Reason.NAME_DENIED, name };
    if (!policy.portAllowed(rule.ports, ip.proto, dport)) return { reason: Reason.PORT, name, rule: rule.rule };
    const { verify } = policy.spec;
    if (verify === "both") {
      const binding = this.#learned.binding(policy.id, client, ip.dst, name);
      if (!binding || binding.expires <= begun)
        return { reason: Reason.NAME_IP_MISMATCH, name, rule: rule.rule, detail: mismatch(known) };
    }
    if (verify === "sni") this.#wireNames.allowed(packet, name, rule.rule, rule.ports, now, out);
    const why = this.#allowed;
    why.name = name;
    why.rule = rule.rule;
    return why;
  }
}
