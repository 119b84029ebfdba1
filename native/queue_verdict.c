/* SPDX-License-Identifier: MIT */
/* Verdicts: what JavaScript left in the pending list becomes netlink messages, many in one send. */
#include "queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <string.h>
#include <unistd.h>

#define SEND_CHUNK (128 * 1024)

/* Everything in `out` to the kernel, which acts before the call returns. An error of one verdict comes back as a message. */
static void transmit(struct queue *queue, size_t length)
{
	ssize_t sent;

	do {
		sent = send(queue->fd, queue->out, length, 0);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return;
	/* No memory for one large message perhaps: one by one then. A verdict that can't be sent leaves its packet in the queue. */
	for (size_t at = 0; at < length;) {
		const struct nlmsghdr *header = (const void *)(queue->out + at);
		bool run = header->nlmsg_type == ((NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_VERDICT_BATCH);
		/* A run would take the packet along whose verdict could not be sent. */
		if ((run && queue->uncertain) || send(queue->fd, header, header->nlmsg_len, 0) < 0) {
			queue->verdict_errors++;
			queue->uncertain = true;
		}
		at += NLMSG_ALIGN(header->nlmsg_len);
	}
}

/* NFQNL_MSG_VERDICT, or NFQNL_MSG_VERDICT_BATCH: then it is the verdict of all packets that wait up to `id`. */
static size_t encode(const struct queue *queue, uint8_t *out, uint16_t type, uint32_t id, bool accept, const uint32_t *mark, const uint8_t *payload, size_t length)
{
	struct {
		struct nlmsghdr header;
		struct nfgenmsg family;
		struct nlattr verdict_header;
		struct nfqnl_msg_verdict_hdr verdict;
		struct nlattr mark_header;
		uint32_t mark;
	} message = {
		.header = { .nlmsg_type = (NFNL_SUBSYS_QUEUE << 8) | type, .nlmsg_flags = NLM_F_REQUEST },
		.family = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons((uint16_t)queue->number) },
		.verdict_header = { .nla_len = NLA_HDRLEN + sizeof(struct nfqnl_msg_verdict_hdr), .nla_type = NFQA_VERDICT_HDR },
		.verdict = { .verdict = htonl(accept ? NF_ACCEPT : NF_DROP), .id = htonl(id) },
		.mark_header = { .nla_len = NLA_HDRLEN + sizeof(uint32_t), .nla_type = NFQA_MARK },
	};
	size_t at = offsetof(__typeof__(message), mark_header);

	if (mark) {
		message.mark = htonl(*mark);
		at = sizeof(message);
	}
	if (payload) {
		struct nlattr attribute = { .nla_len = (uint16_t)(NLA_HDRLEN + length), .nla_type = NFQA_PAYLOAD };
		memcpy(out + at, &attribute, NLA_HDRLEN);
		memcpy(out + at + NLA_HDRLEN, payload, length);
		memset(out + at + NLA_HDRLEN + length, 0, NLA_ALIGN(length) - length);
		message.header.nlmsg_len = (uint32_t)(at + NLA_HDRLEN + NLA_ALIGN(length));
	} else {
		message.header.nlmsg_len = (uint32_t)at;
	}
	memcpy(out, &message, at);
	return message.header.nlmsg_len;
}

/* Notes that a packet of the current batch has its verdict. Ids rise within a batch; the usual order is the batch's own. */
static void mark_answered(struct queue *queue, uint32_t id)
{
	uint32_t low = 0, high = queue->count;

	if (queue->next < queue->count && queue->ids[queue->next] == id) {
		queue->answered[queue->next++] = 1;
		goto answered;
	}
	/* Compared as a distance from the first, so that ids may wrap. */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (queue->ids[middle] - queue->ids[0] < id - queue->ids[0])
			low = middle + 1;
		else
			high = middle;
	}
	if (low == queue->count || queue->ids[low] != id) {
		if (queue->held_start < queue->held_end)
			queue_release_held(queue, id);
		return;
	}
	queue->answered[low] = 1;
	queue->next = low + 1;
answered:
	while (queue->first < queue->count && queue->answered[queue->first])
		queue->first++;
}

