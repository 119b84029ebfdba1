/* SPDX-License-Identifier: MIT */
/* Operations on many entries of a map, with a way round for map types and kernels that have no batch. */
#include "bpf_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Entries read by one system call of `entries`. */
#define CHUNK 4096

/* One batch call. `count`: in, how many; out, how many the kernel says it did. */
static long batch(int command, const struct map *map, void *in, void *out, void *keys, void *values, uint32_t *count)
{
	union bpf_attr attr = {};
	long err;
	attr.batch.in_batch = (uint64_t)(uintptr_t)in;
	attr.batch.out_batch = (uint64_t)(uintptr_t)out;
	attr.batch.keys = (uint64_t)(uintptr_t)keys;
	attr.batch.values = (uint64_t)(uintptr_t)values;
	attr.batch.count = *count;
	attr.batch.map_fd = (uint32_t)map->fd;
	err = l7_bpf(command, &attr, sizeof(attr));
	*count = attr.batch.count;
	return err;
}

/* mapPutBatch(map, keys, values, count) → stored. A full map (E2BIG) ends it early without an exception. */
napi_value l7_map_put_batch(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	struct map *map;
	uint8_t *keys, *values;
	uint32_t count, stored;
	long err = 0;

	if (!l7_args(env, info, 4, argv) || !(map = map_get(env, argv[0])) || !l7_get_u32(env, argv[3], "count", &count) ||
	    !map_get_packed(env, argv[1], "keys", map->info.key_size, count, &keys) ||
	    !map_get_packed(env, argv[2], "values", map->value_size, count, &values))
		return NULL;
	if (count == 0)
		return l7_u32(env, 0);
	stored = count;
	err = batch(BPF_MAP_UPDATE_BATCH, map, NULL, NULL, keys, values, &stored);
	if (err == 0)
		return l7_u32(env, stored);
	/* No batch for this type or kernel, or an entry that was refused: one by one finds out which. Storing twice is harmless. */
	for (stored = 0; stored < count; stored++) {
		err = map_element(BPF_MAP_UPDATE_ELEM, map, keys + (size_t)stored * map->info.key_size, values + (size_t)stored * map->value_size, 0);
		if (err)
			break;
	}
	if (err && err != -E2BIG)
		return l7_throw_errno(env, "BPF_MAP_UPDATE_BATCH", (int)-err, map->info.name, NULL);
	return l7_u32(env, stored);
}

/* mapDeleteBatch(map, keys, count) → how many were there */
napi_value l7_map_delete_batch(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct map *map;
	uint8_t *keys;
	uint32_t count, done, deleted = 0;
	long err;

	if (!l7_args(env, info, 3, argv) || !(map = map_get(env, argv[0])) || !l7_get_u32(env, argv[2], "count", &count) ||
	    !map_get_packed(env, argv[1], "keys", map->info.key_size, count, &keys))
		return NULL;
	for (uint32_t at = 0; at < count;) {
		uint8_t *rest = keys + (size_t)at * map->info.key_size;
		done = count - at;
		err = batch(BPF_MAP_DELETE_BATCH, map, NULL, NULL, rest, NULL, &done);
		if (err == 0) {
			deleted += done;
			break;
		}
		if (err == -ENOENT && done < count - at) {
			/* The kernel stops at the first key that isn't there: step over it. */
			deleted += done;
			at += done + 1;
			continue;
		}
		err = map_element(BPF_MAP_DELETE_ELEM, map, rest, NULL, 0);
		if (err && err != -ENOENT)
			return l7_throw_errno(env, "BPF_MAP_DELETE_BATCH", (int)-err, map->info.name, NULL);
		deleted += err == 0;
		at++;
	}
	return l7_u32(env, deleted);
}

struct entries {
	uint8_t *keys;
	uint8_t *values;
	size_t count;
	size_t capacity;
};

static bool reserve(struct entries *entries, const struct map *map, size_t more, size_t limit)
{
	size_t wanted = entries->count + more, capacity = entries->capacity;
	uint8_t *grown;

	if (wanted <= capacity)
		return true;
	capacity = capacity * 2 > wanted ? capacity * 2 : wanted;
	if (capacity > limit)
		capacity = limit > wanted ? limit : wanted;
	if (!(grown = realloc(entries->keys, capacity * map->info.key_size)))
		return false;
	entries->keys = grown;
	if (!(grown = realloc(entries->values, capacity * map->value_size)))
		return false;
	entries->values = grown;
	entries->capacity = capacity;
	return true;
}

