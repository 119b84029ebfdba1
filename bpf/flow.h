/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What is cached of a packet's flow, and whether that is enough: of a flow that a name on the wire decides, the bytes that it was judged by must be
 * behind it. Changes nothing but the flow's own counts.
 */
#ifndef L7EGG_FLOW_H
#define L7EGG_FLOW_H

#include "decision.h"
#include "hello.h"
#include "lookup.h"
#include "maps.h"
#include "parse.h"
#include "quic.h"

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

#endif
