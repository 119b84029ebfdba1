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
	return is_tcp(p) ? p->transport + p->tcp_header - p->network + skb->gso_size : 0;
}

/* The route as the kernel would take it. false: no way, or one on which this packet needs the stack (too long, forwarding off). */
static __always_inline bool find_way(struct __sk_buff *skb, const struct packet *p, struct bpf_fib_lookup *fib)
{
	__u32 size = wire_size(skb, p);

	if (size == 0 || size > 0xffff)
		return false;
	fib->l4_protocol = p->key.proto;
	fib->sport = p->key.sport;
	fib->dport = p->key.dport;
	fib->tot_len = size;
	fib->ifindex = p->ifindex;
	if (p->family == 4) {
		fib->family = AF_INET;
		fib->ipv4_src = *(const __be32 *)&p->key.src[12];
		fib->ipv4_dst = *(const __be32 *)&p->key.dst[12];
	} else {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, p->key.src, 16);
		__builtin_memcpy(fib->ipv6_dst, p->key.dst, 16);
	}
	return bpf_fib_lookup(skb, fib, sizeof(*fib), L7_FIB_SKIP_NEIGH) == BPF_FIB_LKUP_RET_SUCCESS;
}

/* One hop less, as ip_forward() does (RFC 1812 5.3.1, RFC 8200 3). false: none is left, the stack tells the sender. */
static __always_inline bool take_hop(struct __sk_buff *skb, const struct packet *p)
{
	__u8 word[4];
	__u32 sum;

	if (p->hop_limit <= 1)
		return false;
	if (p->family == 6) {
		word[0] = p->hop_limit - 1;
		return bpf_skb_store_bytes(skb, p->network + 7, word, 1, BPF_F_RECOMPUTE_CSUM) == 0;
	}
	/* RFC 1141: the checksum with it. */
	if (bpf_skb_load_bytes(skb, p->network + 8, word, 4))
		return false;
	sum = ((__u32)word[2] << 8 | word[3]) + 0x100;
	sum = (sum & 0xffff) + (sum >> 16);
	word[0]--;
	word[2] = sum >> 8;
	word[3] = sum;
	return bpf_skb_store_bytes(skb, p->network + 8, word, 4, 0) == 0;
}

/* Off it goes; the neighbour is looked up, asked for and kept as the stack does it. TC_ACT_UNSPEC: not so, and nothing has changed. */
static __always_inline int send_on(struct __sk_buff *skb, const struct packet *p, const struct bpf_fib_lookup *fib)
{
	struct bpf_redir_neigh next = { .nh_family = fib->family };

	if (!take_hop(skb, p))
		return -1;
	if (fib->family == AF_INET)
		next.ipv4_nh = fib->ipv4_dst;
	else
		__builtin_memcpy(next.ipv6_nh, fib->ipv6_dst, 16);
	return bpf_redirect_neigh(fib->ifindex, &next, sizeof(next), 0);
}

/* A client's packet, decided or part of a handshake: out by a governed interface. TC_ACT_UNSPEC: the long way. */
static __noinline int skip_out(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_fib_lookup fib = {};
	__u32 out;

	if (!find_way(skb, p, &fib))
		return -1;
	out = fib.ifindex;
	if (!bpf_map_lookup_elem(&egress, &out))
		return -1;
	return send_on(skb, p, &fib);
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
		fib.ipv4_src = *(const __be32 *)&p->key.dst[12];
		fib.ipv4_dst = *(const __be32 *)&p->key.src[12];
	} else {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, p->key.dst, 16);
		__builtin_memcpy(fib.ipv6_dst, p->key.src, 16);
	}
	return bpf_fib_lookup(skb, &fib, sizeof(fib), L7_FIB_SKIP_NEIGH) == BPF_FIB_LKUP_RET_SUCCESS && fib.ifindex == p->ifindex;
}

#endif
