/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The verifier must refuse this one: a map's value is used without asking whether it is there. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} some SEC(".maps");

SEC("tc") int refused(struct __sk_buff *skb)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&some, &key);
	return (int)*value;
}

char _license[] SEC("license") = "Dual MIT/GPL";
