/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * DNS, read in the kernel: a question that TypeScript allowed a moment ago, and an answer to it that teaches nothing new. As with the hello
 * (hello.h) the kernel only confirms; whatever is not plain, not known or not the same climbs to TypeScript, which is the judge.
 * test/bpf/dns.test.ts throws the same mutated messages at both.
 *
 * Why no answer passes here that TypeScript would deny (src/core/engine/dnsDatagrams.ts, dnsMessages.ts):
 *  - It denies an answer that nobody asked for. Here there must be an entry in `asked`: written only by `judge_question` for a question that left, with
 *    the same addresses, port and id, the same interface, not older than L7_QUERY_MS; one answer takes it away.
 *  - It denies an answer to another question, in other letters (0x20), too. Here the question section is compared byte for byte.
 *  - It denies what breaks the grammar. Here all is of fixed form: counts, owners (the pointer to the question), type, class, lengths; nothing is
 *    left behind the last record.
 *  - It holds an answer until the maps hold its addresses. Here every address must be in `bindings` for this very client and name, and in
 *    `names4/6`, and stay there for as long as TypeScript would have it stay, but for what it lets go by itself (L7_LEARN_AGAIN_MS).
 *    So releasing it needs no write. An address that must not be learned (rebinding) never is there.
 *  - A checksum that is wrong makes it discard a packet, because a decoy must not decide. Nothing is decided here: the name was before, the
 *    addresses were before, and the receiver discards such a packet itself. (Nor could it be checked: the checksum of what a local veth or
 *    a network card hands over may be still to be filled in.)
 * The letters of the question (0x20) are the client's to check; the kernel only sees to it that they are those of the question.
 */
#ifndef L7EGG_DNS_H
#define L7EGG_DNS_H

#include "report.h"

#define DNS_PORT 53
#define DNS_HEADER 12
#define DNS_UDP_HEADER 8
#define DNS_TYPE_A 1
#define DNS_TYPE_AAAA 28
#define DNS_TYPE_OPT 41
#define DNS_CLASS_IN 1
#define DNS_NAME_POINTER 0xc00c /* the name of the question, RFC 1035 4.1.4 */

/* RD, AD and CD: all that a plain question may set. Of an answer: QR, opcode, TC and rcode must be as DNS_ANSWER says, the rest is not looked at. */
#define DNS_QUESTION_FLAGS 0x0130
#define DNS_ANSWER_MASK 0xfa0f
#define DNS_ANSWER 0x8000

#define DNS_MESSAGE_MAX 768
#define DNS_RECORDS 16
#define DNS_OPTIONS 4

/* Bytes and name of the message that is being read are in `hello_scratch`, which one packet uses at a time. */
struct dns_scratch {
	struct l7_asked_key key;
	struct l7_asked asked;
	__u64 question[L7_QUESTION_BYTES / 8]; // of the answer
	__u64 now;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dns_scratch);
} dns_scratch SEC(".maps");

static __always_inline struct dns_scratch *get_dns_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&dns_scratch, &zero);
}

/*
 * Two bytes of the message. Callers have `at` below DNS_MESSAGE_MAX, or compare with the end before they believe it; the mask is for the verifier, the
 * barrier keeps the compiler from adding behind it.
 */
static __always_inline __u32 dns_u16(const struct hello_scratch *s, __u32 at)
{
	at &= 1023;
	asm volatile("" : "+r"(at));
	return (__u32)s->bytes[at] << 8 | s->bytes[at + 1];
}

/*
 * A datagram's payload into the scratch buffer; returns its length. 0: not one plain, whole datagram: IP options or extension headers, several
 * merged into one skb (UDP GSO), a length that isn't exactly that of the IP payload (RFC 9868 surplus), too long, no checksum over IPv6.
 */
