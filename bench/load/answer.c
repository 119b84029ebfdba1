/* SPDX-License-Identifier: MIT */
/*
 * The server of `hello`, `bulk` and `pulse`: accepts, waits for one whole TLS record, answers with the first bytes of a ServerHello, waits
 * for the end. What comes meanwhile is swallowed; a single byte is sent back.
 *
 *   answer PORT [THREADS]
 *
 * As cheap as a TCP server can be, so that it is not what limits a figure: each thread has its own listening socket (SO_REUSEPORT), a
 * connection is handed over only with its first data (TCP_DEFER_ACCEPT), no memory is allocated for one. Runs until SIGTERM.
 * Prints "ready", and at the end {"accepted":n,"answered":n}.
 */
#include "load.h"

#include <pthread.h>
#include <sys/epoll.h>

#define EVENTS 256
#define RECORD_HEADER 5
#define RECORD_MAX (16384 + RECORD_HEADER)

/* TLS record: handshake, 1.2, 90 bytes; ServerHello of 86 bytes, 1.2. Nobody reads further than this. */
static const uint8_t reply[95] = { 22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3 };

struct worker {
	pthread_t thread;
	int listener;
	int epoll;
	uint64_t accepted, answered;
};

/* Epoll's word for a connection: descriptor, and whether it has been answered. */
#define ANSWERED (1ULL << 32)

static void watch(struct worker *worker, int op, int fd, uint64_t flags)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint32_t)fd | flags };

	if (epoll_ctl(worker->epoll, op, fd, &event))
		fail("epoll_ctl");
}

/* The hello arrives in one piece, or all of it so far is still in the socket: it is looked at (MSG_PEEK) until it is whole. */
static bool answer(struct worker *worker, int fd)
{
	static __thread uint8_t buffer[RECORD_MAX];
	ssize_t have = recv(fd, buffer, sizeof(buffer), MSG_PEEK);

	if (have < RECORD_HEADER || have < RECORD_HEADER + (buffer[3] << 8 | buffer[4]))
		return false;
	if (recv(fd, buffer, (size_t)have, 0) != have)
		return false;
	if (send(fd, reply, sizeof(reply), 0) == (ssize_t)sizeof(reply))
		worker->answered++;
	return true;
}

static void accept_all(struct worker *worker)
{
	for (;;) {
		int fd = accept4(worker->listener, NULL, NULL, SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
				return;
			fail("accept");
		}
		worker->accepted++;
		watch(worker, EPOLL_CTL_ADD, fd, answer(worker, fd) ? ANSWERED : 0);
	}
}

static void serve(struct worker *worker, uint64_t word)
{
	int fd = (int)(uint32_t)word;
	static __thread uint8_t bytes[256 << 10];
	ssize_t got;

	if (!(word & ANSWERED)) {
		got = recv(fd, bytes, 1, MSG_PEEK);
		if (got > 0) {
			if (answer(worker, fd))
				watch(worker, EPOLL_CTL_MOD, fd, ANSWERED);
			return;
		}
	} else {
		got = recv(fd, bytes, sizeof(bytes), 0);
		/* One byte comes back (`pulse`); more is swallowed (`bulk`). */
		if (got == 1 && send(fd, bytes, 1, 0) != 1)
			got = 0;
		if (got > 0)
			return;
	}
	if (got < 0 && errno == EAGAIN)
		return;
	close(fd);
}

static void *run(void *argument)
{
	struct worker *worker = argument;
	struct epoll_event events[EVENTS];

	while (!stopped) {
		int count = epoll_wait(worker->epoll, events, EVENTS, 100);

		for (int i = 0; i < count; i++) {
			if ((int)(uint32_t)events[i].data.u64 == worker->listener)
				accept_all(worker);
			else
				serve(worker, events[i].data.u64);
		}
	}
	return NULL;
}

static void open_worker(struct worker *worker, uint16_t port)
{
	int seconds = 3;

	worker->epoll = epoll_create1(0);
	worker->listener = bound_to_all(SOCK_STREAM | SOCK_NONBLOCK, port);
	if (worker->epoll < 0)
		fail("epoll_create");
	setsockopt(worker->listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
	if (listen(worker->listener, 16384))
		fail("listen");
	watch(worker, EPOLL_CTL_ADD, worker->listener, 0);
}

int main(int count, char **words)
{
	static struct worker workers[64];
	uint64_t accepted = 0, answered = 0;
	uint16_t port;
	int threads;

	if (count < 2 || count > 3)
		fail("usage: answer PORT [THREADS]");
	port = (uint16_t)number(words[1], 1, 65535, "PORT");
	threads = count > 2 ? (int)number(words[2], 1, 64, "THREADS") : 1;
	stop_on_signals();
	for (int i = 0; i < threads; i++)
		open_worker(&workers[i], port);
	for (int i = 1; i < threads; i++)
		pthread_create(&workers[i].thread, NULL, run, &workers[i]);
	puts("ready");
	fflush(stdout);
	run(&workers[0]);
	for (int i = 0; i < threads; i++) {
		if (i > 0)
			pthread_join(workers[i].thread, NULL);
		accepted += workers[i].accepted;
		answered += workers[i].answered;
	}
	printf("{\"accepted\":%" PRIu64 ",\"answered\":%" PRIu64 "}\n", accepted, answered);
	return 0;
}
