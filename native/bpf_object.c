/* SPDX-License-Identifier: MIT */
/* An object file, loaded by libbpf. Maps and programs taken from it have descriptors of their own and outlive it. */
#include "l7.h"
#include "bpf_uapi.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct object {
	struct bpf_object *bpf; /* NULL: closed */
};

static const napi_type_tag object_tag = { 0x6c376567676f626a, 0x40f1d2a65b7c4f0e };

static void object_release(void *data)
{
	struct object *object = data;
	if (object->bpf)
		bpf_object__close(object->bpf);
	free(object);
}

/* libbpf would take any map and rewrite the object's own description of it. */
static bool same_shape(const struct bpf_map *map, int fd)
{
	struct bpf_map_info info = {};
	return l7_bpf_info(fd, &info, sizeof(info)) == 0 && info.type == bpf_map__type(map) && info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map);
}

/* Options that must be set between open and load: two arrays, [name, maxEntries]… and [name, map handle]… */
static bool configure(napi_env env, struct bpf_object *bpf, napi_value sizes, napi_value reuse)
{
	for (int round = 0; round < 2; round++) {
		napi_value list = round == 0 ? sizes : reuse;
		uint32_t length, entries;
		if (napi_get_array_length(env, list, &length) != napi_ok)
			return l7_throw_type(env, "maxEntries and reuse must be arrays") != NULL;
		for (uint32_t i = 0; i + 1 < length; i += 2) {
			napi_value key, value;
			char name[64];
			struct bpf_map *map;
			int fd, err;

			if (napi_get_element(env, list, i, &key) != napi_ok || napi_get_element(env, list, i + 1, &value) != napi_ok ||
			    !l7_get_string(env, key, "map name", name, sizeof(name)))
				return false;
			map = bpf_object__find_map_by_name(bpf, name);
			if (!map)
				return l7_throw_errno(env, "find map", ENOENT, name, NULL) != NULL;
			if (round == 0) {
				if (!l7_get_u32(env, value, "maxEntries", &entries))
					return false;
				err = bpf_map__set_max_entries(map, entries);
			} else {
				if ((fd = l7_fd_get(env, value, L7_FD_MAP)) < 0)
					return false;
				err = same_shape(map, fd) ? bpf_map__reuse_fd(map, fd) : EINVAL;
			}
			if (err)
				return l7_throw_errno(env, round == 0 ? "set max_entries" : "reuse map", err < 0 ? -err : err, name, NULL) != NULL;
		}
	}
	return true;
}

static void lift_memory_limit(void)
{
	/* Before 5.11 maps are charged to RLIMIT_MEMLOCK. Without CAP_SYS_RESOURCE this fails, and newer kernels don't care. */
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

/*
 * The verifier gives up with EAGAIN as soon as a signal waits for the calling thread, and libbpf tries a program only a few times. A large one
 * takes a third of a second: a profiler's SIGPROF or a shower of SIGCHLD would make the load fail. So signals wait until it is done; SIGKILL and
 * SIGSTOP can't. Meanwhile the other threads still get what is sent to the whole process. libbpf doesn't call back into JavaScript, so nothing
 * can leave between the two calls.
 */
static int load_undisturbed(struct bpf_object *bpf)
{
	sigset_t all, before;
	int err, refused;

	sigfillset(&all);
	refused = pthread_sigmask(SIG_SETMASK, &all, &before);
	err = bpf_object__load(bpf);
	if (!refused)
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

/* loadObject(path, [name, maxEntries…], [name, map…]) */
napi_value l7_load_object(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	char path[4096];
	char *log;
	struct object *object;
	struct bpf_object *bpf;
	int err;

	if (!l7_args(env, info, 3, argv) || !l7_get_string(env, argv[0], "path", path, sizeof(path)))
		return NULL;
	lift_memory_limit();

	l7_log_begin();
	bpf = bpf_object__open_file(path, NULL);
	err = (int)-libbpf_get_error(bpf);
	log = l7_log_end(env);
	if (err) {
		l7_throw_errno(env, "open BPF object", err, path, log);
		free(log);
		return NULL;
	}
	free(log);

	l7_log_begin();
	if (!configure(env, bpf, argv[1], argv[2])) {
		free(l7_log_end(env));
		bpf_object__close(bpf);
		return NULL;
	}
	err = load_undisturbed(bpf);
	log = l7_log_end(env);
	if (err) {
		bpf_object__close(bpf);
		l7_throw_errno(env, "load BPF object", err < 0 ? -err : err, path, log);
		free(log);
		return NULL;
	}
	free(log);

	object = malloc(sizeof(*object));
	if (!object) {
		bpf_object__close(bpf);
		return l7_throw_errno(env, "malloc", ENOMEM, NULL, NULL);
	}
	object->bpf = bpf;
	return l7_wrap(env, object, &object_tag, object_release);
}

static struct object *get_open(napi_env env, napi_value value)
{
	struct object *object = l7_unwrap(env, value, &object_tag, "BPF object");
	if (object && !object->bpf) {
		l7_throw(env, "BPF object is closed");
		return NULL;
	}
	return object;
}

static napi_value wrap_copy(napi_env env, enum l7_fd_kind kind, int fd, const char *name)
{
	int copy;
	if (fd < 0)
		return l7_throw_errno(env, kind == L7_FD_MAP ? "find map" : "find program", ENOENT, name, NULL);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return copy < 0 ? l7_throw_errno(env, "dup", errno, NULL, NULL) : l7_fd_wrap(env, kind, copy);
}

napi_value l7_object_map(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct object *object;
	struct bpf_map *map;
	char name[64];

	if (!l7_args(env, info, 2, argv) || !(object = get_open(env, argv[0])) || !l7_get_string(env, argv[1], "name", name, sizeof(name)))
		return NULL;
	map = bpf_object__find_map_by_name(object->bpf, name);
	return wrap_copy(env, L7_FD_MAP, map ? bpf_map__fd(map) : -1, name);
}

napi_value l7_object_program(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	struct object *object;
	struct bpf_program *program;
	char name[128];

	if (!l7_args(env, info, 2, argv) || !(object = get_open(env, argv[0])) || !l7_get_string(env, argv[1], "name", name, sizeof(name)))
		return NULL;
	program = bpf_object__find_program_by_name(object->bpf, name);
	return wrap_copy(env, L7_FD_PROGRAM, program ? bpf_program__fd(program) : -1, name);
}

napi_value l7_object_close(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct object *object;

	if (!l7_args(env, info, 1, argv) || !(object = l7_unwrap(env, argv[0], &object_tag, "BPF object")))
		return NULL;
	if (object->bpf)
		bpf_object__close(object->bpf);
	object->bpf = NULL;
	return l7_undefined(env);
}
