/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Where a packet would go: only what leaves by a governed interface is ours to judge. */
#ifndef L7EGG_ROUTE_H
#define L7EGG_ROUTE_H

#include "maps.h"
#include "parse.h"

/* Linux 6.3; older headers don't have it. */
#define L7_FIB_SKIP_NEIGH (1U << 2)

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

/* Never leaves the link, or goes to a group: not what a route lookup answers. */
static __always_inline bool is_multicast(const struct packet *p)
{
	if (p->family == 4) {
		__u32 dst = bpf_ntohl(p->key4.dst);

		return dst >> 28 == 0xe || dst == 0xffffffff;
	}
	return p->key.dst[0] == 0xff;
}

/* RFC 4291 2.5.6: routers must not forward these. (169.254/16 is not in here: clouds do route their metadata service.) */
static __always_inline bool is_link_local6(const struct packet *p)
{
	return p->family == 6 && p->key.dst[0] == 0xfe && (p->key.dst[1] & 0xc0) == 0x80;
}

/*
 * Ask the routing tables as the kernel will (rules included). 0: not through a governed interface, or not at all: to this box, no
 * route, forwarding switched off. Also 0 for a route with an encapsulation of its own (MPLS, SRv6), which this lookup can't follow, and for a
 * route that depends on a mark: where such a packet leaves by a governed interface after all, the gate judges it.
 */
static __noinline int leaves_by_egress(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_fib_lookup fib = {
		.l4_protocol = p->key.proto,
		.sport = p->key.sport,
		.dport = p->key.dport,
		.ifindex = p->ifindex,
	};
	__u32 out;
	long rc;

	if (p->family == 4) {
		fib.family = AF_INET;
		fib.ipv4_src = p->key4.src;
		fib.ipv4_dst = p->key4.dst;
	} else {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, p->key.src, 16);
		__builtin_memcpy(fib.ipv6_dst, p->key.dst, 16);
	}
	rc = bpf_fib_lookup(skb, &fib, sizeof(fib), L7_FIB_SKIP_NEIGH);
	/* Before 6.3: an unknown flag. Then the answer may be "no neighbour", which is a route, too. */
	if (rc == -22)
		rc = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (rc != BPF_FIB_LKUP_RET_SUCCESS && rc != BPF_FIB_LKUP_RET_NO_NEIGH && rc != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return 0;
	out = fib.ifindex;
	return bpf_map_lookup_elem(&egress, &out) != 0;
}

#endif
