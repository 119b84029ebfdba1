/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * gso ADDRESS PORT LOCAL-PORT SIZE <PAYLOAD: one UDP send that the kernel cuts into datagrams of SIZE bytes (UDP_SEGMENT), as QUIC stacks do it.
 * Over a veth the cutting is left to whoever comes behind it. Prints how many datagrams came back within 500 ms.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

int main(int argc, char **argv)
{
	static char payload[65536], reply[65536];
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_DGRAM }, *to, *from;
	int fd, size, replies = 0;
	ssize_t length = 0, got;

	if (argc != 5 || getaddrinfo(argv[1], argv[2], &hints, &to))
		return 2;
	hints.ai_family = to->ai_family;
	hints.ai_flags |= AI_PASSIVE;
	if (getaddrinfo(NULL, argv[3], &hints, &from))
		return 2;
	while ((got = read(0, payload + length, sizeof(payload) - length)) > 0)
		length += got;
	size = atoi(argv[4]);
	fd = socket(to->ai_family, SOCK_DGRAM, 0);
	if (fd < 0 || bind(fd, from->ai_addr, from->ai_addrlen) || setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) ||
	    sendto(fd, payload, length, 0, to->ai_addr, to->ai_addrlen) != length) {
		perror("gso");
		return 1;
	}
	for (struct pollfd poller = { .fd = fd, .events = POLLIN }; poll(&poller, 1, 500) > 0 && recv(fd, reply, sizeof(reply), 0) >= 0;)
		replies++;
	printf("%d\n", replies);
	return 0;
}
