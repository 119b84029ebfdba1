/* SPDX-License-Identifier: MIT */
/* A ClientHello as browsers send it, once built, then renewed in place: a random of its own for each, and a name with a number in it. */
#ifndef L7_CLIENTHELLO_H
#define L7_CLIENTHELLO_H

#include "load.h"

#define NAME_MAX_BYTES 253
/* RFC 8446 5.1: content type of a record. */
#define TLS_HANDSHAKE 22

static uint8_t hello[1024];
static size_t hello_len;
static uint8_t *digits; /* where the number stands in the name; NULL: nowhere */
static int digit_count;
static uint8_t *random_bytes;

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

static uint8_t *put16(uint8_t *at, size_t value)
{
	*at++ = (uint8_t)(value >> 8);
	*at++ = (uint8_t)value;
	return at;
}

/* One % in `pattern` becomes a number below `names`, three digits or more. */
static void expand_name(const char *pattern, uint32_t names, char name[NAME_MAX_BYTES + 1], int *digits_at)
{
	const char *percent = strchr(pattern, '%');
	int written;

	*digits_at = -1;
	if (percent) {
		digit_count = snprintf(NULL, 0, "%03u", names - 1);
		*digits_at = (int)(percent - pattern);
		written = snprintf(name, NAME_MAX_BYTES + 1, "%.*s%0*u%s", *digits_at, pattern, digit_count, 0, percent + 1);
	} else {
		written = snprintf(name, NAME_MAX_BYTES + 1, "%s", pattern);
	}
	if (written < 1 || written > NAME_MAX_BYTES) {
		errno = 0;
		fail("NAME: 1 to %d bytes", NAME_MAX_BYTES);
	}
}

/* RFC 8446 4.1.2, with the extensions that every client sends, in one record. */
static void build_hello(const char *pattern, uint32_t names)
{
	static const uint8_t suites[] = { 0, 8, 0x13, 1, 0x13, 2, 0x13, 3, 0xc0, 0x2f, 1, 0 };
	static const uint8_t groups[] = { 0, 10, 0, 4, 0, 2, 0, 29 };
	static const uint8_t signatures[] = { 0, 13, 0, 6, 0, 4, 4, 3, 8, 4 };
	static const uint8_t versions[] = { 0, 43, 0, 5, 4, 3, 4, 3, 3 };
	static const uint8_t alpn[] = { 0, 16, 0, 14, 0, 12, 2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1' };
	static const uint8_t key_share[] = { 0, 51, 0, 38, 0, 36, 0, 29, 0, 32 };
	char name[NAME_MAX_BYTES + 1];
	uint8_t *record = hello, *message = hello + 5, *extensions, *at = message + 4;
	size_t name_len;
	int digits_at;

	expand_name(pattern, names, name, &digits_at);
	name_len = strlen(name);
	at = put(at, "\x03\x03", 2);
	random_bytes = at;
	at += 32;
	*at++ = 32; /* legacy_session_id */
	at += 32;
	at = put(at, suites, sizeof(suites));
	extensions = at;
	at += 2;
	/* RFC 6066 3: server_name */
	at = put16(at, 0);
	at = put16(at, name_len + 5);
	at = put16(at, name_len + 3);
	*at++ = 0;
	at = put16(at, name_len);
	digits = digits_at < 0 ? NULL : at + digits_at;
	at = put(at, name, name_len);
	at = put(at, groups, sizeof(groups));
	at = put(at, signatures, sizeof(signatures));
	at = put(at, versions, sizeof(versions));
	at = put(at, alpn, sizeof(alpn));
	at = put(at, key_share, sizeof(key_share));
	/* RFC 7748: any 32 bytes are a key of X25519, zeros are one that servers refuse. So a real server answers too. */
	memset(at, 9, 32);
	at += 32;
	put16(extensions, (size_t)(at - extensions - 2));
	hello_len = (size_t)(at - hello);
	message[0] = 1;
	message[1] = 0;
	put16(message + 2, hello_len - 9);
	put(record, "\x16\x03\x01", 3);
	put16(record + 3, hello_len - 5);
}

/* `random` goes into the hello's random, `value` into its name, where the pattern asks for one. */
static inline void renew_hello(uint64_t random, uint32_t value)
{
	memcpy(random_bytes, &random, sizeof(random));
	if (!digits)
		return;
	for (int i = digit_count - 1; i >= 0; i--) {
		digits[i] = (uint8_t)('0' + value % 10);
		value /= 10;
	}
}

#endif
