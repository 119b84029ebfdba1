/* SPDX-License-Identifier: MIT */
/*
 * Frames of UDP packets that no ordinary client sends: each of another connection, or each from another client with a MAC address of its own.
 *
 *   swarm INTERFACE GATEWAY_MAC flows|clients FIRST COUNT RATE ADDRESS [NAME]
 *
 * flows: number n goes from this host's 10.77.0.2 to one of 200 addresses from ADDRESS on, at port 1024 + n / 200: one packet, one flow.
 * clients: number n is host 02:4c:xx:xx:xx:xx, which asks ADDRESS (a name server) for the address of NAME; % in it becomes a number below 1000.
 * Clients share the 250 addresses from 10.77.0.3 on: a gateway that tells them apart by MAC sees as many hosts as there are numbers.
 *
 * RATE: packets a second at most, 0: as fast as it goes. Prints {"sent":n,"seconds":s}.
 */
#include "load.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>
#include <stddef.h>
#include <sys/ioctl.h>

#define BATCH 64
#define FRAME_MAX 512
#define OWN_ADDRESS 0x0a4d0002u
#define TARGETS 200
#define HOSTS 250
#define NAMES 1000

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t payload[FRAME_MAX - 42];
} __attribute__((packed));

static uint8_t gateway[ETH_ALEN], own[ETH_ALEN];
static const char *name;
static uint32_t target;

static uint16_t header_sum(struct iphdr ip)
{
	uint16_t words[sizeof(ip) / 2];
	uint32_t sum = 0;

	memcpy(words, &ip, sizeof(ip));
	for (size_t i = 0; i < sizeof(ip) / 2; i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* Without a UDP checksum (RFC 768: 0), which the gateway and the server take. */
static size_t finish(struct frame *frame, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport, size_t payload)
{
	size_t udp = sizeof(frame->udp) + payload;

	memcpy(frame->eth.h_dest, gateway, ETH_ALEN);
	frame->eth.h_proto = htons(ETH_P_IP);
	frame->ip = (struct iphdr){ .version = 4,
				    .ihl = 5,
				    .tot_len = htons((uint16_t)(sizeof(frame->ip) + udp)),
				    .ttl = 64,
				    .protocol = IPPROTO_UDP,
				    .saddr = htonl(src),
				    .daddr = htonl(dst) };
	frame->ip.check = header_sum(frame->ip);
	frame->udp = (struct udphdr){ .source = htons(sport), .dest = htons(dport), .len = htons((uint16_t)udp) };
	return offsetof(struct frame, payload) + payload;
}

static size_t flow(struct frame *frame, uint64_t n)
{
	memcpy(frame->eth.h_source, own, ETH_ALEN);
	memset(frame->payload, 0, 18);
	return finish(frame, OWN_ADDRESS, target + (uint32_t)(n % TARGETS), 40000, (uint16_t)(1024 + n / TARGETS), 18);
}

static size_t client(struct frame *frame, uint64_t n)
{
	const uint8_t header[12] = { (uint8_t)(n >> 8), (uint8_t)n, 1, 0, 0, 1 }, tail[5] = { 0, 0, 1, 0, 1 };
	const char *percent = strchr(name, '%');
	uint8_t *at = frame->payload + sizeof(header), *label;
	uint32_t host = (uint32_t)n;
	char text[254];

	memcpy(frame->payload, header, sizeof(header));
	if (percent)
		snprintf(text, sizeof(text), "%.*s%03u%s", (int)(percent - name), name, host % NAMES, percent + 1);
	else
		snprintf(text, sizeof(text), "%s", name);
	label = at++;
	for (const char *c = text; *c; c++) {
		if (*c == '.') {
			*label = (uint8_t)(at - label - 1);
			label = at++;
		} else {
			*at++ = (uint8_t)*c;
		}
	}
	*label = (uint8_t)(at - label - 1);
	memcpy(at, tail, sizeof(tail));
	at += sizeof(tail);
	frame->eth.h_source[0] = 0x02;
	frame->eth.h_source[1] = 0x4c;
	for (int i = 0; i < 4; i++)
		frame->eth.h_source[2 + i] = (uint8_t)(host >> (24 - 8 * i));
	return finish(frame, OWN_ADDRESS + 1 + host % HOSTS, target, (uint16_t)(20000 + host / HOSTS), 53,
		      (size_t)(at - frame->payload));
}

int main(int count, char **words)
{
	static struct frame frames[BATCH];
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec vectors[BATCH];
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	struct ifreq request = { 0 };
	size_t (*make)(struct frame *, uint64_t);
	uint64_t first, wanted, rate, sent = 0, begun;
	struct address address_of_target;
	int fd;

	if (count < 8 || count > 9)
		fail("usage: swarm INTERFACE GATEWAY_MAC flows|clients FIRST COUNT RATE ADDRESS [NAME]");
	if (sscanf(words[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &gateway[0], &gateway[1], &gateway[2], &gateway[3], &gateway[4],
		   &gateway[5]) != 6)
		fail("GATEWAY_MAC: not a MAC address: '%s'", words[2]);
	make = !strcmp(words[3], "clients") ? client : flow;
	first = number(words[4], 0, 10000000, "FIRST");
	wanted = number(words[5], 1, 10000000, "COUNT");
	rate = number(words[6], 0, 100000000, "RATE");
	address_of_target = address(words[7]);
	memcpy(&target, address_of_target.bytes, sizeof(target));
	target = ntohl(target);
	name = count == 9 ? words[8] : "";
	if (make == client && (!*name || strlen(name) > 240))
		fail("NAME: 1 to 240 bytes");
	stop_on_signals();
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0)
		fail("socket");
	strncpy(request.ifr_name, words[1], IFNAMSIZ - 1);
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		fail("%s", words[1]);
	memcpy(own, request.ifr_hwaddr.sa_data, ETH_ALEN);
	if (ioctl(fd, SIOCGIFINDEX, &request))
		fail("%s", words[1]);
	to.sll_ifindex = request.ifr_ifindex;
	if (bind(fd, (struct sockaddr *)&to, sizeof(to)))
		fail("bind");
	for (int i = 0; i < BATCH; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &vectors[i], .msg_iovlen = 1 };

	begun = now_ns();
	while (!stopped && sent < wanted) {
		uint64_t due = rate ? (now_ns() - begun) * rate / SECOND_NS : wanted;
		int batch = 0, done;

		for (; batch < BATCH && sent + (uint64_t)batch < wanted && sent + (uint64_t)batch < due; batch++)
			vectors[batch] = (struct iovec){ &frames[batch], make(&frames[batch], first + sent + (uint64_t)batch) };
		if (!batch) {
			struct timespec pause = { .tv_nsec = 200000 };

			nanosleep(&pause, NULL);
			continue;
		}
		done = sendmmsg(fd, messages, (unsigned)batch, 0);
		/* ENOBUFS: no room on the way out; the same ones again. */
		if (done < 0 && errno != ENOBUFS && errno != EINTR)
			fail("send");
		sent += done > 0 ? (uint64_t)done : 0;
	}
	printf("{\"sent\":%" PRIu64 ",\"seconds\":%.4f}\n", sent, (double)(now_ns() - begun) / 1e9);
	return 0;
}
