/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The one description of everything that kernel and user space share: marks, verdicts, reasons, map keys and values.
 * Included by the eBPF programs; src/core/abi.generated.ts is generated from it (scripts/gen-abi.ts), so keep the shape
 * that the generator reads: `#define L7_NAME value`, `enum l7_x { L7_X_NAME = n, // doc }`, `struct l7_x { fixed-width fields };`.
 *
 * Byte order: addresses, ports and everything copied from a packet are in network order; all other integers are in
 * host order. No implicit padding: every struct says its padding, user space zeroes it.
 */
#ifndef L7EGG_ABI_H
#define L7EGG_ABI_H

/* Changes with every incompatible change below; pinned maps of another version are never adopted. */
#define L7_ABI_VERSION 2

/* Default sizes of the maps; user space overrides them before the object is loaded. */
#define L7_MAX_NAMES 262144
#define L7_MAX_BINDINGS 262144
#define L7_MAX_FLOWS 524288 /* of IPv4; half as many of IPv6 */
#define L7_MAX_POLICIES 1024 /* ids fit in the 16 bits of a flow's key */
#define L7_MAX_INTERFACES 1024
#define L7_MAX_SOURCES 16384
#define L7_MAX_PORT_SETS 1024
#define L7_MAX_EVENT_BYTES 1048576
#define L7_MAX_QUESTIONS 32768
#define L7_MAX_ASKED 32768

/* Ranges in one port set, IPv6 extension headers walked, bytes of a packet copied into an event. */
#define L7_PORT_RANGES 16
#define L7_MAX_EXT_HEADERS 8
#define L7_EVENT_SNAP 128

/* An event of an allow wakes the reader at most once in so many ms; the reader looks again a little later by itself. Denials always wake it. */
#define L7_EVENT_QUIET_MS 50

/* DNS, the same for both sides: the longest time to live that counts and what is added to each; what moves an expiry by less teaches nothing new; how long an answer is awaited. */
#define L7_TTL_MAX_S 86400
#define L7_TTL_GRACE_MS 60000
#define L7_LEARN_AGAIN_MS 5000
#define L7_QUERY_MS 30000

/* The longest question (name, type, class, as on the wire) that the kernel reads. */
#define L7_QUESTION_BYTES 80

/* What a classifier says of a packet. The low two bits are also the value put in the mark (see l7_config.mark_shift). */
enum l7_verdict {
	L7_VERDICT_NONE = 0, // not ours: not governed, or not egress; passes untouched
	L7_VERDICT_INSPECT = 1, // user space must judge it: netfilter sends it to the NFQUEUE
	L7_VERDICT_PENDING = 2, // part of a handshake that carries nothing to judge: passes, decides nothing
	L7_VERDICT_ALLOW = 3, // decided: passes
	L7_VERDICT_DENY = 4, // decided: dropped, counted, reported
};

/* Why. One list for counters, events, logs, metrics and `explain`. Numbers are never reused. */
enum l7_reason {
	L7_REASON_NONE = 0, // no reason: nothing was decided
	L7_REASON_NOT_GOVERNED = 1, // source is in no policy
	L7_REASON_NOT_EGRESS = 2, // would not leave by the governed interface
	L7_REASON_ALLOW_CIDR = 3, // destination is in an allowed CIDR
	L7_REASON_ALLOW_ADDRESS = 4, // destination was learned for an allowed name and the address alone decides
	L7_REASON_ALLOW_NAME = 5, // the name on the wire is allowed (and bound to the address where the policy asks for it)
	L7_REASON_ALLOW_QUERY = 6, // DNS query for an allowed name to a trusted resolver
	L7_REASON_ALLOW_ANSWER = 7, // DNS answer released to its client
	L7_REASON_ALLOW_FLOW = 8, // cached verdict of an allowed flow
	L7_REASON_ALLOW_REPLY = 9, // reply of a connection that was opened from outside
	L7_REASON_ALLOW_FAIL_OPEN = 10, // let through because the policy says failMode: open
	L7_REASON_PENDING = 11, // handshake of a flow that its first payload will decide
	L7_REASON_INSPECT = 12, // climbed to user space

