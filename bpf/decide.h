/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the maps say of a packet. Nothing here changes the packet, drops it, or counts it by reason: the programs do, each at its
 * place on the path (l7egg.bpf.c). docs/datapath.md has the order of the questions with its reasons.
 */
#ifndef L7EGG_DECIDE_H
#define L7EGG_DECIDE_H

#include "hello.h"
#include "lookup.h"
#include "maps.h"
#include "parse.h"
#include "quic.h"

enum opening {
	OPENS_NOTHING = 0,
	OPENS_STREAM, // a SYN that passes: where its stream begins
	OPENS_QUIC, // an Initial, perhaps, that climbs: whether the flow skips netfilter
};

struct decision {
	__u32 rule;
	__u8 verdict; // enum l7_verdict
	__u8 reason; // enum l7_reason
	__u8 new_flow; // 1: worth caching
	__u8 opens; // enum opening: what must be remembered of the beginning of a flow
	__u8 by_hello; // 1: the first payload was read and allowed here
	__u8 fast; // 1: a flow that skips netfilter
	__u8 by_question; // 1: a DNS question that was read and allowed here
};

static __always_inline void say(struct decision *d, __u8 verdict, __u8 reason, __u32 rule)
{
	d->verdict = verdict;
	d->reason = reason;
	d->rule = rule;
}

/*
 * CLOCK_MONOTONIC as of the last tick, read from the kernel once a tick: the helper costs as much as a third of a flow lookup.
 * Exact enough for seconds of idleness. CPUs share it without a lock: whoever sees the new tick with the old time is one tick late.
 * (Not static: clang 14 would split it and write BTF that the kernel refuses.)
 */
struct {
	__u64 tick;
	__u64 ns;
} coarse_clock;

static __always_inline __u64 coarse_now(void)
{
	__u64 tick = bpf_jiffies64();

	if (coarse_clock.tick != tick) {
		coarse_clock.ns = bpf_ktime_get_coarse_ns();
		coarse_clock.tick = tick;
	}
	return coarse_clock.ns;
}

/*
 * Flags that a segment with a hello has; anything more, and stacks may differ in what they do with it. Options likewise: none, or
 * exactly the timestamps that every stack sends (NOP NOP TS, RFC 7323 appendix A): a signature (RFC 2385, RFC 5925) that doesn't hold makes
 * the receiver drop the segment. Merged segments (GRO, TSO) part again behind this box and may get lost, and come again, one by one.
 */
static __always_inline bool is_plain_segment(struct __sk_buff *skb, const struct packet *p)
{
	__u8 options[4];

	if ((p->tcp_flags & ~TCP_PSH) != TCP_ACK || skb->gso_segs > 1)
		return false;
	if (p->tcp_header == 20)
		return true;
	return p->tcp_header == 32 && bpf_skb_load_bytes(skb, p->transport + 20, options, 4) == 0 && options[0] == 1 &&
	       options[1] == 1 && options[2] == 8 && options[3] == 10;
}

/*
 * The name on the wire, if this client learned this address for it: a verdict without user space. 0: not so, or not plain; user space is the
 * judge. The checksum isn't looked at: what the server discards is never acknowledged, so it never makes the flow final. A global
 * function: the verifier looks at it once.
 */
__noinline int judge_hello(struct __sk_buff *skb, struct packet *p, struct decision *d)
{
	const struct l7_config *cfg = get_config();
	const struct hello_scratch *s = get_scratch();
	struct l7_binding_key key = {};
	const struct l7_binding *binding;
	__u64 hash[2];

	if (!p || !d || !cfg || !s)
		return 0;
	if (!is_plain_segment(skb, p) || !read_hello(skb, p->transport + p->tcp_header, p->payload))
		return 0;
	/* First: its loops are then verified once, not once for each kind of client and family. */
	hash_name(s, cfg->hash_seed, hash);
	__builtin_memcpy(key.name_hash, hash, 16);
	key.policy = p->key.policy;
	if (!client_of(skb, p, key.client))
		return 0;
	copy_destination(key.addr, p);
	binding = bpf_map_lookup_elem(&bindings, &key);
	if (!binding || bpf_ktime_get_ns() >= binding->expires_ns)
		return 0;
	if (binding->ports && range_verdict(port_range(binding->ports, p)) != L7_VERDICT_ALLOW)
		return 0;
	say(d, L7_VERDICT_ALLOW, L7_REASON_ALLOW_NAME, binding->rule);
	return 1;
}

/*
 * Whether an allowed flow's packet needs no look at its bytes: the server has acknowledged what was judged, or will take these
 * bytes for what follows it (it stands at the beginning of the judged range: only an opened flow is ever judged). Of QUIC: it can begin no
 * connection and carry no hello.
 */
