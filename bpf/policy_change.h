/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* A change of the policy while packets pass (docs/datapath.md). Run by user space, as `read_flows` is. */
#ifndef L7EGG_POLICY_CHANGE_H
#define L7EGG_POLICY_CHANGE_H

#include "flow_reads.h"
#include "maps.h"

static __always_inline struct l7_flow *flow_of(const struct l7_flow_carry *carry)
{
	struct l7_flow4_key four;
	struct l7_flow6_key six;

	if (carry->family == 4) {
		copy_words(&four, carry->key, sizeof(four));
		return bpf_map_lookup_elem(&flows4, &four);
	}
	if (carry->family == 6) {
		copy_words(&six, carry->key, sizeof(six));
		return bpf_map_lookup_elem(&flows6, &six);
	}
	return NULL;
}

/*
 * Field by field, so that what the other programs write into the entry meanwhile (that the server acknowledged, that a payload climbed) isn't lost. At each
 * moment the entry counts for the policy that is in force.
 */
static __always_inline void carry_flow(struct l7_flow_carry *carry)
{
	struct l7_flow *flow = flow_of(carry);
	__u32 from = carry->from, to = carry->to;
	__u8 reason = carry->reason;

	carry->carried = 0;
	if (!flow || flow->verdict != carry->verdict)
		return;
	if (flow->generation != from) {
		/* Carried by the change before this one, and not its own yet. */
		if (flow->generation != carry->previous || !flow->next || flow->next != (__u8)from)
			return;
		*(volatile __u32 *)&flow->generation = from;
	}
	if (carry->now) {
		flow->rule = carry->rule;
		if (reason)
			flow->reason = reason;
		*(volatile __u32 *)&flow->generation = to;
		*(volatile __u8 *)&flow->next = 0;
	} else {
		*(volatile __u8 *)&flow->next = to;
	}
	/* An LRU map uses entries again at once: if this one became another flow's meanwhile, that one wasn't judged. */
	if (flow_of(carry) != flow) {
		*(volatile __u8 *)&flow->next = 0;
		if (carry->now && flow->generation == to)
			*(volatile __u32 *)&flow->generation = 0;
		return;
	}
	carry->carried = 1;
}

SEC("syscall")
int carry_flows(struct l7_flow_carry *carries)
{
#pragma unroll
	for (int i = 0; i < L7_FLOW_READS; i++)
		carry_flow(carries + i);
	return 0;
}

/* `generation` is one aligned word: a packet is judged by the one policy or by the other. Of the flows before it none counts for a moment that isn't the old one's own. */
SEC("syscall")
int switch_policy(struct l7_switch *change)
{
	__u32 zero = 0;
	struct l7_config *cfg = bpf_map_lookup_elem(&config, &zero);

	if (!cfg)
		return 1;
	cfg->first_rule = change->first_rule;
	*(volatile __u32 *)&cfg->previous = change->previous;
	*(volatile __u32 *)&cfg->generation = change->generation;
	return 0;
}

#endif
