/* SPDX-License-Identifier: MIT */
/* Sends whole IP packets (raw(7), RFC 3542 section 3). CAP_NET_RAW; the mark needs CAP_NET_ADMIN. */
#include "l7.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPV6_HDRINCL
#define IPV6_HDRINCL 36
#endif

#define SEND_BUFFER (4 * 1024 * 1024)

struct raw {
	bool closed;
	uint32_t mark;
	int fd[2]; /* IPv4, IPv6; -1 until first used, so that a box without IPv6 works */
};

static const napi_type_tag raw_tag = { 0x6c37656767726177, 0x5ad09f1e63c8b742 };

static void raw_close(struct raw *raw)
{
	for (int i = 0; i < 2; i++) {
		if (raw->fd[i] >= 0)
			close(raw->fd[i]);
		raw->fd[i] = -1;
	}
	raw->closed = true;
}

static void raw_release(void *data)
{
	raw_close(data);
	free(data);
}

/* Descriptor or -errno */
static int raw_socket(struct raw *raw, bool six)
{
	int *fd = &raw->fd[six], on = 1, room = SEND_BUFFER, err;

	if (*fd >= 0)
		return *fd;
	*fd = socket(six ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW);
	if (*fd < 0)
		return -errno;
	if ((six && setsockopt(*fd, IPPROTO_IPV6, IPV6_HDRINCL, &on, sizeof(on)) < 0) ||
	    (raw->mark && setsockopt(*fd, SOL_SOCKET, SO_MARK, &raw->mark, sizeof(raw->mark)) < 0)) {
		err = errno;
		close(*fd);
		*fd = -1;
		return -err;
	}
	/* A packet that waits in a queue counts against its sender: the default of 208 KiB is used up by 270 small ones. */
	if (setsockopt(*fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
		setsockopt(*fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return *fd;
}

napi_value l7_raw_open(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct raw *raw;
	uint32_t mark;
	int fd;

	if (!l7_args(env, info, 1, argv) || !l7_get_u32(env, argv[0], "mark", &mark))
		return NULL;
	raw = malloc(sizeof(*raw));
	if (!raw)
		return l7_throw_errno(env, "malloc", ENOMEM, NULL, NULL);
	*raw = (struct raw){ .mark = mark, .fd = { -1, -1 } };
	/* Missing privilege shows now, not at the first denial. */
	fd = raw_socket(raw, false);
	if (fd < 0) {
		raw_release(raw);
		return l7_throw_errno(env, "open raw socket", -fd, NULL, NULL);
	}
	return l7_wrap(env, raw, &raw_tag, raw_release);
}

static ssize_t transmit(int fd, bool six, const uint8_t *packet, size_t length, uint32_t ifindex)
{
	struct sockaddr_in to4 = { .sin_family = AF_INET };
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_scope_id = ifindex };
	struct in_pktinfo info4 = { .ipi_ifindex = (int)ifindex };
	struct in6_pktinfo info6 = { .ipi6_ifindex = ifindex };
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} control = {};
	struct iovec vector = { (void *)packet, length };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };

	if (six) {
		memcpy(&to6.sin6_addr, packet + 24, 16);
		message.msg_name = &to6;
		message.msg_namelen = sizeof(to6);
	} else {
		memcpy(&to4.sin_addr, packet + 16, 4);
		message.msg_name = &to4;
		message.msg_namelen = sizeof(to4);
	}
	if (ifindex) {
		control.align.cmsg_level = six ? IPPROTO_IPV6 : IPPROTO_IP;
		control.align.cmsg_type = six ? IPV6_PKTINFO : IP_PKTINFO;
		control.align.cmsg_len = six ? CMSG_LEN(sizeof(info6)) : CMSG_LEN(sizeof(info4));
		if (six)
			memcpy(CMSG_DATA(&control.align), &info6, sizeof(info6));
		else
			memcpy(CMSG_DATA(&control.align), &info4, sizeof(info4));
		message.msg_control = &control;
		message.msg_controllen = six ? CMSG_SPACE(sizeof(info6)) : CMSG_SPACE(sizeof(info4));
	}
	return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* rawSend(handle, packet, ifindex). ifindex 0: as routed. */
napi_value l7_raw_send(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct raw *raw;
	uint8_t *packet;
	size_t length;
	uint32_t ifindex;
	bool six;
	int fd;

	if (!l7_args(env, info, 3, argv) || !(raw = l7_unwrap(env, argv[0], &raw_tag, "raw sender")) ||
	    !l7_get_bytes(env, argv[1], "packet", &packet, &length) || !l7_get_u32(env, argv[2], "ifindex", &ifindex))
		return NULL;
	if (raw->closed)
		return l7_throw(env, "raw sender is closed");
	six = length >= 40 && packet[0] >> 4 == 6;
	if (!six && !(length >= 20 && packet[0] >> 4 == 4)) {
		napi_throw_range_error(env, NULL, "packet must begin with an IPv4 or IPv6 header");
		return NULL;
	}
	fd = raw_socket(raw, six);
	if (fd < 0)
		return l7_throw_errno(env, "open raw socket", -fd, NULL, NULL);
	if (transmit(fd, six, packet, length, ifindex) < 0)
		return l7_throw_errno(env, "send raw packet", errno, NULL, NULL);
	return l7_undefined(env);
}

napi_value l7_raw_close(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct raw *raw;

	if (!l7_args(env, info, 1, argv) || !(raw = l7_unwrap(env, argv[0], &raw_tag, "raw sender")))
		return NULL;
	raw_close(raw);
	return l7_undefined(env);
}