	L7_REASON_DENY_CIDR = 32, // destination is in a denied CIDR
	L7_REASON_PORT = 33, // destination is allowed, this port or protocol isn't
	L7_REASON_UNLEARNED = 34, // destination is in no allowed CIDR and this client learned it for no allowed name
	L7_REASON_EXPIRED = 35, // destination was learned, but its time to live is over
	L7_REASON_QUIC = 36, // QUIC that can't be inspected, or mustn't pass (--quic deny): no Initial seen, unknown version, keys that fit nothing
	L7_REASON_PROTOCOL = 37, // protocol that is never allowed by name (GRE, SCTP, ICMP other than echo, ...)
	L7_REASON_FRAGMENT = 38, // fragment that was not reassembled
	L7_REASON_EXT_HEADER = 39, // IPv6 extension headers: too many, routing type 0, or unreadable
	L7_REASON_MALFORMED = 40, // headers don't parse or contradict each other
	L7_REASON_NOT_INSPECTED = 41, // reached the gate without the verdict it was sent to ask for (rules flushed?)
	L7_REASON_NO_POLICY = 42, // interface is governed but its policy is missing or damaged
	L7_REASON_NO_NAME = 43, // no name where one belongs (no SNI, no Host, not TLS or HTTP on a name port)
	L7_REASON_NAME_DENIED = 44, // the name on the wire is in no rule
	L7_REASON_NAME_IP_MISMATCH = 45, // the name is allowed, but this client did not learn this address for it
	L7_REASON_HELLO_MALFORMED = 46, // ClientHello or request head that breaks its grammar, or is ambiguous
	L7_REASON_HELLO_TOO_LARGE = 47, // first bytes of the flow exceed the documented bound
	L7_REASON_HELLO_TIMEOUT = 48, // first bytes of the flow did not complete in time
	L7_REASON_OVERLAP = 49, // TCP segments overlap and disagree
	L7_REASON_REWRITTEN = 50, // judged bytes were sent again with other content before the server acknowledged them
	L7_REASON_MID_FLOW = 51, // flow was picked up in the middle and can't be proven allowed
	L7_REASON_CHECKSUM = 52, // bad TCP, UDP or IP checksum: the receiver would drop it, so it must not decide
	L7_REASON_OVERLOAD = 53, // a table or queue in user space is full
	L7_REASON_INTERNAL = 54, // exception or time-out in user space
	L7_REASON_DNS_NAME = 55, // DNS query for a name that is in no rule
	L7_REASON_DNS_MALFORMED = 56, // DNS message that breaks its grammar, or is more than one plain question
	L7_REASON_DNS_UNSOLICITED = 57, // DNS answer that matches no outstanding query of this client
	L7_REASON_DNS_REBIND = 58, // address in an answer points into a private or special range: not learned
	L7_REASON_DNS_CHAIN = 59, // record in an answer is not on the chain from the question: not learned
	L7_REASON_HTTP2_PRIOR = 60, // HTTP/2 with prior knowledge: not inspected in clear text
	L7_REASON_MULTICAST_EGRESS = 61, // reserved for multicast that would be routed out

	L7_REASON_MAP_FULL = 96, // counter only: an entry could not be stored; the packet was denied or the flow not cached
	L7_REASON_EVENTS_LOST = 97, // counter only: events suppressed by the rate limit or a full ring
	L7_REASON_MAX = 128, // size of the counters map
};

enum l7_verify {
	L7_VERIFY_DNS = 0, // a learned address is enough
	L7_VERIFY_SNI = 1, // the name on the wire is enough
	L7_VERIFY_BOTH = 2, // the name on the wire, and learned for this address by this client
};

/* How a client is recognised on an interface; the 16 bytes of `client` in the keys below. */
enum l7_client_by {
	L7_CLIENT_BY_MAC = 0, // {ifindex (4, host order), 0 0, MAC (6), 0 0 0 0}: one host, all its IPv4 and IPv6 addresses
	L7_CLIENT_BY_ADDRESS = 1, // source address, IPv4 as ::ffff:a.b.c.d
	L7_CLIENT_BY_INTERFACE = 2, // {ifindex (4, host order), 12 zero bytes}: all that is behind it; this box itself is ifindex 0
};

enum l7_hook {
	L7_HOOK_CLASSIFY = 0, // TC ingress on a LAN interface
	L7_HOOK_OUTPUT = 1, // socket filter in iptables OUTPUT
	L7_HOOK_GATE = 2, // TC egress on eface
};

