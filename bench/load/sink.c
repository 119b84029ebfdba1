/* SPDX-License-Identifier: MIT */
/*
 * Counts what `flood` sent: UDP packets by the stamp they begin with.
 *
 *   sink PORT
 *
 * It looks only every 2 ms (a wake-up a packet would cost more than the packet) and has a receive buffer for that. What this socket itself
 * dropped is told apart (SO_RXQ_OVFL), so that it isn't taken for a loss on the way. Prints "ready", and a line
 * {"stamp":n,"packets":n,"dropped":n} for each stamp when nothing of it has come for 100 ms, `dropped` since the last line. Runs until SIGTERM.
 */
#include "load.h"

#define BATCH 512
#define LOOK_NS 2000000L
#define QUIET_NS 100000000ULL

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static uint32_t stamps[BATCH];
static struct {
	_Alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(uint32_t))];
} controls[BATCH];

static uint32_t stamp, overflow, overflow_told;
static uint64_t packets, last;

static void tell(void)
{
	printf("{\"stamp\":%u,\"packets\":%" PRIu64 ",\"dropped\":%u}\n", stamp, packets, overflow - overflow_told);
	fflush(stdout);
	packets = 0;
	overflow_told = overflow;
}

static void count_one(const struct mmsghdr *message, uint32_t its_stamp)
{
	const struct cmsghdr *control = CMSG_FIRSTHDR(&message->msg_hdr);

	if (control && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SO_RXQ_OVFL)
		memcpy(&overflow, CMSG_DATA(control), sizeof(overflow));
	if (its_stamp != stamp && packets > 0)
		tell();
	stamp = its_stamp;
	packets++;
}

static int receive(int fd)
{
	int count;

	for (int i = 0; i < BATCH; i++) {
		messages[i].msg_hdr.msg_control = &controls[i];
		messages[i].msg_hdr.msg_controllen = sizeof(controls[i]);
	}
	count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < count; i++)
		count_one(&messages[i], stamps[i]);
	return count;
}

int main(int count, char **words)
{
	uint16_t port;
	int fd, on = 1, buffer = 32 << 20;

	if (count != 2)
		fail("usage: sink PORT");
	port = (uint16_t)number(words[1], 1, 65535, "PORT");
	stop_on_signals();
	fd = bound_to_all(SOCK_DGRAM, port);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
	setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){ .iov_base = &stamps[i], .iov_len = sizeof(stamps[i]) };
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	puts("ready");
	fflush(stdout);
	while (!stopped) {
		struct timespec pause = { .tv_nsec = LOOK_NS };
		int got;

		do {
			got = receive(fd);
			if (got > 0)
				last = now_ns();
		} while (got == BATCH);
		if (packets > 0 && now_ns() - last > QUIET_NS)
			tell();
		nanosleep(&pause, NULL);
	}
	if (packets > 0)
		tell();
	return 0;
}
