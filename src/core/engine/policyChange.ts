/**
 * Flows that were allowed under another policy: does the one in force allow them, too? The kernel keeps the rule that allowed a flow, not its name. So by name a
 * flow goes on if the new policy has a rule that covers the old one as a whole, and asks for no proof that the old one didn't. All else is denied: the
 * client connects anew and is judged anew.
 */
import { Reason } from "../abi.generated.js";
import type { Addr } from "../net/address.js";
import type { Policy } from "../policy/types.js";
import type { CommandList } from "./commandList.js";
import type { CachedFlow } from "./flowState.js";
import { fillFlowKey, IPPROTO_UDP, type ClientPacket } from "./voice.js";

/** As the kernel has it. */
export interface OldFlow {
  readonly verdict: "allow" | "pending";
  readonly reason: number;
  /** Of the old policy. */
  readonly rule: number;
  readonly dst: Addr;
  readonly proto: number;
  readonly dport: number;
}

/** By what the new policy allows it. */
export interface Carried {
  readonly rule: number;
  /** 0: as it was. */
  readonly reason: number;
}

/** What must be known of the policy before. */
export interface Predecessor {
  readonly verify: Policy["spec"]["verify"];
  readonly patternOf: Policy["patternOf"];
}

/** undefined: not allowed, or not for certain; it is to be judged like a flow of which nothing is known. */
export function carryOver(flow: OldFlow, before: Predecessor, policy: Policy): Carried | undefined {
  const { verdict, reason, dst, proto, dport } = flow;
  const decision = policy.decideAddress(dst, proto, dport);
  // A handshake that a network decides now has no first bytes to wait for.
  if (decision.kind === "allow")
    return verdict === "allow" ? { rule: decision.rule, reason: decision.reason } : undefined;
  if (decision.kind !== "names") return undefined;
  const pattern = before.patternOf(flow.rule);
  const covering = pattern && policy.covers(pattern);
  const { verify, quic } = policy.spec;
  if (quic === "deny" && verify !== "dns" && proto === IPPROTO_UDP && policy.isNamePort(proto, dport)) return undefined;
  // Its first bytes are judged by the new policy.
  if (verdict === "pending") return verify === "dns" ? undefined : { rule: covering?.rule ?? 0, reason: 0 };
  if (!covering || reason === Reason.ALLOW_CIDR || !policy.portAllowed(covering.ports, proto, dport)) return undefined;
  const wasSeen = reason === Reason.ALLOW_NAME;
  if (verify !== before.verify && before.verify !== "both") return undefined;
  if (verify === "sni" && !wasSeen) return undefined;
  if (verify === "both" && !wasSeen && policy.isNamePort(proto, dport)) return undefined;
  return { rule: covering.rule, reason: 0 };
}

/** What the policies before said, until it is settled for every flow. */
export class PolicyChange {
  #before = new Map<number, Policy>();
  /** The lowest number of a rule in force; 0: there was no change yet. */
  firstRule = 0;

  begin(before: ReadonlyMap<number, Policy>, firstRule: number): void {
    this.#before = new Map(before);
    this.firstRule = firstRule;
  }

  settle(): void {
    this.#before.clear();
  }

  /** A cached flow of the policy before becomes one of this policy, or (undefined) doesn't count any more. */
  renew(
    packet: ClientPacket,
    cached: CachedFlow,
    outdated: NonNullable<CachedFlow["outdated"]>,
    out: CommandList,
  ): CachedFlow | undefined {
    const before = this.#before.get(packet.policy.id);
    const { verdict, judgedStart, judgedEnd } = cached;
    if (!before || verdict === "deny") return undefined;
    const { ip, dport, policy } = packet;
    const flow = { verdict, reason: cached.reason, rule: outdated.rule, dst: ip.dst, proto: ip.proto, dport };
    const carried = carryOver(
      flow,
      { verify: before.spec.verify, patternOf: (rule) => before.patternOf(rule) },
      policy,
    );
    if (!carried) return undefined;
    const reason = carried.reason || cached.reason;
    fillFlowKey(packet, out.flowPut(verdict, reason, carried.rule, outdated.flags, judgedStart, judgedEnd));
    return { ...cached, outdated: undefined };
  }
}