static __always_inline __u32 load_message(struct __sk_buff *skb, const struct packet *p, struct hello_scratch *s)
{
	__u32 header = p->transport - p->network;
	__u32 len = p->wire_len - header;
	__be16 udp[2];

	if (p->fragment || skb->gso_segs > 1 || header != (p->family == 4 ? 20 : 40) ||
	    bpf_skb_load_bytes(skb, p->transport + 4, udp, sizeof(udp)))
		return 0;
	if (bpf_ntohs(udp[0]) != len || (p->family == 6 && udp[1] == 0))
		return 0;
	len -= DNS_UDP_HEADER;
	if (len < DNS_HEADER + 7 || len > DNS_MESSAGE_MAX)
		return 0;
	return bpf_skb_load_bytes(skb, p->transport + DNS_UDP_HEADER, s->bytes, len) ? 0 : len;
}

/* The question as it stands in the packet, zeroes behind it. The barrier: the bounds must be seen where they are needed. */
static __always_inline bool copy_question(struct __sk_buff *skb, const struct packet *p, void *to, __u32 size)
{
	__builtin_memset(to, 0, L7_QUESTION_BYTES);
	asm volatile("" : "+r"(size));
	if (size < 1 || size > L7_QUESTION_BYTES)
		return false;
	return bpf_skb_load_bytes(skb, p->transport + DNS_UDP_HEADER + DNS_HEADER, to, size) == 0;
}

/*
 * The one OPT record that a plain message may end with, at [at, end): version 0, no extended rcode, few options that fit (RFC 6891 6.1.2).
 * Returns 1 if so. Global, as all below: verified once.
 */
__noinline __u32 plain_opt(__u32 at, __u32 end)
{
	const struct hello_scratch *s = get_scratch();

	if (!s || end > DNS_MESSAGE_MAX || at + 11 > end)
		return 0;
	if (s->bytes[at & 1023] != 0 || dns_u16(s, at + 1) != DNS_TYPE_OPT || dns_u16(s, at + 5) != 0 ||
	    dns_u16(s, at + 9) != end - at - 11)
		return 0;
	at += 11;
	for (int i = 0; i < DNS_OPTIONS; i++) {
		if (at == end)
			return 1;
		if (at + 4 > end)
			return 0;
		at += 4 + dns_u16(s, at + 2);
		if (at > end)
			return 0;
	}
	return at == end;
}

/*
 * The question behind the header in the scratch buffer, its name copied in normal form: labels of letters, digits, `-` and `_`. Returns the bytes of
 * name, type and class; 0: not plain, or longer than L7_QUESTION_BYTES. The caller holds it to the length of the message.
 */
__noinline __u32 read_question(void)
{
	struct hello_scratch *s = get_scratch();
	__u32 len = 0;

	if (!s)
		return 0;
	s->label = 0; // bytes left of the label
	for (__u32 i = 0; i < L7_QUESTION_BYTES - 4; i++) {
		__u32 c = s->bytes[DNS_HEADER + i];

		if (s->label == 0) {
			if (c == 0) {
				len = i;
				break;
			}
			/* Also a compression pointer. */
			if (c > 63)
				return 0;
			s->label = c;
			c = '.';
		} else {
			c = host_char(c);
			if (c == 0 || c == '.')
				return 0;
			s->label--;
		}
		/* The first label's length has no dot in its place. */
		if (i > 0)
			s->name[i - 1] = c;
	}
	/* At least a letter behind its length. */
	if (len < 2 || len > L7_QUESTION_BYTES - 5)
		return 0;
	s->name_len = len - 1;
	for (__u32 i = 0; i < 8; i++)
		s->name[len - 1 + i] = 0;
	return len + 5;
}

/*
 * A question to port 53 that was to climb: one that TypeScript allowed a moment ago, of this client to this resolver? (Only trusted resolvers are in
 * `questions`.) Returns 1: it passes, and is noted so that its answer is known. `out`: interface that it leaves by.
 */
