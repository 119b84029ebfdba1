/* SPDX-License-Identifier: MIT */
/*
 * Round trips of one established TLS connection: after hello and answer, a single byte goes and comes back, again and again.
 *
 *   pulse ADDRESS PORT NAME MILLISECONDS [pause=1000]
 *
 * `pause`: microseconds between one round trip and the next. A round trip that takes longer than a second ends the program's hopes, not the
 * program: it is counted as lost, and the next byte waits for it. Prints
 * {"established":b,"beats":n,"lost":n,"retransmitted":n,"seconds":s,"latency":[[percentile,us],...]}.
 */
#include "clienthello.h"
#include "histogram.h"
#include "words.h"

#include <sys/prctl.h>

static struct histogram trips;

static uint8_t answer[512];

static bool exchange(int fd, const void *bytes, size_t len)
{
	return send(fd, bytes, len, 0) == (ssize_t)len && recv(fd, answer, sizeof(answer), 0) > 0;
}

int main(int count, char **words)
{
	static struct word known[] = { { "pause", 1, 999999, 1000 } };
	struct timeval patience = { .tv_sec = 1 };
	uint64_t begun, duration, beats = 0, lost = 0;
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	struct endpoint to;
	bool established;
	int fd, on = 1;

	if (count < 5)
		fail("usage: pulse ADDRESS PORT NAME MILLISECONDS [pause=MICROSECONDS]");
	to = endpoint(address(words[1]), 0, (uint16_t)number(words[2], 1, 65535, "PORT"));
	duration = number(words[4], 1, 3600000, "MILLISECONDS") * 1000000;
	read_words(words + 5, count - 5, known, 1);
	build_hello(words[3], 1000);
	stop_on_signals();
	prctl(PR_SET_TIMERSLACK, 1UL);
	fd = socket(to.any.sa_family, SOCK_STREAM, 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	renew_hello(now_ns(), 0);
	established = !connect(fd, &to.any, to.len) && exchange(fd, hello, hello_len) && answer[0] == TLS_HANDSHAKE;
	begun = now_ns();
	while (established && !stopped && now_ns() - begun < duration) {
		struct timespec pause = { .tv_nsec = (long)known[0].value * 1000 };
		uint64_t start = now_ns();

		if (exchange(fd, "x", 1)) {
			record(&trips, now_ns() - start);
			beats++;
		} else if (errno == EAGAIN) {
			lost++;
		} else {
			break;
		}
		nanosleep(&pause, NULL);
	}
	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	printf("{\"established\":%s,\"beats\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"retransmitted\":%u,\"seconds\":%.4f,", established ? "true" : "false",
	       beats, lost, info.tcpi_total_retrans, (double)(now_ns() - begun) / 1e9);
	print_histogram("latency", &trips);
	printf("}\n");
	return 0;
}
