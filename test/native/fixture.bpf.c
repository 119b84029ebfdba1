/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What the addon's tests load: one map of each kind they need, and programs that leave a trace. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define MAP(NAME, TYPE, KEY, VALUE, ENTRIES, FLAGS)  \
	struct {                                     \
		__uint(type, TYPE);                  \
		__uint(max_entries, ENTRIES);        \
		__uint(map_flags, FLAGS);            \
		__type(key, KEY);                    \
		__type(value, VALUE);                \
	} NAME SEC(".maps")

struct lpm_key {
	__u32 prefixlen;
	__u8 addr[4];
};

MAP(hash, BPF_MAP_TYPE_HASH, __u32, __u64, 16, 0);
MAP(lru, BPF_MAP_TYPE_LRU_HASH, __u32, __u64, 1024, 0);
MAP(array, BPF_MAP_TYPE_ARRAY, __u32, __u64, 4, 0);
MAP(percpu, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u32, 4, 0);
MAP(percpu_hash, BPF_MAP_TYPE_PERCPU_HASH, __u32, __u64, 4, 0);
MAP(trie, BPF_MAP_TYPE_LPM_TRIE, struct lpm_key, __u32, 16, BPF_F_NO_PREALLOC);
MAP(counts, BPF_MAP_TYPE_ARRAY, __u32, __u64, 4, 0);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

static __always_inline int count(__u32 which)
{
	__u64 *value = bpf_map_lookup_elem(&counts, &which);
	if (value)
		__sync_fetch_and_add(value, 1);
	return -1; /* TC_ACT_UNSPEC, TCX_NEXT: the next program, then pass */
}

SEC("tc") int count_one(struct __sk_buff *skb)
{
	return count(0);
}

SEC("tc") int count_two(struct __sk_buff *skb)
{
	return count(1);
}

SEC("tc") int mark_it(struct __sk_buff *skb)
{
	skb->mark |= 0x30;
	return skb->ingress_ifindex;
}

SEC("tc") int name_device(struct __sk_buff *skb)
{
	return skb->ifindex;
}

/* One record of two words: the mark, and what remains of the first word of the packet. Mark 0: a discarded record. */
SEC("tc") int emit(struct __sk_buff *skb)
{
	__u32 *record = bpf_ringbuf_reserve(&ring, 8, 0);
	if (!record)
		return 1;
	record[0] = skb->mark;
	record[1] = skb->len;
	if (skb->mark == 0)
		bpf_ringbuf_discard(record, 0);
	else
		bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tc") int push_vlan(struct __sk_buff *skb)
{
	return bpf_skb_change_head(skb, 64, 0);
}

char _license[] SEC("license") = "Dual MIT/GPL";
