/* SPDX-License-Identifier: MIT */
/* Sockets that accept what is not addressed to this box (Documentation/networking/tproxy.rst). CAP_NET_ADMIN. */
#include "l7.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif
#ifndef IPV6_RECVORIGDSTADDR
#define IPV6_RECVORIGDSTADDR 74
#endif

#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

struct option {
	int level;
	int name;
	const char *text;
};

static bool set_options(int fd, const struct option *options, size_t count, const char **failed)
{
	int on = 1;
	for (size_t i = 0; i < count; i++) {
		if (setsockopt(fd, options[i].level, options[i].name, &on, sizeof(on)) < 0) {
			*failed = options[i].text;
			return false;
		}
	}
	return true;
}

static int prepare(int fd, bool udp, bool six, const char **failed)
{
	const struct option common[] = { { SOL_SOCKET, SO_REUSEADDR, "SO_REUSEADDR" } };
	const struct option four[] = { { IPPROTO_IP, IP_TRANSPARENT, "IP_TRANSPARENT" }, { IPPROTO_IP, IP_RECVORIGDSTADDR, "IP_RECVORIGDSTADDR" } };
	const struct option sixes[] = { { IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY" },
					{ IPPROTO_IPV6, IPV6_TRANSPARENT, "IPV6_TRANSPARENT" },
					{ IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, "IPV6_RECVORIGDSTADDR" } };

	/* A datagram's first destination is told only to those who ask, as a control message; a TCP socket has it as its own name. */
	if (!set_options(fd, common, 1, failed))
		return -errno;
	if (six ? !set_options(fd, sixes, udp ? 3 : 2, failed) : !set_options(fd, four, udp ? 2 : 1, failed))
		return -errno;
	return 0;
}

/* transparentSocket(udp, six, address, port) → descriptor */
napi_value l7_transparent_socket(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	struct sockaddr_in at4 = { .sin_family = AF_INET };
	struct sockaddr_in6 at6 = { .sin6_family = AF_INET6 };
	char address[INET6_ADDRSTRLEN];
	const char *failed = "socket";
	bool udp, six;
	uint32_t port;
	int fd, err = 0;

	if (!l7_args(env, info, 4, argv) || !l7_get_bool(env, argv[0], "udp", &udp) || !l7_get_bool(env, argv[1], "six", &six) ||
	    !l7_get_string(env, argv[2], "address", address, sizeof(address)) || !l7_get_u32(env, argv[3], "port", &port))
		return NULL;
	if (port > UINT16_MAX || inet_pton(six ? AF_INET6 : AF_INET, address, six ? (void *)&at6.sin6_addr : (void *)&at4.sin_addr) != 1)
		return l7_throw_type(env, "address or port is not valid");
	at4.sin_port = at6.sin6_port = htons((uint16_t)port);

	fd = socket(six ? AF_INET6 : AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return l7_throw_errno(env, failed, errno, NULL, NULL);
	err = prepare(fd, udp, six, &failed);
	if (!err && bind(fd, six ? (void *)&at6 : (void *)&at4, six ? sizeof(at6) : sizeof(at4)) < 0) {
		err = -errno;
		failed = "bind";
	}
	if (!err && !udp && listen(fd, BACKLOG) < 0) {
		err = -errno;
		failed = "listen";
	}
	if (err) {
		close(fd);
		return l7_throw_errno(env, failed, -err, address, NULL);
	}
	return l7_number(env, fd);
}

napi_value l7_close_fd(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	uint32_t fd;

	if (!l7_args(env, info, 1, argv) || !l7_get_u32(env, argv[0], "fd", &fd))
		return NULL;
	if (fd > INT32_MAX || close((int)fd) < 0)
		return l7_throw_errno(env, "close", fd > INT32_MAX ? EBADF : errno, NULL, NULL);
	return l7_undefined(env);
}
