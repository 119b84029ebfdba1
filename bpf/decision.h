/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What a packet is to become, and why. */
#ifndef L7EGG_DECISION_H
#define L7EGG_DECISION_H

#include "maps.h"

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

#endif
