/**
 * What would become of a connection: the order of decisions of eBPF and the engine, told in words.
 */
import { Reason } from "../abi.generated.js";
import type { Addr } from "../net/address.js";
import type { CompiledPolicy } from "./compiledPolicy.js";
import type { LearnedName } from "./learnedView.js";
import { formatRange, PROTO_TCP } from "./ports.js";

const DNS_PORT = 53;

export interface Answer {
  readonly verdict: "allow" | "deny" | "inspect";
  readonly reason: number;
  readonly stage: "cidr" | "resolver" | "name" | "learned";
  readonly rule: number;
  readonly because: string;
  /** The same for every protocol and port. */
  readonly everywhere?: boolean;
}

/** What is learned about the subject in this policy. */
export interface LearnedState {
  /** Longest time left first, also those whose time is over. */
  readonly all: readonly LearnedName[];
  readonly valid: readonly LearnedName[];
}

export function connectToAddress(
  policy: CompiledPolicy,
  addr: Addr,
  state: LearnedState,
  proto: number,
  port: number,
): Answer {
  return byCidr(policy, addr, proto, port) ?? byLearnedAddress(policy, state, proto, port);
}

/** `rule`: the name's rule, 0 for none. */
export function connectToName(
  policy: CompiledPolicy,
  rule: number,
  state: LearnedState,
  proto: number,
  port: number,
): Answer {
  const { verify } = policy.spec;
  if (rule === 0) return connectToUnlistedName(policy, proto, port);
  if (!policy.portAllowed(policy.ports, proto, port)) return portDenied(policy, "name", rule);
  const belongs = policy.isNamePort(proto, port);
  const where =
    state.valid.length > 0 ? "at the addresses listed" : "as soon as a client has asked a trusted resolver for it";
  if (proto !== PROTO_TCP) {
    if (belongs && verify !== "dns") {
      if (policy.spec.quic === "deny") return quic(rule);
      const at = verify === "sni" ? "at any address" : where;
      return allow(Reason.ALLOW_NAME, "name", rule, `if the QUIC Initial carries this name, ${at}`);
    }
    if (verify === "sni") return deny(Reason.NO_NAME, rule, NAMELESS_UDP);
    return allow(Reason.ALLOW_ADDRESS, "learned", rule, `by its address, ${where}`);
  }
  if (verify === "dns") return allow(Reason.ALLOW_ADDRESS, "learned", rule, `by its address, ${where}`);
  if (verify === "sni") {
    return allow(Reason.ALLOW_NAME, "name", rule, "if the first bytes carry this name, at any address");
  }
  return belongs
    ? allow(Reason.ALLOW_NAME, "name", rule, `if the first bytes carry this name, ${where}`)
    : allow(Reason.ALLOW_ADDRESS, "learned", rule, `also without a name on the wire, ${where}`);
}

function connectToUnlistedName(policy: CompiledPolicy, proto: number, port: number): Answer {
  const { verify } = policy.spec;
  if (verify === "sni" && proto !== PROTO_TCP) {
    if (!policy.isNamePort(proto, port)) return deny(Reason.NO_NAME, 0, NAMELESS_UDP);
    if (policy.spec.quic === "deny") return quic(0);
  }
  if (verify === "sni") return deny(Reason.NAME_DENIED, 0, "no rule matches this name on the wire");
  if (verify === "both" && proto === PROTO_TCP) {
    return deny(
      Reason.NAME_DENIED,
      0,
      "no rule matches this name; an address learned for no other name is unlearned already",
    );
  }
  return deny(Reason.UNLEARNED, 0, "its query is denied, so no address is learned for it");
}

const NAMELESS_UDP = "no name can be seen in UDP, and verify: sni asks for one";

