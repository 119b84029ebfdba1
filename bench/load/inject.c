/* SPDX-License-Identifier: MIT */
/*
 * Small UDP packets through a router, without the cost of a sender, of a receiver and of the cables: what is left is the router's own work.
 *
 *   inject OBJECT ENTRY SOURCE TARGET PORT EXIT PACKETS_PER_SECOND MILLISECONDS STAMP
 *
 * Runs in the router's namespace. The kernel's XDP test run with live frames (Linux 5.18) makes 64-byte Ethernet frames and gives them to the
 * stack as if the interface ENTRY had received them, each one skb; what is sent through the interface EXIT is counted there and ends: a cable
 * would bring it to a receiver whose work is done by the router's processor. Both ends are in OBJECT (inject.bpf.c). The whole run is one system
 * call, as each call would cost the end of an RCU grace period, so between packets it spins: it takes one processor at any rate. A sender that
 * falls behind sends up to 5 ms of the missed packets in one go, 2,000 at most, and gives up the rest, so `sent` says what was really offered.
 *
 * Prints {"sent":n,"received":n,"delivered":n,"seconds":s}: `delivered` of `received` came within those seconds, the rest were then
 * still on their way.
 */
#include "load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "inject.h"

/* Younger than the headers of Ubuntu 22.04; linux/bpf.h of 5.18. */
#define LIVE_FRAMES (1U << 1)
#define BATCH 64
#define CATCH_UP_MS 5
#define CATCH_UP_MOST 2000
/* A router that delivers nothing for so long has delivered all. */
#define QUIET_NS 100000000ULL
/* The system call takes so long to begin and to end; it is not cut short. */
#define LATER_MS 60

struct test_run {
	uint32_t prog_fd, retval, data_size_in, data_size_out;
	uint64_t data_in, data_out;
	uint32_t repeat, duration, ctx_size_in, ctx_size_out;
	uint64_t ctx_in, ctx_out;
	uint32_t flags, cpu, batch_size, pad;
};

static uint8_t frame[FRAME_WORDS * 8] = {
	[6] = 0x02, [11] = 0x02, /* from a neighbour that nobody has to find */
	[12] = ETH_P_IP >> 8, ETH_P_IP & 0xff,
	[14] = 0x45, [17] = FRAME_LENGTH - ETH_HLEN, [22] = 64, IPPROTO_UDP,
	[39] = FRAME_LENGTH - ETH_HLEN - 20, /* without a checksum, as UDP over IPv4 may be */
};

static void address_of(const char *name, uint8_t *to)
{
	struct ifreq request = {};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request))
		fail("interface %s", name);
	close(fd);
	memcpy(to, request.ifr_hwaddr.sa_data, ETH_ALEN);
}

static void make_frame(const char *interface, const char *source, const char *target, uint16_t port, uint32_t stamp)
{
	struct address from = address(source), to = address(target);
	uint32_t sum = 0;
	uint16_t word;

	if (from.family != AF_INET || to.family != AF_INET)
		fail("IPv4 addresses only");
	address_of(interface, frame);
	memcpy(frame + 26, from.bytes, 4);
	memcpy(frame + 30, to.bytes, 4);
	for (int at = 14; at < 34; at += 2) {
		memcpy(&word, frame + at, sizeof(word));
		sum += word;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	word = (uint16_t)~(sum + (sum >> 16));
	memcpy(frame + 24, &word, sizeof(word));
	word = htons(port);
	memcpy(frame + FRAME_PORT, &word, sizeof(word));
	memcpy(frame + FRAME_STAMP, &stamp, sizeof(stamp));
}

/* The object's map of that section, ".rodata" or ".bss". */
static struct bpf_map *section(struct bpf_object *object, const char *name)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
		if (strstr(bpf_map__name(map), name))
			return map;
	errno = 0;
	fail("no section %s", name);
}

static int program(struct bpf_object *object, const char *name)
{
	struct bpf_program *found = bpf_object__find_program_by_name(object, name);

	if (!found)
		fail("no program %s", name);
	return bpf_program__fd(found);
}