/*
 * How many of the `pending` records from `record` on one message can judge. The kernel takes a batch's verdict for every packet up to an id, so
 * these must be the oldest packets that wait, all of them, in their order: nothing is held from before, and nothing older in this batch.
 */
static uint32_t run_length(const struct queue *queue, const uint32_t *record, uint32_t pending)
{
	uint32_t flags = record[VERDICT_FLAGS], mark = record[VERDICT_MARK], most = queue->count - queue->first, length = 0;

	if (queue->uncertain || queue->held_start < queue->held_end || flags & VERDICT_HAS_PAYLOAD)
		return 1;
	if (pending < most)
		most = pending;
	for (; length < most; length++, record += QUEUE_VERDICT_STRIDE)
		if (record[VERDICT_ID] != queue->ids[queue->first + length] || queue->answered[queue->first + length] || record[VERDICT_FLAGS] != flags ||
		    (flags & VERDICT_HAS_MARK && record[VERDICT_MARK] != mark))
			break;
	return length ? length : 1;
}

void queue_send_pending(struct queue *queue)
{
	uint32_t pending = queue->control[CONTROL_PENDING];
	size_t length = 0;

	if (pending > QUEUE_PENDING)
		pending = QUEUE_PENDING;
	for (uint32_t i = 0, run; i < pending; i += run) {
		const uint32_t *record = queue->verdicts + i * QUEUE_VERDICT_STRIDE;
		uint32_t flags = record[VERDICT_FLAGS], offset = record[VERDICT_OFFSET], size = record[VERDICT_LENGTH];
		const uint32_t *mark = flags & VERDICT_HAS_MARK ? &record[VERDICT_MARK] : NULL;
		const uint8_t *payload = NULL;

		run = run_length(queue, record, pending - i);
		/* JavaScript can write anything here: what doesn't fit is not a payload, and not an accept. */
		if (flags & VERDICT_HAS_PAYLOAD) {
			if (size <= QUEUE_COPY_MAX && offset <= QUEUE_PAYLOAD && size <= QUEUE_PAYLOAD - offset)
				payload = queue->payload + offset;
			else
				flags = 0;
		}
		if (run > 1)
			length += encode(queue, queue->out + length, NFQNL_MSG_VERDICT_BATCH, queue->ids[queue->first + run - 1],
					 flags & VERDICT_ACCEPT, mark, NULL, 0);
		else
			length += encode(queue, queue->out + length, NFQNL_MSG_VERDICT, record[VERDICT_ID], flags & VERDICT_ACCEPT, mark, payload,
					 size);
		for (uint32_t j = 0; j < run; j++)
			mark_answered(queue, record[j * QUEUE_VERDICT_STRIDE + VERDICT_ID]);
		if (length >= SEND_CHUNK) {
			transmit(queue, length);
			length = 0;
		}
	}
	queue->control[CONTROL_PENDING] = 0;
	queue->control[CONTROL_PAYLOAD] = 0;
	queue->verdict_count += pending;
	if (length)
		transmit(queue, length);
}

void queue_drop(struct queue *queue, uint32_t id)
{
	uint32_t pending = queue->control[CONTROL_PENDING];

	if (pending >= QUEUE_PENDING) {
		queue_send_pending(queue);
		pending = 0;
	}
	queue->verdicts[pending * QUEUE_VERDICT_STRIDE + VERDICT_ID] = id;
	queue->verdicts[pending * QUEUE_VERDICT_STRIDE + VERDICT_FLAGS] = 0;
	queue->control[CONTROL_PENDING] = pending + 1;
}

napi_value l7_queue_flush(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct queue *queue;

	if (!l7_args(env, info, 1, argv) || !(queue = queue_get(env, argv[0])))
		return NULL;
	queue_send_pending(queue);
	return l7_undefined(env);
}
