/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Replies: which flow they answer, and what they prove about it. */
#ifndef L7EGG_REPLY_H
#define L7EGG_REPLY_H

#include "decide.h"
#include "lookup.h"
#include "maps.h"
#include "packet.h"

/* Count a reply, turned around, in its flow. false: no such flow. */
static __always_inline bool count_reply(struct __sk_buff *skb, const struct l7_interface *iface, __u32 ifindex,
					struct packet *reply)
{
	__u32 from = skb->ingress_ifindex;
	struct l7_flow *flow;
	__s32 ahead;
	bool known;

	if (!policy_of(iface, ifindex, reply, &known))
		return false;
	flow = find_flow(reply);
	if (!flow)
		return false;
	flow->reply_packets++;
	flow->reply_bytes += reply->wire_len;
	if (!is_tcp(reply) || !(reply->tcp_flags & TCP_ACK) || flow->verdict == L7_VERDICT_DENY ||
	    (flow->flags & L7_FLOW_FINAL))
		return true;
	/* An acknowledgement proves something only if it came in by a way out; another LAN host could forge one. */
	ahead = reply->ack - flow->judged_end;
	if ((reply->ack == flow->judged_start || (ahead >= 0 && ahead < 1 << 30)) && !bpf_map_lookup_elem(&egress, &from))
		return true;
	if (reply->ack == flow->judged_start)
		flow->flags |= L7_FLOW_OPENED;
	else if (flow->verdict == L7_VERDICT_ALLOW && ahead >= 0 && ahead < 1 << 30)
		flow->flags |= L7_FLOW_FINAL;
	return true;
}

/* The flow that a reply to one of our LANs answers skips netfilter: so does the reply. `out`: the LAN. */
static __always_inline bool answers_fast_flow(const struct l7_config *cfg, struct packet *p, __u32 out)
{
	const struct l7_flow *flow;
	struct l7_interface lan;
	bool known;

	if (!get_interface(out, &lan))
		return false;
	turn_around(p);
	if (!policy_of(&lan, out, p, &known))
		return false;
	flow = find_flow(p);
	return flow && is_of_generation(cfg, flow, read_generation(cfg)) && flow->verdict != L7_VERDICT_DENY &&
	       (flow->flags & L7_FLOW_FAST);
}

#endif
