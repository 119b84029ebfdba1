/* SPDX-License-Identifier: MIT */
/*
 * New TLS connections as fast as the way to the server takes them: TCP handshake, ClientHello with a name, the server's first bytes,
 * close. No cryptography: what is measured is the way, and the client must not be what limits it.
 *
 *   hello ADDRESS PORT NAME CONCURRENCY MILLISECONDS [ADDRESSES [NAMES]]
 *
 * NAME may hold one %: connection n carries n modulo NAMES (default 1,000) there, as three or more digits. Connection n goes to
 * ADDRESS + n modulo ADDRESSES (default 1), so that client ports in TIME_WAIT never run out. CONCURRENCY connections are always open.
 * Connections that are under way when the time is over are not counted. A connection that takes longer than 1 s has failed: it is
 * counted by what became of it, and closed.
 *
 * Prints {"answered":n,"refused":n,"reset":n,"closed":n,"timeout":n,"other":n,"seconds":s,"p50us":n,"p99us":n}.
 */
#include "load.h"

#include <sys/epoll.h>

#define EVENTS 256
#define MAX_CONCURRENCY 4096
#define TIMEOUT_NS SECOND_NS
#define NAME_MAX_BYTES 253
/* Latency histogram: 1 µs wide up to 1 ms, 100 µs wide up to 1 s. */
#define FINE 1000
#define COARSE 10000

enum outcome { ANSWERED, REFUSED, RESET, CLOSED, TIMEOUT, OTHER, OUTCOMES };
static const char *const outcome_names[] = { "answered", "refused", "reset", "closed", "timeout", "other" };

struct connection {
	int fd; /* -1: none */
	bool sent;
	uint64_t begun;
};

static struct connection connections[MAX_CONCURRENCY];
static uint64_t outcomes[OUTCOMES];
static uint64_t fine[FINE], coarse[COARSE];

static struct {
	struct in_addr address;
	uint16_t port;
	uint32_t addresses;
	uint32_t names;
	uint32_t concurrency;
	uint64_t duration_ns;
} options;

static uint64_t serial;
static int epoll;

/* --- connections ------------------------------------------------------------------------------------------------------ */

static void open_connection(uint32_t index)
{
	struct connection *c = &connections[index];
	struct sockaddr_in to = endpoint(options.address, (uint32_t)(serial++ % options.addresses), options.port);
	struct epoll_event event = { .events = EPOLLOUT, .data.u32 = index };

	c->begun = now_ns();
	c->sent = false;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		fail("socket");
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		fail("connect");
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event))
		fail("epoll_ctl");
}

static void finish(uint32_t index, enum outcome outcome, uint64_t now)
{
	struct connection *c = &connections[index];

	close(c->fd);
	c->fd = -1;
	outcomes[outcome]++;
	if (outcome == ANSWERED) {
		uint64_t us = (now - c->begun) / 1000;

		if (us < FINE)
			fine[us]++;
		else
			coarse[us / 100 < COARSE ? us / 100 : COARSE - 1]++;
	}
	open_connection(index);
}

static enum outcome outcome_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return REFUSED;
	case ECONNRESET:
	case EPIPE:
		return RESET;
	case ETIMEDOUT:
		return TIMEOUT;
	default:
		return OTHER;
	}
}

static void advance(uint32_t index, uint64_t now)
{
	struct connection *c = &connections[index];
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = index };
	uint8_t answer[512];
	ssize_t got;

	if (!c->sent) {
		renew_hello(serial + index);
		got = send(c->fd, hello, hello_len, 0);
		if (got < 0) {
			if (errno != EAGAIN)
				finish(index, outcome_of(errno), now);
			return;
		}
		c->sent = true;
		if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event))
			fail("epoll_ctl");
		return;
	}
	got = recv(c->fd, answer, sizeof(answer), 0);
	if (got > 0)
		finish(index, ANSWERED, now);
	else if (got == 0)
		finish(index, CLOSED, now);
	else if (errno != EAGAIN)
		finish(index, outcome_of(errno), now);
}

static void expire(uint64_t now)
{
	for (uint32_t i = 0; i < options.concurrency; i++) {
		if (now - connections[i].begun > TIMEOUT_NS)
			finish(i, TIMEOUT, now);
	}
}

/* --- result ----------------------------------------------------------------------------------------------------------- */

static uint64_t percentile(unsigned percent)
{
	uint64_t before = 0, wanted = outcomes[ANSWERED] * percent / 100;

	for (uint64_t i = 0; i < FINE; i++) {
		before += fine[i];
		if (before > wanted)
			return i;
	}
	for (uint64_t i = 0; i < COARSE; i++) {
		before += coarse[i];
		if (before > wanted)
			return i * 100;
	}
	return 0;
}

int main(int count, char **words)
{
	struct epoll_event events[EVENTS];
	uint64_t begun, now, scanned;

	if (count < 6 || count > 8)
		fail("usage: hello ADDRESS PORT NAME CONCURRENCY MILLISECONDS [ADDRESSES [NAMES]]");
	options.address = address4(words[1]);
	options.port = (uint16_t)number(words[2], 1, 65535, "PORT");
	options.concurrency = (uint32_t)number(words[4], 1, MAX_CONCURRENCY, "CONCURRENCY");
	options.duration_ns = number(words[5], 1, 3600000, "MILLISECONDS") * 1000000;
	options.addresses = count > 6 ? (uint32_t)number(words[6], 1, 65536, "ADDRESSES") : 1;
	options.names = count > 7 ? (uint32_t)number(words[7], 1, 1000000, "NAMES") : 1000;
	build_hello(words[3]);
	stop_on_signals();
	epoll = epoll_create1(0);
	if (epoll < 0)
		fail("epoll_create");
	begun = scanned = now_ns();
	for (uint32_t i = 0; i < options.concurrency; i++)
		open_connection(i);
	do {
		int ready = epoll_wait(epoll, events, EVENTS, 50);

		now = now_ns();
		for (int i = 0; i < ready; i++)
			advance(events[i].data.u32, now);
		if (now - scanned > SECOND_NS / 10) {
			/* Asked anew: connections were opened since `now`. */
			scanned = now_ns();
			expire(scanned);
		}
	} while (!stopped && now - begun < options.duration_ns);
	printf("{");
	for (int i = 0; i < OUTCOMES; i++)
		printf("\"%s\":%" PRIu64 ",", outcome_names[i], outcomes[i]);
	printf("\"seconds\":%.4f,\"p50us\":%" PRIu64 ",\"p99us\":%" PRIu64 "}\n", (double)(now - begun) / 1e9,
	       percentile(50), percentile(99));
	return 0;
}
