/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * From an skb to a `struct packet`: addresses, ports and the few TCP fields that decide. Every length in the packet is held to the
 * length of the skb before anything behind it is read. src/core/wire/ip.ts reads by the same rules; keep the two alike.
 */
#ifndef L7EGG_PARSE_H
#define L7EGG_PARSE_H

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
	__u32 transport; // TCP: offset of its header
	__u32 payload; // TCP: bytes behind the header
	__u32 seq; // TCP: host order
	__u32 ack;
	__u32 ifindex; // where it came in, 0 = this box
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

/* The first 16 bytes of a transport header: all of it that is ever looked at. */
struct transport {
	__be32 word[4];
};

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

/* `offset`: of the transport header from the network header. */
static __always_inline void parse_transport(struct packet *p, const struct transport *t, __u32 offset, __u32 len)
{
	__u8 proto = p->key.proto;

	p->has_flow = 1;
	if (proto == IPPROTO_TCP) {
		__u32 offset_flags = bpf_ntohl(t->word[3]);
		__u32 header = (offset_flags >> 28) * 4;

		if (len < 20 || header < 20 || header > len) {
			reject(p, L7_REASON_MALFORMED);
			return;
		}
		p->tcp_flags = offset_flags >> 16;
		p->seq = bpf_ntohl(t->word[1]);
		p->ack = bpf_ntohl(t->word[2]);
		p->transport = p->network + offset;
		p->tcp_header = header;
		p->payload = len - header;
	} else if (proto == IPPROTO_UDP) {
		__u32 udp_len = bpf_ntohl(t->word[1]) >> 16;

		/* RFC 768: the length counts the header. Longer than the IP packet: a receiver drops it. */
		if (len < 8 || udp_len < 8 || udp_len > len) {
			reject(p, L7_REASON_MALFORMED);
			return;
		}
	} else if ((proto == IPPROTO_ICMP && p->family == 4) || (proto == IPPROTO_ICMPV6 && p->family == 6)) {
		if (len < 8) {
			reject(p, L7_REASON_MALFORMED);
			return;
		}
		p->icmp = bpf_ntohl(t->word[0]) >> 24;
		p->has_flow = is_echo_request(p);
		/* Of a reply, too: `watch` looks its request up by it. */
		if (p->has_flow || is_echo_reply(p))
			p->key.sport = p->key.dport = bpf_htons(bpf_ntohl(t->word[1]) >> 16);
		return;
	} else if (!has_ports(proto)) {
		return;
	} else if (len < 8) {
		reject(p, L7_REASON_MALFORMED);
		return;
	}
	/* Both in one store: the flow's lookup reads them as one word, and a word whose parts were stored one by one is not there at once. */
	__builtin_memcpy(&p->key.sport, &t->word[0], 4);
}

/*
 * Transport header anywhere: behind options or extension headers, or shorter than the common read. This, check_options4() and walk6() are
 * global functions: the verifier looks at each once, not once for each path that leads to it. Always returns 0.
 */
__noinline int load_transport(struct __sk_buff *skb, struct packet *p, __u32 offset, __u32 len)
{
	struct transport t = {};
	long failed = 0;

	if (!p)
		return 0;
	if (p->key.proto == IPPROTO_TCP && len >= 16)
		failed = bpf_skb_load_bytes(skb, p->network + offset, &t, 16);
	else if (len >= 8)
		failed = bpf_skb_load_bytes(skb, p->network + offset, &t, 8);
	if (failed)
		reject(p, L7_REASON_MALFORMED);
	else
		parse_transport(p, &t, offset, len);
	return 0;
}

/*
 * RFC 791 3.1: a source route (loose 131, strict 137) makes the destination in the header a stop on the way, so judging it proves
 * nothing. Stricter than the RFC, as every router is today (RFC 7126 4.3, 4.4). Returns the enum l7_reason to deny for, or 0.
 */
__noinline __u32 check_options4(struct __sk_buff *skb, __u32 network, __u32 header)
{
	__u32 at = 20;

	for (int i = 0; i < 40 && at < header; i++) {
		__u8 option[2] = {};
		__u32 left = header - at;

		if (bpf_skb_load_bytes(skb, network + at, option, left > 1 ? 2 : 1))
			return L7_REASON_MALFORMED;
		if (option[0] == 0)
			return 0;
		if (option[0] == 1) {
			at++;
			continue;
		}
		if (option[0] == 131 || option[0] == 137)
			return L7_REASON_EXT_HEADER;
		if (option[1] < 2 || option[1] > left)
			return L7_REASON_MALFORMED;
		at += option[1];
	}
	return 0;
}

static __always_inline bool is_walked(__u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_DSTOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_FRAGMENT;
}

#define WALK_FRAGMENT (1U << 8)
#define WALK_ERROR (1U << 9)

/*
 * RFC 8200 4: walk the extension headers up to what can't be walked: a fragment, a transport, a header nobody knows (AH and ESP are not
 * walked: they are protocols of their own here). `total`: length of the packet. Returns the protocol, flags, and in the upper half the
 * offset from the network header.
 */
