/* SPDX-License-Identifier: MIT */
/* Counters: our own, and the kernel's from its table of queues. */
#include "queue.h"

#include <stdio.h>

uint32_t queue_holder(uint32_t number, uint32_t *queue_dropped, uint32_t *user_dropped)
{
	/* Of this thread's network namespace. Columns: nfnetlink_queue.c, seq_show(). */
	FILE *file = fopen("/proc/thread-self/net/netfilter/nfnetlink_queue", "re");
	unsigned int queue, port, total, mode, range, dropped, unsent, sequence, holder = 0;

	if (!file)
		return 0;
	while (fscanf(file, "%u %u %u %u %u %u %u %u %*u", &queue, &port, &total, &mode, &range, &dropped, &unsent, &sequence) == 8) {
		if (queue != number)
			continue;
		holder = port;
		if (queue_dropped)
			*queue_dropped = dropped;
		if (user_dropped)
			*user_dropped = unsent;
	}
	fclose(file);
	return holder;
}

napi_value l7_queue_stats(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	struct queue *queue;
	uint32_t queue_dropped = 0, user_dropped = 0;

	if (!l7_args(env, info, 1, argv) || !(queue = queue_get(env, argv[0])))
		return NULL;
	queue_holder(queue->number, &queue_dropped, &user_dropped);
	if (napi_create_object(env, &result) != napi_ok || !l7_set(env, result, "packets", l7_number(env, (double)queue->packets)) ||
	    !l7_set(env, result, "verdicts", l7_number(env, (double)queue->verdict_count)) ||
	    !l7_set(env, result, "batches", l7_number(env, (double)queue->batches)) ||
	    !l7_set(env, result, "gathered", l7_number(env, (double)queue->gathered)) ||
	    !l7_set(env, result, "overruns", l7_number(env, (double)queue->overruns)) ||
	    !l7_set(env, result, "verdictErrors", l7_number(env, (double)queue->verdict_errors)) ||
	    !l7_set(env, result, "malformed", l7_number(env, (double)queue->malformed)) ||
	    !l7_set(env, result, "queueDropped", l7_u32(env, queue_dropped)) || !l7_set(env, result, "userDropped", l7_u32(env, user_dropped)))
		return l7_throw(env, "no memory");
	return result;
}
