/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Flows read by user space, many in one system call. (Needs kernel 5.14: BPF_PROG_TYPE_SYSCALL.) */
#ifndef L7EGG_FLOW_READS_H
#define L7EGG_FLOW_READS_H

#include "maps.h"

/* As whole words: the verifier wants to see each access to the context by itself. */
static __always_inline void copy_words(void *to, const void *from, __u32 bytes)
{
#pragma unroll
	for (__u32 at = 0; at < bytes; at += sizeof(__u64))
		*(__u64 *)(to + at) = *(const volatile __u64 *)(from + at);
}

static __always_inline void read_flow(struct l7_flow_read *read)
{
	const struct l7_flow *flow = NULL;
	struct l7_flow4_key four;
	struct l7_flow6_key six;

	/* No helper takes a key out of the context before kernel 6.1. */
	if (read->family == 4) {
		copy_words(&four, read->key, sizeof(four));
		flow = bpf_map_lookup_elem(&flows4, &four);
	} else if (read->family == 6) {
		copy_words(&six, read->key, sizeof(six));
		flow = bpf_map_lookup_elem(&flows6, &six);
	}
	read->found = flow != NULL;
	if (flow)
		copy_words(read->flow, flow, sizeof(*flow));
}

/* Every entry at a place that is known when it is compiled: the context can't be indexed. */
SEC("syscall")
int read_flows(struct l7_flow_read *reads)
{
#pragma unroll
	for (int i = 0; i < L7_FLOW_READS; i++)
		read_flow(reads + i);
	return 0;
}

#endif
