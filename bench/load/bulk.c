/* SPDX-License-Identifier: MIT */
/*
 * Throughput of TLS connections: each sends its ClientHello, waits for the answer, then sends as much as the way takes. So a proxy that
 * looks at the name can be measured as a router can.
 *
 *   bulk ADDRESS PORT NAME FLOWS MILLISECONDS [KEY=VALUE]...
 *
 *   addresses=1 names=1000   as in `hello`; flow n has number n
 *
 * Counted is what the other end of the connection has acknowledged (TCP_INFO) after the first 200 ms, until the time is over.
 * Prints {"flows":n,"failed":n,"bytes":n,"seconds":s,"retransmitted":n}.
 */
#include "clienthello.h"
#include "words.h"

#include <sys/epoll.h>

#define MAX_FLOWS 1024
#define CHUNK (128 << 10)
#define WARM_NS (SECOND_NS / 5)

/* include/uapi/linux/tcp.h: the C library's struct ends before the fields that are wanted here. */
struct long_tcp_info {
	struct tcp_info info;
	uint64_t pacing_rate, max_pacing_rate, bytes_acked;
};

static int flows[MAX_FLOWS];
static uint8_t chunk[CHUNK];

static int open_flow(struct address to_address, uint32_t number, uint32_t addresses, uint16_t port)
{
	struct endpoint to = endpoint(to_address, number % addresses, port);
	struct timeval patience = { .tv_sec = 2 };
	uint8_t answer[512];
	int fd = socket(to.any.sa_family, SOCK_STREAM, 0);

	if (fd < 0)
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	renew_hello(now_ns(), number);
	if (connect(fd, &to.any, to.len) || send(fd, hello, hello_len, 0) != (ssize_t)hello_len ||
	    recv(fd, answer, sizeof(answer), 0) <= 0 || answer[0] != TLS_HANDSHAKE) {
		close(fd);
		return -1;
	}
	return fd;
}

static void account(uint32_t count, uint64_t *bytes, uint64_t *retransmitted)
{
	*bytes = *retransmitted = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct long_tcp_info info = { 0 };
		socklen_t len = sizeof(info);

		if (flows[i] < 0 || getsockopt(flows[i], IPPROTO_TCP, TCP_INFO, &info, &len))
			continue;
		*bytes += info.bytes_acked;
		*retransmitted += info.info.tcpi_total_retrans;
	}
}

int main(int count, char **words)
{
	static struct word known[] = { { "addresses", 1, 65536, 1 }, { "names", 1, 1000000000, 1000 } };
	struct epoll_event events[64], event = { .events = EPOLLOUT };
	uint64_t begun, now, duration, counted_from = 0, bytes, before = 0, retransmitted, ignored;
	uint32_t wanted, failed = 0;
	struct address to;
	uint16_t port;
	int epoll = epoll_create1(0);

	if (count < 6)
		fail("usage: bulk ADDRESS PORT NAME FLOWS MILLISECONDS [KEY=VALUE]...");
	to = address(words[1]);
	port = (uint16_t)number(words[2], 1, 65535, "PORT");
	wanted = (uint32_t)number(words[4], 1, MAX_FLOWS, "FLOWS");
	duration = number(words[5], 300, 3600000, "MILLISECONDS") * 1000000;
	read_words(words + 6, count - 6, known, 2);
	build_hello(words[3], (uint32_t)known[1].value);
	stop_on_signals();
	for (uint32_t i = 0; i < wanted; i++) {
		flows[i] = open_flow(to, (uint32_t)(i % known[1].value), (uint32_t)known[0].value, port);
		failed += flows[i] < 0;
		event.data.u32 = i;
		if (flows[i] >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, flows[i], &event))
			fail("epoll_ctl");
	}
	begun = now = now_ns();
	while (!stopped && now - begun < duration) {
		int ready = epoll_wait(epoll, events, 64, 20);

		for (int i = 0; i < ready; i++) {
			uint32_t index = events[i].data.u32;

			if (send(flows[index], chunk, sizeof(chunk), MSG_DONTWAIT) < 0 && errno != EAGAIN) {
				epoll_ctl(epoll, EPOLL_CTL_DEL, flows[index], NULL);
				failed++;
			}
		}
		now = now_ns();
		if (!counted_from && now - begun >= WARM_NS) {
			counted_from = now;
			account(wanted, &before, &ignored);
		}
	}
	account(wanted, &bytes, &retransmitted);
	printf("{\"flows\":%u,\"failed\":%u,\"bytes\":%" PRIu64 ",\"seconds\":%.4f,\"retransmitted\":%" PRIu64 "}\n", wanted, failed,
	       counted_from ? bytes - before : 0, counted_from ? (double)(now - counted_from) / 1e9 : 0, retransmitted);
	return 0;
}
