/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Both ends of `inject`: frames that the kernel's XDP test run hands to the stack as if an interface had received them, and a counter that ends them. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "inject.h"

#define SECOND_NS 1000000000ULL

const volatile struct inject_plan plan;
struct inject_state state;

/* The clock is read again after so many frames. */
#define CLOCK_EVERY 64

/* Whether a frame is due. */
static __always_inline int is_due(void)
{
	unsigned long long now, due;

	if (state.ended)
		return 0;
	if (state.sent < state.allowed)
		return 1;
	now = bpf_ktime_get_ns();
	if (!state.begun)
		state.begun = now;
	now -= state.begun;
	if (now >= plan.duration) {
		state.delivered = state.received;
		state.ended = now;
		return 0;
	}
	due = now * plan.rate / SECOND_NS - state.given_up;
	if (due > state.sent + plan.catch_up) {
		state.given_up += due - state.sent - plan.catch_up;
		due = state.sent + plan.catch_up;
	}
	state.allowed = due < state.sent + CLOCK_EVERY ? due : state.sent + CLOCK_EVERY;
	return state.sent < due;
}

SEC("xdp")
int inject(struct xdp_md *context)
{
	unsigned char *data = (unsigned char *)(long)context->data;

	if (data + FRAME_LENGTH > (unsigned char *)(long)context->data_end || !is_due())
		return XDP_DROP; /* the frame's memory is used again at once: this is how the run waits */
	/* All of it each time: the stack wrote into this memory when it forwarded the frame before. */
	for (int i = 0; i < FRAME_LENGTH / 8; i++)
		((unsigned long long *)data)[i] = plan.frame[i];
	*(unsigned int *)(data + FRAME_LENGTH - 4) = 0;
	*(unsigned short *)(data + FRAME_SOURCE_PORT) = bpf_htons(FIRST_SOURCE_PORT + state.sent % FLOWS);
	state.sent++;
	return XDP_PASS;
}

SEC("tc")
int count(struct __sk_buff *skb)
{
	const unsigned char *data = (const unsigned char *)(long)skb->data;
	const unsigned char *mine = (const unsigned char *)plan.frame;

	if (data + FRAME_LENGTH > (const unsigned char *)(long)skb->data_end ||
	    *(const unsigned short *)(data + 12) != bpf_htons(ETH_P_IP) ||
	    *(const unsigned short *)(data + FRAME_PORT) != *(const volatile unsigned short *)(mine + FRAME_PORT))
		return TC_ACT_UNSPEC; /* neighbours look for each other */
	/* A late one of an earlier run is none of ours. */
	if (*(const unsigned int *)(data + FRAME_STAMP) == *(const volatile unsigned int *)(mine + FRAME_STAMP))
		__sync_fetch_and_add(&state.received, 1);
	return TC_ACT_STOLEN;
}

char _license[] SEC("license") = "Dual MIT/GPL";
