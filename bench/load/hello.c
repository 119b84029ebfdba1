/* SPDX-License-Identifier: MIT */
/*
 * New TLS connections as fast as the way to the server takes them: TCP handshake, ClientHello with a name, the server's first bytes,
 * close. No cryptography: what is measured is the way, and the client must not be what limits it.
 *
 *   hello ADDRESS PORT NAME CONCURRENCY MILLISECONDS [KEY=VALUE]...
 *
 * Connection n has number (from + n) modulo `names`. NAME may hold one %: it carries the number there, as three or more digits. The
 * connection goes to ADDRESS + number modulo `addresses`: so a name always lives on one address, and client ports in TIME_WAIT never run
 * out. CONCURRENCY connections are always open. Connections that are under way when the time is over are not counted. A connection that
 * takes longer than `timeout` has failed: it is counted by what became of it, and closed.
 *
 *   addresses=1  names=1000  from=0
 *   split=0      bytes of the hello in a first segment of their own; 0: the hello goes in one piece
 *   pause=0      microseconds between the end of a connection and the start of the next; wants CONCURRENCY 1
 *   timeout=1000 milliseconds
 *
 * Prints {"answered":n,"refused":n,"reset":n,"closed":n,"timeout":n,"other":n,"seconds":s,"latency":[[percentile,us],...],"denied":[...]}:
 * `latency` from connect() to the first byte of an answer, `denied` to any other end.
 */
#include "clienthello.h"
#include "histogram.h"
#include "words.h"

#include <sys/epoll.h>

#define EVENTS 256
#define MAX_CONCURRENCY 4096

enum outcome { ANSWERED, REFUSED, RESET, CLOSED, TIMEOUT, OTHER, OUTCOMES };
static const char *const outcome_names[] = { "answered", "refused", "reset", "closed", "timeout", "other" };

struct connection {
	int fd;
	bool sent;
	uint32_t number;
	uint64_t begun;
};

static struct connection connections[MAX_CONCURRENCY];
static uint64_t outcomes[OUTCOMES];
static struct histogram answered, denied;

enum key { ADDRESSES, NAMES, FROM, SPLIT, PAUSE, TIMEOUT_MS };
static struct word words_known[] = {
	[ADDRESSES] = { "addresses", 1, 65536, 1 }, [NAMES] = { "names", 1, 1000000000, 1000 },
	[FROM] = { "from", 0, UINT32_MAX, 0 },	    [SPLIT] = { "split", 0, 512, 0 },
	[PAUSE] = { "pause", 0, 1000000, 0 },	    [TIMEOUT_MS] = { "timeout", 1, 9000, 1000 },
};

static struct address to_address;
static uint16_t to_port;
static uint32_t concurrency;
static uint64_t serial;
static int epoll;

/* --- connections ------------------------------------------------------------------------------------------------------ */

static void open_connection(uint32_t index)
{
	struct connection *c = &connections[index];
	struct epoll_event event = { .events = EPOLLOUT, .data.u32 = index };
	struct endpoint to;
	int on = 1;

	c->number = (uint32_t)((words_known[FROM].value + serial++) % words_known[NAMES].value);
	to = endpoint(to_address, (uint32_t)(c->number % words_known[ADDRESSES].value), to_port);
	c->begun = now_ns();
	c->sent = false;
	c->fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		fail("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(c->fd, &to.any, to.len) && errno != EINPROGRESS)
		fail("connect");
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event))
		fail("epoll_ctl");
}

static void finish(uint32_t index, enum outcome outcome)
{
	struct connection *c = &connections[index];
	struct timespec pause = { .tv_nsec = (long)(words_known[PAUSE].value % 1000000) * 1000,
				  .tv_sec = (time_t)(words_known[PAUSE].value / 1000000) };

	/* Asked here and not once for all events of a wake-up: with few connections the difference is what is measured. */
	record(outcome == ANSWERED ? &answered : &denied, now_ns() - c->begun);
	close(c->fd);
	outcomes[outcome]++;
	if (words_known[PAUSE].value)
		nanosleep(&pause, NULL);
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

static bool send_hello(struct connection *c)
{
	size_t first = words_known[SPLIT].value && words_known[SPLIT].value < hello_len ? words_known[SPLIT].value : hello_len;

	renew_hello(serial << 12 | (uint64_t)(c - connections), c->number);
	return send(c->fd, hello, first, 0) == (ssize_t)first &&
	       (first == hello_len || send(c->fd, hello + first, hello_len - first, 0) == (ssize_t)(hello_len - first));
}

static void advance(uint32_t index)
{
	struct connection *c = &connections[index];
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = index };
	uint8_t answer[512];
	ssize_t got;

	if (!c->sent) {
		if (!send_hello(c)) {
			if (errno != EAGAIN)
				finish(index, outcome_of(errno));
			return;
		}
		c->sent = true;
		if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event))
			fail("epoll_ctl");
		return;
	}
	got = recv(c->fd, answer, sizeof(answer), 0);
	/* A TLS alert is an answer too, but not the server's. */
	if (got > 0)
		finish(index, answer[0] == TLS_HANDSHAKE ? ANSWERED : REFUSED);
	else if (got == 0)
		finish(index, CLOSED);
	else if (errno != EAGAIN)
		finish(index, outcome_of(errno));
}

static void expire(uint64_t now)
{
	for (uint32_t i = 0; i < concurrency; i++) {
		if (now > connections[i].begun + words_known[TIMEOUT_MS].value * 1000000)
			finish(i, TIMEOUT);
	}
}

int main(int count, char **words)
{
	struct epoll_event events[EVENTS];
	uint64_t begun, now, scanned, duration;

	if (count < 6)
		fail("usage: hello ADDRESS PORT NAME CONCURRENCY MILLISECONDS [KEY=VALUE]...");
	to_address = address(words[1]);
	to_port = (uint16_t)number(words[2], 1, 65535, "PORT");
	concurrency = (uint32_t)number(words[4], 1, MAX_CONCURRENCY, "CONCURRENCY");
	duration = number(words[5], 1, 3600000, "MILLISECONDS") * 1000000;
	read_words(words + 6, count - 6, words_known, sizeof(words_known) / sizeof(*words_known));
	build_hello(words[3], (uint32_t)words_known[NAMES].value);
	stop_on_signals();
	epoll = epoll_create1(0);
	if (epoll < 0)
		fail("epoll_create");
	begun = scanned = now_ns();
	for (uint32_t i = 0; i < concurrency; i++)
		open_connection(i);
	do {
		int ready = epoll_wait(epoll, events, EVENTS, 20);

		for (int i = 0; i < ready; i++)
			advance(events[i].data.u32);
		now = now_ns();
		if (now - scanned > SECOND_NS / 20) {
			scanned = now;
			expire(scanned);
		}
	} while (!stopped && now - begun < duration);
	printf("{");
	for (int i = 0; i < OUTCOMES; i++)
		printf("\"%s\":%" PRIu64 ",", outcome_names[i], outcomes[i]);
	printf("\"seconds\":%.4f,", (double)(now - begun) / 1e9);
	print_histogram("latency", &answered);
	printf(",");
	print_histogram("denied", &denied);
	printf("}\n");
	return 0;
}