function byCidr(policy: CompiledPolicy, addr: Addr, proto: number, port: number): Answer | undefined {
  const decision = policy.decideAddress(addr, proto, port);
  const entry = policy.entryFor(addr);
  switch (decision.kind) {
    case "names":
      return undefined;
    case "dns":
      return {
        verdict: "inspect",
        reason: Reason.INSPECT,
        stage: "resolver",
        rule: 0,
        because: "a trusted resolver: each query passes if its name is allowed",
      };
    case "allow":
    case "deny": {
      const { kind, reason, rule } = decision;
      const because =
        reason === Reason.PORT
          ? `the network is allowed for ${portsOf(policy)} only`
          : `the address is in a network that is ${kind === "allow" ? "allowed" : "denied"}`;
      return { verdict: kind, reason, stage: "cidr", rule, because, everywhere: entry?.verdict !== "ports" };
    }
  }
}

function byLearnedAddress(policy: CompiledPolicy, state: LearnedState, proto: number, port: number): Answer {
  const { verify } = policy.spec;
  const belongs = policy.isNamePort(proto, port);
  if (verify === "sni") {
    if (proto !== PROTO_TCP && !belongs) return deny(Reason.NO_NAME, 0, NAMELESS_UDP);
    if (proto !== PROTO_TCP && policy.spec.quic === "deny") return quic(0);
    if (!policy.portAllowed(policy.ports, proto, port)) return portDenied(policy, "name", 0);
    const what = proto === PROTO_TCP ? "first bytes" : "QUIC Initial";
    return inspect(0, `the ${what} must carry an allowed name; the address doesn't matter`);
  }
  const entry = state.valid[0];
  const expired = state.all[0];
  if (!entry && expired) {
    return deny(Reason.EXPIRED, expired.rule, "it was learned, but its time is over: the client has to ask again");
  }
  // An address that is a trusted resolver's was answered before.
  if (!entry && port === DNS_PORT) {
    return deny(Reason.UNLEARNED, 0, "DNS, and none of the trusted resolvers: --resolver would make it one");
  }
  if (!entry) return deny(Reason.UNLEARNED, 0, "in no CIDR rule, and no client has learned it for an allowed name");
  const { rule } = entry;
  if (!policy.portAllowed(policy.ports, proto, port)) return portDenied(policy, "learned", rule);
  if (verify === "dns") return allow(Reason.ALLOW_ADDRESS, "learned", rule, "for the clients that learned it");
  if (proto !== PROTO_TCP) {
    if (!belongs) return allow(Reason.ALLOW_ADDRESS, "learned", rule, "for the clients that learned it");
    if (policy.spec.quic === "deny") return quic(rule);
    const because = "for the clients that learned it: the QUIC Initial must carry a name that they learned it for";
    return inspect(rule, because);
  }
  return belongs
    ? inspect(rule, "for the clients that learned it: the first bytes must carry a name that they learned it for")
    : inspect(rule, "for the clients that learned it: it passes without a name, and with one that they learned it for");
}

function allow(reason: number, stage: Answer["stage"], rule: number, because: string): Answer {
  return { verdict: "allow", reason, stage, rule, because };
}

function deny(reason: number, rule: number, because: string): Answer {
  const stage = reason === Reason.UNLEARNED || reason === Reason.EXPIRED ? "learned" : "name";
  return { verdict: "deny", reason, stage, rule, because };
}

function inspect(rule: number, because: string): Answer {
  return { verdict: "inspect", reason: Reason.INSPECT, stage: rule === 0 ? "name" : "learned", rule, because };
}

function quic(rule: number): Answer {
  return deny(Reason.QUIC, rule, "--quic deny: QUIC to a name is denied, so that the client falls back to TCP");
}

function portDenied(policy: CompiledPolicy, stage: Answer["stage"], rule: number): Answer {
  const because = `allow rules let ${portsOf(policy)} through only`;
  return { verdict: "deny", reason: Reason.PORT, stage, rule, because };
}

function portsOf(policy: CompiledPolicy): string {
  return policy.spec.ports.map(formatRange).join(", ");
}