__noinline int judge_question(struct __sk_buff *skb, struct packet *p, struct decision *d, __u32 out)
{
	const struct l7_config *cfg = get_config();
	struct hello_scratch *s = get_scratch();
	struct dns_scratch *ds = get_dns_scratch();
	struct l7_question_key key = {};
	const struct l7_question *question;
	__u32 len, size, type;
	__u64 hash[2], now;

	if (!p || !d || !cfg || !s || !ds)
		return 0;
	len = load_message(skb, p, s);
	if (len == 0 || (dns_u16(s, 2) & ~DNS_QUESTION_FLAGS) || dns_u16(s, 4) != 1 || dns_u16(s, 6) != 0 ||
	    dns_u16(s, 8) != 0)
		return 0;
	size = read_question();
	if (size < 7 || size > L7_QUESTION_BYTES || DNS_HEADER + size > len)
		return 0;
	if (dns_u16(s, 10) == 0 ? DNS_HEADER + size != len : dns_u16(s, 10) != 1 || !plain_opt(DNS_HEADER + size, len))
		return 0;
	type = dns_u16(s, DNS_HEADER + size - 4);
	if ((type != DNS_TYPE_A && type != DNS_TYPE_AAAA) || dns_u16(s, DNS_HEADER + size - 2) != DNS_CLASS_IN)
		return 0;
	/* Its loop before what branches, so that the verifier walks it once. */
	hash_name(s, cfg->hash_seed, hash);
	__builtin_memcpy(key.name_hash, hash, 16);
	key.policy = p->key.policy;
	key.type = type;
	copy_destination(key.resolver, p);
	if (!client_of(skb, p, key.client))
		return 0;
	question = bpf_map_lookup_elem(&questions, &key);
	now = bpf_ktime_get_ns();
	if (!question || question->generation != p->generation || now >= question->expires_ns)
		return 0;
	copy_source(ds->key.source, p);
	copy_destination(ds->key.resolver, p);
	ds->key.port = p->key.sport;
	ds->key.id = *(__be16 *)s->bytes;
	ds->key.ifindex = out;
	ds->asked.time_ns = now;
	ds->asked.policy = key.policy;
	ds->asked.generation = question->generation;
	ds->asked.rule = question->rule;
	ds->asked.ports = question->ports;
	__builtin_memcpy(ds->asked.client, key.client, 16);
	__builtin_memcpy(ds->asked.name_hash, hash, 16);
	ds->asked.type = type;
	ds->asked.length = size;
	if (!copy_question(skb, p, ds->asked.question, size))
		return 0;
	/* Without a note its answer would be nobody's: then it climbs. */
	if (bpf_map_update_elem(&asked, &ds->key, &ds->asked, BPF_ANY)) {
		count(L7_REASON_MAP_FULL, p->wire_len);
		return 0;
	}
	say(d, L7_VERDICT_ALLOW, L7_REASON_ALLOW_QUERY, question->rule);
	d->by_question = 1;
	return 1;
}

/*
 * The address record at `at` of the message in the scratch buffer, which answers ds->asked: learned by that client for that name, for as
 * long as this record would have it. Returns its size, 0: not so.
 */