/* Key 0 of map `config` (array of 1). */
struct l7_config {
	__u32 mark_mask; // two neighbouring bits, e.g. 0x30
	__u32 mark_shift; // position of the lower one, e.g. 4
	__u32 generation; // a cached flow of another generation is a miss
	__u32 fail_open; // 1: the gate lets INSPECT-marked packets pass (failMode: open)
	__u32 events_per_second; // budget of each CPU; 0 = no events
	__u32 fast; // 1: nobody's netfilter rules need to see forwarded flows, they may skip it
	__u32 previous; // the generation before, if the policy was changed while this one ran: its flows count that were judged anew (l7_flow.next); 0: none
	__u32 first_rule; // lowest rule number of the policy in force (user space's own: what the flows' rules mean to a restart)
	__u64 flow_idle_tcp_ns; // without a packet for so long, a cached TCP flow is a miss; 0 = never cached
	__u64 flow_idle_other_ns; // the same for UDP, ICMP echo and the rest
	__u64 flow_idle_deny_ns; // the same for denied flows
	__u8 hash_seed[16]; // key of the name hash in `bindings`
};

/* Map `interfaces` (hash): __u32 ifindex -> l7_interface. ifindex 0 is this box itself. A change counts from the kernel's next tick on. */
struct l7_interface {
	__u32 policy; // policy of what comes in here, unless `sources` says otherwise
	__u8 client_by; // enum l7_client_by
	__u8 has_sources; // 1: look up `sources` first
	__u8 default_governed; // 1: sources not in `sources` get `policy`; 0: they are not governed
	__u8 l3; // 1: no Ethernet header (tun, wg, ppp)
};

/* Map `egress` (hash): __u32 ifindex -> __u32 1. The governed ways out (eface). */

/* Map `sources` (LPM trie): l7_source_key -> __u32 policy. prefixlen counts ifindex (32) and address (128, IPv4 as ::ffff:a.b.c.d). */
struct l7_source_key {
	__u32 prefixlen;
	__u32 ifindex;
	__u8 addr[16];
};

/*
 * Map `policies` (array): __u32 policy id, plus L7_MAX_POLICIES while the generation is even -> l7_policy. Id 0 is never used. So there is room for two
 * versions of each, and one write, of the generation, changes from one to the other. All that a version refers to is written before that.
 */
struct l7_policy {
	__u8 present; // 0: governed without a policy: everything is denied (L7_REASON_NO_POLICY)
	__u8 verify; // enum l7_verify
	__u8 cidr4_shift; // 32 less the bits of an IPv4 address that its index in `cidr4_index` is made of
	__u8 quic; // 1: user space reads the name in QUIC's Initials; 0: QUIC to a name is denied
	__u32 name_ports; // port set: where a name on the wire belongs (defaults tcp 80,443,8080,8443, udp 443)
	__u32 cidr4_index; // first of the policy's entries in `cidr4_index`
	__u32 cidr6_node; // where the search in its IPv6 CIDRs begins: key in `cidr6_nodes`
};

/*
 * What the longest matching CIDR says. User space has pushed shorter prefixes down, so it alone decides: `ports` lists, most specific rule
 * first, which (protocol, port) is decided how. No range matches: L7_REASON_PORT if `strict`, else as if there were no CIDR.
 */
struct l7_cidr {
	__u8 verdict; // ALLOW, DENY: for every protocol and port. NONE: ask `ports`
	__u8 strict; // see above
	__u8 pad[2];
	__u32 rule; // rule of the verdict (ranges carry their own)
	__u32 ports; // key in `port_sets`, used if verdict is NONE; 0: nothing matches
};

/*
 * Map `cidr4` (array): __u32 -> l7_cidr4. The CIDRs of each policy, flattened: sorted ranges that cover all addresses, each from `first` to
 * before the next one's. Where no CIDR is, all of l7_cidr is 0.
 * Map `cidr4_index` (array): l7_policy.cidr4_index + (address >> l7_policy.cidr4_shift) -> l7_cidr4_index: the ranges that these addresses
 * are in. Both have room for what the rules need; where the policy can be changed, for two versions.
 */
struct l7_cidr4 {
	__u32 first; // host order
	struct l7_cidr cidr;
};
struct l7_cidr4_index {
	__u32 at; // key in `cidr4` of the range that begins at or before the first of these addresses
	__u32 count; // ranges; at least 1
};

/*
 * Map `cidr6` (array): __u32 -> l7_cidr6. Ranges as in `cidr4`, by both halves of the address.
 * Map `cidr6_nodes` (array): __u32 -> l7_cidr6_node. Addresses cluster, so each crowded place has an index of its own: slots of equal width from
 * the first of its ranges' beginnings to the last. What lies before or behind is in the first or the last slot.
 * Map `cidr6_index` (array): l7_cidr6_node.index + slot -> l7_cidr6_index: the ranges that these addresses are in, or the node that knows.
 * All have room for what the rules need; where the policy can be changed, for two versions.
 */
