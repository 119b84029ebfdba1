/* SPDX-License-Identifier: MIT */
/*
 * Memory that the addon and JavaScript both see. It is mapped by us and counted, so that neither a Buffer that JavaScript kept nor one whose
 * ArrayBuffer it transferred away can leave the other side with a dangling pointer.
 */
#include "l7.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

struct l7_memory {
	atomic_int references;
	size_t size;
	uint8_t *start;
};

struct l7_memory *l7_memory_new(size_t size)
{
	struct l7_memory *memory = calloc(1, sizeof(*memory));

	if (!memory)
		return NULL;
	atomic_init(&memory->references, 1);
	memory->size = size;
	memory->start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory->start == MAP_FAILED) {
		free(memory);
		return NULL;
	}
	return memory;
}

uint8_t *l7_memory_start(const struct l7_memory *memory)
{
	return memory->start;
}

void l7_memory_release(struct l7_memory *memory)
{
	if (!memory || atomic_fetch_sub(&memory->references, 1) != 1)
		return;
	munmap(memory->start, memory->size);
	free(memory);
}

static void finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)data;
	l7_memory_release(hint);
}

napi_value l7_memory_buffer(napi_env env, struct l7_memory *memory)
{
	napi_value buffer;

	atomic_fetch_add(&memory->references, 1);
	if (napi_create_external_buffer(env, memory->size, memory->start, finalize, memory, &buffer) == napi_ok)
		return buffer;
	l7_memory_release(memory);
	return l7_throw(env, "shared memory can't be shown to JavaScript");
}
