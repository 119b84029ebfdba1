/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The name on the wire, read in the kernel: one whole, plain ClientHello in one segment. Whatever is not plain is for user space, whose
 * parser (src/core/wire/tls.ts) is the judge: a hello that is taken here must be one that it takes, with the same name. test/bpf/hello.test.ts
 * throws the same mutated hellos at both.
 *
 * Plain: one record that holds exactly one handshake message; every length exact; one server_name with one host_name of letters, digits,
 * `-`, `_` and dots whose last label doesn't begin with a digit (an address could); no extension twice, none that isn't known here; at most
 * L7_HELLO_MAX bytes.
 */
#ifndef L7EGG_HELLO_H
#define L7EGG_HELLO_H

#include "maps.h"
#include "parse.h"

#define L7_HELLO_MAX 2040
#define L7_HELLO_EXTENSIONS 40
#define L7_HELLO_PROTOCOLS 16
#define L7_NAME_MAX 253

#define TLS_RECORD_HEADER 5
#define TLS_HANDSHAKE_HEADER 4
#define TLS_EXT_SERVER_NAME 0
#define TLS_EXT_ALPN 16
#define TLS_EXT_PRE_SHARED_KEY 41
#define TLS_EXT_VERSIONS 43

struct hello_scratch {
	__u8 bytes[2048]; // payload from its first byte; only what `end` says is there
	__u8 name[264]; // normal form, zeroes behind it up to the next multiple of 8
	__u64 seen[2]; // extension types, a bit for each
	__u32 at; // how far the extensions are read
	__u32 end; // where the hello ends
	__u32 name_len;
	/*
	 * Of the label that is being read: its length, its first character. Volatile, so that they stay in memory, of whose values the
	 * verifier keeps no account: as registers they would make each way through the loop another state.
	 */
	volatile __u32 label;
	volatile __u32 first;
	__u32 pad;
};

/* One hello at a time on each CPU: TC and netfilter programs don't interrupt each other within one direction's softirq. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct hello_scratch);
} hello_scratch SEC(".maps");

static __always_inline struct hello_scratch *get_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&hello_scratch, &zero);
}

/* A byte, or 0 beyond the buffer: callers compare with `end` before they believe it. */
static __always_inline __u32 hello_u8(const struct hello_scratch *s, __u32 at)
{
	return at < L7_HELLO_MAX ? s->bytes[at] : 0;
}

static __always_inline __u32 hello_u16(const struct hello_scratch *s, __u32 at)
{
	return at < L7_HELLO_MAX ? (__u32)s->bytes[at] << 8 | s->bytes[at + 1] : 0;
}

/* Lower case of what a host name may hold; 0 else. */
static __always_inline __u32 host_char(__u32 c)
{
	if (c >= 'A' && c <= 'Z')
		return c + 0x20;
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')
		return c;
	return 0;
}

/*
 * Copy the name at [at, at + len) in normal form. Returns its length, 0: not plain. A global function: verified once. `at` and `len` are
 * anything.
 */
__noinline __u32 hello_name(__u32 at, __u32 len)
{
	struct hello_scratch *s = get_scratch();

	if (!s || at >= L7_HELLO_MAX || len < 1 || len > L7_NAME_MAX + 1)
		return 0;
	/* RFC 6066 3: without a trailing dot; with one it is the same name (src/core/wire/dnsName.ts). */
	if (hello_u8(s, at + len - 1) == '.')
		len--;
	if (len < 1 || len > L7_NAME_MAX)
		return 0;
	s->label = 0;
	for (__u32 i = 0; i < L7_NAME_MAX; i++) {
		__u32 c;

		if (i >= len)
			break;
		c = host_char(hello_u8(s, at + i));
		if (c == 0)
			return 0;
		s->name[i] = c;
		if (c == '.') {
			if (s->label == 0)
				return 0;
			s->label = 0;
			continue;
		}
		if (s->label == 0)
			s->first = c;
		s->label++;
		if (s->label > 63)
			return 0;
	}
	if (s->label == 0 || (s->first >= '0' && s->first <= '9'))
		return 0;
	if (len <= L7_NAME_MAX)
		for (__u32 i = 0; i < 8; i++)
			s->name[len + i] = 0;
	s->name_len = len;
	return len;
}