#define L7_CIDR6_LEVELS 4 /* nodes from a policy to its ranges at most */
struct l7_cidr6 {
	__u64 high; // first address, host order
	__u64 low;
	struct l7_cidr cidr;
	__u8 pad[4];
};
struct l7_cidr6_node {
	__u64 high; // by_low: the upper half that all its beginnings have
	__u64 first; // where slot 0 begins, in the half that the slots are made of
	__u32 index; // key in `cidr6_index` of slot 0
	__u32 last; // number of the last slot
	__u8 shift; // a slot is 2^shift wide
	__u8 by_low; // 1: slots of the lower half, 0: of the upper
	__u8 pad[6];
};
struct l7_cidr6_index {
	__u32 at; // key in `cidr6` of the range that begins before these addresses; `count` 0: key in `cidr6_nodes`
	__u32 count; // ranges; 0: there is a node
};

/* Map `port_sets` (array): __u32 -> l7_port_set. Set 0 is empty. First range that matches decides. A second version's sets have numbers above L7_MAX_PORT_SETS; the two above those are for what limits all of a policy's names. */
struct l7_port_range {
	__u8 proto; // IP protocol; 0 = any
	__u8 verdict; // ALLOW, DENY or INSPECT (INSPECT: a trusted resolver's port 53)
	__u8 pad[2];
	__u16 low; // host order; ignored where the protocol has no ports
	__u16 high;
	__u32 rule;
};
struct l7_port_set {
	__u32 count;
	struct l7_port_range ranges[L7_PORT_RANGES];
};

/* Map `names4`, `names6` (hash; full: the address is not learned, counted as MAP_FULL): addresses learned from DNS. key -> l7_name. */
struct l7_name4_key {
	__u32 policy;
	__u8 client[16];
	__u8 addr[4];
};
struct l7_name6_key {
	__u32 policy;
	__u8 client[16];
	__u8 addr[16];
};
#define L7_NAME_SHARED 1 /* flag: more than one name was seen on this address */
struct l7_name {
	__u64 expires_ns; // CLOCK_MONOTONIC; an entry past it counts as expired
	__u32 rule;
	__u32 ports; // port set: where the name's rule allows to go; 0 = everywhere
	__u32 flags;
	__u32 pad;
};

/* Map `bindings` (hash; full: as above): which name an address was learned for. Written together with names4/6. key -> l7_binding. */
struct l7_binding_key {
	__u32 policy;
	__u8 client[16];
	__u8 addr[16]; // IPv4 as ::ffff:a.b.c.d
	__u8 name_hash[16];
};
struct l7_binding {
	__u64 expires_ns;
	__u32 rule;
	__u32 ports; // port set: where the name's rule allows to go; 0 = everywhere
};

/* Map `questions` (LRU hash; full: the one not asked for longest goes, and climbs when it comes again): DNS questions that user space allowed a moment ago. */
struct l7_question_key {
	__u32 policy;
	__u8 client[16];
	__u8 resolver[16]; // IPv4 as ::ffff:a.b.c.d
	__u8 name_hash[16];
	__u16 type; // A or AAAA
	__u8 pad[2];
};
struct l7_question {
	__u64 expires_ns; // CLOCK_MONOTONIC
	__u32 generation;
	__u32 rule;
	__u32 ports; // port set of the rule, 0 = everywhere
	__u32 pad;
};

/*
 * Map `asked` (LRU hash; full: the oldest goes, its answer is dropped as unsolicited): questions that the kernel let pass and whose answers are awaited.
 * Addresses and port as the client sent them.
 */
struct l7_asked_key {
	__u8 source[16]; // IPv4 as ::ffff:a.b.c.d
	__u8 resolver[16];
	__be16 port;
	__be16 id; // of the DNS message
	__u32 ifindex; // interface by which the question left: the answer must come in there
};
struct l7_asked {
	__u64 time_ns; // CLOCK_MONOTONIC
	__u32 policy;
	__u32 generation;
	__u32 rule;
	__u32 ports;
	__u8 client[16];
	__u8 name_hash[16];
	__u16 type;
	__u16 length; // of `question`
	__u8 pad[4];
	__u8 question[L7_QUESTION_BYTES]; // name, type and class as they were sent, zeroes behind: an answer must repeat them byte for byte
};

/*
 * Maps `flows4`, `flows6` (LRU hash; full: the longest unused entry goes, its flow is judged anew): key -> l7_flow. Addresses and ports as
 * the client sent them. A key each, because hashing and comparing it is most of what a flow hit costs. The eight bytes behind the addresses
 * are the same in both.
 */
