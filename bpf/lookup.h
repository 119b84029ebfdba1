/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Who sent a packet, and what the tables say of interfaces, sources and ports. */
#ifndef L7EGG_LOOKUP_H
#define L7EGG_LOOKUP_H

#include "maps.h"
#include "parse.h"

#define NS_PER_SECOND 1000000000ULL

static __always_inline const struct l7_config *get_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

/*
 * An entry of `interfaces`, remembered for one tick: a hash lookup for each packet is a quarter of what a flow hit costs, for an answer that
 * changes when a person changes it. So a change counts from the next tick on (4 ms at 250 Hz). Interfaces of large numbers are looked up each
 * time; so is what isn't there. A slot belongs to one interface and is written in one piece, so CPUs share it without a lock.
 * (Not static: clang 14 would split it and write BTF that the kernel refuses.)
 */
#define L7_REMEMBERED 4096

struct {
	__u64 tick; // of the value, plus 1: 0 is none
	__u64 value; // struct l7_interface
} remembered[L7_REMEMBERED];

static __always_inline bool get_interface(__u32 ifindex, struct l7_interface *out)
{
	__u64 tick = bpf_jiffies64() + 1;
	const __u64 *found;

	_Static_assert(sizeof(*out) == sizeof(__u64), "one piece");
	if (ifindex < L7_REMEMBERED && remembered[ifindex].tick == tick) {
		*(__u64 *)out = remembered[ifindex].value;
		return true;
	}
	found = bpf_map_lookup_elem(&interfaces, &ifindex);
	if (!found)
		return false;
	*(__u64 *)out = *found;
	if (ifindex < L7_REMEMBERED) {
		remembered[ifindex].value = *found;
		remembered[ifindex].tick = tick;
	}
	return true;
}

/* The client's 16 bytes (enum l7_client_by). false: it can't be told who sent this; `client` then holds the interface only. */
static __always_inline bool client_of(struct __sk_buff *skb, const struct packet *p, __u8 client[16])
{
	__builtin_memset(client, 0, 16);
	/* This box's own traffic has one client, whatever its address. */
	if (p->ifindex == 0)
		return true;
	if (p->client_by == L7_CLIENT_BY_ADDRESS) {
		copy_source(client, p);
		return p->family != 0;
	}
	*(__u32 *)client = p->ifindex;
	if (p->client_by == L7_CLIENT_BY_INTERFACE)
		return true;
	/* Behind the routing step the Ethernet header is this box's own. */
	if (p->client_by != L7_CLIENT_BY_MAC || p->hook != L7_HOOK_CLASSIFY || p->network != ETH_HLEN)
		return false;
	return bpf_skb_load_bytes(skb, ETH_ALEN, client + 6, ETH_ALEN) == 0;
}

/*
 * The policy in one store with the protocol beside it: the flow's lookup reads them as one word, and a word whose parts were stored one by
 * one is not there at once.
 */
static __always_inline void set_policy(struct packet *p, __u32 policy)
{
	__u32 word = policy | (__u32)p->key.proto << 16;

	_Static_assert(L7_MAX_POLICIES <= 1 << 16, "an id fits");
	__builtin_memcpy(&p->key.policy, &word, 4);
}

/*
 * Policy of who sent it (`sources` first). false: not governed. `known` is set to whether `sources` knew the address.
 */
static __always_inline bool policy_of(const struct l7_interface *iface, __u32 ifindex, struct packet *p, bool *known)
{
	*known = false;
	if (iface->has_sources) {
		struct l7_source_key key = { .prefixlen = 32 + 128, .ifindex = ifindex };
		__u32 *found;

		copy_source(key.addr, p);
		found = bpf_map_lookup_elem(&sources, &key);
		if (found) {
			set_policy(p, *found);
			*known = true;
			return true;
		}
	}
	set_policy(p, iface->policy);
	return iface->default_governed;
}

static __always_inline __u32 read_generation(const struct l7_config *cfg)
{
	return *(const volatile __u32 *)&cfg->generation;
}

static __always_inline struct l7_flow *find_flow(const struct packet *p)
{
	if (p->family == 4)
		return bpf_map_lookup_elem(&flows4, &p->key4);
	return bpf_map_lookup_elem(&flows6, &p->key);
}

/* 0: it could be stored. */
static __always_inline long store_flow(const struct packet *p, const struct l7_flow *flow)
{
	if (p->family == 4)
		return bpf_map_update_elem(&flows4, &p->key4, flow, BPF_ANY);
	return bpf_map_update_elem(&flows6, &p->key, flow, BPF_ANY);
}

