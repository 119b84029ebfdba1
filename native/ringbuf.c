/* SPDX-License-Identifier: MIT */
/*
 * BPF ring buffer (Documentation/bpf/ringbuf.rst). Read by hand, because libbpf before 1.5 can't stop after n records.
 * Records are copied out before JavaScript sees them: the kernel's pages are read-only, and a handler that wrote to them would be a crash.
 */
#include "l7.h"
#include "bpf_uapi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct ring {
	struct l7_poller poller; /* first: its callbacks cast */
	int references; /* the JavaScript handle and the poller */
	int fd;
	uint32_t limit; /* records a turn */
	size_t size; /* of the ring; a power of two */
	size_t page;
	unsigned long *consumer;
	unsigned long *producer;
	const uint8_t *data;
	struct l7_memory *memory; /* `limit` pairs (offset, length), then `size` bytes for the records */
	uint32_t *index;
	uint8_t *copy;
};

static const napi_type_tag ring_tag = { 0x6c3765676772696e, 0x2be07c6d1f94a835 };

static void ring_release(struct ring *ring)
{
	if (--ring->references > 0)
		return;
	if (ring->consumer)
		munmap(ring->consumer, ring->page);
	if (ring->producer)
		munmap(ring->producer, ring->page + 2 * ring->size);
	if (ring->fd >= 0)
		close(ring->fd);
	l7_memory_release(ring->memory);
	free(ring);
}

static void handle_release(void *data)
{
	ring_release(data);
}

static void poller_release(struct l7_poller *poller)
{
	ring_release((struct ring *)poller);
}

static void stop(struct l7_poller *poller)
{
	struct ring *ring = (struct ring *)poller;
	close(ring->fd);
	ring->fd = -1;
}

/* Copies up to `limit` records. Never more bytes than the ring holds, so they always fit. */
static uint32_t take(struct ring *ring)
{
	unsigned long consumer = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
	unsigned long producer = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	uint32_t count = 0;
	size_t filled = 0;

	while (consumer < producer && count < ring->limit) {
		const uint8_t *record = ring->data + (consumer & (ring->size - 1));
		uint32_t header = __atomic_load_n((const uint32_t *)record, __ATOMIC_ACQUIRE);
		uint32_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

		if (header & BPF_RINGBUF_BUSY_BIT)
			break;
		if (length > ring->size - filled)
			break;
		if (!(header & BPF_RINGBUF_DISCARD_BIT)) {
			ring->index[2 * count] = (uint32_t)filled;
			ring->index[2 * count + 1] = length;
			memcpy(ring->copy + filled, record + BPF_RINGBUF_HDR_SZ, length);
			filled += length;
			count++;
		}
		consumer += (length + BPF_RINGBUF_HDR_SZ + 7) & ~7UL;
	}
	__atomic_store_n(ring->consumer, consumer, __ATOMIC_RELEASE);
	return count;
}

static void ready(struct l7_poller *poller)
{
	struct ring *ring = (struct ring *)poller;
	napi_handle_scope scope;
	napi_value count;
	uint32_t records = take(ring);

	if (records == 0 || napi_open_handle_scope(poller->env, &scope) != napi_ok)
		return;
	if (napi_create_uint32(poller->env, records, &count) == napi_ok)
		l7_poller_call(poller, 1, &count);
	napi_close_handle_scope(poller->env, scope);
}

/* 0 or -errno */
static int map_ring(struct ring *ring, int map)
{
	struct bpf_map_info info = {};
	void *at;
	int err = l7_bpf_info(map, &info, sizeof(info));

	if (err)
		return err;
	if (info.type != BPF_MAP_TYPE_RINGBUF)
		return -EINVAL;
	ring->size = info.max_entries;
	ring->page = (size_t)sysconf(_SC_PAGESIZE);
	/* Of our own, so that the map's handle may be closed first. */
	ring->fd = fcntl(map, F_DUPFD_CLOEXEC, 3);
	if (ring->fd < 0)
		return -errno;
	at = mmap(NULL, ring->page, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	ring->consumer = at;
	/* The data pages are mapped twice in a row, so that a record that wraps is whole. */
	at = mmap(NULL, ring->page + 2 * ring->size, PROT_READ, MAP_SHARED, ring->fd, (off_t)ring->page);
	if (at == MAP_FAILED)
		return -errno;
	ring->producer = at;
	ring->data = (const uint8_t *)at + ring->page;
	ring->memory = l7_memory_new(ring->limit * 2 * sizeof(uint32_t) + ring->size);
	if (!ring->memory)
		return -ENOMEM;
	ring->index = (uint32_t *)l7_memory_start(ring->memory);
	ring->copy = l7_memory_start(ring->memory) + ring->limit * 2 * sizeof(uint32_t);
	return 0;
}

/* ringbufOpen(map, maxPerTurn, onRecords) → {handle, memory}. onRecords(count). */
napi_value l7_ringbuf_open(napi_env env, napi_callback_info info)
{
	napi_value argv[3], handle, memory, result;
	uint32_t limit;
	struct ring *ring;
	int map, err;

	if (!l7_args(env, info, 3, argv) || (map = l7_fd_get(env, argv[0], L7_FD_MAP)) < 0 ||
	    !l7_get_u32(env, argv[1], "maxPerTurn", &limit) || !l7_is_function(env, argv[2], "onRecords"))
		return NULL;
	if (limit == 0 || limit > 1U << 20)
		return l7_throw_type(env, "maxPerTurn is out of range");
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return l7_throw_errno(env, "malloc", ENOMEM, NULL, NULL);
	ring->references = 1;
	ring->fd = -1;
	ring->limit = limit;
	ring->poller.ready = ready;
	ring->poller.stop = stop;
	ring->poller.release = poller_release;
	err = map_ring(ring, map);
	if (err) {
		ring_release(ring);
		return l7_throw_errno(env, "map ring buffer", -err, NULL, NULL);
	}
	handle = l7_wrap(env, ring, &ring_tag, handle_release);
	if (!handle || !(memory = l7_memory_buffer(env, ring->memory)) || napi_create_object(env, &result) != napi_ok ||
	    !l7_set(env, result, "handle", handle) || !l7_set(env, result, "memory", memory))
		return l7_throw(env, "ring buffer handle can't be made");
	ring->references++;
	err = l7_poller_open(&ring->poller, env, ring->fd, argv[2], "l7egg:ringbuf");
	if (err) {
		ring_release(ring); /* the handle's reference is left to the garbage collector */
		return l7_throw_errno(env, "watch ring buffer", -err, NULL, NULL);
	}
	return result;
}

/* ringbufRead(ring): what is there now, to onRecords, as if the kernel had woken us. */
napi_value l7_ringbuf_read(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct ring *ring;

	if (!l7_args(env, info, 1, argv) || !(ring = l7_unwrap(env, argv[0], &ring_tag, "ring buffer")))
		return NULL;
	if (ring->fd >= 0)
		ready(&ring->poller);
	return l7_undefined(env);
}

napi_value l7_ringbuf_close(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct ring *ring;

	if (!l7_args(env, info, 1, argv) || !(ring = l7_unwrap(env, argv[0], &ring_tag, "ring buffer")))
		return NULL;
	if (ring->fd >= 0)
		l7_poller_close(&ring->poller);
	return l7_undefined(env);
}
