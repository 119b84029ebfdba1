/* SPDX-License-Identifier: MIT */
/* Packets: recvmmsg, one call of the handler for each batch, verdicts at its end. */
#include "queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <time.h>

/* After so many batches or so long the event loop gets its turn; what waits is level-triggered and comes again. */
#define BATCHES_A_TURN 16
#define NANOSECONDS_A_TURN 2000000
/*
 * A packet that is held waits for the next one of its connection, which is often some microseconds behind, while falling asleep and being woken
 * cost fifty and more on an idle machine. So who holds something that came after a silence looks again for a moment before going to
 * sleep: a tenth of one processor at the most, and nothing where packets come one upon the other.
 */
#define NANOSECONDS_OF_WAITING 50000
#define NANOSECONDS_OF_SILENCE (10 * NANOSECONDS_OF_WAITING)

/*
 * Where a turn brings packets of several connections, more are on their way, and each turn by itself costs a wake-up and cold caches: a moment's wait
 * makes one of two, as network cards moderate their interrupts. Not after a silence, so nobody's first packet waits; not where a turn brings a packet
 * or two, since one client alone would wait for itself; not where turns are long as they are. The kernel adds up to the thread's timer slack, 50 us.
 */
#define NANOSECONDS_OF_GATHERING 20000
#define GATHER_FROM 3 /* packets of a turn */
#define GATHER_BELOW 32

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Attributes are aligned to 4 bytes only, and the 64-bit ones not even to their size: always copy. */
static uint32_t be32(const uint8_t *bytes)
{
	uint32_t value;
	memcpy(&value, bytes, sizeof(value));
	return ntohl(value);
}

static void attribute(struct queue *queue, uint32_t *meta, uint16_t type, const uint8_t *value, size_t length)
{
	uint32_t word;

	switch (type) {
	case NFQA_PACKET_HDR: /* packet_id, hw_protocol (2), hook (1) */
		if (length >= 7) {
			meta[META_ID] = be32(value);
			meta[META_HOOK] = value[6];
		}
		break;
	case NFQA_MARK:
		if (length >= 4)
			meta[META_MARK] = be32(value);
		break;
	case NFQA_IFINDEX_INDEV:
		if (length >= 4)
			meta[META_IFINDEX_IN] = be32(value);
		break;
	case NFQA_IFINDEX_OUTDEV:
		if (length >= 4)
			meta[META_IFINDEX_OUT] = be32(value);
		break;
	case NFQA_HWADDR: /* length (2), pad (2), address (8) */
		if (length >= 10 && value[0] == 0 && value[1] == 6) {
			memcpy(&meta[META_MAC0], value + 4, 4);
			word = 0;
			memcpy(&word, value + 8, 2);
			meta[META_MAC1] = word;
			meta[META_FLAGS] |= META_FLAG_HWADDR;
		}
		break;
	case NFQA_CAP_LEN:
		if (length >= 4)
			meta[META_WIRE_LENGTH] = be32(value);
		break;
	case NFQA_SKB_INFO: /* NFQA_SKB_CSUMNOTREADY, NFQA_SKB_GSO, NFQA_SKB_CSUM_NOTVERIFIED: bits 0 to 2 */
		if (length >= 4)
			meta[META_FLAGS] |= be32(value) & 7;
		break;
	case NFQA_PAYLOAD:
		meta[META_OFFSET] = (uint32_t)(value - queue->data);
		meta[META_LENGTH] = (uint32_t)length;
		break;
	}
}