/* Reads by batch. -EOPNOTSUPP: this type or kernel has none, nothing was read. */
static long read_batches(const struct map *map, size_t limit, struct entries *entries)
{
	/* The position is a bucket number (4 bytes) for hash maps and a key for the others. */
	size_t position_size = map->info.key_size > 8 ? map->info.key_size : 8;
	uint8_t *positions = calloc(2, position_size);
	size_t chunk = CHUNK;
	bool first = true;
	long err = 0;

	if (!positions)
		return -ENOMEM;
	while (entries->count < limit) {
		uint32_t count = (uint32_t)chunk;
		if (!reserve(entries, map, chunk, limit)) {
			err = -ENOMEM;
			break;
		}
		err = batch(BPF_MAP_LOOKUP_BATCH, map, first ? NULL : positions, positions + position_size,
			    entries->keys + entries->count * map->info.key_size, entries->values + entries->count * map->value_size, &count);
		if (err == -ENOSPC && chunk < (1U << 20)) {
			/* One bucket holds more than the chunk. */
			chunk *= 2;
			continue;
		}
		if (err && err != -ENOENT) {
			if (first && err != -ENOMEM && err != -EFAULT && err != -EPERM)
				err = -EOPNOTSUPP;
			break;
		}
		if (count <= chunk)
			entries->count += count;
		if (err == -ENOENT) {
			err = 0;
			break;
		}
		memcpy(positions, positions + position_size, position_size);
		first = false;
	}
	free(positions);
	return err;
}

static long read_singly(const struct map *map, size_t limit, struct entries *entries)
{
	uint8_t *key = calloc(1, map->info.key_size + 1);
	bool first = true;
	long err = 0;
	/* A key that is deleted under our feet sends the walk back to the start: bound the steps. */
	size_t steps = 2 * (size_t)map->info.max_entries + 16;

	if (!key)
		return -ENOMEM;
	while (entries->count < limit && steps-- > 0) {
		if (!reserve(entries, map, 1, limit)) {
			err = -ENOMEM;
			break;
		}
		err = map_element(BPF_MAP_GET_NEXT_KEY, map, first ? NULL : key, key, 0);
		first = false;
		if (err)
			break;
		memcpy(entries->keys + entries->count * map->info.key_size, key, map->info.key_size);
		err = map_element(BPF_MAP_LOOKUP_ELEM, map, key, entries->values + entries->count * map->value_size, 0);
		if (err == 0)
			entries->count++;
		else if (err != -ENOENT)
			break;
		err = 0;
	}
	free(key);
	return err == -ENOENT ? 0 : err;
}

/* mapEntries(map, limit) → {count, keys, values}. limit 0: maxEntries. */
napi_value l7_map_entries(napi_env env, napi_callback_info info)
{
	napi_value argv[2], result;
	struct map *map;
	struct entries entries = {};
	uint32_t limit;
	long err;

	if (!l7_args(env, info, 2, argv) || !(map = map_get(env, argv[0])) || !l7_get_u32(env, argv[1], "limit", &limit))
		return NULL;
	if (limit == 0 || limit > map->info.max_entries)
		limit = map->info.max_entries;
	err = read_batches(map, limit, &entries);
	if (err == -EOPNOTSUPP) {
		entries.count = 0;
		err = read_singly(map, limit, &entries);
	}
	if (entries.count > limit)
		entries.count = limit;
	if (err)
		result = l7_throw_errno(env, "BPF_MAP_LOOKUP_BATCH", (int)-err, map->info.name, NULL);
	else if (napi_create_object(env, &result) != napi_ok || !l7_set(env, result, "count", l7_number(env, (double)entries.count)) ||
		 !l7_set(env, result, "keys", l7_buffer(env, entries.count ? entries.keys : NULL, entries.count * map->info.key_size)) ||
		 !l7_set(env, result, "values", l7_buffer(env, entries.count ? entries.values : NULL, entries.count * map->value_size)))
		result = l7_throw(env, "no memory");
	free(entries.keys);
	free(entries.values);
	return result;
}
