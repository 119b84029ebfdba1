/* SPDX-License-Identifier: MIT */
/* Somebody else's filter: leaves a trace in the packet mark. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("tc")
int foreign(struct __sk_buff *skb)
{
	skb->mark |= 0x100000;
	return -1; /* TC_ACT_UNSPEC */
}

char _license[] SEC("license") = "GPL";
