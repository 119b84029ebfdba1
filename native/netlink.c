/* SPDX-License-Identifier: MIT */
/* Netlink by hand: messages, acks with the kernel's own words, dumps. */
#include "l7.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

static void *append(struct l7_nl *message, size_t size)
{
	size_t padded = NLMSG_ALIGN(size);
	void *at = message->data + message->length;

	if (padded > message->capacity - message->length) {
		message->overflow = true;
		return NULL;
	}
	memset(at, 0, padded);
	message->length += padded;
	return at;
}

void *l7_nl_begin(struct l7_nl *message, uint16_t type, uint16_t flags, const void *header, size_t header_size)
{
	struct nlmsghdr *start = append(message, NLMSG_HDRLEN);
	void *family = start ? append(message, header_size) : NULL;

	if (!family)
		return NULL;
	start->nlmsg_type = type;
	start->nlmsg_flags = NLM_F_REQUEST | flags;
	start->nlmsg_seq = 1;
	memcpy(family, header, header_size);
	return start;
}

void l7_nl_attr(struct l7_nl *message, uint16_t type, const void *data, size_t length)
{
	struct nlattr *attribute = append(message, NLA_HDRLEN + length);
	if (!attribute)
		return;
	attribute->nla_type = type;
	attribute->nla_len = (uint16_t)(NLA_HDRLEN + length);
	if (length)
		memcpy((uint8_t *)attribute + NLA_HDRLEN, data, length);
}

size_t l7_nl_nest(struct l7_nl *message, uint16_t type)
{
	size_t start = message->length;
	l7_nl_attr(message, type | NLA_F_NESTED, NULL, 0);
	return start;
}

void l7_nl_nest_end(struct l7_nl *message, size_t start)
{
	if (!message->overflow)
		((struct nlattr *)(message->data + start))->nla_len = (uint16_t)(message->length - start);
}

void l7_nl_end(struct l7_nl *message, size_t start)
{
	if (!message->overflow)
		((struct nlmsghdr *)(message->data + start))->nlmsg_len = (uint32_t)(message->length - start);
}

int l7_nl_open(int protocol)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct timeval patience = { .tv_sec = 5 };
	int on = 1, err;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		return -errno;
	/* Connected: the kernel refuses what other processes send to this socket. */
	if (connect(fd, (struct sockaddr *)&kernel, sizeof(kernel)) < 0) {
		err = errno;
		close(fd);
		return -err;
	}
	/* Old kernels lack them; then errors have no text. */
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* NLMSGERR_ATTR_MSG of an error message (Documentation/userspace-api/netlink/intro.rst). */
static void extended_ack(const struct nlmsghdr *header, char *detail, size_t size)
{
	const struct nlmsgerr *error = NLMSG_DATA(header);
	size_t at = NLMSG_HDRLEN + sizeof(*error), total = header->nlmsg_len;

	if (!(header->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(header->nlmsg_flags & NLM_F_CAPPED) && error->msg.nlmsg_len >= NLMSG_HDRLEN)
		at += NLMSG_ALIGN(error->msg.nlmsg_len) - NLMSG_HDRLEN;
	while (at + NLA_HDRLEN <= total) {
		const struct nlattr *attribute = (const void *)((const uint8_t *)header + at);
		if (attribute->nla_len < NLA_HDRLEN || at + attribute->nla_len > total)
			return;
		if ((attribute->nla_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG) {
			snprintf(detail, size, "%.*s", (int)(attribute->nla_len - NLA_HDRLEN), (const char *)attribute + NLA_HDRLEN);
			return;
		}
		at += NLA_ALIGN(attribute->nla_len);
	}
}

static int transmit(int fd, struct l7_nl *message)
{
	if (message->overflow)
		return -EMSGSIZE;
	return send(fd, message->data, message->length, 0) < 0 ? -errno : 0;
}

/* Reads messages until an error, an ack or the end of a dump. */
static int receive(int fd, char *detail, size_t size, void (*each)(const struct nlmsghdr *, void *), void *context)
{
	union {
		struct nlmsghdr align;
		uint8_t bytes[32 * 1024]; /* the kernel's dumps never use more (NLMSG_GOODSIZE up to 32 KiB) */
	} buffer;

	for (;;) {
		ssize_t got = recv(fd, buffer.bytes, sizeof(buffer), 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		for (struct nlmsghdr *header = &buffer.align; NLMSG_OK(header, got); header = NLMSG_NEXT(header, got)) {
			if (header->nlmsg_type == NLMSG_DONE) {
				int status = 0;
				if (header->nlmsg_len >= NLMSG_LENGTH(sizeof(status)))
					memcpy(&status, NLMSG_DATA(header), sizeof(status));
				return status < 0 ? status : 0;
			}
			if (header->nlmsg_type == NLMSG_ERROR && header->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
				const struct nlmsgerr *error = NLMSG_DATA(header);
				if (error->error && detail)
					extended_ack(header, detail, size);
				return error->error;
			}
			if (each)
				each(header, context);
		}
	}
}

int l7_nl_ack(int fd, struct l7_nl *message, char *detail, size_t detail_size)
{
	int err = transmit(fd, message);
	if (detail_size)
		detail[0] = 0;
	return err ? err : receive(fd, detail, detail_size, NULL, NULL);
}

int l7_nl_dump(int fd, struct l7_nl *message, void (*each)(const struct nlmsghdr *, void *), void *context)
{
	int err = transmit(fd, message);
	return err ? err : receive(fd, NULL, 0, each, context);
}
