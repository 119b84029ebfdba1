/* SPDX-License-Identifier: MIT */
/* Maps: what they are, and operations on one entry. */
#include "bpf_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_LRU_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

static long load_shape(int fd, struct map *map)
{
	long err = l7_bpf_info(fd, &map->info, sizeof(map->info));
	int cpus;

	if (err)
		return err;
	map->value_size = map->info.value_size;
	if (per_cpu(map->info.type)) {
		cpus = l7_possible_cpus();
		if (cpus <= 0)
			return cpus ? cpus : -EIO;
		map->value_size = ((map->value_size + 7) & ~(size_t)7) * (size_t)cpus;
	}
	return 0;
}

struct map *map_get(napi_env env, napi_value value)
{
	void **cache;
	int fd = l7_fd_get_cache(env, value, L7_FD_MAP, &cache);
	struct map *map;
	long err;

	if (fd < 0)
		return NULL;
	if (!*cache) {
		map = calloc(1, sizeof(*map));
		err = map ? load_shape(fd, map) : -ENOMEM;
		if (err) {
			free(map);
			l7_throw_errno(env, "BPF_OBJ_GET_INFO_BY_FD", (int)-err, NULL, NULL);
			return NULL;
		}
		*cache = map;
	}
	map = *cache;
	map->fd = fd;
	return map;
}

bool map_get_packed(napi_env env, napi_value value, const char *name, size_t size, size_t count, uint8_t **data)
{
	size_t length;
	if (!l7_get_bytes(env, value, name, data, &length))
		return false;
	if (length != size * count) {
		napi_throw_range_error(env, NULL, name[0] == 'k' ? "key has the wrong length for this map" : "value has the wrong length for this map");
		return false;
	}
	return true;
}

long map_element(int command, const struct map *map, const void *key, void *value, uint64_t flags)
{
	union bpf_attr attr = {};
	attr.map_fd = (uint32_t)map->fd;
	attr.key = (uint64_t)(uintptr_t)key;
	attr.value = (uint64_t)(uintptr_t)value; /* BPF_MAP_GET_NEXT_KEY: next_key is the same member of the union */
	attr.flags = flags;
	return l7_bpf(command, &attr, sizeof(attr));
}

napi_value l7_map_info(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	struct map *map;
	char name[BPF_OBJ_NAME_LEN + 1] = "";

	if (!l7_args(env, info, 1, argv) || !(map = map_get(env, argv[0])))
		return NULL;
	memcpy(name, map->info.name, BPF_OBJ_NAME_LEN);
	if (napi_create_object(env, &result) != napi_ok || !l7_set(env, result, "name", l7_string(env, name)) ||
	    !l7_set(env, result, "type", l7_u32(env, map->info.type)) || !l7_set(env, result, "keySize", l7_u32(env, map->info.key_size)) ||
	    !l7_set(env, result, "valueSize", l7_u32(env, map->info.value_size)) ||
	    !l7_set(env, result, "bufferSize", l7_number(env, (double)map->value_size)) ||
	    !l7_set(env, result, "maxEntries", l7_u32(env, map->info.max_entries)) || !l7_set(env, result, "id", l7_u32(env, map->info.id)))
		return l7_throw(env, "no memory");
	return result;
}

/* mapGet(map, key) → Buffer or undefined */
napi_value l7_map_get(napi_env env, napi_callback_info info)
{
	napi_value argv[2], result;
	struct map *map;
	uint8_t *key, *value;
	long err;

	if (!l7_args(env, info, 2, argv) || !(map = map_get(env, argv[0])) || !map_get_packed(env, argv[1], "key", map->info.key_size, 1, &key))
		return NULL;
	value = malloc(map->value_size);
	if (!value)
		return l7_throw_errno(env, "malloc", ENOMEM, NULL, NULL);
	err = map_element(BPF_MAP_LOOKUP_ELEM, map, key, value, 0);
	if (err == 0)
		result = l7_buffer(env, value, map->value_size);
	else if (err == -ENOENT)
		result = l7_undefined(env);
	else
		result = l7_throw_errno(env, "BPF_MAP_LOOKUP_ELEM", (int)-err, map->info.name, NULL);
	free(value);
	return result;
}

/* mapRead(map, key, value) → boolean: mapGet into the caller's buffer, for what is read with every packet */
napi_value l7_map_read(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct map *map;
	uint8_t *key, *value;
	long err;

	if (!l7_args(env, info, 3, argv) || !(map = map_get(env, argv[0])) || !map_get_packed(env, argv[1], "key", map->info.key_size, 1, &key) ||
	    !map_get_packed(env, argv[2], "value", map->value_size, 1, &value))
		return NULL;
	err = map_element(BPF_MAP_LOOKUP_ELEM, map, key, value, 0);
	if (err && err != -ENOENT)
		return l7_throw_errno(env, "BPF_MAP_LOOKUP_ELEM", (int)-err, map->info.name, NULL);
	return l7_bool(env, err == 0);
}

/* mapPut(map, key, value, flags) */
napi_value l7_map_put(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	struct map *map;
	uint8_t *key, *value;
	uint32_t flags;
	long err;

	if (!l7_args(env, info, 4, argv) || !(map = map_get(env, argv[0])) || !map_get_packed(env, argv[1], "key", map->info.key_size, 1, &key) ||
	    !map_get_packed(env, argv[2], "value", map->value_size, 1, &value) || !l7_get_u32(env, argv[3], "flags", &flags))
		return NULL;
	err = map_element(BPF_MAP_UPDATE_ELEM, map, key, value, flags);
	return err ? l7_throw_errno(env, "BPF_MAP_UPDATE_ELEM", (int)-err, map->info.name, NULL) : l7_undefined(env);
}

/* mapDelete(map, key) → boolean */
napi_value l7_map_delete(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct map *map;
	uint8_t *key;
	long err;

	if (!l7_args(env, info, 2, argv) || !(map = map_get(env, argv[0])) || !map_get_packed(env, argv[1], "key", map->info.key_size, 1, &key))
		return NULL;
	err = map_element(BPF_MAP_DELETE_ELEM, map, key, NULL, 0);
	if (err && err != -ENOENT)
		return l7_throw_errno(env, "BPF_MAP_DELETE_ELEM", (int)-err, map->info.name, NULL);
	return l7_bool(env, err == 0);
}