static __always_inline bool is_settled(struct __sk_buff *skb, const struct l7_flow *flow, struct packet *p)
{
	if (flow->verdict != L7_VERDICT_ALLOW)
		return false;
	if (flow->flags & L7_FLOW_FINAL)
		return true;
	if (!is_tcp(p))
		return !(flow->flags & L7_FLOW_QUIC) || quic_form(skb, p) == QUIC_SHORT;
	if (!p->payload)
		return true;
	return (__s32)(p->seq - flow->judged_end) >= 0;
}

/*
 * A payload that the server may take for the beginning of its stream. Read here as long as every one is a whole hello; as soon as one went
 * to user space, which then holds a part of the stream, all go there. Of an allowed flow it must be a whole allowed hello again: the server
 * takes the one or the other (EVASIONS 3 and 5).
 */
static __always_inline void decide_first_bytes(struct __sk_buff *skb, struct l7_flow *flow, struct packet *p,
					       struct decision *d)
{
	__u8 flags = flow->flags & (L7_FLOW_OPENED | L7_FLOW_CLIMBED);
	bool pending = flow->verdict == L7_VERDICT_PENDING;

	if (flags == L7_FLOW_OPENED && p->seq == flow->judged_start && judge_hello(skb, p, d)) {
		d->by_hello = pending;
		return;
	}
	if (pending)
		flow->flags |= L7_FLOW_CLIMBED;
	say(d, L7_VERDICT_INSPECT, L7_REASON_INSPECT, flow->rule);
}

/* Of this generation, or of the one before and judged anew for this one. */
static __always_inline bool is_of_generation(const struct l7_config *cfg, const struct l7_flow *flow, __u32 generation)
{
	if (flow->generation == generation)
		return true;
	return flow->next && flow->next == (__u8)generation && flow->generation == cfg->previous;
}

/*
 * Of a flow of QUIC, what isn't settled. What has a long header may carry a hello: user space is the judge, for as long as the flow lives. All else
 * is not for a flow that nobody has allowed yet (short headers: of a connection that began elsewhere), or speaks a version that nobody can read.
 */
static __always_inline void decide_quic(struct __sk_buff *skb, const struct l7_flow *flow, struct packet *p, struct decision *d)
{
	if (quic_form(skb, p) == QUIC_LONG)
		say(d, L7_VERDICT_INSPECT, L7_REASON_INSPECT, flow->rule);
	else
		say(d, L7_VERDICT_DENY, L7_REASON_QUIC, flow->rule);
}

/* The flow of a packet if its cached verdict counts; `now` is set. 0: there is none, or none that counts. */
static __always_inline struct l7_flow *live_flow(const struct l7_config *cfg, const struct packet *p, __u64 *now)
{
	struct l7_flow *flow;
	__u64 idle;

	/* A new connection is judged anew, whatever an earlier one on the same ports was. */
	if (!p->has_flow || is_syn(p))
		return 0;
	flow = find_flow(p);
	if (!flow || !is_of_generation(cfg, flow, p->generation))
		return 0;
	idle = is_tcp(p) ? cfg->flow_idle_tcp_ns : cfg->flow_idle_other_ns;
	if (flow->verdict == L7_VERDICT_DENY)
		idle = cfg->flow_idle_deny_ns;
	*now = coarse_now();
	/* User space writes exact times, so `last_seen` may lie ahead: no age. */
	if (!idle || (__s64)(*now - flow->last_seen_ns) >= (__s64)idle)
		return 0;
	return flow;
}

/*
 * Count a packet in its flow, by plain additions, because the packets of one flow and direction come by one CPU at a time (receive queues and
 * the socket's lock see to that), and where they don't a lost count costs nobody anything, while two locked additions cost each packet
 * some 10 ns.
 */
static __always_inline void touch(struct l7_flow *flow, const struct packet *p, __u64 now)
{
	flow->last_seen_ns = now;
	flow->packets++;
	flow->bytes += p->wire_len;
}

/* By the cached verdict of a live flow; the packet is counted in it. */
static __always_inline void decide_by_flow(struct __sk_buff *skb, struct l7_flow *flow, __u64 now, struct packet *p,
					   struct decision *d)
{
	d->fast = (flow->flags & L7_FLOW_FAST) != 0;
	if (flow->verdict == L7_VERDICT_DENY)
		say(d, L7_VERDICT_DENY, flow->reason, flow->rule);
	else if (is_settled(skb, flow, p))
		say(d, L7_VERDICT_ALLOW, L7_REASON_ALLOW_FLOW, flow->rule);
	else if (flow->flags & L7_FLOW_QUIC)
		decide_quic(skb, flow, p, d);
	else if (!p->payload)
		say(d, L7_VERDICT_PENDING, L7_REASON_PENDING, 0);
	else
		decide_first_bytes(skb, flow, p, d);
	/* OUTPUT only asks; the packet is counted when it comes to the gate. What climbs is not counted here. */
	if (p->hook != L7_HOOK_OUTPUT && d->verdict != L7_VERDICT_INSPECT)
		touch(flow, p, now);
}

