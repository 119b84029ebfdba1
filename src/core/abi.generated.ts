/**
 * Generated from bpf/l7egg_abi.h by scripts/gen-abi.ts; change the header, never this file.
 *
 * `encodeX` writes one record into `target` (default: a new buffer) at `offset` (default 0) and returns `target`; padding is zeroed.
 * Integers are little-endian, as every machine that Node and this eBPF object run on is; `sport` and `dport` are given in host order and
 * written in network order. Byte arrays must have exactly their length (RangeError else); arrays of records may be shorter, the rest is zeroed.
 */

export const ABI_VERSION = 2;
export const MAX_NAMES = 262144;
export const MAX_BINDINGS = 262144;
/** of IPv4; half as many of IPv6 */
export const MAX_FLOWS = 524288;
/** ids fit in the 16 bits of a flow's key */
export const MAX_POLICIES = 1024;
export const MAX_INTERFACES = 1024;
export const MAX_SOURCES = 16384;
export const MAX_PORT_SETS = 1024;
export const MAX_EVENT_BYTES = 1048576;
export const MAX_QUESTIONS = 32768;
export const MAX_ASKED = 32768;
export const PORT_RANGES = 16;
export const MAX_EXT_HEADERS = 8;
export const EVENT_SNAP = 128;
export const EVENT_QUIET_MS = 50;
export const TTL_MAX_S = 86400;
export const TTL_GRACE_MS = 60000;
export const LEARN_AGAIN_MS = 5000;
export const QUERY_MS = 30000;
export const QUESTION_BYTES = 80;
/** nodes from a policy to its ranges at most */
export const CIDR6_LEVELS = 4;
/** flag: more than one name was seen on this address */
export const NAME_SHARED = 1;
/** flag: the server acknowledged all judged bytes (or nothing was judged) */
export const FLOW_FINAL = 1;
/** flag: the name on the wire decided; a new SYN must be judged anew */
export const FLOW_BY_HELLO = 2;
/** flag: a payload went to user space before the verdict; it alone judges the range from then on */
export const FLOW_CLIMBED = 4;
/** flag: both directions skip netfilter while l7_config.fast is 1 */
export const FLOW_FAST = 16;
/** flag: a part of the first bytes went on undecided; only who knows which may judge the rest (user space writes it) */
export const FLOW_RELEASED = 32;
/** flag: long headers climb for as long as the flow lives: any may begin another connection, with another name */
export const FLOW_QUIC = 64;
/** flag: the server acknowledged this flow's SYN, so its stream begins at judged_start */
export const FLOW_OPENED = 8;
export const FLOW_READS = 32;

