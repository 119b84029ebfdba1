/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * From an skb to a `struct packet`: addresses, ports and the few TCP fields that decide. Every length in the packet is held to the
 * length of the skb before anything behind it is read. src/core/wire/ip.ts reads by the same rules; keep the two alike.
 */
#ifndef L7EGG_PARSE_H
#define L7EGG_PARSE_H

#include "packet.h"

/* The first 16 bytes of a transport header: all of it that is ever looked at. */
struct transport {
	__be32 word[4];
};

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
		p->transport = p->network + offset;
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