/* `count` where packets leave. It goes with the namespace. */
static void attach(int count, const char *interface)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_EGRESS, .ifindex = (int)if_nametoindex(interface));
	DECLARE_LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = count, .handle = 1, .priority = 1, .flags = BPF_TC_F_REPLACE);
	int error;

	if (!hook.ifindex)
		fail("interface %s", interface);
	error = bpf_tc_hook_create(&hook);
	if (!error || error == -EEXIST) /* an earlier run did */
		error = bpf_tc_attach(&hook, &options);
	if (error) {
		errno = -error;
		fail("TC program at %s", interface);
	}
}

static struct inject_state state_of(int map)
{
	struct inject_state state;
	uint32_t key = 0;

	if (bpf_map_lookup_elem(map, &key, &state))
		fail("the programs' state");
	return state;
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* Until the time is up: the programs know it from their plan, a signal ends the system call. */
static void run(int inject, int state, const char *interface, uint64_t ms)
{
	struct xdp_md context = { .data_end = FRAME_LENGTH, .ingress_ifindex = if_nametoindex(interface) };
	struct test_run run = {
		.prog_fd = (uint32_t)inject,
		.data_in = (uint64_t)(uintptr_t)frame,
		.data_size_in = FRAME_LENGTH,
		.ctx_in = (uint64_t)(uintptr_t)&context,
		.ctx_size_in = sizeof(context),
		.repeat = INT32_MAX,
		.flags = LIVE_FRAMES,
		.batch_size = BATCH,
	};
	struct itimerval timer = { .it_interval.tv_usec = LATER_MS * 1000 };
	struct sigaction action = { .sa_handler = on_alarm };

	ms += LATER_MS;
	timer.it_value = (struct timeval){ (time_t)(ms / 1000), (suseconds_t)(ms % 1000) * 1000 };
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	while (!stopped && !state_of(state).ended)
		if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &run, sizeof(run)) < 0 && errno != EINTR && errno != EAGAIN)
			fail("XDP test run with live frames (Linux 5.18)");
	setitimer(ITIMER_REAL, &(struct itimerval){}, NULL);
}

/* All that is still on its way, if it comes. */
static struct inject_state settled(int map)
{
	struct inject_state state = state_of(map);
	uint64_t since = now_ns(), begun = since;

	while (!stopped && state.received < state.sent && now_ns() - since < QUIET_NS && now_ns() - begun < SECOND_NS) {
		struct timespec pause = { .tv_nsec = 5000000 };
		uint64_t before = state.received;

		nanosleep(&pause, NULL);
		state = state_of(map);
		if (state.received != before)
			since = now_ns();
	}
	return state;
}

int main(int words_count, char **words)
{
	struct inject_plan plan = {};
	struct inject_state state;
	struct bpf_object *object;
	uint64_t rate, ms;
	int map;

	if (words_count != 10)
		fail("usage: inject OBJECT ENTRY SOURCE TARGET PORT EXIT PACKETS_PER_SECOND MILLISECONDS STAMP");
	rate = number(words[7], 1, 100000000, "PACKETS_PER_SECOND");
	ms = number(words[8], 1, 60000, "MILLISECONDS");
	make_frame(words[2], words[3], words[4], (uint16_t)number(words[5], 1, 65535, "PORT"),
		   (uint32_t)number(words[9], 0, UINT32_MAX, "STAMP"));
	stop_on_signals();
	memcpy(plan.frame, frame, sizeof(plan.frame));
	plan.rate = rate;
	plan.duration = ms * 1000000;
	plan.catch_up = rate * CATCH_UP_MS / 1000 < CATCH_UP_MOST ? rate * CATCH_UP_MS / 1000 + 1 : CATCH_UP_MOST;

	libbpf_set_print(NULL);
	object = bpf_object__open_file(words[1], NULL);
	if (!object || libbpf_get_error(object) || bpf_map__set_initial_value(section(object, ".rodata"), &plan, sizeof(plan)) ||
	    bpf_object__load(object))
		fail("%s", words[1]);
	map = bpf_map__fd(section(object, ".bss"));
	attach(program(object, "count"), words[6]);
	run(program(object, "inject"), map, words[2], ms);
	state = settled(map);
	printf("{\"sent\":%llu,\"received\":%llu,\"delivered\":%llu,\"seconds\":%.4f}\n", state.sent, state.received, state.delivered,
	       (double)state.ended / 1e9);
	bpf_object__close(object);
	return 0;
}