/* ALPN: a list of names, none empty, that fills the extension (RFC 7301 3.1). Returns 1 if so. */
__noinline __u32 hello_alpn(__u32 at, __u32 end)
{
	struct hello_scratch *s = get_scratch();

	if (!s || end > L7_HELLO_MAX || at + 2 > end || hello_u16(s, at) != end - at - 2 || at + 2 == end)
		return 0;
	at += 2;
	for (int i = 0; i < L7_HELLO_PROTOCOLS; i++) {
		__u32 len = hello_u8(s, at);

		if (len == 0)
			return 0;
		at += 1 + len;
		if (at == end)
			return 1;
		if (at > end)
			return 0;
	}
	return 0;
}

/*
 * A bit for each extension type that may stand in a plain hello, so that a second one of the same type is noticed: the IANA numbers below 64, GREASE
 * (RFC 8701, 16 of them), and the few others that common clients send. 255: another one.
 */
static __always_inline __u32 extension_bit(__u32 type)
{
	if (type < 64)
		return type;
	if ((type & 0x0f0f) == 0x0a0a && type >> 8 == (type & 0xff))
		return 64 + (type >> 12);
	switch (type) {
	case 0xff01: // renegotiation_info, RFC 5746
		return 80;
	case 0xfe0d: // encrypted_client_hello: real or GREASE, the outer name counts
		return 81;
	case 0x4469: // application settings, old and new
		return 82;
	case 0x44cd:
		return 83;
	case 0x3374: // next protocol negotiation
		return 84;
	}
	return 255;
}

/*
 * The extension at s->at, which it moves behind it. Returns 1; 0: not plain. A global function with its state in the map: the
 * verifier looks at it once, not once for each way through those before it.
 */
__noinline __u32 hello_extension(__u32 end)
{
	struct hello_scratch *s = get_scratch();
	__u32 type, len, bit, body, at, list;
	__u64 one;

	if (!s || end > L7_HELLO_MAX || s->at + 4 > end)
		return 0;
	type = hello_u16(s, s->at);
	len = hello_u16(s, s->at + 2);
	body = s->at + 4;
	at = body + len;
	if (at > end)
		return 0;
	s->at = at;
	bit = extension_bit(type);
	if (bit >= 128)
		return 0;
	one = 1ULL << (bit & 63);
	if (s->seen[bit >> 6 & 1] & one)
		return 0;
	s->seen[bit >> 6 & 1] |= one;
	switch (type) {
	case TLS_EXT_SERVER_NAME:
		/* One list with one entry of type host_name, and nothing else. */
		return len >= 6 && hello_u16(s, body) == len - 2 && hello_u8(s, body + 2) == 0 &&
		       hello_u16(s, body + 3) == len - 5 && hello_name(body + 5, len - 5) != 0;
	case TLS_EXT_ALPN:
		return hello_alpn(body, at);
	case TLS_EXT_VERSIONS:
		list = hello_u8(s, body);
		return len >= 3 && list == len - 1 && !(list & 1);
	case TLS_EXT_PRE_SHARED_KEY:
		return at == end; // RFC 8446 4.2.11: the last one
	}
	return 1;
}

/* Extensions in [s->at, end). Returns the length of the name, which is in the scratch buffer; 0: not plain. */
__noinline __u32 hello_extensions(__u32 end)
{
	struct hello_scratch *s = get_scratch();

	if (!s)
		return 0;
	s->seen[0] = s->seen[1] = 0;
	s->name_len = 0;
	for (int i = 0; i < L7_HELLO_EXTENSIONS; i++) {
		if (s->at == end)
			return s->name_len;
		if (!hello_extension(end))
			return 0;
	}
	return s->at == end ? s->name_len : 0;
}

