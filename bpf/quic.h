/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * As much of QUIC as can be seen without its keys (RFC 8999 5.1, RFC 9000 17): whether a datagram may begin a connection or carry a part of a
 * hello. The names themselves are read in user space (src/core/engine/quicFlows.ts): they need AES.
 */
#ifndef L7EGG_QUIC_H
#define L7EGG_QUIC_H

#include "packet.h"

enum quic_form {
	QUIC_SHORT = 0, // nothing in it has a long header: data of a connection that exists, or no QUIC at all
	QUIC_LONG, // there is a long header of a version whose Initials can be read
	QUIC_OTHER, // there is one of another version, or a part that can't be looked at
};

#define QUIC_LONG_HEADER 0x80
#define QUIC_VERSION_1 0x00000001 /* RFC 9000 */
#define QUIC_VERSION_2 0x6b3343cf /* RFC 9369 */

/* Datagrams in one skb: the kernel merges no more (UDP_MAX_SEGMENTS). */
#define QUIC_SEGMENTS 128

/*
 * Of a UDP packet: enum quic_form. One skb may hold many datagrams of gso_size bytes each (UDP_SEGMENT of a sender on this box or behind a veth,
 * GRO), so the first byte of each is looked at, and its version: user space isn't told where they begin, and relies on it that every one that begins
 * with a long header shows a version that it knows (src/core/wire/quicMerged.ts). What is coalesced behind it in the same datagram is user space's to read.
 * A global function: the verifier looks at it once.
 */
__noinline int quic_form(struct __sk_buff *skb, struct packet *p)
{
	int form = QUIC_SHORT;
	__u32 at, end;
	__u8 first[5];

	if (!p)
		return QUIC_OTHER;
	at = p->transport + 8;
	end = p->network + p->wire_len;
	for (int i = 0; i < QUIC_SEGMENTS && at < end; i++) {
		if (bpf_skb_load_bytes(skb, at, first, 1))
			return QUIC_OTHER;
		if (first[0] & QUIC_LONG_HEADER) {
			__u32 version;

			if (at + sizeof(first) > end || bpf_skb_load_bytes(skb, at, first, sizeof(first)))
				return QUIC_OTHER;
			version = (__u32)first[1] << 24 | (__u32)first[2] << 16 | (__u32)first[3] << 8 | first[4];
			/* Version negotiation (0) is a server's to send; what another version says can't be read. */
			if (version != QUIC_VERSION_1 && version != QUIC_VERSION_2)
				return QUIC_OTHER;
			form = QUIC_LONG;
		}
		if (!skb->gso_size)
			return form;
		at += skb->gso_size;
	}
	return at < end ? QUIC_OTHER : form;
}

#endif