__noinline __u32 confirm_record(__u32 at)
{
	const struct hello_scratch *s = get_scratch();
	struct dns_scratch *ds = get_dns_scratch();
	struct l7_binding_key key = {};
	const struct l7_binding *binding;
	const struct l7_name *name;
	__u64 ttl, due;
	__u32 size;

	if (!s || !ds || at > DNS_MESSAGE_MAX)
		return 0;
	size = ds->asked.type == DNS_TYPE_A ? 4 : 16;
	if (dns_u16(s, at) != DNS_NAME_POINTER || dns_u16(s, at + 2) != ds->asked.type ||
	    dns_u16(s, at + 4) != DNS_CLASS_IN || dns_u16(s, at + 10) != size)
		return 0;
	/* RFC 2181 8: with the top bit it is none. */
	ttl = dns_u16(s, at + 6) << 16 | dns_u16(s, at + 8);
	if (ttl > 0x7fffffff)
		ttl = 0;
	if (ttl > L7_TTL_MAX_S)
		ttl = L7_TTL_MAX_S;
	/* A millisecond less than TypeScript lets go, for its times are rounded. */
	due = ds->now + ttl * NS_PER_SECOND + (L7_TTL_GRACE_MS - L7_LEARN_AGAIN_MS + 1) * 1000000ULL;
	key.policy = ds->asked.policy;
	__builtin_memcpy(key.client, ds->asked.client, 16);
	__builtin_memcpy(key.name_hash, ds->asked.name_hash, 16);
	if (size == 4) {
		struct l7_name4_key at4 = { .policy = key.policy };

		*(__u16 *)&key.addr[10] = 0xffff;
		__builtin_memcpy(&key.addr[12], &s->bytes[at + 12], 4);
		__builtin_memcpy(at4.client, key.client, 16);
		__builtin_memcpy(at4.addr, &key.addr[12], 4);
		name = bpf_map_lookup_elem(&names4, &at4);
	} else {
		struct l7_name6_key at6 = { .policy = key.policy };

		__builtin_memcpy(key.addr, &s->bytes[at + 12], 16);
		__builtin_memcpy(at6.client, key.client, 16);
		__builtin_memcpy(at6.addr, key.addr, 16);
		name = bpf_map_lookup_elem(&names6, &at6);
	}
	if (!name || name->expires_ns < due)
		return 0;
	binding = bpf_map_lookup_elem(&bindings, &key);
	if (!binding || binding->expires_ns < due || binding->rule != ds->asked.rule || binding->ports != ds->asked.ports)
		return 0;
	return 12 + size;
}

/* An answer on its way to a client: 1: it may pass without user space (see above), and nobody awaits it any more. */
__noinline int confirm_answer(struct __sk_buff *skb, struct packet *p)
{
	const struct l7_config *cfg = get_config();
	struct hello_scratch *s = get_scratch();
	struct dns_scratch *ds = get_dns_scratch();
	const struct l7_asked *found;
	__u32 len, size, records, at;

	if (!p || !cfg || !s || !ds)
		return 0;
	len = load_message(skb, p, s);
	if (len == 0)
		return 0;
	copy_destination(ds->key.source, p);
	copy_source(ds->key.resolver, p);
	ds->key.port = p->key.dport;
	ds->key.id = *(__be16 *)s->bytes;
	ds->key.ifindex = p->ifindex;
	found = bpf_map_lookup_elem(&asked, &ds->key);
	if (!found)
		return 0;
	ds->asked = *found;
	ds->now = bpf_ktime_get_ns();
	size = ds->asked.length;
	if (ds->asked.generation != cfg->generation || ds->now - ds->asked.time_ns >= L7_QUERY_MS * 1000000ULL ||
	    size < 7 || size > L7_QUESTION_BYTES || DNS_HEADER + size > len)
		return 0;
	records = dns_u16(s, 6);
	if ((dns_u16(s, 2) & DNS_ANSWER_MASK) != DNS_ANSWER || dns_u16(s, 4) != 1 || records < 1 || records > DNS_RECORDS ||
	    dns_u16(s, 8) != 0 || dns_u16(s, 10) > 1)
		return 0;
	if (!copy_question(skb, p, ds->question, size))
		return 0;
	for (int i = 0; i < L7_QUESTION_BYTES / 8; i++)
		if (ds->question[i] != ((const __u64 *)ds->asked.question)[i])
			return 0;
	at = DNS_HEADER + size;
	for (__u32 i = 0; i < DNS_RECORDS; i++) {
		__u32 step;

		if (i >= records)
			break;
		step = confirm_record(at);
		if (step == 0)
			return 0;
		at += step;
		if (at > len)
			return 0;
	}
	if (dns_u16(s, 10) == 0 ? at != len : !plain_opt(at, len))
		return 0;
	/* One answer for each question; the second of two at the same time climbs. */
	return bpf_map_delete_elem(&asked, &ds->key) == 0;
}

#endif
