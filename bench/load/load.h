/* SPDX-License-Identifier: MIT */
/* What the four load programs share: time, arguments, addresses, an end. Every program prints one line of JSON when it is done. */
#ifndef L7_LOAD_H
#define L7_LOAD_H

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ULL

static volatile sig_atomic_t stopped;

static inline void on_stop(int signal)
{
	(void)signal;
	stopped = 1;
}

/* SIGTERM and SIGINT end the main loop: no SA_RESTART, so that a sleeping system call returns. */
static inline void stop_on_signals(void)
{
	struct sigaction action = { .sa_handler = on_stop };

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

__attribute__((noreturn, format(printf, 1, 2))) static inline void fail(const char *format, ...)
{
	int error = errno;
	va_list list;

	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fprintf(stderr, error ? ": %s\n" : "\n", strerror(error));
	exit(1);
}

/* A whole number in [low, high]; anything else ends the program. */
static inline uint64_t number(const char *text, uint64_t low, uint64_t high, const char *what)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value < low || value > high) {
		errno = 0;
		fail("%s: a whole number from %" PRIu64 " to %" PRIu64 ", not '%s'", what, low, high, text);
	}
	return value;
}

static inline struct in_addr address4(const char *text)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1) {
		errno = 0;
		fail("not an IPv4 address: '%s'", text);
	}
	return address;
}

/* The n-th address after `base`. */
static inline struct sockaddr_in endpoint(struct in_addr base, uint32_t n, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };

	to.sin_addr.s_addr = htonl(ntohl(base.s_addr) + n);
	return to;
}

#endif
