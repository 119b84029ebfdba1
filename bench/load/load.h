/* SPDX-License-Identifier: MIT */
/* What the load programs share: time, arguments, addresses, an end. Every program prints one line of JSON when it is done. */
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

/* An IPv4 or IPv6 address; IPv4 stands in the first four bytes. */
struct address {
	int family;
	uint8_t bytes[16];
};

struct endpoint {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t len;
};

static inline struct address address(const char *text)
{
	struct address address = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };

	if (inet_pton(address.family, text, address.bytes) != 1) {
		errno = 0;
		fail("not an address: '%s'", text);
	}
	return address;
}

/* The n-th address after `base`: its last 32 bits, counted up. */
static inline struct endpoint endpoint(struct address base, uint32_t n, uint16_t port)
{
	size_t at = base.family == AF_INET ? 0 : 12;
	struct endpoint to = { .len = base.family == AF_INET ? sizeof(to.v4) : sizeof(to.v6) };
	uint32_t last;

	memcpy(&last, base.bytes + at, sizeof(last));
	last = htonl(ntohl(last) + n);
	memcpy(base.bytes + at, &last, sizeof(last));
	to.any.sa_family = (sa_family_t)base.family;
	if (base.family == AF_INET) {
		to.v4.sin_port = htons(port);
		memcpy(&to.v4.sin_addr, base.bytes, 4);
	} else {
		to.v6.sin6_port = htons(port);
		memcpy(&to.v6.sin6_addr, base.bytes, 16);
	}
	return to;
}

/* A socket that is bound to `port` of every address of both families. */
static inline int bound_to_all(int type, uint16_t port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, type, 0), on = 1, off = 0;

	if (fd < 0)
		fail("socket");
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)))
		fail("port %u", port);
	return fd;
}

#endif
