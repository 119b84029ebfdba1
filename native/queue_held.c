/* SPDX-License-Identifier: MIT */
/* Packets that outlive their batch without a verdict: as long as there are none, one message can judge a run of packets (queue_verdict.c). */
#include "queue.h"

#include <string.h>

void queue_hold_rest(struct queue *queue)
{
	for (uint32_t i = queue->first; i < queue->count; i++) {
		if (queue->answered[i])
			continue;
		if (queue->held_end == queue->held_capacity) {
			uint32_t length = queue->held_end - queue->held_start;
			memmove(queue->held, queue->held + queue->held_start, length * sizeof(*queue->held));
			queue->held_start = 0;
			queue->held_end = length;
		}
		if (queue->held_end == queue->held_capacity) {
			/* Can't happen: the kernel lets no more wait than the queue is long. */
			queue->uncertain = true;
			return;
		}
		queue->held[queue->held_end++] = queue->ids[i];
	}
}

void queue_release_held(struct queue *queue, uint32_t id)
{
	uint32_t *start = queue->held + queue->held_start;
	uint32_t length = queue->held_end - queue->held_start, low = 0, high = length;

	/* Compared as a distance from the first, so that ids may wrap. */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (start[middle] - start[0] < id - start[0])
			low = middle + 1;
		else
			high = middle;
	}
	if (low == length || start[low] != id)
		return;
	/* The shorter side closes the gap: mostly the oldest or the newest is answered. */
	if (low < length / 2) {
		memmove(start + 1, start, low * sizeof(*start));
		queue->held_start++;
	} else {
		memmove(start + low, start + low + 1, (length - low - 1) * sizeof(*start));
		queue->held_end--;
	}
}
