/* SPDX-License-Identifier: MIT */
/*
 * Asks a name server for many names, each until it is answered: what a client does before it connects.
 *
 *   ask RESOLVER NAME TYPE COUNT [KEY=VALUE]...
 *
 * NAME may hold one %, which becomes a number from 0 to COUNT-1, of three or more digits (as in `hello` with names=COUNT). TYPE: 1 is A,
 * 28 AAAA.
 *
 *   window=32     questions under way at a time
 *   timeout=500   milliseconds until a question is asked again
 *   tries=4       then it is lost
 *
 * Prints {"answered":n,"refused":n,"lost":n,"seconds":s,"latency":[[percentile,us],...],"denied":[...]}: `refused` is any answer without an
 * address, `denied` the time to it.
 */
#include "histogram.h"
#include "words.h"

#include <poll.h>

#define MAX_WINDOW 1024
#define PACKET_MAX 512

struct question {
	bool open;
	uint16_t id;
	uint32_t number;
	uint32_t tries;
	uint64_t begun, sent;
};

static struct question questions[MAX_WINDOW];
static struct histogram answered, denied;
static uint64_t lost;
static const char *pattern;
static int type, digit_count, fd;
static struct word known[] = { { "window", 1, MAX_WINDOW, 32 }, { "timeout", 1, 10000, 500 }, { "tries", 1, 100, 4 } };

static void send_question(uint32_t index, uint64_t now)
{
	struct question *q = &questions[index];
	uint8_t packet[PACKET_MAX] = { 0, 0, 1, 0, 0, 1 }, *at = packet + 12, *label = at++;
	char name[254];
	const char *percent = strchr(pattern, '%');

	if (percent)
		snprintf(name, sizeof(name), "%.*s%0*u%s", (int)(percent - pattern), pattern, digit_count, q->number, percent + 1);
	else
		snprintf(name, sizeof(name), "%s", pattern);
	/* RFC 1035 4.1.2 */
	for (const char *c = name; *c; c++) {
		if (*c == '.') {
			*label = (uint8_t)(at - label - 1);
			label = at++;
		} else {
			*at++ = (uint8_t)*c;
		}
	}
	*label = (uint8_t)(at - label - 1);
	*at++ = 0;
	*at++ = 0;
	*at++ = (uint8_t)type;
	*at++ = 0;
	*at++ = 1;
	packet[0] = (uint8_t)(q->id >> 8);
	packet[1] = (uint8_t)q->id;
	q->sent = now;
	q->tries++;
	/* A refusal by the way (ICMP) is seen as no answer. */
	send(fd, packet, (size_t)(at - packet), 0);
}

static void take_answers(uint32_t window)
{
	uint8_t packet[PACKET_MAX];
	ssize_t got;

	while ((got = recv(fd, packet, sizeof(packet), MSG_DONTWAIT)) != -1 || errno != EAGAIN) {
		uint16_t id = (uint16_t)(packet[0] << 8 | packet[1]);
		struct question *q = &questions[id % window];

		if (got < 12 || !q->open || q->id != id)
			continue;
		q->open = false;
		record(!(packet[3] & 15) && packet[7] ? &answered : &denied, now_ns() - q->begun);
	}
}

int main(int count, char **words)
{
	struct endpoint to;
	uint64_t begun, wanted, asked = 0, open;
	uint32_t window;

	if (count < 5)
		fail("usage: ask RESOLVER NAME TYPE COUNT [KEY=VALUE]...");
	to = endpoint(address(words[1]), 0, 53);
	pattern = words[2];
	if (strlen(pattern) > 240)
		fail("NAME: at most 240 bytes");
	type = (int)number(words[3], 1, 255, "TYPE");
	wanted = number(words[4], 1, 10000000, "COUNT");
	read_words(words + 5, count - 5, known, 3);
	window = (uint32_t)known[0].value;
	digit_count = snprintf(NULL, 0, "%03u", (unsigned)wanted - 1);
	stop_on_signals();
	fd = socket(to.any.sa_family, SOCK_DGRAM, 0);
	if (fd < 0 || connect(fd, &to.any, to.len))
		fail("socket");
	begun = now_ns();
	do {
		struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
		uint64_t now = now_ns();

		open = 0;
		for (uint32_t i = 0; i < window; i++) {
			struct question *q = &questions[i];

			if (q->open && now - q->sent > known[1].value * 1000000) {
				if (q->tries >= known[2].value) {
					lost++;
					q->open = false;
				} else {
					send_question(i, now);
				}
			}
			if (!q->open && asked < wanted) {
				/* The slot is the id modulo the window; it differs from the slot's last one. */
				uint16_t id = (uint16_t)((asked / window) * window + i);

				*q = (struct question){ .open = true, .id = id, .number = (uint32_t)asked++, .begun = now };
				if (id % window != i)
					q->id = (uint16_t)i;
				send_question(i, now);
			}
			open += q->open;
		}
		if (open && poll(&poll_fd, 1, 20) > 0)
			take_answers(window);
	} while (!stopped && (open || asked < wanted));
	printf("{\"answered\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"seconds\":%.4f,", answered.count, denied.count, lost,
	       (double)(now_ns() - begun) / 1e9);
	print_histogram("latency", &answered);
	printf(",");
	print_histogram("denied", &denied);
	printf("}\n");
	return 0;
}
