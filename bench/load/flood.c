/* SPDX-License-Identifier: MIT */
/*
 * Small UDP packets at a steady rate: 18 bytes of payload, which is a 64-byte Ethernet frame (with its checksum).
 *
 *   flood ADDRESS PORT PACKETS_PER_SECOND MILLISECONDS STAMP
 *
 * Each packet is one skb: no segmentation offload, or one queued "packet" would be many. Every payload begins with STAMP, which `sink`
 * counts by. A sender that falls behind sends up to 20 ms of the missed packets in one go and gives up the rest, so `sent` says what was
 * really offered. Prints {"sent":n,"seconds":s,"errors":n}.
 */
#include "load.h"

#include <sys/prctl.h>

#define BATCH 64
#define PAYLOAD 18
#define TICK_NS 200000ULL
#define CATCH_UP_NS 20000000ULL

static uint64_t send_packets(int fd, struct mmsghdr *messages, uint64_t wanted, uint64_t *errors)
{
	uint64_t sent = 0;

	while (sent < wanted) {
		unsigned batch = wanted - sent < BATCH ? (unsigned)(wanted - sent) : BATCH;
		int done = sendmmsg(fd, messages, batch, 0);

		if (done < 0) {
			/* ENOBUFS: dropped on the way out, not offered. ECONNREFUSED: the sink is not there (yet). */
			(*errors)++;
			return sent;
		}
		sent += (uint64_t)done;
	}
	return sent;
}

int main(int count, char **words)
{
	static uint8_t payload[PAYLOAD];
	struct iovec vector = { .iov_base = payload, .iov_len = sizeof(payload) };
	struct mmsghdr messages[BATCH];
	struct endpoint to;
	uint64_t rate, duration, begun, now, sent = 0, given_up = 0, errors = 0;
	uint32_t stamp;
	int fd, buffer = 4 << 20;

	if (count != 6)
		fail("usage: flood ADDRESS PORT PACKETS_PER_SECOND MILLISECONDS STAMP");
	to = endpoint(address(words[1]), 0, (uint16_t)number(words[2], 1, 65535, "PORT"));
	rate = number(words[3], 1, 100000000, "PACKETS_PER_SECOND");
	duration = number(words[4], 1, 3600000, "MILLISECONDS") * 1000000;
	stamp = (uint32_t)number(words[5], 0, UINT32_MAX, "STAMP");
	memcpy(payload, &stamp, sizeof(stamp));
	stop_on_signals();
	prctl(PR_SET_TIMERSLACK, 1UL);
	fd = socket(to.any.sa_family, SOCK_DGRAM, 0);
	if (fd < 0 || connect(fd, &to.any, to.len))
		fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_iov = &vector;
		messages[i].msg_hdr.msg_iovlen = 1;
	}

	begun = now = now_ns();
	while (!stopped && now - begun < duration) {
		uint64_t due = (uint64_t)((__uint128_t)(now - begun) * rate / SECOND_NS);
		uint64_t most = rate * (CATCH_UP_NS / 1000) / (SECOND_NS / 1000) + 1;

		if (due > sent + given_up + most)
			given_up = due - sent - most;
		if (due > sent + given_up) {
			sent += send_packets(fd, messages, due - sent - given_up, &errors);
		} else {
			struct timespec pause = { .tv_nsec = TICK_NS };

			nanosleep(&pause, NULL);
		}
		now = now_ns();
	}
	printf("{\"sent\":%" PRIu64 ",\"seconds\":%.4f,\"errors\":%" PRIu64 "}\n", sent, (double)(now - begun) / 1e9, errors);
	return 0;
}