__noinline __u64 walk6(struct __sk_buff *skb, __u32 network, __u32 total, __u32 first)
{
	__u8 proto = first;
	__u32 at = 40;

	for (int i = 0; i <= L7_MAX_EXT_HEADERS; i++) {
		__u8 ext[4];
		__u32 size;

		if (!is_walked(proto))
			return (__u64)at << 32 | proto;
		/* More headers than anybody needs: following them costs more than it is worth. 4.1: hop-by-hop comes first. */
		if (i == L7_MAX_EXT_HEADERS || (proto == IPPROTO_HOPOPTS && i > 0) || at + 8 > total ||
		    bpf_skb_load_bytes(skb, network + at, ext, 4))
			return WALK_ERROR;
		if (proto == IPPROTO_FRAGMENT)
			return (__u64)at << 32 | WALK_FRAGMENT | ext[0];
		size = (ext[1] + 1) * 8;
		/*
		 * RFC 5095 deprecates type 0, and with segments left (any type) the destination is a stop on the way: judging it proves
		 * nothing.
		 */
		if (at + size > total || (proto == IPPROTO_ROUTING && (ext[2] == 0 || ext[3] != 0)))
			return WALK_ERROR;
		proto = ext[0];
		at += size;
	}
	return WALK_ERROR;
}

/* `head`: the first 40 bytes, of which `have` could be read. `available`: bytes of the skb from the network header. */
static __always_inline void parse4(struct __sk_buff *skb, struct packet *p, const __be32 *head, __u32 have, __u32 available)
{
	__u32 first = bpf_ntohl(head[0]);
	__u32 header = (first >> 24 & 15) * 4;
	__u32 total = first & 0xffff;
	__u32 fragment = bpf_ntohl(head[1]) & 0x3fff; // MF and offset
	__u32 len;

	p->family = 4;
	p->key4.src = head[3];
	p->key4.dst = head[4];
	p->key.proto = bpf_ntohl(head[2]) >> 16;
	/* RFC 791 3.1: at least five words, and no longer than the packet. ip_rcv drops these as well. */
	if (header < 20 || total < header || total > available) {
		/* BIG TCP: the kernel's own packets that are longer than the field can say have 0 there. */
		if (header < 20 || total != 0 || available <= 0xffff || p->key.proto != IPPROTO_TCP) {
			reject(p, L7_REASON_MALFORMED);
			return;
		}
		total = available;
	}
	p->wire_len = total;
	len = total - header;
	if (header > 20) {
		p->error = check_options4(skb, p->network, header);
		if (p->error)
			return;
	}
	if (fragment) {
		p->fragment = 1;
		return;
	}
	if (header == 20 && have == 40)
		parse_transport(p, (const struct transport *)&head[5], header, len);
	else
		load_transport(skb, p, header, len);
}

/* `end`: of what can be read in place behind `head`; 0: nothing. */
static __always_inline void parse6(struct __sk_buff *skb, struct packet *p, const __be32 *head, __u32 available, const void *end)
{
	__u32 len = bpf_ntohl(head[1]) >> 16;
	__u8 proto = bpf_ntohl(head[1]) >> 8;
	__u32 at = 40;
	__u32 total = 40 + len;

	p->family = 6;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		words(p->key.src)[i] = head[2 + i];
		words(p->key.dst)[i] = head[6 + i];
	}
	p->hop_limit = bpf_ntohl(head[1]);
	/* BIG TCP, as above; the hop-by-hop header with the true length that kernels before 7.0 add is walked like any other. */
	if (len == 0 && available > 40 + 0xffff)
		total = available;
	if (total > available) {
		reject(p, L7_REASON_MALFORMED);
		return;
	}
	p->wire_len = total;
	if (is_walked(proto)) {
		__u64 walked = walk6(skb, p->network, total, proto);

		if (walked & WALK_ERROR) {
			reject(p, L7_REASON_EXT_HEADER);
			return;
		}
		proto = walked;
		at = walked >> 32;
		p->fragment = (walked & WALK_FRAGMENT) != 0;
	}
	p->key.proto = proto;
	if (p->fragment)
		return;
	if (at == 40 && end && (const void *)&head[15] <= end)
		parse_transport(p, (const struct transport *)&head[10], at, total - at);
	else
		load_transport(skb, p, at, total - at);
}

static __always_inline void parse_head(struct __sk_buff *skb, struct packet *p, const __be32 *head, __u32 have, const void *end)
{
	__u32 version = bpf_ntohl(head[0]) >> 28;

	if (version == 4)
		parse4(skb, p, head, have, p->wire_len);
	else if (version == 6 && have == 40)
		parse6(skb, p, head, p->wire_len, end);
	else
		reject(p, L7_REASON_MALFORMED);
}

/*
 * Parse from the network header at `network`. `p` is zeroed by the caller. An IP version that is neither is MALFORMED; whether the
 * frame is IP at all is the caller's question (skb->protocol).
 *
 * Straight from the packet where a TC program may and the headers are in its linear part, else from a copy by the helper, which also finds
 * them in fragments of the skb.
 */
static __always_inline void parse(struct __sk_buff *skb, const __u8 hook, __u32 network, struct packet *p)
{
	__be32 copy[10];
	__u32 have = 40;

	p->hook = hook;
	p->network = network;
	if (skb->len < network) {
		reject(p, L7_REASON_MALFORMED);
		return;
	}
	p->wire_len = skb->len - network;
	if (hook != L7_HOOK_OUTPUT) {
		void *head = (void *)(long)skb->data + (network & ETH_HLEN);
		void *end = (void *)(long)skb->data_end;

		if (head + 40 <= end) {
			parse_head(skb, p, head, 40, end);
			return;
		}
	}
	if (bpf_skb_load_bytes(skb, network, copy, 40)) {
		have = 20;
		if (bpf_skb_load_bytes(skb, network, copy, 20)) {
			reject(p, L7_REASON_MALFORMED);
			return;
		}
	}
	parse_head(skb, p, copy, have, 0);
}

#endif
