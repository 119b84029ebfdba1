/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The short way: packets of flows that netfilter has nothing to do with go from TC ingress of one interface to TC egress of the other, both
 * ways, from the first packet to the last. Half of what forwarding a new connection costs is conntrack and rules that say nothing of it.
 *
 * Whether nobody's rules need to see them is user space's question (src/edge/fastPath.ts), which sets l7_config.fast. All of a flow or nothing: a conntrack
 * that sees one direction, or the middle, would take the server for who opened it. What is for user space goes the long way; conntrack
 * then takes it for the beginning of a connection from the client, which it is.
 */
#ifndef L7EGG_FAST_H
#define L7EGG_FAST_H

#include "maps.h"
#include "parse.h"
#include "route.h"

/* Bytes of one packet on the wire as it will leave: of a merged one (GRO), of its longest segment. 0: can't be told. */
static __always_inline __u32 wire_size(struct __sk_buff *skb, const struct packet *p)
{
	if (!skb->gso_size)
		return p->wire_len;
	if (is_tcp(p))
		return p->transport + p->tcp_header - p->network + skb->gso_size;
	return p->key.proto == IPPROTO_UDP ? p->transport + 8 - p->network + skb->gso_size : 0;
}

/*
 * What a route lookup said, remembered for one tick as an interface's entry is (lookup.h): the lookup and the question whether its way out is
 * governed cost more than all else that is done for a packet here. Everything that the lookup was asked by is compared, but the length,
 * which has its bound beside it. A slot belongs to one CPU, whose programs don't interrupt each other.
 */
#define L7_WAYS 256

struct way {
	__u64 tick; // of the answer, plus 1: 0 is none
	struct l7_flow6_key key; // as in the packet, of both families
	__u32 in; // where the packet came in
	__u32 out; // interface
	__u32 mtu; // bytes
	__u8 next[16]; // of the next hop, IPv4 in the first four
	__u8 family; // of the packet: 4 or 6
	__u8 next_family; // of the next hop, AF_*
	__u8 governed; // `out` is in `egress`
	__u8 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, L7_WAYS);
	__type(key, __u32);
	__type(value, struct way);
} ways SEC(".maps");

static __always_inline bool same_key(const struct l7_flow6_key *a, const struct l7_flow6_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	_Static_assert(sizeof(*a) == 5 * sizeof(*x), "five words");
	return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4])) == 0;
}

static __always_inline bool is_way_of(const struct way *way, const struct packet *p, __u64 tick)
{
	return way->tick == tick && way->in == p->ifindex && way->family == p->family && same_key(&way->key, &p->key);
}

/* Not inlined: once a tick for each flow. false: no way that a packet of any length could take. */
static __noinline int ask_way(struct __sk_buff *skb, const struct packet *p, struct way *way, __u32 size)
{
	struct bpf_fib_lookup fib = {
		.l4_protocol = p->key.proto,
		.sport = p->key.sport,
		.dport = p->key.dport,
		.tot_len = size,
		.ifindex = p->ifindex,
	};
	__u32 out;

	if (p->family == 4) {
		fib.family = AF_INET;
		fib.ipv4_src = p->key4.src;
		fib.ipv4_dst = p->key4.dst;
	} else {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, p->key.src, 16);
		__builtin_memcpy(fib.ipv6_dst, p->key.dst, 16);
	}
	way->tick = 0;
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), L7_FIB_SKIP_NEIGH) != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	way->key = p->key;
	way->in = p->ifindex;
	way->family = p->family;
	out = fib.ifindex;
	way->out = out;
	/* Kernels before 5.13 don't say it: then this length is what is known to fit. */
	way->mtu = fib.mtu_result > size ? fib.mtu_result : size;
	way->next_family = fib.family;
	if (fib.family == AF_INET)
		*(__be32 *)way->next = fib.ipv4_dst;
	else
		__builtin_memcpy(way->next, fib.ipv6_dst, 16);
	way->governed = bpf_map_lookup_elem(&egress, &out) != 0;
	way->tick = bpf_jiffies64() + 1;
	return 1;
}

/* The route as the kernel would take it. NULL: no way, or one on which this packet needs the stack (too long, forwarding off). */
static __always_inline const struct way *find_way(struct __sk_buff *skb, const struct packet *p)
{
	__u32 size = wire_size(skb, p);
	__u32 slot = (p->key4.dst * 0x9e3779b1U ^ (__u32)p->key.sport << 16 ^ p->key.dport) * 0x85ebca6bU >> 24;
	struct way *way = bpf_map_lookup_elem(&ways, &slot);

	if (!way || size == 0 || size > 0xffff)
		return 0;
	if (!is_way_of(way, p, bpf_jiffies64() + 1) && !ask_way(skb, p, way, size))
		return 0;
	return size <= way->mtu ? way : 0;
}

/* One hop less, as ip_forward() does (RFC 1812 5.3.1, RFC 8200 3). false: none is left, the stack tells the sender. */
static __always_inline bool take_hop(struct __sk_buff *skb, const struct packet *p)
{
	__u8 word[4];
	__u32 sum;

	if (p->family == 6) {
		if (p->hop_limit <= 1)
			return false;
		word[0] = p->hop_limit - 1;
		return bpf_skb_store_bytes(skb, p->network + 7, word, 1, BPF_F_RECOMPUTE_CSUM) == 0;
	}
	/* RFC 1141: the checksum with it. */
	if (bpf_skb_load_bytes(skb, p->network + 8, word, 4) || word[0] <= 1)
		return false;
	sum = ((__u32)word[2] << 8 | word[3]) + 0x100;
	sum = (sum & 0xffff) + (sum >> 16);
	word[0]--;
	word[2] = sum >> 8;
	word[3] = sum;
	return bpf_skb_store_bytes(skb, p->network + 8, word, 4, 0) == 0;
}

/* Off it goes; the neighbour is looked up, asked for and kept as the stack does it. TC_ACT_UNSPEC: not so, and nothing has changed. */
static __always_inline int send_on(struct __sk_buff *skb, const struct packet *p, const struct way *way)
{
	struct bpf_redir_neigh next = { .nh_family = way->next_family };

	if (!take_hop(skb, p))
		return -1;
	__builtin_memcpy(next.ipv6_nh, way->next, 16);
	return bpf_redirect_neigh(way->out, &next, sizeof(next), 0);
}

/* A client's packet, decided or part of a handshake: out by a governed interface. TC_ACT_UNSPEC: the long way. */
static __noinline int skip_out(struct __sk_buff *skb, const struct packet *p)
{
	const struct way *way = find_way(skb, p);

	return way && way->governed ? send_on(skb, p, way) : -1;
}

/*
 * Asked once for each flow, at its first packet: do replies find back the way this came? A source that doesn't belong here is the
 * stack's business (rp_filter). Only TCP and UDP, over Ethernet.
 */
static __noinline int may_skip(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_fib_lookup fib = { .l4_protocol = p->key.proto, .ifindex = p->ifindex };

	if (p->network != ETH_HLEN || (!is_tcp(p) && p->key.proto != IPPROTO_UDP))
		return 0;
	if (p->family == 4) {
		fib.family = AF_INET;
		fib.ipv4_src = p->key4.dst;
		fib.ipv4_dst = p->key4.src;
	} else {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, p->key.dst, 16);
		__builtin_memcpy(fib.ipv6_dst, p->key.src, 16);
	}
	return bpf_fib_lookup(skb, &fib, sizeof(fib), L7_FIB_SKIP_NEIGH) == BPF_FIB_LKUP_RET_SUCCESS && fib.ifindex == p->ifindex;
}

#endif