/* The longest CIDR around the destination. false: none speaks of this packet. */
static __always_inline bool decide_by_cidr(const struct packet *p, const struct l7_policy *policy, struct decision *d)
{
	const struct l7_cidr *cidr;
	__u64 range;

	if (p->family == 4)
		cidr = find_cidr4(policy, bpf_ntohl(p->key4.dst));
	else
		cidr = find_cidr6(policy, (const __be32 *)p->key.dst);
	/* Never written so by user space: closed. */
	if (!cidr) {
		say(d, L7_VERDICT_DENY, L7_REASON_NO_POLICY, 0);
		return true;
	}
	if (cidr->verdict == L7_VERDICT_ALLOW) {
		say(d, L7_VERDICT_ALLOW, L7_REASON_ALLOW_CIDR, cidr->rule);
		return true;
	}
	/* Written by a person as denied. */
	if (cidr->verdict == L7_VERDICT_DENY) {
		say(d, L7_VERDICT_DENY, L7_REASON_DENY_CIDR, cidr->rule);
		return true;
	}
	/* A fragment's ports can't be trusted to be the reassembled packet's, so ranges don't speak of it. */
	if (p->fragment)
		return false;
	range = cidr->ports ? port_range(cidr->ports, p) : 0;
	if (range) {
		__u32 rule = (__u32)range ? (__u32)range : cidr->rule;

		if (range_verdict(range) == L7_VERDICT_ALLOW)
			say(d, L7_VERDICT_ALLOW, L7_REASON_ALLOW_CIDR, rule);
		else if (range_verdict(range) == L7_VERDICT_INSPECT)
			say(d, L7_VERDICT_INSPECT, L7_REASON_INSPECT, rule);
		else /* denied by a person, or a verdict that no version wrote: deny */
			say(d, L7_VERDICT_DENY, L7_REASON_DENY_CIDR, rule);
		return true;
	}
	/* The address is allowed, only not for this port. */
	if (cidr->strict)
		say(d, L7_VERDICT_DENY, L7_REASON_PORT, cidr->rule);
	return cidr->strict;
}

static __always_inline const struct l7_name *find_name(struct __sk_buff *skb, const struct packet *p)
{
	if (p->family == 4) {
		struct l7_name4_key key = { .policy = p->key.policy };

		if (!client_of(skb, p, key.client))
			return 0;
		*(__be32 *)key.addr = p->key4.dst;
		return bpf_map_lookup_elem(&names4, &key);
	} else {
		struct l7_name6_key key = { .policy = p->key.policy };

		if (!client_of(skb, p, key.client))
			return 0;
		__builtin_memcpy(key.addr, p->key.dst, 16);
		return bpf_map_lookup_elem(&names6, &key);
	}
}

/* A handshake carries no name. A SYN with data (RFC 7413), FIN or RST is for user space. */
static __always_inline void pend_handshake(const struct packet *p, __u32 rule, struct decision *d)
{
	if (!is_tcp(p) || p->payload || (is_syn(p) && (p->tcp_flags & (TCP_FIN | TCP_RST)))) {
		say(d, L7_VERDICT_INSPECT, L7_REASON_INSPECT, rule);
		return;
	}
	say(d, L7_VERDICT_PENDING, L7_REASON_PENDING, rule);
	d->opens = is_syn(p) ? OPENS_STREAM : OPENS_NOTHING;
}

/* QUIC's port, at an address that names decide. The name is in the Initial, which only user space reads. */
static __always_inline void inspect_quic(struct __sk_buff *skb, struct packet *p, const struct l7_policy *policy, __u32 rule,
					 struct decision *d)
{
	/* Denied with its own reason, so that clients fall back to TCP. */
	if (!policy->quic || quic_form(skb, p) != QUIC_LONG) {
		say(d, L7_VERDICT_DENY, L7_REASON_QUIC, rule);
		return;
	}
	say(d, L7_VERDICT_INSPECT, L7_REASON_INSPECT, rule);
	d->opens = OPENS_QUIC;
}

