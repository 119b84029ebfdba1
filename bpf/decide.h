/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the maps say of a packet. Nothing here changes the packet, drops it, or counts it by reason: the programs do, each at its
 * place on the path (l7egg.bpf.c). docs/datapath.md has the order of the questions with its reasons.
 */
#ifndef L7EGG_DECIDE_H
#define L7EGG_DECIDE_H

#include "decision.h"
#include "flow.h"
#include "lookup.h"
#include "maps.h"
#include "parse.h"
#include "quic.h"

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
