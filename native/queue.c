/* SPDX-License-Identifier: MIT */
/* An NFQUEUE: bound, configured, its memory, its end. */
#include "queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Room in a slot for all that comes before and after the payload: headers, and the attributes of nfqnl_build_packet_message. */
#define OVERHEAD 512
#define SEND_CHUNK (128 * 1024)
#define SEND_BUFFER (4 * 1024 * 1024)

static const napi_type_tag queue_tag = { 0x6c37656767717565, 0x17f9b1c04a86d2e3 };

static void queue_release(struct queue *queue)
{
	if (--queue->references > 0)
		return;
	if (queue->fd >= 0)
		close(queue->fd);
	l7_memory_release(queue->memory);
	free(queue->headers);
	free(queue->vectors);
	free(queue->out);
	free(queue->ids);
	free(queue->answered);
	free(queue->held);
	free(queue);
}

static void handle_release(void *data)
{
	queue_release(data);
}

static void poller_release(struct l7_poller *poller)
{
	queue_release((struct queue *)poller);
}

static size_t aligned(size_t size)
{
	return (size + 63) & ~(size_t)63;
}

static bool make_memory(struct queue *queue)
{
	size_t verdicts, meta, payload, data;
	uint8_t *start;

	verdicts = aligned(CONTROL_WORDS * sizeof(uint32_t));
	meta = verdicts + aligned(QUEUE_PENDING * QUEUE_VERDICT_STRIDE * sizeof(uint32_t));
	payload = meta + aligned(queue->batch * QUEUE_META_STRIDE * sizeof(uint32_t));
	data = payload + QUEUE_PAYLOAD;
	queue->slot = aligned(queue->copy_range + OVERHEAD);
	/* An odd number of cache lines, else the heads of all packets would compete for the same few sets of the cache. */
	if ((queue->slot / 64) % 2 == 0)
		queue->slot += 64;

	queue->memory = l7_memory_new(data + queue->slot * queue->batch);
	if (!queue->memory)
		return false;
	start = l7_memory_start(queue->memory);
	queue->control = (uint32_t *)start;
	queue->verdicts = (uint32_t *)(start + verdicts);
	queue->meta = (uint32_t *)(start + meta);
	queue->payload = start + payload;
	queue->data = start + data;
	return true;
}

static bool make_buffers(struct queue *queue)
{
	queue->headers = calloc(queue->batch, sizeof(*queue->headers));
	queue->vectors = calloc(queue->batch, sizeof(*queue->vectors));
	queue->ids = calloc(queue->batch, sizeof(*queue->ids));
	queue->answered = calloc(queue->batch, 1);
	queue->held = calloc(queue->held_capacity, sizeof(*queue->held));
	queue->out_capacity = SEND_CHUNK + QUEUE_COPY_MAX + 64;
	queue->out = malloc(queue->out_capacity);
	if (!queue->headers || !queue->vectors || !queue->ids || !queue->answered || !queue->held || !queue->out ||
	    !make_memory(queue))
		return false;
	for (uint32_t i = 0; i < queue->batch; i++) {
		queue->vectors[i] = (struct iovec){ queue->data + i * queue->slot, queue->slot };
		queue->headers[i].msg_hdr.msg_iov = &queue->vectors[i];
		queue->headers[i].msg_hdr.msg_iovlen = 1;
	}
	return true;
}

static void config_message(struct l7_nl *message, const struct queue *queue, uint16_t flags)
{
	struct nfgenmsg header = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons((uint16_t)queue->number) };
	l7_nl_begin(message, (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_CONFIG, flags, &header, sizeof(header));
}

static void set_buffer(int fd, int force, int normal, int size)
{
	/* Half: the kernel doubles it. FORCE passes net.core.rmem_max and needs CAP_NET_ADMIN, as the queue does. */
	if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, normal, &size, sizeof(size));
}

/* 0 or -errno. Bound with copy mode none (every packet is dropped) until all else is set. */
static int configure(struct queue *queue, uint32_t max_length, bool fail_open, bool gso, int receive_buffer, char *detail, size_t size)
{
	uint8_t bytes[256];
	struct l7_nl message = { .data = bytes, .capacity = sizeof(bytes) };
	struct nfqnl_msg_config_cmd bind = { .command = NFQNL_CFG_CMD_BIND };
	struct nfqnl_msg_config_params params = { .copy_range = htonl(queue->copy_range), .copy_mode = NFQNL_COPY_PACKET };
	uint32_t flags = htonl((fail_open ? NFQA_CFG_F_FAIL_OPEN : 0) | (gso ? NFQA_CFG_F_GSO : 0));
	uint32_t mask = htonl(NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO);
	uint32_t length = htonl(max_length);
	int err;

	queue->fd = l7_nl_open(NETLINK_NETFILTER);
	if (queue->fd < 0)
		return queue->fd;
	set_buffer(queue->fd, SO_RCVBUFFORCE, SO_RCVBUF, receive_buffer);
	set_buffer(queue->fd, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BUFFER);

	config_message(&message, queue, NLM_F_ACK);
	l7_nl_attr(&message, NFQA_CFG_CMD, &bind, sizeof(bind));
	l7_nl_attr(&message, NFQA_CFG_FLAGS, &flags, sizeof(flags));
	l7_nl_attr(&message, NFQA_CFG_MASK, &mask, sizeof(mask));
	l7_nl_attr(&message, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof(length));
	l7_nl_end(&message, 0);
	err = l7_nl_ack(queue->fd, &message, detail, size);
	if (err == -EPERM || err == -EBUSY) {
		/* The kernel says EPERM both to the unprivileged and for a queue of somebody else. */
		uint32_t holder = queue_holder(queue->number, NULL, NULL);
		if (holder) {
			snprintf(detail, size, "queue %u is held by netlink port %u", queue->number, holder);
			return -EBUSY;
		}
	}
	if (err)
		return err;

	/* Without an ack: packets may come at once, and the receive loop must be the only reader. Its values have been checked. */
	message.length = 0;
	config_message(&message, queue, 0);
	l7_nl_attr(&message, NFQA_CFG_PARAMS, &params, sizeof(params));
	l7_nl_end(&message, 0);
	return send(queue->fd, message.data, message.length, 0) < 0 ? -errno : 0;
}