/* true: `meta` holds a packet. */
static bool parse(struct queue *queue, const uint8_t *message, size_t length, bool truncated, uint32_t *meta)
{
	const struct nlmsghdr *header = (const void *)message;
	const struct nfgenmsg *family;
	const struct nlmsgerr *error;
	size_t at = NLMSG_LENGTH(sizeof(struct nfgenmsg));

	if (length < NLMSG_HDRLEN || header->nlmsg_len < NLMSG_HDRLEN)
		goto malformed;
	if (header->nlmsg_type == NLMSG_ERROR) {
		error = NLMSG_DATA(header);
		if (length >= NLMSG_LENGTH(sizeof(*error)) && error->error) {
			queue->verdict_errors++;
			/* ENOENT: that packet is gone. After any other error it may still be there. */
			if (error->error != -ENOENT)
				queue->uncertain = true;
		}
		return false;
	}
	if (header->nlmsg_type != ((NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_PACKET) || length < at)
		goto malformed;
	if (header->nlmsg_len < length)
		length = header->nlmsg_len;

	memset(meta, 0, QUEUE_META_STRIDE * sizeof(*meta));
	family = NLMSG_DATA(header);
	meta[META_QUEUE] = ntohs(family->res_id);
	while (at + NLA_HDRLEN <= length) {
		const struct nlattr *attr = (const void *)(message + at);
		if (attr->nla_len < NLA_HDRLEN || at + attr->nla_len > length)
			break;
		attribute(queue, meta, attr->nla_type & NLA_TYPE_MASK, message + at + NLA_HDRLEN, attr->nla_len - NLA_HDRLEN);
		at += NLA_ALIGN(attr->nla_len);
	}
	/* Ids begin at 1. Without one there is nothing to give a verdict on. */
	if (meta[META_ID] == 0)
		goto malformed;
	if (truncated) {
		/* Can't happen with the slots that we size; a packet that we could not read is not let through. */
		queue->malformed++;
		queue_drop(queue, meta[META_ID]);
		return false;
	}
	if (meta[META_WIRE_LENGTH] == 0)
		meta[META_WIRE_LENGTH] = meta[META_LENGTH];
	return true;

malformed:
	queue->malformed++;
	queue->uncertain = true;
	return false;
}

/* The handler threw: what it left without a verdict in this batch is dropped, so that nothing waits in the kernel for ever. */
static void drop_unanswered(struct queue *queue)
{
	queue_send_pending(queue);
	for (uint32_t i = 0; i < queue->count; i++)
		if (!queue->answered[i])
			queue_drop(queue, queue->ids[i]);
	queue_send_pending(queue);
}

static void deliver(struct queue *queue)
{
	napi_env env = queue->poller.env;
	napi_handle_scope scope;
	napi_value count;
	bool returned;

	if (napi_open_handle_scope(env, &scope) != napi_ok) {
		queue->uncertain = true;
		return;
	}
	returned = napi_create_uint32(env, queue->count, &count) == napi_ok && l7_poller_call(&queue->poller, 1, &count);
	if (queue->fd >= 0) {
		if (returned)
			queue_send_pending(queue);
		else
			drop_unanswered(queue);
		queue_hold_rest(queue);
	}
	queue->count = queue->next = queue->first = 0;
	napi_close_handle_scope(env, scope);
}

/* One batch. Returns how many messages it had; 0: nothing is there; -1: an overrun or a signal came instead. */
static int receive(struct queue *queue)
{
	int got = recvmmsg(queue->fd, queue->headers, queue->batch, MSG_DONTWAIT, NULL);

	if (got < 0 && errno == ENOBUFS) {
		/* The kernel could not put packets into our receive buffer and dropped them. It says so once for each time that happens. */
		queue->overruns++;
		return -1;
	}
	if (got < 0)
		return errno == EINTR ? -1 : 0;
	queue->batches++;
	queue->count = queue->next = queue->first = 0;
	memset(queue->answered, 0, (size_t)got);
	for (int i = 0; i < got; i++) {
		uint32_t *meta = queue->meta + queue->count * QUEUE_META_STRIDE;
		bool truncated = queue->headers[i].msg_hdr.msg_flags & MSG_TRUNC;
		if (parse(queue, queue->data + (size_t)i * queue->slot, queue->headers[i].msg_len, truncated, meta))
			queue->ids[queue->count++] = meta[META_ID];
	}
	queue->packets += queue->count;
	if (queue->count)
		deliver(queue);
	return got;
}

/* Does something more come within a moment? */
static bool more_comes(struct queue *queue)
{
	struct pollfd ready = { .fd = queue->fd, .events = POLLIN };
	uint64_t begin = now();

	do {
		if (poll(&ready, 1, 0) != 0)
			return true;
	} while (now() - begin < NANOSECONDS_OF_WAITING);
	return false;
}

/* Let a batch grow before it is read. */
static void gather(struct queue *queue)
{
	const struct timespec moment = { .tv_nsec = NANOSECONDS_OF_GATHERING };

	if (queue->sixteen_turns < 16 * GATHER_FROM || queue->sixteen_turns >= 16 * GATHER_BELOW)
		return;
	queue->gathered++;
	nanosleep(&moment, NULL);
}

static void take_turn(struct queue *queue)
{
	uint64_t begin = now(), before = queue->packets;

	for (int batches = 0; batches < BATCHES_A_TURN && queue->fd >= 0; batches++) {
		int got = receive(queue);

		if (got == 0 || (got > 0 && (uint32_t)got < queue->batch) || now() - begin > NANOSECONDS_A_TURN)
			break;
	}
	queue->sixteen_turns += (uint32_t)(queue->packets - before) - queue->sixteen_turns / 16;
}

void queue_receive(struct l7_poller *poller)
{
	struct queue *queue = (struct queue *)poller;
	bool was_silent = now() - queue->last_turn > NANOSECONDS_OF_SILENCE;

	if (!was_silent)
		gather(queue);
	take_turn(queue);
	if (was_silent && queue->fd >= 0 && queue->held_start < queue->held_end && more_comes(queue))
		take_turn(queue);
	queue->last_turn = now();
}
