/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What leaves a trace: counters, events, new flows. */
#ifndef L7EGG_REPORT_H
#define L7EGG_REPORT_H

#include "decide.h"

static __always_inline void count(__u32 reason, __u32 bytes)
{
	struct l7_counter *counter = bpf_map_lookup_elem(&counters, &reason);

	if (!counter)
		return;
	counter->packets++;
	counter->bytes += bytes;
}

/*
 * The rate limit, as a bucket of one second's events for each CPU, in the form of a virtual clock: each event moves it on by its share of a
 * second, an idle second is the most it may lie behind. Denials and allows have a bucket each, so that a flood of one can't hide the other.
 */
static __always_inline bool within_budget(__u32 per_second, __u32 which)
{
	__u64 *clock = bpf_map_lookup_elem(&event_budget, &which);
	__u64 now = bpf_ktime_get_ns();
	__u64 share = NS_PER_SECOND / per_second;

	if (!clock)
		return false;
	if (*clock + NS_PER_SECOND < now)
		*clock = now - NS_PER_SECOND;
	if (*clock + share > now)
		return false;
	*clock += share;
	return true;
}

/* Not inlined: rare, and its stack must not add to the classifier's. */
static __noinline int emit(struct __sk_buff *skb, const struct packet *p, const struct decision *d, __u32 per_second)
{
	struct l7_event *event;
	__u32 snap = p->wire_len < L7_EVENT_SNAP ? p->wire_len : L7_EVENT_SNAP;

	if (per_second == 0)
		return 0;
	event = within_budget(per_second, d->verdict == L7_VERDICT_ALLOW) ?
			bpf_ringbuf_reserve(&events, sizeof(*event), 0) : 0;
	if (!event) {
		count(L7_REASON_EVENTS_LOST, p->wire_len);
		return 0;
	}
	event->time_ns = bpf_ktime_get_ns();
	event->ifindex = p->ifindex;
	event->policy = p->key.policy;
	event->rule = d->rule;
	event->wire_len = p->wire_len;
	event->verdict = d->verdict;
	event->reason = d->reason;
	event->hook = p->hook;
	event->family = p->family;
	event->pad[0] = event->pad[1] = 0;
	client_of(skb, p, event->client);
	__builtin_memset(event->data, 0, L7_EVENT_SNAP);
	/* The verifier wants to see the bounds; a packet of 0 bytes has nothing to copy. */
	if (snap < 1 || snap > L7_EVENT_SNAP || bpf_skb_load_bytes(skb, p->network, event->data, snap))
		snap = 0;
	event->snap_len = snap;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* Not inlined for the same reasons. If the flow can't be stored, its next packet is judged by the same rules again. */
static __noinline int remember(const struct packet *p, const struct decision *d, __u32 generation)
{
	struct l7_flow flow = {
		.last_seen_ns = coarse_now(),
		.packets = 1,
		.bytes = p->wire_len,
		.generation = generation,
		.rule = d->rule,
		.verdict = L7_VERDICT_ALLOW,
		.reason = d->reason,
		/* Nothing of the content was judged, so nothing has to be acknowledged. */
		.flags = L7_FLOW_FINAL,
	};

	if (bpf_map_update_elem(&flows, &p->key, &flow, BPF_ANY))
		count(L7_REASON_MAP_FULL, p->wire_len);
	return 0;
}

#endif
