/* SPDX-License-Identifier: MIT */
/*
 * The lab's name server: answers every question at once, over UDP, so that it is not what limits a figure.
 *
 *   dns PORT FIRST4 FIRST6 COUNT LISTEN...
 *
 * A question for A (AAAA) gets FIRST4 (FIRST6) + number modulo COUNT, where number is the first run of digits in the name (none: 0), so that
 * a name always has the same address; any other type gets an empty answer. TTL one hour. Each address LISTEN has a thread, which takes and
 * answers packets by the batch. Prints "ready"; runs until SIGTERM.
 */
#include "load.h"

#include <pthread.h>

#define BATCH 64
#define QUERY_MAX 512
#define HEADER 12
#define TTL 3600

static struct address first4, first6;
static uint32_t addresses;

struct packet {
	uint8_t bytes[QUERY_MAX + 64];
	struct sockaddr_storage from;
};

/* RFC 1035 4.1.2. The length of the whole question section; 0: not one plain question. */
static size_t question_length(const uint8_t *bytes, size_t len, uint32_t *value)
{
	size_t at = HEADER;
	bool counting = false, counted = false;

	*value = 0;
	while (at < len && bytes[at]) {
		size_t label = bytes[at++];

		if (label > 63 || at + label >= len)
			return 0;
		for (; label; label--, at++) {
			if (bytes[at] >= '0' && bytes[at] <= '9' && !counted) {
				*value = *value * 10 + (bytes[at] - '0');
				counting = true;
			} else if (counting) {
				counted = true;
			}
		}
	}
	return at + 5 <= len ? at + 5 - HEADER : 0;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

/* In place; returns the answer's length, 0: no answer. */
static size_t answer(uint8_t *bytes, size_t len)
{
	/* A pointer to the question's name, class IN; type before, TTL after. */
	static const uint8_t name[] = { 0xc0, HEADER, 0 }, rest[] = { 0, 1, 0, 0, TTL >> 8, TTL & 255, 0 };
	static const uint8_t counts[] = { 0, 1, 0, 0, 0, 0, 0, 0 };
	struct endpoint to;
	size_t question;
	uint32_t value;
	uint8_t type, *at;

	if (len < HEADER || bytes[2] & 0x80 || bytes[4] || bytes[5] != 1)
		return 0;
	question = question_length(bytes, len, &value);
	if (!question)
		return 0;
	type = bytes[HEADER + question - 4] ? 0 : bytes[HEADER + question - 3];
	/* QR, the query's RD, RA; NOERROR. */
	bytes[2] = 0x80 | (bytes[2] & 1);
	bytes[3] = 0x80;
	memcpy(bytes + 4, counts, sizeof(counts));
	at = bytes + HEADER + question;
	if (type != 1 && type != 28)
		return (size_t)(at - bytes);
	bytes[5] = 1;
	bytes[7] = 1;
	to = endpoint(type == 1 ? first4 : first6, value % addresses, 0);
	at = put(at, name, sizeof(name));
	*at++ = type;
	at = put(at, rest, sizeof(rest));
	*at++ = type == 1 ? 4 : 16;
	at = type == 1 ? put(at, &to.v4.sin_addr, 4) : put(at, &to.v6.sin6_addr, 16);
	return (size_t)(at - bytes);
}

static void *serve(void *argument)
{
	struct packet *packets = calloc(BATCH, sizeof(*packets));
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec vectors[BATCH];
	int fd = (int)(intptr_t)argument;

	if (!packets)
		fail("calloc");
	while (!stopped) {
		int got, answers = 0;

		for (int i = 0; i < BATCH; i++) {
			vectors[i] = (struct iovec){ packets[i].bytes, QUERY_MAX };
			messages[i].msg_hdr = (struct msghdr){ .msg_name = &packets[i].from,
							       .msg_namelen = sizeof(packets[i].from),
							       .msg_iov = &vectors[i],
							       .msg_iovlen = 1 };
		}
		got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < got; i++) {
			size_t len = answer(packets[i].bytes, messages[i].msg_len);

			if (!len)
				continue;
			vectors[i].iov_len = len;
			messages[answers++].msg_hdr = messages[i].msg_hdr;
		}
		for (int sent = 0; sent < answers;) {
			int now = sendmmsg(fd, messages + sent, (unsigned)(answers - sent), 0);

			/* One that can't be sent (a full queue) is lost, as everywhere. */
			sent += now > 0 ? now : 1;
		}
	}
	free(packets);
	return NULL;
}

static int open_socket(const char *listen_on, uint16_t port)
{
	/* Not on any address: an answer must come from the one that was asked. */
	struct endpoint at = endpoint(address(listen_on), 0, port);
	struct timeval look = { .tv_usec = 200000 };
	int buffer = 8 << 20, on = 1, fd = socket(at.any.sa_family, SOCK_DGRAM, 0);

	if (fd < 0)
		fail("socket");
	/* It is one of a network that is routed here; IPv6 wants to be told so. */
	setsockopt(fd, SOL_IPV6, IPV6_FREEBIND, &on, sizeof(on));
	if (bind(fd, &at.any, at.len))
		fail("%s", listen_on);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof(look));
	return fd;
}

int main(int count, char **words)
{
	pthread_t threads[64];
	uint16_t port;
	int listeners = count - 5;

	if (listeners < 1 || listeners > 64)
		fail("usage: dns PORT FIRST4 FIRST6 COUNT LISTEN...");
	port = (uint16_t)number(words[1], 1, 65535, "PORT");
	first4 = address(words[2]);
	first6 = address(words[3]);
	addresses = (uint32_t)number(words[4], 1, 1 << 24, "COUNT");
	stop_on_signals();
	for (int i = 0; i < listeners; i++) {
		int fd = open_socket(words[5 + i], port);

		if (pthread_create(&threads[i], NULL, serve, (void *)(intptr_t)fd))
			fail("pthread_create");
	}
	puts("ready");
	fflush(stdout);
	for (int i = 0; i < listeners; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