/** What a classifier says of a packet. The low two bits are also the value put in the mark (see l7_config.mark_shift). */
export const Verdict = {
  /** not ours: not governed, or not egress; passes untouched */
  NONE: 0,
  /** user space must judge it: netfilter sends it to the NFQUEUE */
  INSPECT: 1,
  /** part of a handshake that carries nothing to judge: passes, decides nothing */
  PENDING: 2,
  /** decided: passes */
  ALLOW: 3,
  /** decided: dropped, counted, reported */
  DENY: 4,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

const verdictNames = new Map<number, string>([
  [0, "none"],
  [1, "inspect"],
  [2, "pending"],
  [3, "allow"],
  [4, "deny"],
]);
const verdictDocs = new Map<number, string>([
  [0, "not ours: not governed, or not egress; passes untouched"],
  [1, "user space must judge it: netfilter sends it to the NFQUEUE"],
  [2, "part of a handshake that carries nothing to judge: passes, decides nothing"],
  [3, "decided: passes"],
  [4, "decided: dropped, counted, reported"],
]);

/** Its name as people read it, kebab case; `verdict-N` for a number that this version doesn't know. */
export function verdictName(code: number): string {
  return verdictNames.get(code) ?? `verdict-${code}`;
}

/** One line that explains it; empty for a number that this version doesn't know. */
export function verdictDoc(code: number): string {
  return verdictDocs.get(code) ?? "";
}

/** Why. One list for counters, events, logs, metrics and `explain`. Numbers are never reused. */
export const Reason = {
  /** no reason: nothing was decided */
  NONE: 0,
  /** source is in no policy */
  NOT_GOVERNED: 1,
  /** would not leave by the governed interface */
  NOT_EGRESS: 2,
  /** destination is in an allowed CIDR */
  ALLOW_CIDR: 3,
  /** destination was learned for an allowed name and the address alone decides */
  ALLOW_ADDRESS: 4,
  /** the name on the wire is allowed (and bound to the address where the policy asks for it) */
  ALLOW_NAME: 5,
  /** DNS query for an allowed name to a trusted resolver */
  ALLOW_QUERY: 6,
  /** DNS answer released to its client */
  ALLOW_ANSWER: 7,
  /** cached verdict of an allowed flow */
  ALLOW_FLOW: 8,
  /** reply of a connection that was opened from outside */
  ALLOW_REPLY: 9,
  /** let through because the policy says failMode: open */
  ALLOW_FAIL_OPEN: 10,
  /** handshake of a flow that its first payload will decide */
  PENDING: 11,
  /** climbed to user space */
  INSPECT: 12,
  /** destination is in a denied CIDR */
  DENY_CIDR: 32,
  /** destination is allowed, this port or protocol isn't */
  PORT: 33,
  /** destination is in no allowed CIDR and this client learned it for no allowed name */
  UNLEARNED: 34,
  /** destination was learned, but its time to live is over */
  EXPIRED: 35,
  /** QUIC that can't be inspected, or mustn't pass (--quic deny): no Initial seen, unknown version, keys that fit nothing */
  QUIC: 36,
  /** protocol that is never allowed by name (GRE, SCTP, ICMP other than echo, ...) */
  PROTOCOL: 37,
  /** fragment that was not reassembled */
  FRAGMENT: 38,
  /** IPv6 extension headers: too many, routing type 0, or unreadable */
  EXT_HEADER: 39,
  /** headers don't parse or contradict each other */
  MALFORMED: 40,
  /** reached the gate without the verdict it was sent to ask for (rules flushed?) */
  NOT_INSPECTED: 41,
  /** interface is governed but its policy is missing or damaged */
  NO_POLICY: 42,
  /** no name where one belongs (no SNI, no Host, not TLS or HTTP on a name port) */
  NO_NAME: 43,
  /** the name on the wire is in no rule */
  NAME_DENIED: 44,
  /** the name is allowed, but this client did not learn this address for it */
  NAME_IP_MISMATCH: 45,
  /** ClientHello or request head that breaks its grammar, or is ambiguous */
  HELLO_MALFORMED: 46,
  /** first bytes of the flow exceed the documented bound */
  HELLO_TOO_LARGE: 47,
  /** first bytes of the flow did not complete in time */
  HELLO_TIMEOUT: 48,
  /** TCP segments overlap and disagree */
  OVERLAP: 49,
  /** judged bytes were sent again with other content before the server acknowledged them */
  REWRITTEN: 50,
  /** flow was picked up in the middle and can't be proven allowed */
  MID_FLOW: 51,
  /** bad TCP, UDP or IP checksum: the receiver would drop it, so it must not decide */
  CHECKSUM: 52,
  /** a table or queue in user space is full */
  OVERLOAD: 53,
  /** exception or time-out in user space */
  INTERNAL: 54,
  /** DNS query for a name that is in no rule */
  DNS_NAME: 55,
  /** DNS message that breaks its grammar, or is more than one plain question */
  DNS_MALFORMED: 56,
  /** DNS answer that matches no outstanding query of this client */
  DNS_UNSOLICITED: 57,
  /** address in an answer points into a private or special range: not learned */
  DNS_REBIND: 58,
  /** record in an answer is not on the chain from the question: not learned */
  DNS_CHAIN: 59,
  /** HTTP/2 with prior knowledge: not inspected in clear text */
  HTTP2_PRIOR: 60,
  /** reserved for multicast that would be routed out */
  MULTICAST_EGRESS: 61,
  /** counter only: an entry could not be stored; the packet was denied or the flow not cached */
  MAP_FULL: 96,
  /** counter only: events suppressed by the rate limit or a full ring */
  EVENTS_LOST: 97,
  /** size of the counters map */
  MAX: 128,
} as const;
export type Reason = (typeof Reason)[keyof typeof Reason];

const reasonNames = new Map<number, string>([
  [0, "none"],
  [1, "not-governed"],
  [2, "not-egress"],
  [3, "allow-cidr"],
  [4, "allow-address"],
  [5, "allow-name"],
  [6, "allow-query"],
  [7, "allow-answer"],
  [8, "allow-flow"],
  [9, "allow-reply"],
  [10, "allow-fail-open"],
  [11, "pending"],
  [12, "inspect"],
  [32, "deny-cidr"],
  [33, "port"],
  [34, "unlearned"],
  [35, "expired"],
  [36, "quic"],
  [37, "protocol"],
  [38, "fragment"],
  [39, "ext-header"],
  [40, "malformed"],
  [41, "not-inspected"],
  [42, "no-policy"],
  [43, "no-name"],
  [44, "name-denied"],
  [45, "name-ip-mismatch"],
  [46, "hello-malformed"],
  [47, "hello-too-large"],
  [48, "hello-timeout"],
  [49, "overlap"],
  [50, "rewritten"],
  [51, "mid-flow"],
  [52, "checksum"],
  [53, "overload"],
  [54, "internal"],
  [55, "dns-name"],
  [56, "dns-malformed"],
  [57, "dns-unsolicited"],
  [58, "dns-rebind"],
  [59, "dns-chain"],
  [60, "http2-prior"],
  [61, "multicast-egress"],
  [96, "map-full"],
  [97, "events-lost"],
  [128, "max"],
]);
const reasonDocs = new Map<number, string>([
  [0, "no reason: nothing was decided"],
  [1, "source is in no policy"],
  [2, "would not leave by the governed interface"],
  [3, "destination is in an allowed CIDR"],
  [4, "destination was learned for an allowed name and the address alone decides"],
  [5, "the name on the wire is allowed (and bound to the address where the policy asks for it)"],
  [6, "DNS query for an allowed name to a trusted resolver"],
  [7, "DNS answer released to its client"],
  [8, "cached verdict of an allowed flow"],
  [9, "reply of a connection that was opened from outside"],
  [10, "let through because the policy says failMode: open"],
  [11, "handshake of a flow that its first payload will decide"],
  [12, "climbed to user space"],
  [32, "destination is in a denied CIDR"],
  [33, "destination is allowed, this port or protocol isn't"],
  [34, "destination is in no allowed CIDR and this client learned it for no allowed name"],
  [35, "destination was learned, but its time to live is over"],
  [
    36,
    "QUIC that can't be inspected, or mustn't pass (--quic deny): no Initial seen, unknown version, keys that fit nothing",
  ],
  [37, "protocol that is never allowed by name (GRE, SCTP, ICMP other than echo, ...)"],
  [38, "fragment that was not reassembled"],
  [39, "IPv6 extension headers: too many, routing type 0, or unreadable"],
  [40, "headers don't parse or contradict each other"],
  [41, "reached the gate without the verdict it was sent to ask for (rules flushed?)"],
  [42, "interface is governed but its policy is missing or damaged"],
  [43, "no name where one belongs (no SNI, no Host, not TLS or HTTP on a name port)"],
  [44, "the name on the wire is in no rule"],
  [45, "the name is allowed, but this client did not learn this address for it"],
  [46, "ClientHello or request head that breaks its grammar, or is ambiguous"],
  [47, "first bytes of the flow exceed the documented bound"],
  [48, "first bytes of the flow did not complete in time"],
  [49, "TCP segments overlap and disagree"],
  [50, "judged bytes were sent again with other content before the server acknowledged them"],
  [51, "flow was picked up in the middle and can't be proven allowed"],
  [52, "bad TCP, UDP or IP checksum: the receiver would drop it, so it must not decide"],
  [53, "a table or queue in user space is full"],
  [54, "exception or time-out in user space"],
  [55, "DNS query for a name that is in no rule"],
  [56, "DNS message that breaks its grammar, or is more than one plain question"],
  [57, "DNS answer that matches no outstanding query of this client"],
  [58, "address in an answer points into a private or special range: not learned"],
  [59, "record in an answer is not on the chain from the question: not learned"],
  [60, "HTTP/2 with prior knowledge: not inspected in clear text"],
  [61, "reserved for multicast that would be routed out"],
  [96, "counter only: an entry could not be stored; the packet was denied or the flow not cached"],
  [97, "counter only: events suppressed by the rate limit or a full ring"],
  [128, "size of the counters map"],
]);

/** Its name as people read it, kebab case; `reason-N` for a number that this version doesn't know. */
export function reasonName(code: number): string {
  return reasonNames.get(code) ?? `reason-${code}`;
}

/** One line that explains it; empty for a number that this version doesn't know. */
export function reasonDoc(code: number): string {
  return reasonDocs.get(code) ?? "";
}

export const Verify = {
  /** a learned address is enough */
  DNS: 0,
  /** the name on the wire is enough */
  SNI: 1,
  /** the name on the wire, and learned for this address by this client */
  BOTH: 2,
} as const;
export type Verify = (typeof Verify)[keyof typeof Verify];

const verifyNames = new Map<number, string>([
  [0, "dns"],
  [1, "sni"],
  [2, "both"],
]);
const verifyDocs = new Map<number, string>([
  [0, "a learned address is enough"],
  [1, "the name on the wire is enough"],
  [2, "the name on the wire, and learned for this address by this client"],
]);

/** Its name as people read it, kebab case; `verify-N` for a number that this version doesn't know. */
export function verifyName(code: number): string {
  return verifyNames.get(code) ?? `verify-${code}`;
}

/** One line that explains it; empty for a number that this version doesn't know. */
export function verifyDoc(code: number): string {
  return verifyDocs.get(code) ?? "";
}

/** How a client is recognised on an interface; the 16 bytes of `client` in the keys below. */
export const ClientBy = {
  /** {ifindex (4, host order), 0 0, MAC (6), 0 0 0 0}: one host, all its IPv4 and IPv6 addresses */
  MAC: 0,
  /** source address, IPv4 as ::ffff:a.b.c.d */
  ADDRESS: 1,
  /** {ifindex (4, host order), 12 zero bytes}: all that is behind it; this box itself is ifindex 0 */
  INTERFACE: 2,
} as const;
export type ClientBy = (typeof ClientBy)[keyof typeof ClientBy];

const clientByNames = new Map<number, string>([
  [0, "mac"],
  [1, "address"],
  [2, "interface"],
]);
const clientByDocs = new Map<number, string>([
  [0, "{ifindex (4, host order), 0 0, MAC (6), 0 0 0 0}: one host, all its IPv4 and IPv6 addresses"],
  [1, "source address, IPv4 as ::ffff:a.b.c.d"],
  [2, "{ifindex (4, host order), 12 zero bytes}: all that is behind it; this box itself is ifindex 0"],
]);

/** Its name as people read it, kebab case; `client_by-N` for a number that this version doesn't know. */
export function clientByName(code: number): string {
  return clientByNames.get(code) ?? `client-by-${code}`;
}

/** One line that explains it; empty for a number that this version doesn't know. */
export function clientByDoc(code: number): string {
  return clientByDocs.get(code) ?? "";
}

export const Hook = {
  /** TC ingress on a LAN interface */
  CLASSIFY: 0,
  /** socket filter in iptables OUTPUT */
  OUTPUT: 1,
  /** TC egress on eface */
  GATE: 2,
} as const;
export type Hook = (typeof Hook)[keyof typeof Hook];

const hookNames = new Map<number, string>([
  [0, "classify"],
  [1, "output"],
  [2, "gate"],
]);
const hookDocs = new Map<number, string>([
  [0, "TC ingress on a LAN interface"],
  [1, "socket filter in iptables OUTPUT"],
  [2, "TC egress on eface"],
]);

/** Its name as people read it, kebab case; `hook-N` for a number that this version doesn't know. */
export function hookName(code: number): string {
  return hookNames.get(code) ?? `hook-${code}`;
}

/** One line that explains it; empty for a number that this version doesn't know. */
export function hookDoc(code: number): string {
  return hookDocs.get(code) ?? "";
}

/** Key 0 of map `config` (array of 1). */
export interface AbiConfig {
  /** two neighbouring bits, e.g. 0x30 */
  readonly markMask: number;
  /** position of the lower one, e.g. 4 */
  readonly markShift: number;
  /** a cached flow of another generation is a miss */
  readonly generation: number;
  /** 1: the gate lets INSPECT-marked packets pass (failMode: open) */
  readonly failOpen: number;
  /** budget of each CPU; 0 = no events */
  readonly eventsPerSecond: number;
  /** 1: nobody's netfilter rules need to see forwarded flows, they may skip it */
  readonly fast: number;
  /** the generation before, if the policy was changed while this one ran: its flows count that were judged anew (l7_flow.next); 0: none */
  readonly previous: number;
  /** lowest rule number of the policy in force (user space's own: what the flows' rules mean to a restart) */
  readonly firstRule: number;
  /** without a packet for so long, a cached TCP flow is a miss; 0 = never cached */
  readonly flowIdleTcpNs: bigint;
  /** the same for UDP, ICMP echo and the rest */
  readonly flowIdleOtherNs: bigint;
  /** the same for denied flows */
  readonly flowIdleDenyNs: bigint;
  /** key of the name hash in `bindings` */
  readonly hashSeed: Uint8Array;
}

export const CONFIG_SIZE = 72;
/** Offset of each field in bytes. */
export const ConfigOffset = {
  markMask: 0,
  markShift: 4,
  generation: 8,
  failOpen: 12,
  eventsPerSecond: 16,
  fast: 20,
  previous: 24,
  firstRule: 28,
  flowIdleTcpNs: 32,
  flowIdleOtherNs: 40,
  flowIdleDenyNs: 48,
  hashSeed: 56,
} as const;

export function encodeConfig(value: AbiConfig, target: Buffer = Buffer.alloc(72), offset = 0): Buffer {
  target.fill(0, offset, offset + 72);
  const at = view(target, offset, 72);
  at.setUint32(0, value.markMask, true);
  at.setUint32(4, value.markShift, true);
  at.setUint32(8, value.generation, true);
  at.setUint32(12, value.failOpen, true);
  at.setUint32(16, value.eventsPerSecond, true);
  at.setUint32(20, value.fast, true);
  at.setUint32(24, value.previous, true);
  at.setUint32(28, value.firstRule, true);
  at.setBigUint64(32, value.flowIdleTcpNs, true);
  at.setBigUint64(40, value.flowIdleOtherNs, true);
  at.setBigUint64(48, value.flowIdleDenyNs, true);
  putBytes(target, offset + 56, 16, value.hashSeed);
  return target;
}

export function decodeConfig(source: Uint8Array, offset = 0): AbiConfig {
  const at = view(source, offset, 72);
  return {
    markMask: at.getUint32(0, true),
    markShift: at.getUint32(4, true),
    generation: at.getUint32(8, true),
    failOpen: at.getUint32(12, true),
    eventsPerSecond: at.getUint32(16, true),
    fast: at.getUint32(20, true),
    previous: at.getUint32(24, true),
    firstRule: at.getUint32(28, true),
    flowIdleTcpNs: at.getBigUint64(32, true),
    flowIdleOtherNs: at.getBigUint64(40, true),
    flowIdleDenyNs: at.getBigUint64(48, true),
    hashSeed: getBytes(source, offset + 56, 16),
  };
}

/** Map `interfaces` (hash): __u32 ifindex -> l7_interface. ifindex 0 is this box itself. A change counts from the kernel's next tick on. */
export interface AbiInterface {
  /** policy of what comes in here, unless `sources` says otherwise */
  readonly policy: number;
  /** enum l7_client_by */
  readonly clientBy: number;
  /** 1: look up `sources` first */
  readonly hasSources: number;
  /** 1: sources not in `sources` get `policy`; 0: they are not governed */
  readonly defaultGoverned: number;
  /** 1: no Ethernet header (tun, wg, ppp) */
  readonly l3: number;
}

export const INTERFACE_SIZE = 8;
/** Offset of each field in bytes. */
export const InterfaceOffset = {
  policy: 0,
  clientBy: 4,
  hasSources: 5,
  defaultGoverned: 6,
  l3: 7,
} as const;

export function encodeInterface(value: AbiInterface, target: Buffer = Buffer.alloc(8), offset = 0): Buffer {
  target.fill(0, offset, offset + 8);
  const at = view(target, offset, 8);
  at.setUint32(0, value.policy, true);
  at.setUint8(4, value.clientBy);
  at.setUint8(5, value.hasSources);
  at.setUint8(6, value.defaultGoverned);
  at.setUint8(7, value.l3);
  return target;
}

export function decodeInterface(source: Uint8Array, offset = 0): AbiInterface {
  const at = view(source, offset, 8);
  return {
    policy: at.getUint32(0, true),
    clientBy: at.getUint8(4),
    hasSources: at.getUint8(5),
    defaultGoverned: at.getUint8(6),
    l3: at.getUint8(7),
  };
}

/** Map `sources` (LPM trie): l7_source_key -> __u32 policy. prefixlen counts ifindex (32) and address (128, IPv4 as ::ffff:a.b.c.d). */
export interface AbiSourceKey {
  readonly prefixlen: number;
  readonly ifindex: number;
  readonly addr: Uint8Array;
}

export const SOURCE_KEY_SIZE = 24;
/** Offset of each field in bytes. */
export const SourceKeyOffset = {
  prefixlen: 0,
  ifindex: 4,
  addr: 8,
} as const;

export function encodeSourceKey(value: AbiSourceKey, target: Buffer = Buffer.alloc(24), offset = 0): Buffer {
  target.fill(0, offset, offset + 24);
  const at = view(target, offset, 24);
  at.setUint32(0, value.prefixlen, true);
  at.setUint32(4, value.ifindex, true);
  putBytes(target, offset + 8, 16, value.addr);
  return target;
}

export function decodeSourceKey(source: Uint8Array, offset = 0): AbiSourceKey {
  const at = view(source, offset, 24);
  return {
    prefixlen: at.getUint32(0, true),
    ifindex: at.getUint32(4, true),
    addr: getBytes(source, offset + 8, 16),
  };
}

/** Map `policies` (array): __u32 policy id, plus L7_MAX_POLICIES while the generation is even -> l7_policy. Id 0 is never used. So there is room for two versions of each, and one write, of the generation, changes from one to the other. All that a version refers to is written before that. */
export interface AbiPolicy {
  /** 0: governed without a policy: everything is denied (L7_REASON_NO_POLICY) */
  readonly present: number;
  /** enum l7_verify */
  readonly verify: number;
  /** 32 less the bits of an IPv4 address that its index in `cidr4_index` is made of */
  readonly cidr4Shift: number;
  /** 1: user space reads the name in QUIC's Initials; 0: QUIC to a name is denied */
  readonly quic: number;
  /** port set: where a name on the wire belongs (defaults tcp 80,443,8080,8443, udp 443) */
  readonly namePorts: number;
  /** first of the policy's entries in `cidr4_index` */
  readonly cidr4Index: number;
  /** where the search in its IPv6 CIDRs begins: key in `cidr6_nodes` */
  readonly cidr6Node: number;
}

export const POLICY_SIZE = 16;
/** Offset of each field in bytes. */
export const PolicyOffset = {
  present: 0,
  verify: 1,
  cidr4Shift: 2,
  quic: 3,
  namePorts: 4,
  cidr4Index: 8,
  cidr6Node: 12,
} as const;

export function encodePolicy(value: AbiPolicy, target: Buffer = Buffer.alloc(16), offset = 0): Buffer {
  target.fill(0, offset, offset + 16);
  const at = view(target, offset, 16);
  at.setUint8(0, value.present);
  at.setUint8(1, value.verify);
  at.setUint8(2, value.cidr4Shift);
  at.setUint8(3, value.quic);
  at.setUint32(4, value.namePorts, true);
  at.setUint32(8, value.cidr4Index, true);
  at.setUint32(12, value.cidr6Node, true);
  return target;
}

export function decodePolicy(source: Uint8Array, offset = 0): AbiPolicy {
  const at = view(source, offset, 16);
  return {
    present: at.getUint8(0),
    verify: at.getUint8(1),
    cidr4Shift: at.getUint8(2),
    quic: at.getUint8(3),
    namePorts: at.getUint32(4, true),
    cidr4Index: at.getUint32(8, true),
    cidr6Node: at.getUint32(12, true),
  };
}

/** What the longest matching CIDR says. User space has pushed shorter prefixes down, so it alone decides: `ports` lists, most specific rule first, which (protocol, port) is decided how. No range matches: L7_REASON_PORT if `strict`, else as if there were no CIDR. */
export interface AbiCidr {
  /** ALLOW, DENY: for every protocol and port. NONE: ask `ports` */
  readonly verdict: number;
  /** see above */
  readonly strict: number;
  /** rule of the verdict (ranges carry their own) */
  readonly rule: number;
  /** key in `port_sets`, used if verdict is NONE; 0: nothing matches */
  readonly ports: number;
}

export const CIDR_SIZE = 12;
/** Offset of each field in bytes. */
export const CidrOffset = {
  verdict: 0,
  strict: 1,
  pad: 2,
  rule: 4,
  ports: 8,
} as const;

export function encodeCidr(value: AbiCidr, target: Buffer = Buffer.alloc(12), offset = 0): Buffer {
  target.fill(0, offset, offset + 12);
  const at = view(target, offset, 12);
  at.setUint8(0, value.verdict);
  at.setUint8(1, value.strict);
  at.setUint32(4, value.rule, true);
  at.setUint32(8, value.ports, true);
  return target;
}

export function decodeCidr(source: Uint8Array, offset = 0): AbiCidr {
  const at = view(source, offset, 12);
  return {
    verdict: at.getUint8(0),
    strict: at.getUint8(1),
    rule: at.getUint32(4, true),
    ports: at.getUint32(8, true),
  };
}

/** Map `cidr4` (array): __u32 -> l7_cidr4. The CIDRs of each policy, flattened: sorted ranges that cover all addresses, each from `first` to before the next one's. Where no CIDR is, all of l7_cidr is 0. Map `cidr4_index` (array): l7_policy.cidr4_index + (address >> l7_policy.cidr4_shift) -> l7_cidr4_index: the ranges that these addresses are in. Both have room for what the rules need; where the policy can be changed, for two versions. */
export interface AbiCidr4 {
  /** host order */
  readonly first: number;
  readonly cidr: AbiCidr;
}

export const CIDR4_SIZE = 16;
/** Offset of each field in bytes. */
export const Cidr4Offset = {
  first: 0,
  cidr: 4,
} as const;

export function encodeCidr4(value: AbiCidr4, target: Buffer = Buffer.alloc(16), offset = 0): Buffer {
  target.fill(0, offset, offset + 16);
  const at = view(target, offset, 16);
  at.setUint32(0, value.first, true);
  encodeCidr(value.cidr, target, offset + 4);
  return target;
}

export function decodeCidr4(source: Uint8Array, offset = 0): AbiCidr4 {
  const at = view(source, offset, 16);
  return {
    first: at.getUint32(0, true),
    cidr: decodeCidr(source, offset + 4),
  };
}

export interface AbiCidr4Index {
  /** key in `cidr4` of the range that begins at or before the first of these addresses */
  readonly at: number;
  /** ranges; at least 1 */
  readonly count: number;
}

export const CIDR4_INDEX_SIZE = 8;
/** Offset of each field in bytes. */
export const Cidr4IndexOffset = {
  at: 0,
  count: 4,
} as const;

export function encodeCidr4Index(value: AbiCidr4Index, target: Buffer = Buffer.alloc(8), offset = 0): Buffer {
  target.fill(0, offset, offset + 8);
  const at = view(target, offset, 8);
  at.setUint32(0, value.at, true);
  at.setUint32(4, value.count, true);
  return target;
}

export function decodeCidr4Index(source: Uint8Array, offset = 0): AbiCidr4Index {
  const at = view(source, offset, 8);
  return {
    at: at.getUint32(0, true),
    count: at.getUint32(4, true),
  };
}

/** Map `cidr6` (array): __u32 -> l7_cidr6. Ranges as in `cidr4`, by both halves of the address. Map `cidr6_nodes` (array): __u32 -> l7_cidr6_node. Addresses cluster, so each crowded place has an index of its own: slots of equal width from the first of its ranges' beginnings to the last. What lies before or behind is in the first or the last slot. Map `cidr6_index` (array): l7_cidr6_node.index + slot -> l7_cidr6_index: the ranges that these addresses are in, or the node that knows. All have room for what the rules need; where the policy can be changed, for two versions. */
export interface AbiCidr6 {
  /** first address, host order */
  readonly high: bigint;
  readonly low: bigint;
  readonly cidr: AbiCidr;
}

export const CIDR6_SIZE = 32;
/** Offset of each field in bytes. */
export const Cidr6Offset = {
  high: 0,
  low: 8,
  cidr: 16,
  pad: 28,
} as const;

export function encodeCidr6(value: AbiCidr6, target: Buffer = Buffer.alloc(32), offset = 0): Buffer {
  target.fill(0, offset, offset + 32);
  const at = view(target, offset, 32);
  at.setBigUint64(0, value.high, true);
  at.setBigUint64(8, value.low, true);
  encodeCidr(value.cidr, target, offset + 16);
  return target;
}

export function decodeCidr6(source: Uint8Array, offset = 0): AbiCidr6 {
  const at = view(source, offset, 32);
  return {
    high: at.getBigUint64(0, true),
    low: at.getBigUint64(8, true),
    cidr: decodeCidr(source, offset + 16),
  };
}

export interface AbiCidr6Node {
  /** by_low: the upper half that all its beginnings have */
  readonly high: bigint;
  /** where slot 0 begins, in the half that the slots are made of */
  readonly first: bigint;
  /** key in `cidr6_index` of slot 0 */
  readonly index: number;
  /** number of the last slot */
  readonly last: number;
  /** a slot is 2^shift wide */
  readonly shift: number;
  /** 1: slots of the lower half, 0: of the upper */
  readonly byLow: number;
}

export const CIDR6_NODE_SIZE = 32;
/** Offset of each field in bytes. */
export const Cidr6NodeOffset = {
  high: 0,
  first: 8,
  index: 16,
  last: 20,
  shift: 24,
  byLow: 25,
  pad: 26,
} as const;

export function encodeCidr6Node(value: AbiCidr6Node, target: Buffer = Buffer.alloc(32), offset = 0): Buffer {
  target.fill(0, offset, offset + 32);
  const at = view(target, offset, 32);
  at.setBigUint64(0, value.high, true);
  at.setBigUint64(8, value.first, true);
  at.setUint32(16, value.index, true);
  at.setUint32(20, value.last, true);
  at.setUint8(24, value.shift);
  at.setUint8(25, value.byLow);
  return target;
}

export function decodeCidr6Node(source: Uint8Array, offset = 0): AbiCidr6Node {
  const at = view(source, offset, 32);
  return {
    high: at.getBigUint64(0, true),
    first: at.getBigUint64(8, true),
    index: at.getUint32(16, true),
    last: at.getUint32(20, true),
    shift: at.getUint8(24),
    byLow: at.getUint8(25),
  };
}

export interface AbiCidr6Index {
  /** key in `cidr6` of the range that begins before these addresses; `count` 0: key in `cidr6_nodes` */
  readonly at: number;
  /** ranges; 0: there is a node */
  readonly count: number;
}

export const CIDR6_INDEX_SIZE = 8;
/** Offset of each field in bytes. */
export const Cidr6IndexOffset = {
  at: 0,
  count: 4,
} as const;

export function encodeCidr6Index(value: AbiCidr6Index, target: Buffer = Buffer.alloc(8), offset = 0): Buffer {
  target.fill(0, offset, offset + 8);
  const at = view(target, offset, 8);
  at.setUint32(0, value.at, true);
  at.setUint32(4, value.count, true);
  return target;
}

export function decodeCidr6Index(source: Uint8Array, offset = 0): AbiCidr6Index {
  const at = view(source, offset, 8);
  return {
    at: at.getUint32(0, true),
    count: at.getUint32(4, true),
  };
}

/** Map `port_sets` (array): __u32 -> l7_port_set. Set 0 is empty. First range that matches decides. A second version's sets have numbers above L7_MAX_PORT_SETS; the two above those are for what limits all of a policy's names. */
export interface AbiPortRange {
  /** IP protocol; 0 = any */
  readonly proto: number;
  /** ALLOW, DENY or INSPECT (INSPECT: a trusted resolver's port 53) */
  readonly verdict: number;
  /** host order; ignored where the protocol has no ports */
  readonly low: number;
  readonly high: number;
  readonly rule: number;
}

export const PORT_RANGE_SIZE = 12;
/** Offset of each field in bytes. */
export const PortRangeOffset = {
  proto: 0,
  verdict: 1,
  pad: 2,
  low: 4,
  high: 6,
  rule: 8,
} as const;

export function encodePortRange(value: AbiPortRange, target: Buffer = Buffer.alloc(12), offset = 0): Buffer {
  target.fill(0, offset, offset + 12);
  const at = view(target, offset, 12);
  at.setUint8(0, value.proto);
  at.setUint8(1, value.verdict);
  at.setUint16(4, value.low, true);
  at.setUint16(6, value.high, true);
  at.setUint32(8, value.rule, true);
  return target;
}

export function decodePortRange(source: Uint8Array, offset = 0): AbiPortRange {
  const at = view(source, offset, 12);
  return {
    proto: at.getUint8(0),
    verdict: at.getUint8(1),
    low: at.getUint16(4, true),
    high: at.getUint16(6, true),
    rule: at.getUint32(8, true),
  };
}

export interface AbiPortSet {
  readonly count: number;
  readonly ranges: readonly AbiPortRange[];
}

export const PORT_SET_SIZE = 196;
/** Offset of each field in bytes. */
export const PortSetOffset = {
  count: 0,
  ranges: 4,
} as const;

export function encodePortSet(value: AbiPortSet, target: Buffer = Buffer.alloc(196), offset = 0): Buffer {
  target.fill(0, offset, offset + 196);
  const at = view(target, offset, 196);
  at.setUint32(0, value.count, true);
  if (value.ranges.length > 16) throw new RangeError(`at most 16 ranges, not ${value.ranges.length}`);
  value.ranges.forEach((item, i) => encodePortRange(item, target, offset + 4 + i * PORT_RANGE_SIZE));
  return target;
}

export function decodePortSet(source: Uint8Array, offset = 0): AbiPortSet {
  const at = view(source, offset, 196);
  return {
    count: at.getUint32(0, true),
    ranges: Array.from({ length: 16 }, (_, i) => decodePortRange(source, offset + 4 + i * PORT_RANGE_SIZE)),
  };
}

/** Map `names4`, `names6` (hash; full: the address is not learned, counted as MAP_FULL): addresses learned from DNS. key -> l7_name. */
export interface AbiName4Key {
  readonly policy: number;
  readonly client: Uint8Array;
  readonly addr: Uint8Array;
}

export const NAME4_KEY_SIZE = 24;
/** Offset of each field in bytes. */
export const Name4KeyOffset = {
  policy: 0,
  client: 4,
  addr: 20,
} as const;

export function encodeName4Key(value: AbiName4Key, target: Buffer = Buffer.alloc(24), offset = 0): Buffer {
  target.fill(0, offset, offset + 24);
  const at = view(target, offset, 24);
  at.setUint32(0, value.policy, true);
  putBytes(target, offset + 4, 16, value.client);
  putBytes(target, offset + 20, 4, value.addr);
  return target;
}

export function decodeName4Key(source: Uint8Array, offset = 0): AbiName4Key {
  const at = view(source, offset, 24);
  return {
    policy: at.getUint32(0, true),
    client: getBytes(source, offset + 4, 16),
    addr: getBytes(source, offset + 20, 4),
  };
}

export interface AbiName6Key {
  readonly policy: number;
  readonly client: Uint8Array;
  readonly addr: Uint8Array;
}

export const NAME6_KEY_SIZE = 36;
/** Offset of each field in bytes. */
export const Name6KeyOffset = {
  policy: 0,
  client: 4,
  addr: 20,
} as const;

export function encodeName6Key(value: AbiName6Key, target: Buffer = Buffer.alloc(36), offset = 0): Buffer {
  target.fill(0, offset, offset + 36);
  const at = view(target, offset, 36);
  at.setUint32(0, value.policy, true);
  putBytes(target, offset + 4, 16, value.client);
  putBytes(target, offset + 20, 16, value.addr);
  return target;
}

export function decodeName6Key(source: Uint8Array, offset = 0): AbiName6Key {
  const at = view(source, offset, 36);
  return {
    policy: at.getUint32(0, true),
    client: getBytes(source, offset + 4, 16),
    addr: getBytes(source, offset + 20, 16),
  };
}

export interface AbiName {
  /** CLOCK_MONOTONIC; an entry past it counts as expired */
  readonly expiresNs: bigint;
  readonly rule: number;
  /** port set: where the name's rule allows to go; 0 = everywhere */
  readonly ports: number;
  readonly flags: number;
}

export const NAME_SIZE = 24;
/** Offset of each field in bytes. */
export const NameOffset = {
  expiresNs: 0,
  rule: 8,
  ports: 12,
  flags: 16,
  pad: 20,
} as const;

export function encodeName(value: AbiName, target: Buffer = Buffer.alloc(24), offset = 0): Buffer {
  target.fill(0, offset, offset + 24);
  const at = view(target, offset, 24);
  at.setBigUint64(0, value.expiresNs, true);
  at.setUint32(8, value.rule, true);
  at.setUint32(12, value.ports, true);
  at.setUint32(16, value.flags, true);
  return target;
}

export function decodeName(source: Uint8Array, offset = 0): AbiName {
  const at = view(source, offset, 24);
  return {
    expiresNs: at.getBigUint64(0, true),
    rule: at.getUint32(8, true),
    ports: at.getUint32(12, true),
    flags: at.getUint32(16, true),
  };
}

/** Map `bindings` (hash; full: as above): which name an address was learned for. Written together with names4/6. key -> l7_binding. */
export interface AbiBindingKey {
  readonly policy: number;
  readonly client: Uint8Array;
  /** IPv4 as ::ffff:a.b.c.d */
  readonly addr: Uint8Array;
  readonly nameHash: Uint8Array;
}

export const BINDING_KEY_SIZE = 52;
/** Offset of each field in bytes. */
export const BindingKeyOffset = {
  policy: 0,
  client: 4,
  addr: 20,
  nameHash: 36,
} as const;

export function encodeBindingKey(value: AbiBindingKey, target: Buffer = Buffer.alloc(52), offset = 0): Buffer {
  target.fill(0, offset, offset + 52);
  const at = view(target, offset, 52);
  at.setUint32(0, value.policy, true);
  putBytes(target, offset + 4, 16, value.client);
  putBytes(target, offset + 20, 16, value.addr);
  putBytes(target, offset + 36, 16, value.nameHash);
  return target;
}

export function decodeBindingKey(source: Uint8Array, offset = 0): AbiBindingKey {
  const at = view(source, offset, 52);
  return {
    policy: at.getUint32(0, true),
    client: getBytes(source, offset + 4, 16),
    addr: getBytes(source, offset + 20, 16),
    nameHash: getBytes(source, offset + 36, 16),
  };
}

export interface AbiBinding {
  readonly expiresNs: bigint;
  readonly rule: number;
  /** port set: where the name's rule allows to go; 0 = everywhere */
  readonly ports: number;
}

export const BINDING_SIZE = 16;
/** Offset of each field in bytes. */
export const BindingOffset = {
  expiresNs: 0,
  rule: 8,
  ports: 12,
} as const;

export function encodeBinding(value: AbiBinding, target: Buffer = Buffer.alloc(16), offset = 0): Buffer {
  target.fill(0, offset, offset + 16);
  const at = view(target, offset, 16);
  at.setBigUint64(0, value.expiresNs, true);
  at.setUint32(8, value.rule, true);
  at.setUint32(12, value.ports, true);
  return target;
}

export function decodeBinding(source: Uint8Array, offset = 0): AbiBinding {
  const at = view(source, offset, 16);
  return {
    expiresNs: at.getBigUint64(0, true),
    rule: at.getUint32(8, true),
    ports: at.getUint32(12, true),
  };
}

/** Map `questions` (LRU hash; full: the one not asked for longest goes, and climbs when it comes again): DNS questions that user space allowed a moment ago. */
export interface AbiQuestionKey {
  readonly policy: number;
  readonly client: Uint8Array;
  /** IPv4 as ::ffff:a.b.c.d */
  readonly resolver: Uint8Array;
  readonly nameHash: Uint8Array;
  /** A or AAAA */
  readonly type: number;
}

export const QUESTION_KEY_SIZE = 56;
/** Offset of each field in bytes. */
export const QuestionKeyOffset = {
  policy: 0,
  client: 4,
  resolver: 20,
  nameHash: 36,
  type: 52,
  pad: 54,
} as const;

export function encodeQuestionKey(value: AbiQuestionKey, target: Buffer = Buffer.alloc(56), offset = 0): Buffer {
  target.fill(0, offset, offset + 56);
  const at = view(target, offset, 56);
  at.setUint32(0, value.policy, true);
  putBytes(target, offset + 4, 16, value.client);
  putBytes(target, offset + 20, 16, value.resolver);
  putBytes(target, offset + 36, 16, value.nameHash);
  at.setUint16(52, value.type, true);
  return target;
}

export function decodeQuestionKey(source: Uint8Array, offset = 0): AbiQuestionKey {
  const at = view(source, offset, 56);
  return {
    policy: at.getUint32(0, true),
    client: getBytes(source, offset + 4, 16),
    resolver: getBytes(source, offset + 20, 16),
    nameHash: getBytes(source, offset + 36, 16),
    type: at.getUint16(52, true),
  };
}

export interface AbiQuestion {
  /** CLOCK_MONOTONIC */
  readonly expiresNs: bigint;
  readonly generation: number;
  readonly rule: number;
  /** port set of the rule, 0 = everywhere */
  readonly ports: number;
}

export const QUESTION_SIZE = 24;
/** Offset of each field in bytes. */
export const QuestionOffset = {
  expiresNs: 0,
  generation: 8,
  rule: 12,
  ports: 16,
  pad: 20,
} as const;

export function encodeQuestion(value: AbiQuestion, target: Buffer = Buffer.alloc(24), offset = 0): Buffer {
  target.fill(0, offset, offset + 24);
  const at = view(target, offset, 24);
  at.setBigUint64(0, value.expiresNs, true);
  at.setUint32(8, value.generation, true);
  at.setUint32(12, value.rule, true);
  at.setUint32(16, value.ports, true);
  return target;
}

export function decodeQuestion(source: Uint8Array, offset = 0): AbiQuestion {
  const at = view(source, offset, 24);
  return {
    expiresNs: at.getBigUint64(0, true),
    generation: at.getUint32(8, true),
    rule: at.getUint32(12, true),
    ports: at.getUint32(16, true),
  };
}

/** Map `asked` (LRU hash; full: the oldest goes, its answer is dropped as unsolicited): questions that the kernel let pass and whose answers are awaited. Addresses and port as the client sent them. */
export interface AbiAskedKey {
  /** IPv4 as ::ffff:a.b.c.d */
  readonly source: Uint8Array;
  readonly resolver: Uint8Array;
  readonly port: number;
  /** of the DNS message */
  readonly id: number;
  /** interface by which the question left: the answer must come in there */
  readonly ifindex: number;
}

export const ASKED_KEY_SIZE = 40;
/** Offset of each field in bytes. */
export const AskedKeyOffset = {
  source: 0,
  resolver: 16,
  port: 32,
  id: 34,
  ifindex: 36,
} as const;

export function encodeAskedKey(value: AbiAskedKey, target: Buffer = Buffer.alloc(40), offset = 0): Buffer {
  target.fill(0, offset, offset + 40);
  const at = view(target, offset, 40);
  putBytes(target, offset, 16, value.source);
  putBytes(target, offset + 16, 16, value.resolver);
  at.setUint16(32, value.port, false);
  at.setUint16(34, value.id, false);
  at.setUint32(36, value.ifindex, true);
  return target;
}

export function decodeAskedKey(source: Uint8Array, offset = 0): AbiAskedKey {
  const at = view(source, offset, 40);
  return {
    source: getBytes(source, offset, 16),
    resolver: getBytes(source, offset + 16, 16),
    port: at.getUint16(32, false),
    id: at.getUint16(34, false),
    ifindex: at.getUint32(36, true),
  };
}

export interface AbiAsked {
  /** CLOCK_MONOTONIC */
  readonly timeNs: bigint;
  readonly policy: number;
  readonly generation: number;
  readonly rule: number;
  readonly ports: number;
  readonly client: Uint8Array;
  readonly nameHash: Uint8Array;
  readonly type: number;
  /** of `question` */
  readonly length: number;
  /** name, type and class as they were sent, zeroes behind: an answer must repeat them byte for byte */
  readonly question: Uint8Array;
}

export const ASKED_SIZE = 144;
/** Offset of each field in bytes. */
export const AskedOffset = {
  timeNs: 0,
  policy: 8,
  generation: 12,
  rule: 16,
  ports: 20,
  client: 24,
  nameHash: 40,
  type: 56,
  length: 58,
  pad: 60,
  question: 64,
} as const;

export function encodeAsked(value: AbiAsked, target: Buffer = Buffer.alloc(144), offset = 0): Buffer {
  target.fill(0, offset, offset + 144);
  const at = view(target, offset, 144);
  at.setBigUint64(0, value.timeNs, true);
  at.setUint32(8, value.policy, true);
  at.setUint32(12, value.generation, true);
  at.setUint32(16, value.rule, true);
  at.setUint32(20, value.ports, true);
  putBytes(target, offset + 24, 16, value.client);
  putBytes(target, offset + 40, 16, value.nameHash);
  at.setUint16(56, value.type, true);
  at.setUint16(58, value.length, true);
  putBytes(target, offset + 64, 80, value.question);
  return target;
}

export function decodeAsked(source: Uint8Array, offset = 0): AbiAsked {
  const at = view(source, offset, 144);
  return {
    timeNs: at.getBigUint64(0, true),
    policy: at.getUint32(8, true),
    generation: at.getUint32(12, true),
    rule: at.getUint32(16, true),
    ports: at.getUint32(20, true),
    client: getBytes(source, offset + 24, 16),
    nameHash: getBytes(source, offset + 40, 16),
    type: at.getUint16(56, true),
    length: at.getUint16(58, true),
    question: getBytes(source, offset + 64, 80),
  };
}

/** Maps `flows4`, `flows6` (LRU hash; full: the longest unused entry goes, its flow is judged anew): key -> l7_flow. Addresses and ports as the client sent them. A key each, because hashing and comparing it is most of what a flow hit costs. The eight bytes behind the addresses are the same in both. */
export interface AbiFlow4Key {
  readonly src: number;
  readonly dst: number;
  /** ICMP echo: identifier in both */
  readonly sport: number;
  readonly dport: number;
  readonly policy: number;
  readonly proto: number;
}

export const FLOW4_KEY_SIZE = 16;
/** Offset of each field in bytes. */
export const Flow4KeyOffset = {
  src: 0,
  dst: 4,
  sport: 8,
  dport: 10,
  policy: 12,
  proto: 14,
  pad: 15,
} as const;

export function encodeFlow4Key(value: AbiFlow4Key, target: Buffer = Buffer.alloc(16), offset = 0): Buffer {
  target.fill(0, offset, offset + 16);
  const at = view(target, offset, 16);
  at.setUint32(0, value.src, false);
  at.setUint32(4, value.dst, false);
  at.setUint16(8, value.sport, false);
  at.setUint16(10, value.dport, false);
  at.setUint16(12, value.policy, true);
  at.setUint8(14, value.proto);
  return target;
}

export function decodeFlow4Key(source: Uint8Array, offset = 0): AbiFlow4Key {
  const at = view(source, offset, 16);
  return {
    src: at.getUint32(0, false),
    dst: at.getUint32(4, false),
    sport: at.getUint16(8, false),
    dport: at.getUint16(10, false),
    policy: at.getUint16(12, true),
    proto: at.getUint8(14),
  };
}

export interface AbiFlow6Key {
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  /** ICMP echo: identifier in both */
  readonly sport: number;
  readonly dport: number;
  readonly policy: number;
  readonly proto: number;
}

export const FLOW6_KEY_SIZE = 40;
/** Offset of each field in bytes. */
export const Flow6KeyOffset = {
  src: 0,
  dst: 16,
  sport: 32,
  dport: 34,
  policy: 36,
  proto: 38,
  pad: 39,
} as const;

export function encodeFlow6Key(value: AbiFlow6Key, target: Buffer = Buffer.alloc(40), offset = 0): Buffer {
  target.fill(0, offset, offset + 40);
  const at = view(target, offset, 40);
  putBytes(target, offset, 16, value.src);
  putBytes(target, offset + 16, 16, value.dst);
  at.setUint16(32, value.sport, false);
  at.setUint16(34, value.dport, false);
  at.setUint16(36, value.policy, true);
  at.setUint8(38, value.proto);
  return target;
}

export function decodeFlow6Key(source: Uint8Array, offset = 0): AbiFlow6Key {
  const at = view(source, offset, 40);
  return {
    src: getBytes(source, offset, 16),
    dst: getBytes(source, offset + 16, 16),
    sport: at.getUint16(32, false),
    dport: at.getUint16(34, false),
    policy: at.getUint16(36, true),
    proto: at.getUint8(38),
  };
}

export interface AbiFlow {
  readonly lastSeenNs: bigint;
  /** from the client */
  readonly packets: bigint;
  readonly bytes: bigint;
  /** from the server, counted where the watcher is attached */
  readonly replyPackets: bigint;
  readonly replyBytes: bigint;
  readonly generation: number;
  readonly rule: number;
  /** TCP sequence numbers, host order: [start, end) was judged. PENDING: both are where the stream begins */
  readonly judgedStart: number;
  readonly judgedEnd: number;
  /** ALLOW, DENY, or PENDING: a SYN passed, the first payload decides; QUIC: an Initial went to user space */
  readonly verdict: number;
  /** enum l7_reason */
  readonly reason: number;
  readonly flags: number;
  /** while the policy is changed: low byte of the generation for which it was judged anew; 0: none */
  readonly next: number;
  /** CLOCK_MONOTONIC seconds of the SYN; 0 if the flow wasn't opened as PENDING */
  readonly openedS: number;
}

export const FLOW_SIZE = 64;
/** Offset of each field in bytes. */
export const FlowOffset = {
  lastSeenNs: 0,
  packets: 8,
  bytes: 16,
  replyPackets: 24,
  replyBytes: 32,
  generation: 40,
  rule: 44,
  judgedStart: 48,
  judgedEnd: 52,
  verdict: 56,
  reason: 57,
  flags: 58,
  next: 59,
  openedS: 60,
} as const;

export function encodeFlow(value: AbiFlow, target: Buffer = Buffer.alloc(64), offset = 0): Buffer {
  target.fill(0, offset, offset + 64);
  const at = view(target, offset, 64);
  at.setBigUint64(0, value.lastSeenNs, true);
  at.setBigUint64(8, value.packets, true);
  at.setBigUint64(16, value.bytes, true);
  at.setBigUint64(24, value.replyPackets, true);
  at.setBigUint64(32, value.replyBytes, true);
  at.setUint32(40, value.generation, true);
  at.setUint32(44, value.rule, true);
  at.setUint32(48, value.judgedStart, true);
  at.setUint32(52, value.judgedEnd, true);
  at.setUint8(56, value.verdict);
  at.setUint8(57, value.reason);
  at.setUint8(58, value.flags);
  at.setUint8(59, value.next);
  at.setUint32(60, value.openedS, true);
  return target;
}

export function decodeFlow(source: Uint8Array, offset = 0): AbiFlow {
  const at = view(source, offset, 64);
  return {
    lastSeenNs: at.getBigUint64(0, true),
    packets: at.getBigUint64(8, true),
    bytes: at.getBigUint64(16, true),
    replyPackets: at.getBigUint64(24, true),
    replyBytes: at.getBigUint64(32, true),
    generation: at.getUint32(40, true),
    rule: at.getUint32(44, true),
    judgedStart: at.getUint32(48, true),
    judgedEnd: at.getUint32(52, true),
    verdict: at.getUint8(56),
    reason: at.getUint8(57),
    flags: at.getUint8(58),
    next: at.getUint8(59),
    openedS: at.getUint32(60, true),
  };
}

/** What user space asks the program `read_flows`: L7_FLOW_READS of these one behind the other are its context. One system call for the flows of many packets. */
export interface AbiFlowRead {
  /** 4, 6; 0: nothing is asked here */
  readonly family: number;
  /** answer: 1, and `flow` is what is stored */
  readonly found: number;
  /** l7_flow4_key (the rest is not looked at) or l7_flow6_key */
  readonly key: Uint8Array;
  /** l7_flow */
  readonly flow: Uint8Array;
}

export const FLOW_READ_SIZE = 112;
/** Offset of each field in bytes. */
export const FlowReadOffset = {
  family: 0,
  found: 4,
  key: 8,
  flow: 48,
} as const;

export function encodeFlowRead(value: AbiFlowRead, target: Buffer = Buffer.alloc(112), offset = 0): Buffer {
  target.fill(0, offset, offset + 112);
  const at = view(target, offset, 112);
  at.setUint32(0, value.family, true);
  at.setUint32(4, value.found, true);
  putBytes(target, offset + 8, 40, value.key);
  putBytes(target, offset + 48, 64, value.flow);
  return target;
}

export function decodeFlowRead(source: Uint8Array, offset = 0): AbiFlowRead {
  const at = view(source, offset, 112);
  return {
    family: at.getUint32(0, true),
    found: at.getUint32(4, true),
    key: getBytes(source, offset + 8, 40),
    flow: getBytes(source, offset + 48, 64),
  };
}

/** What user space tells the program `carry_flows`: L7_FLOW_READS of these one behind the other are its context. A flow that the coming policy allows as well is marked so (`now` 0: it counts before and after), or, when that policy is in force, becomes its own (`now` 1: only then are `rule` and `reason` written). */
export interface AbiFlowCarry {
  /** 4, 6; 0: nothing is told here */
  readonly family: number;
  /** answer: 1, it was there and is marked */
  readonly carried: number;
  /** l7_flow4_key (the rest is not looked at) or l7_flow6_key */
  readonly key: Uint8Array;
  /** the generation that it must be of, and the one before that */
  readonly from: number;
  readonly previous: number;
  readonly to: number;
  /** of the coming policy */
  readonly rule: number;
  /** enum l7_reason; 0: as it is */
  readonly reason: number;
  /** which it must still have: ALLOW or PENDING */
  readonly verdict: number;
  readonly now: number;
}

export const FLOW_CARRY_SIZE = 72;
/** Offset of each field in bytes. */
export const FlowCarryOffset = {
  family: 0,
  carried: 4,
  key: 8,
  from: 48,
  previous: 52,
  to: 56,
  rule: 60,
  reason: 64,
  verdict: 65,
  now: 66,
  pad: 67,
} as const;

export function encodeFlowCarry(value: AbiFlowCarry, target: Buffer = Buffer.alloc(72), offset = 0): Buffer {
  target.fill(0, offset, offset + 72);
  const at = view(target, offset, 72);
  at.setUint32(0, value.family, true);
  at.setUint32(4, value.carried, true);
  putBytes(target, offset + 8, 40, value.key);
  at.setUint32(48, value.from, true);
  at.setUint32(52, value.previous, true);
  at.setUint32(56, value.to, true);
  at.setUint32(60, value.rule, true);
  at.setUint8(64, value.reason);
  at.setUint8(65, value.verdict);
  at.setUint8(66, value.now);
  return target;
}

export function decodeFlowCarry(source: Uint8Array, offset = 0): AbiFlowCarry {
  const at = view(source, offset, 72);
  return {
    family: at.getUint32(0, true),
    carried: at.getUint32(4, true),
    key: getBytes(source, offset + 8, 40),
    from: at.getUint32(48, true),
    previous: at.getUint32(52, true),
    to: at.getUint32(56, true),
    rule: at.getUint32(60, true),
    reason: at.getUint8(64),
    verdict: at.getUint8(65),
    now: at.getUint8(66),
  };
}

/** What user space tells the program `switch_policy`: from now on `generation` counts, and of `previous` what was carried. */
export interface AbiSwitch {
  readonly previous: number;
  readonly generation: number;
  readonly firstRule: number;
}

export const SWITCH_SIZE = 16;
/** Offset of each field in bytes. */
export const SwitchOffset = {
  previous: 0,
  generation: 4,
  firstRule: 8,
  pad: 12,
} as const;

export function encodeSwitch(value: AbiSwitch, target: Buffer = Buffer.alloc(16), offset = 0): Buffer {
  target.fill(0, offset, offset + 16);
  const at = view(target, offset, 16);
  at.setUint32(0, value.previous, true);
  at.setUint32(4, value.generation, true);
  at.setUint32(8, value.firstRule, true);
  return target;
}

export function decodeSwitch(source: Uint8Array, offset = 0): AbiSwitch {
  const at = view(source, offset, 16);
  return {
    previous: at.getUint32(0, true),
    generation: at.getUint32(4, true),
    firstRule: at.getUint32(8, true),
  };
}

/** Map `counters` (per-CPU array of L7_REASON_MAX): __u32 reason -> l7_counter. */
export interface AbiCounter {
  readonly packets: bigint;
  readonly bytes: bigint;
}

export const COUNTER_SIZE = 16;
/** Offset of each field in bytes. */
export const CounterOffset = {
  packets: 0,
  bytes: 8,
} as const;

export function encodeCounter(value: AbiCounter, target: Buffer = Buffer.alloc(16), offset = 0): Buffer {
  target.fill(0, offset, offset + 16);
  const at = view(target, offset, 16);
  at.setBigUint64(0, value.packets, true);
  at.setBigUint64(8, value.bytes, true);
  return target;
}

export function decodeCounter(source: Uint8Array, offset = 0): AbiCounter {
  const at = view(source, offset, 16);
  return {
    packets: at.getBigUint64(0, true),
    bytes: at.getBigUint64(8, true),
  };
}

/** Map `events` (ring buffer): denied packets, and the first packet of each flow that the kernel allowed. */
export interface AbiEvent {
  readonly timeNs: bigint;
  /** where the packet came in; 0 = this box */
  readonly ifindex: number;
  readonly policy: number;
  readonly rule: number;
  /** length of the packet from the network header */
  readonly wireLen: number;
  /** bytes of it in `data` */
  readonly snapLen: number;
  readonly verdict: number;
  readonly reason: number;
  /** enum l7_hook */
  readonly hook: number;
  /** 4 or 6 */
  readonly family: number;
  /** of `name`; 0 unless the name on the wire was read in the kernel */
  readonly nameLen: number;
  readonly client: Uint8Array;
  /** normal form */
  readonly name: Uint8Array;
  /** from the network header */
  readonly data: Uint8Array;
}

export const EVENT_SIZE = 432;
/** Offset of each field in bytes. */
export const EventOffset = {
  timeNs: 0,
  ifindex: 8,
  policy: 12,
  rule: 16,
  wireLen: 20,
  snapLen: 24,
  verdict: 26,
  reason: 27,
  hook: 28,
  family: 29,
  nameLen: 30,
  client: 32,
  name: 48,
  data: 304,
} as const;

export function encodeEvent(value: AbiEvent, target: Buffer = Buffer.alloc(432), offset = 0): Buffer {
  target.fill(0, offset, offset + 432);
  const at = view(target, offset, 432);
  at.setBigUint64(0, value.timeNs, true);
  at.setUint32(8, value.ifindex, true);
  at.setUint32(12, value.policy, true);
  at.setUint32(16, value.rule, true);
  at.setUint32(20, value.wireLen, true);
  at.setUint16(24, value.snapLen, true);
  at.setUint8(26, value.verdict);
  at.setUint8(27, value.reason);
  at.setUint8(28, value.hook);
  at.setUint8(29, value.family);
  at.setUint16(30, value.nameLen, true);
  putBytes(target, offset + 32, 16, value.client);
  putBytes(target, offset + 48, 256, value.name);
  putBytes(target, offset + 304, 128, value.data);
  return target;
}

export function decodeEvent(source: Uint8Array, offset = 0): AbiEvent {
  const at = view(source, offset, 432);
  return {
    timeNs: at.getBigUint64(0, true),
    ifindex: at.getUint32(8, true),
    policy: at.getUint32(12, true),
    rule: at.getUint32(16, true),
    wireLen: at.getUint32(20, true),
    snapLen: at.getUint16(24, true),
    verdict: at.getUint8(26),
    reason: at.getUint8(27),
    hook: at.getUint8(28),
    family: at.getUint8(29),
    nameLen: at.getUint16(30, true),
    client: getBytes(source, offset + 32, 16),
    name: getBytes(source, offset + 48, 256),
    data: getBytes(source, offset + 304, 128),
  };
}

function putBytes(target: Buffer, offset: number, length: number, bytes: Uint8Array): void {
  if (bytes.length !== length) throw new RangeError(`want ${length} bytes, not ${bytes.length}`);
  target.set(bytes, offset);
}

function getBytes(source: Uint8Array, offset: number, length: number): Uint8Array {
  return new Uint8Array(source.subarray(offset, offset + length));
}

function view(source: Uint8Array, offset: number, length: number): DataView {
  if (offset + length > source.length) throw new RangeError(`want ${length} bytes at ${offset}, have ${source.length}`);
  return new DataView(source.buffer, source.byteOffset + offset, length);
}