/*
 * What the longest IPv4 CIDR around an address says; `addr` in host order. NULL: the tables contradict themselves.
 * The top bits of the address lead to a few ranges (seldom more than 3 halvings for 100,000 CIDRs as people collect them; 32 is all that a count
 * can take). What is halved is the number of ranges, not the range of indices: it doesn't depend on what was read, so the verifier needn't follow
 * two ways through each step.
 */
static __always_inline const struct l7_cidr *find_cidr4(const struct l7_policy *policy, __u32 addr)
{
	__u32 slice = policy->cidr4_index + (__u32)((__u64)addr >> policy->cidr4_shift);
	const struct l7_cidr4_index *index = bpf_map_lookup_elem(&cidr4_index, &slice);
	const struct l7_cidr4 *found;
	__u32 at, count;

	if (!index)
		return 0;
	at = index->at;
	count = index->count;
	found = bpf_map_lookup_elem(&cidr4, &at);
	if (!found)
		return 0;
	for (int i = 0; i < 32 && count > 1; i++) {
		__u32 half = count / 2, middle = at + half;
		const struct l7_cidr4 *range = bpf_map_lookup_elem(&cidr4, &middle);

		if (!range)
			return 0;
		if (range->first <= addr) {
			found = range;
			at = middle;
		}
		count -= half;
	}
	return &found->cidr;
}

/* The slot of an address. Clamped at both ends, so it is one of the node's whatever the address is. */
static __always_inline __u32 slot_of(const struct l7_cidr6_node *node, __u64 high, __u64 low)
{
	__u64 key = high, slot;

	if (node->by_low) {
		key = low;
		if (high != node->high)
			key = high < node->high ? 0 : ~0ULL;
	}
	if (key < node->first)
		return node->index;
	slot = (key - node->first) >> (node->shift & 63);
	if (slot > node->last)
		slot = node->last;
	return node->index + slot;
}

/*
 * The same for IPv6; `addr` in network order. Mostly one node and a few ranges, two nodes where addresses cluster. (find_cidr4 says why counts
 * are halved.)
 */
static __always_inline const struct l7_cidr *find_cidr6(const struct l7_policy *policy, const __be32 addr[4])
{
	__u64 high = (__u64)bpf_ntohl(addr[0]) << 32 | bpf_ntohl(addr[1]);
	__u64 low = (__u64)bpf_ntohl(addr[2]) << 32 | bpf_ntohl(addr[3]);
	__u32 at = policy->cidr6_node, count = 0;
	const struct l7_cidr6 *found;

	for (int level = 0; level < L7_CIDR6_LEVELS && !count; level++) {
		const struct l7_cidr6_node *node = bpf_map_lookup_elem(&cidr6_nodes, &at);
		const struct l7_cidr6_index *index;
		__u32 slot;

		if (!node)
			return 0;
		slot = slot_of(node, high, low);
		index = bpf_map_lookup_elem(&cidr6_index, &slot);
		if (!index)
			return 0;
		at = index->at;
		count = index->count;
	}
	found = bpf_map_lookup_elem(&cidr6, &at);
	if (!found || !count)
		return 0;
	for (int i = 0; i < 32 && count > 1; i++) {
		__u32 half = count / 2, middle = at + half;
		const struct l7_cidr6 *range = bpf_map_lookup_elem(&cidr6, &middle);

		if (!range)
			return 0;
		if (range->high < high || (range->high == high && range->low <= low)) {
			found = range;
			at = middle;
		}
		count -= half;
	}
	return &found->cidr;
}

#define RANGE_FOUND (1ULL << 40)

/*
 * First range of a port set that matches: RANGE_FOUND, verdict << 32, rule; 0: none. A global function: verified once.
 */
__noinline __u64 find_range(__u32 set_id, __u32 proto, __u32 port)
{
	const struct l7_port_set *set = bpf_map_lookup_elem(&port_sets, &set_id);
	bool ports = has_ports(proto);

	if (!set)
		return 0;
	for (__u32 i = 0; i < L7_PORT_RANGES && i < set->count; i++) {
		const struct l7_port_range *range = &set->ranges[i];

		if ((range->proto == 0 || range->proto == proto) && (!ports || (range->low <= port && port <= range->high)))
			return RANGE_FOUND | (__u64)range->verdict << 32 | range->rule;
	}
	return 0;
}

static __always_inline __u64 port_range(__u32 set_id, const struct packet *p)
{
	return find_range(set_id, p->key.proto, bpf_ntohs(p->key.dport));
}

static __always_inline __u8 range_verdict(__u64 range)
{
	return range >> 32;
}

#endif
