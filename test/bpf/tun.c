/* SPDX-License-Identifier: MIT */
/*
 * An interface without an Ethernet header, held by a test: `tun NAME`. Says "ready" on stderr. Each line on stdin is a packet in hex that
 * comes in by the interface, each line on stdout one that went out by it. Ends with its stdin.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int unhex(const char *text, unsigned char *out, int max)
{
	int n = 0;
	unsigned value;

	while (n < max && sscanf(text + 2 * n, "%2x", &value) == 1)
		out[n++] = value;
	return n;
}

int main(int argc, char **argv)
{
	static char line[8192];
	static unsigned char packet[4096];
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR);

	if (argc != 2 || fd < 0)
		return 1;
	strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
	if (ioctl(fd, TUNSETIFF, &request) != 0)
		return 1;
	setvbuf(stdin, NULL, _IONBF, 0);
	fprintf(stderr, "ready\n");
	for (;;) {
		struct pollfd fds[] = { { .fd = 0, .events = POLLIN }, { .fd = fd, .events = POLLIN } };

		if (poll(fds, 2, -1) < 0)
			return 1;
		if (fds[0].revents) {
			if (!fgets(line, sizeof(line), stdin))
				return 0;
			int n = unhex(line, packet, sizeof(packet));
			if (n > 0 && write(fd, packet, n) != n)
				fprintf(stderr, "refused\n");
		}
		if (fds[1].revents & POLLIN) {
			int n = read(fd, packet, sizeof(packet));

			for (int i = 0; i < n; i++)
				printf("%02x", packet[i]);
			printf("\n");
			fflush(stdout);
		}
	}
}