/*
 * Read the payload of `len` bytes at `offset` from the start of the skb. Returns the length of its name, 0: not plain. The
 * scratch buffer then holds the name and where the hello ends. Global: verified once for all programs that call it.
 */
__noinline __u32 read_hello(struct __sk_buff *skb, __u32 offset, __u32 len)
{
	struct hello_scratch *s = get_scratch();
	__u32 record, at, size;

	if (!s || len < 50)
		return 0;
	if (len > L7_HELLO_MAX)
		len = L7_HELLO_MAX;
	if (bpf_skb_load_bytes(skb, offset, s->bytes, len))
		return 0;
	if (s->bytes[0] != 22 || s->bytes[1] != 3 || s->bytes[2] > 4)
		return 0;
	record = hello_u16(s, 3);
	s->end = TLS_RECORD_HEADER + record;
	/* Whole in this segment; what follows (early data) is not looked at. */
	if (s->end > len)
		return 0;
	if (s->bytes[5] != 1 || s->bytes[6] != 0 || hello_u16(s, 7) + TLS_HANDSHAKE_HEADER != record)
		return 0;
	if (s->bytes[9] != 3 || s->bytes[10] > 3)
		return 0;
	at = 43; // behind version and random
	size = hello_u8(s, at);
	if (size > 32)
		return 0;
	at += 1 + size;
	size = hello_u16(s, at);
	if (size < 2 || size & 1)
		return 0;
	at += 2 + size;
	/* Exactly the compression method "null". */
	if (hello_u8(s, at) != 1 || hello_u8(s, at + 1) != 0)
		return 0;
	at += 2;
	size = hello_u16(s, at);
	at += 2;
	if (at > s->end || at + size != s->end)
		return 0;
	s->at = at;
	return hello_extensions(s->end);
}

#define ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))
#define SIPROUND                                                                                                       \
	do {                                                                                                           \
		v0 += v1;                                                                                              \
		v1 = ROTL(v1, 13) ^ v0;                                                                                \
		v0 = ROTL(v0, 32);                                                                                     \
		v2 += v3;                                                                                              \
		v3 = ROTL(v3, 16) ^ v2;                                                                                \
		v0 += v3;                                                                                              \
		v3 = ROTL(v3, 21) ^ v0;                                                                                \
		v2 += v1;                                                                                              \
		v1 = ROTL(v1, 17) ^ v2;                                                                                \
		v2 = ROTL(v2, 32);                                                                                     \
	} while (0)

/*
 * SipHash-2-4 with 128 bits of the name in the scratch buffer, as src/core/names/hash.ts computes it (test/vectors/name-hash.json holds both
 * to the same table). `seed`: l7_config.hash_seed.
 */
static __always_inline void hash_name(const struct hello_scratch *s, const __u8 seed[16], __u64 out[2])
{
	const __u64 *words = (const __u64 *)s->name;
	__u64 k0 = ((const __u64 *)seed)[0], k1 = ((const __u64 *)seed)[1];
	__u64 v0 = 0x736f6d6570736575ULL ^ k0;
	__u64 v1 = 0x646f72616e646f6dULL ^ k1 ^ 0xee;
	__u64 v2 = 0x6c7967656e657261ULL ^ k0;
	__u64 v3 = 0x7465646279746573ULL ^ k1;
	__u32 whole = s->name_len / 8;

	for (__u32 i = 0; i < 32; i++) {
		__u64 word = words[i];

		if (i > whole)
			break;
		if (i == whole)
			word |= (__u64)s->name_len << 56;
		v3 ^= word;
		SIPROUND;
		SIPROUND;
		v0 ^= word;
	}
	v2 ^= 0xee;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	out[0] = v0 ^ v1 ^ v2 ^ v3;
	v1 ^= 0xdd;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	out[1] = v0 ^ v1 ^ v2 ^ v3;
}

#endif
