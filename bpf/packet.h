/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What is known of a packet once parse.h has read it, and what can be asked of that. */
#ifndef L7EGG_PACKET_H
#define L7EGG_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>
#include "l7egg_abi.h"

#ifndef IPPROTO_UDPLITE
#define IPPROTO_UDPLITE 136
#endif

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10

#define ICMP4_ECHO_REPLY 0
#define ICMP4_ECHO_REQUEST 8
#define ICMP6_ECHO_REQUEST 128
#define ICMP6_ECHO_REPLY 129
#define ICMP6_ROUTER_SOLICITATION 133
#define ICMP6_REDIRECT 137

struct packet {
	/*
	 * Addresses, ports, protocol and policy (by `set_policy`) where the flow's key has them, so that no key is put together for a lookup.
	 * IPv4 has its 16 bytes at the end, so all but the addresses is in one place for both: read it by `key`.
	 */
	union {
		struct l7_flow6_key key;
		struct {
			__u64 unused[3];
			struct l7_flow4_key key4;
		};
	};
	__u32 network; // offset of the network header
	__u32 wire_len; // from the network header to the end of the IP packet; of the skb if that can't be read
	__u32 transport; // TCP, UDP: offset of its header
	__u32 payload; // TCP: bytes behind the header
	__u32 seq; // TCP: host order
	__u32 ack;
	__u32 ifindex; // where it came in, 0 = this box
	__u32 generation; // under which it is judged, read once: a change meanwhile must not put an old verdict under the new number
	__u8 family; // 4, 6; 0: not IP, or the addresses couldn't be read
	__u8 error; // enum l7_reason: why it can't be judged; 0 = it can
	__u8 fragment; // 1: any part of a fragmented packet, also an atomic IPv6 fragment
	__u8 tcp_flags;
	__u8 tcp_header; // bytes
	__u8 icmp; // type
	__u8 hop_limit; // IPv6 only
	__u8 has_flow; // 1: `key` stands for a flow. 0: fragments, ICMP other than echo requests, any error
	__u8 client_by;
	__u8 hook; // enum l7_hook
};

_Static_assert(__builtin_offsetof(struct packet, key4.sport) == __builtin_offsetof(struct packet, key.sport) &&
		       __builtin_offsetof(struct packet, key4.policy) == __builtin_offsetof(struct packet, key.policy) &&
		       __builtin_offsetof(struct packet, key4.proto) == __builtin_offsetof(struct packet, key.proto),
	       "one place for both");

static __always_inline bool is_tcp(const struct packet *p)
{
	return p->key.proto == IPPROTO_TCP;
}

static __always_inline bool is_syn(const struct packet *p)
{
	return is_tcp(p) && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline bool is_echo_request(const struct packet *p)
{
	return (p->key.proto == IPPROTO_ICMP && p->family == 4 && p->icmp == ICMP4_ECHO_REQUEST) ||
	       (p->key.proto == IPPROTO_ICMPV6 && p->family == 6 && p->icmp == ICMP6_ECHO_REQUEST);
}

static __always_inline bool is_echo_reply(const struct packet *p)
{
	return p->family == 4 ? p->icmp == ICMP4_ECHO_REPLY : p->icmp == ICMP6_ECHO_REPLY;
}

static __always_inline void reject(struct packet *p, __u8 reason)
{
	p->error = reason;
	p->has_flow = 0;
}

/* Protocols that begin with two ports. */
static __always_inline bool has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_DCCP || proto == IPPROTO_SCTP ||
	       proto == IPPROTO_UDPLITE;
}

static __always_inline __be32 *words(__u8 addr[16])
{
	return (__be32 *)addr;
}

/* An address in the form that tables of both families have: IPv4 as ::ffff:a.b.c.d. */
static __always_inline void map_address(__u8 out[16], __be32 addr)
{
	words(out)[0] = words(out)[1] = 0;
	words(out)[2] = bpf_htonl(0xffff);
	words(out)[3] = addr;
}

static __always_inline void copy_source(__u8 out[16], const struct packet *p)
{
	if (p->family == 4)
		map_address(out, p->key4.src);
	else
		__builtin_memcpy(out, p->key.src, 16);
}

static __always_inline void copy_destination(__u8 out[16], const struct packet *p)
{
	if (p->family == 4)
		map_address(out, p->key4.dst);
	else
		__builtin_memcpy(out, p->key.dst, 16);
}

/* Make a reply's key that of its flow. */
static __always_inline void turn_around(struct packet *p)
{
	__be16 sport = p->key.sport;

	p->key.sport = p->key.dport;
	p->key.dport = sport;
	if (p->family == 4) {
		__be32 src = p->key4.src;

		p->key4.src = p->key4.dst;
		p->key4.dst = src;
	} else {
		__u8 src[16];

		__builtin_memcpy(src, p->key.src, 16);
		__builtin_memcpy(p->key.src, p->key.dst, 16);
		__builtin_memcpy(p->key.dst, src, 16);
	}
}

#endif