struct l7_flow4_key {
	__be32 src;
	__be32 dst;
	__be16 sport; // ICMP echo: identifier in both
	__be16 dport;
	__u16 policy;
	__u8 proto;
	__u8 pad;
};
struct l7_flow6_key {
	__u8 src[16];
	__u8 dst[16];
	__be16 sport; // ICMP echo: identifier in both
	__be16 dport;
	__u16 policy;
	__u8 proto;
	__u8 pad;
};
#define L7_FLOW_FINAL 1 /* flag: the server acknowledged all judged bytes (or nothing was judged) */
#define L7_FLOW_BY_HELLO 2 /* flag: the name on the wire decided; a new SYN must be judged anew */
#define L7_FLOW_CLIMBED 4 /* flag: a payload went to user space before the verdict; it alone judges the range from then on */
#define L7_FLOW_FAST 16 /* flag: both directions skip netfilter while l7_config.fast is 1 */
#define L7_FLOW_RELEASED 32 /* flag: a part of the first bytes went on undecided; only who knows which may judge the rest (user space writes it) */
#define L7_FLOW_QUIC 64 /* flag: long headers climb for as long as the flow lives: any may begin another connection, with another name */
#define L7_FLOW_OPENED 8 /* flag: the server acknowledged this flow's SYN, so its stream begins at judged_start */
struct l7_flow {
	__u64 last_seen_ns;
	__u64 packets; // from the client
	__u64 bytes;
	__u64 reply_packets; // from the server, counted where the watcher is attached
	__u64 reply_bytes;
	__u32 generation;
	__u32 rule;
	__u32 judged_start; // TCP sequence numbers, host order: [start, end) was judged. PENDING: both are where the stream begins
	__u32 judged_end;
	__u8 verdict; // ALLOW, DENY, or PENDING: a SYN passed, the first payload decides; QUIC: an Initial went to user space
	__u8 reason; // enum l7_reason
	__u8 flags;
	__u8 next; // while the policy is changed: low byte of the generation for which it was judged anew; 0: none
	__u32 opened_s; // CLOCK_MONOTONIC seconds of the SYN; 0 if the flow wasn't opened as PENDING
};

/*
 * What user space asks the program `read_flows`: L7_FLOW_READS of these one behind the other are its context. One system call for the flows of many
 * packets.
 */
#define L7_FLOW_READS 32
struct l7_flow_read {
	__u32 family; // 4, 6; 0: nothing is asked here
	__u32 found; // answer: 1, and `flow` is what is stored
	__u8 key[40]; // l7_flow4_key (the rest is not looked at) or l7_flow6_key
	__u8 flow[64]; // l7_flow
};

/*
 * What user space tells the program `carry_flows`: L7_FLOW_READS of these one behind the other are its context. A flow that the coming policy allows as
 * well is marked so (`now` 0: it counts before and after), or, when that policy is in force, becomes its own (`now` 1: only then are `rule` and `reason` written).
 */
struct l7_flow_carry {
	__u32 family; // 4, 6; 0: nothing is told here
	__u32 carried; // answer: 1, it was there and is marked
	__u8 key[40]; // l7_flow4_key (the rest is not looked at) or l7_flow6_key
	__u32 from; // the generation that it must be of, and the one before that
	__u32 previous;
	__u32 to;
	__u32 rule; // of the coming policy
	__u8 reason; // enum l7_reason; 0: as it is
	__u8 verdict; // which it must still have: ALLOW or PENDING
	__u8 now;
	__u8 pad[5];
};

/* What user space tells the program `switch_policy`: from now on `generation` counts, and of `previous` what was carried. */
struct l7_switch {
	__u32 previous;
	__u32 generation;
	__u32 first_rule;
	__u32 pad;
};

/* Map `counters` (per-CPU array of L7_REASON_MAX): __u32 reason -> l7_counter. */
struct l7_counter {
	__u64 packets;
	__u64 bytes;
};

/* Map `events` (ring buffer): denied packets, and the first packet of each flow that the kernel allowed. */
struct l7_event {
	__u64 time_ns;
	__u32 ifindex; // where the packet came in; 0 = this box
	__u32 policy;
	__u32 rule;
	__u32 wire_len; // length of the packet from the network header
	__u16 snap_len; // bytes of it in `data`
	__u8 verdict;
	__u8 reason;
	__u8 hook; // enum l7_hook
	__u8 family; // 4 or 6
	__u16 name_len; // of `name`; 0 unless the name on the wire was read in the kernel
	__u8 client[16];
	__u8 name[256]; // normal form
	__u8 data[L7_EVENT_SNAP]; // from the network header
};

#endif