static __always_inline void decide_by_name(struct __sk_buff *skb, struct packet *p, const struct l7_policy *policy,
					   struct decision *d)
{
	const struct l7_name *name;

	if (policy->verify == L7_VERIFY_SNI) {
		pend_handshake(p, 0, d);
		/* What isn't QUIC, or no beginning of it, climbs as well: it may be the reply of a connection from outside. */
		if (p->key.proto == IPPROTO_UDP && policy->quic && port_range(policy->name_ports, p) &&
		    quic_form(skb, p) == QUIC_LONG)
			d->opens = OPENS_QUIC;
		return;
	}
	name = find_name(skb, p);
	if (!name || bpf_ktime_get_ns() >= name->expires_ns) {
		/*
		 * A client that opens a connection to an address that it didn't learn for an allowed name: what default deny is for. Anything
		 * but an opening SYN may be the reply of a connection from outside, which conntrack knows and the kernel's maps don't.
		 */
		if (is_syn(p))
			say(d, L7_VERDICT_DENY, name ? L7_REASON_EXPIRED : L7_REASON_UNLEARNED, name ? name->rule : 0);
		else
			say(d, L7_VERDICT_INSPECT, L7_REASON_INSPECT, 0);
		return;
	}
	if (name->ports) {
		/* The name's rule allows other ports only. */
		if (range_verdict(port_range(name->ports, p)) != L7_VERDICT_ALLOW) {
			say(d, L7_VERDICT_DENY, L7_REASON_PORT, name->rule);
			return;
		}
	}
	if (is_tcp(p)) {
		if (policy->verify == L7_VERIFY_DNS)
			say(d, L7_VERDICT_ALLOW, L7_REASON_ALLOW_ADDRESS, name->rule);
		else
			pend_handshake(p, name->rule, d);
	} else if (p->key.proto == IPPROTO_UDP) {
		if (policy->verify != L7_VERIFY_DNS && port_range(policy->name_ports, p))
			inspect_quic(skb, p, policy, name->rule, d);
		else
			say(d, L7_VERDICT_ALLOW, L7_REASON_ALLOW_ADDRESS, name->rule);
	} else if (is_echo_request(p)) {
		say(d, L7_VERDICT_ALLOW, L7_REASON_ALLOW_ADDRESS, name->rule);
	} else {
		/* User space denies these (L7_REASON_PROTOCOL) unless conntrack knows them as a reply or a related error. */
		say(d, L7_VERDICT_INSPECT, L7_REASON_INSPECT, 0);
	}
}

/*
 * CIDRs, then names. `p->key.policy` is set, `p` is IP or has an error, `d` is zeroed. A global function: the verifier looks at it once, not once for
 * each way to parse a packet. Always returns 0.
 */
__noinline int decide_anew(struct __sk_buff *skb, struct packet *p, struct decision *d)
{
	const struct l7_policy *policy;
	__u32 policy_id;

	if (!p || !d)
		return 0;
	/* Not what IP, TCP, UDP or ICMP call a packet: the receiver's reading of it can't be known. */
	if (p->error) {
		say(d, L7_VERDICT_DENY, p->error, 0);
		return 0;
	}
	/* Each generation has its own half of the tables. */
	policy_id = p->key.policy + (p->generation & 1 ? 0 : L7_MAX_POLICIES);
	policy = bpf_map_lookup_elem(&policies, &policy_id);
	/* Governed, and nobody said how: closed. */
	if (!policy || !policy->present) {
		say(d, L7_VERDICT_DENY, L7_REASON_NO_POLICY, 0);
		return 0;
	}
	if (!decide_by_cidr(p, policy, d)) {
		/* netfilter puts fragments together before the queue, so user space sees the whole packet. */
		if (p->fragment)
			say(d, L7_VERDICT_INSPECT, L7_REASON_INSPECT, 0);
		else
			decide_by_name(skb, p, policy, d);
	}
	/*
	 * Worth an entry: the first packet of what is now allowed. Not a TCP packet amid a connection: its SYN made one, and without one it
	 * is allowed by the same answer each time.
	 */
	d->new_flow = d->verdict == L7_VERDICT_ALLOW && p->has_flow && (!is_tcp(p) || is_syn(p));
	return 0;
}

/* Flow, then the rest. Whether the packet leaves by a governed way out is not asked here. */
static __always_inline void decide(struct __sk_buff *skb, const struct l7_config *cfg, struct packet *p, struct decision *d)
{
	__u64 now;
	struct l7_flow *flow;

	p->generation = read_generation(cfg);
	flow = live_flow(cfg, p, &now);

	if (flow)
		decide_by_flow(skb, flow, now, p, d);
	else
		decide_anew(skb, p, d);
}

#endif
