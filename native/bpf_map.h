/* SPDX-License-Identifier: MIT */
/* A map behind a handle: shared by single operations (bpf_map.c) and those on many entries (bpf_map_batch.c). */
#ifndef L7_BPF_MAP_H
#define L7_BPF_MAP_H

#include "l7.h"
#include "bpf_uapi.h"

struct map {
	int fd;
	struct bpf_map_info info;
	size_t value_size; /* of the buffers: all CPUs for per-CPU maps */
};

/* NULL and an exception. Its shape never changes, so the kernel is asked once. */
struct map *map_get(napi_env env, napi_value value);
/* Exactly `count` keys or values of `size` bytes; `name` is the argument's. */
bool map_get_packed(napi_env env, napi_value value, const char *name, size_t size, size_t count, uint8_t **data);
/* One of the commands on a single element; BPF_MAP_GET_NEXT_KEY writes the key to `value`. 0 or -errno. */
long map_element(int command, const struct map *map, const void *key, void *value, uint64_t flags);

#endif
