/* SPDX-License-Identifier: MIT */
/* One NFQUEUE: shared by its five files (open and close, receive, verdicts, held packets, statistics). */
#ifndef L7_QUEUE_H
#define L7_QUEUE_H

#include "l7.h"

#include <sys/socket.h>

/* Shape of the memory shared with JavaScript; the same numbers stand in src/native/queue.ts and are compared at open. */
#define QUEUE_META_STRIDE 12
#define QUEUE_VERDICT_STRIDE 5
#define QUEUE_PENDING 1024 /* verdicts that wait for a flush */
#define QUEUE_PAYLOAD (256 * 1024) /* bytes of changed payloads that wait for a flush */
#define QUEUE_LENGTH_MAX (1 << 24)
#define QUEUE_COPY_MAX 65531 /* the most that one netlink attribute holds: 65535 - 4 */

enum queue_meta {
	META_ID,
	META_HOOK,
	META_MARK,
	META_IFINDEX_IN,
	META_IFINDEX_OUT,
	META_OFFSET,
	META_LENGTH,
	META_WIRE_LENGTH,
	META_FLAGS,
	META_MAC0,
	META_MAC1,
	META_QUEUE,
};
#define META_FLAG_HWADDR 8

/* One pending verdict, written by JavaScript. */
enum queue_verdict { VERDICT_ID, VERDICT_FLAGS, VERDICT_MARK, VERDICT_OFFSET, VERDICT_LENGTH };
#define VERDICT_ACCEPT 1
#define VERDICT_HAS_MARK 2
#define VERDICT_HAS_PAYLOAD 4

/* Words of `control`. */
enum queue_control { CONTROL_PENDING, CONTROL_PAYLOAD, CONTROL_WORDS = 16 };

struct queue {
	struct l7_poller poller; /* first: its callbacks cast */
	int references; /* the JavaScript handle and the poller */
	int fd; /* -1: closed */
	uint32_t number;
	uint32_t batch;
	uint32_t copy_range;

	struct l7_memory *memory;
	uint32_t *control;
	uint32_t *verdicts;
	uint32_t *meta;
	uint8_t *payload;
	uint8_t *data;
	size_t slot;

	struct mmsghdr *headers;
	struct iovec *vectors;
	uint8_t *out; /* verdict messages on their way to the kernel */
	size_t out_capacity;

	/* The batch that JavaScript is looking at. */
	uint32_t *ids;
	uint8_t *answered;
	uint32_t count;
	uint32_t next; /* after the last one that was answered */
	uint32_t first; /* the first that isn't */

	/* Packets of earlier batches that wait for their verdict, oldest first: at `held` from `held_start` to `held_end`. */
	uint32_t *held;
	uint32_t held_capacity, held_start, held_end;
	/* A packet may wait in the kernel that is not among them: no verdict may be given to more than one. */
	bool uncertain;

	uint64_t last_turn; /* CLOCK_MONOTONIC ns of when packets were last read */
	uint32_t sixteen_turns; /* packets of the last turns, each weighing a sixteenth less than the one after it: 16 times their mean */
	uint64_t packets, verdict_count, batches, gathered, overruns, verdict_errors, malformed;
};

/* queue_receive.c: poller's `ready`. */
void queue_receive(struct l7_poller *poller);
/* queue_verdict.c: sends all that is pending. */
void queue_send_pending(struct queue *queue);
/* Adds one drop and sends it at the next queue_send_pending. */
void queue_drop(struct queue *queue, uint32_t id);
/* queue_held.c: what the handler left of the batch without a verdict; and that one of those has got it. */
void queue_hold_rest(struct queue *queue);
void queue_release_held(struct queue *queue, uint32_t id);
/* queue_stats.c: whose port id holds queue `number` in this namespace; 0: nobody. */
uint32_t queue_holder(uint32_t number, uint32_t *queue_dropped, uint32_t *user_dropped);
/* queue.c */
struct queue *queue_get(napi_env env, napi_value value);

#endif
