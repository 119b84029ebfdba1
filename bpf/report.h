/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What leaves a trace: counters, events, new flows. */
#ifndef L7EGG_REPORT_H
#define L7EGG_REPORT_H

#include "decide.h"
#include "fast.h"

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
 * second, an idle second is the most it may lie behind. Denials, allows and questions have a bucket each, so that a flood of one can't hide the
 * others. That of questions is a tenth: a client may ask as often as it likes, and user space has a line for each answer that it sees.
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

/*
 * When an allow last woke the reader. A client that is denied waits for its reset; a log line can wait, and a wake-up for each new connection
 * would cost more than the connection itself. CPUs share it without a lock: one wake-up more does no harm.
 * (Not static: clang 14 would split it and write BTF that the kernel refuses.)
 */
__u64 last_wake_ns;

static __always_inline __u64 wake_flags(const struct decision *d, __u64 now)
{
	if (d->verdict != L7_VERDICT_ALLOW)
		return BPF_RB_FORCE_WAKEUP;
	if (now - last_wake_ns < L7_EVENT_QUIET_MS * 1000000ULL)
		return BPF_RB_NO_WAKEUP;
	last_wake_ns = now;
	return BPF_RB_FORCE_WAKEUP;
}

/* Not inlined: rare, and its stack must not add to the classifier's. */
static __noinline int emit(struct __sk_buff *skb, const struct packet *p, const struct decision *d, __u32 per_second)
{
	const struct hello_scratch *name = get_scratch();
	struct l7_event *event;
	__u64 event_ns;
	__u32 which;
	__u32 snap = p->wire_len < L7_EVENT_SNAP ? p->wire_len : L7_EVENT_SNAP;

	if (per_second == 0)
		return 0;
	which = d->by_question ? 2 : d->verdict == L7_VERDICT_ALLOW;
	event = within_budget(d->by_question ? (per_second + 9) / 10 : per_second, which) ?
			bpf_ringbuf_reserve(&events, sizeof(*event), 0) : 0;
	if (!event) {
		count(L7_REASON_EVENTS_LOST, p->wire_len);
		return 0;
	}
	event_ns = bpf_ktime_get_ns();
	event->time_ns = event_ns;
	event->ifindex = p->ifindex;
	event->policy = p->key.policy;
	event->rule = d->rule;
	event->wire_len = p->wire_len;
	event->verdict = d->verdict;
	event->reason = d->reason;
	event->hook = p->hook;
	event->family = p->family;
	client_of(skb, p, event->client);
	event->name_len = 0;
	__builtin_memset(event->name, 0, sizeof(event->name));
	if ((d->by_hello || d->by_question) && name) {
		event->name_len = name->name_len;
		__builtin_memcpy(event->name, name->name, sizeof(event->name));
	}
	__builtin_memset(event->data, 0, L7_EVENT_SNAP);
	/* The verifier wants to see the bounds; a packet of 0 bytes has nothing to copy. */
	if (snap < 1 || snap > L7_EVENT_SNAP || bpf_skb_load_bytes(skb, p->network, event->data, snap))
		snap = 0;
	event->snap_len = snap;
	bpf_ringbuf_submit(event, wake_flags(d, event_ns));
	return 0;
}

/* Not inlined for the same reasons. If the flow can't be stored, its next packet is judged by the same rules again. */
static __noinline int remember(const struct packet *p, const struct decision *d)
{
	struct l7_flow flow = {
		.last_seen_ns = coarse_now(),
		.packets = 1,
		.bytes = p->wire_len,
		.generation = p->generation,
		.rule = d->rule,
		.verdict = L7_VERDICT_ALLOW,
		.reason = d->reason,
		/* Nothing of the content was judged, so nothing has to be acknowledged. */
		.flags = L7_FLOW_FINAL,
	};

	if (d->by_hello) {
		flow.flags = L7_FLOW_BY_HELLO | L7_FLOW_OPENED;
		flow.judged_start = p->seq;
		flow.judged_end = p->seq + p->payload;
	}
	if (d->fast)
		flow.flags |= L7_FLOW_FAST;
	if (store_flow(p, &flow))
		count(L7_REASON_MAP_FULL, p->wire_len);
	return 0;
}

/*
 * A SYN goes out: remember where its stream begins. One that comes again changes nothing, neither what was judged since nor that a
 * payload climbed. If it can't be stored, user space finds no beginning for the first payload and denies it (MID_FLOW).
 * Of QUIC the entry says whether the flow skips netfilter, which must be so from its first packet on; without one it doesn't.
 */
static __noinline int open_flow(const struct packet *p, struct decision *d, const struct l7_config *cfg)
{
	struct l7_flow flow = {
		.last_seen_ns = coarse_now(),
		.packets = 1,
		.bytes = p->wire_len,
		.generation = p->generation,
		.rule = d->rule,
		.judged_start = p->seq + 1,
		.judged_end = p->seq + 1,
		.verdict = L7_VERDICT_PENDING,
		.reason = L7_REASON_PENDING,
		.flags = (d->fast ? L7_FLOW_FAST : 0) | (d->opens == OPENS_QUIC ? L7_FLOW_QUIC : 0),
	};
	const struct l7_flow *known = find_flow(p);

	flow.opened_s = flow.last_seen_ns / NS_PER_SECOND;
	if (known && is_of_generation(cfg, known, p->generation) && known->verdict != L7_VERDICT_DENY &&
	    known->judged_start == flow.judged_start && !(known->flags & L7_FLOW_FINAL)) {
		d->fast = (known->flags & L7_FLOW_FAST) != 0;
		return 0;
	}
	if (store_flow(p, &flow))
		count(L7_REASON_MAP_FULL, p->wire_len);
	return 0;
}

/* What a decision leaves behind for the flow's next packets. */
static __always_inline void record(struct __sk_buff *skb, const struct packet *p, struct decision *d,
				   const struct l7_config *cfg)
{
	if (p->hook == L7_HOOK_CLASSIFY && cfg->fast && (d->opens || d->new_flow))
		d->fast = may_skip(skb, p);
	if (d->opens) {
		open_flow(p, d, cfg);
	} else if (d->new_flow || d->by_hello) {
		remember(p, d);
		emit(skb, p, d, cfg->events_per_second);
	}
}

#endif