static void stop(struct l7_poller *poller)
{
	struct queue *queue = (struct queue *)poller;
	uint8_t bytes[64];
	struct l7_nl message = { .data = bytes, .capacity = sizeof(bytes) };
	struct nfqnl_msg_config_cmd unbind = { .command = NFQNL_CFG_CMD_UNBIND };

	queue_send_pending(queue);
	config_message(&message, queue, 0);
	l7_nl_attr(&message, NFQA_CFG_CMD, &unbind, sizeof(unbind));
	l7_nl_end(&message, 0);
	send(queue->fd, message.data, message.length, 0); /* closing the socket does the same, a moment later */
	close(queue->fd);
	queue->fd = -1;
}

static napi_value describe(napi_env env, struct queue *queue, napi_value handle)
{
	napi_value result, memory;
	const uint8_t *start = l7_memory_start(queue->memory);

	if (!(memory = l7_memory_buffer(env, queue->memory)))
		return NULL;
	if (napi_create_object(env, &result) != napi_ok || !l7_set(env, result, "handle", handle) || !l7_set(env, result, "memory", memory) ||
	    !l7_set(env, result, "verdictsOffset", l7_number(env, (double)((uint8_t *)queue->verdicts - start))) ||
	    !l7_set(env, result, "verdictsCapacity", l7_u32(env, QUEUE_PENDING)) ||
	    !l7_set(env, result, "metaOffset", l7_number(env, (double)((uint8_t *)queue->meta - start))) ||
	    !l7_set(env, result, "metaStride", l7_u32(env, QUEUE_META_STRIDE)) ||
	    !l7_set(env, result, "payloadOffset", l7_number(env, (double)(queue->payload - start))) ||
	    !l7_set(env, result, "payloadCapacity", l7_u32(env, QUEUE_PAYLOAD)) ||
	    !l7_set(env, result, "dataOffset", l7_number(env, (double)(queue->data - start))))
		return NULL;
	return result;
}

/* queueOpen(number, copyRange, maxLength, failOpen, gso, receiveBuffer, batch, onBatch) → {handle, memory, …Offset}. onBatch(count). */
napi_value l7_queue_open(napi_env env, napi_callback_info info)
{
	napi_value argv[8], handle, result;
	uint32_t number, copy_range, max_length, receive_buffer, batch;
	bool fail_open, gso;
	char detail[256] = "";
	struct queue *queue;
	int err;

	if (!l7_args(env, info, 8, argv) || !l7_get_u32(env, argv[0], "queue", &number) || !l7_get_u32(env, argv[1], "copyRange", &copy_range) ||
	    !l7_get_u32(env, argv[2], "maxLength", &max_length) || !l7_get_bool(env, argv[3], "failOpen", &fail_open) ||
	    !l7_get_bool(env, argv[4], "gso", &gso) || !l7_get_u32(env, argv[5], "receiveBuffer", &receive_buffer) ||
	    !l7_get_u32(env, argv[6], "batch", &batch) || !l7_is_function(env, argv[7], "onBatch"))
		return NULL;
	if (number > UINT16_MAX || copy_range == 0 || copy_range > QUEUE_COPY_MAX || batch == 0 || batch > 1024 || max_length == 0 || max_length > QUEUE_LENGTH_MAX || receive_buffer > INT32_MAX / 2)
		return l7_throw_type(env, "queue options are out of range");

	queue = calloc(1, sizeof(*queue));
	if (!queue)
		return l7_throw_errno(env, "malloc", ENOMEM, NULL, NULL);
	queue->references = 1;
	queue->fd = -1;
	queue->number = number;
	queue->copy_range = copy_range;
	queue->batch = batch;
	queue->held_capacity = max_length;
	queue->poller.ready = queue_receive;
	queue->poller.stop = stop;
	queue->poller.release = poller_release;
	err = make_buffers(queue) ? configure(queue, max_length, fail_open, gso, (int)receive_buffer, detail, sizeof(detail)) : -ENOMEM;
	if (err) {
		queue_release(queue);
		return l7_throw_errno(env, "bind NFQUEUE", -err, detail, NULL);
	}
	handle = l7_wrap(env, queue, &queue_tag, handle_release);
	if (!handle || !(result = describe(env, queue, handle)))
		return l7_throw(env, "queue handle can't be made");
	queue->references++;
	err = l7_poller_open(&queue->poller, env, queue->fd, argv[7], "l7egg:nfqueue");
	if (err) {
		queue_release(queue); /* the handle's reference is left to the garbage collector */
		return l7_throw_errno(env, "watch NFQUEUE", -err, NULL, NULL);
	}
	return result;
}

struct queue *queue_get(napi_env env, napi_value value)
{
	struct queue *queue = l7_unwrap(env, value, &queue_tag, "queue");
	if (queue && queue->fd < 0) {
		l7_throw(env, "queue is closed");
		return NULL;
	}
	return queue;
}

napi_value l7_queue_close(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct queue *queue;

	if (!l7_args(env, info, 1, argv) || !(queue = l7_unwrap(env, argv[0], &queue_tag, "queue")))
		return NULL;
	if (queue->fd >= 0)
		l7_poller_close(&queue->poller);
	return l7_undefined(env);
}
