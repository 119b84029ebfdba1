/* SPDX-License-Identifier: MIT */
/* Tagged handles: JavaScript can hold and drop them, only the addon can open them. */
#include "l7.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	((void (*)(void *))hint)(data);
}

napi_value l7_wrap(napi_env env, void *data, const napi_type_tag *tag, void (*release)(void *data))
{
	napi_value object;

	if (napi_create_object(env, &object) == napi_ok && napi_type_tag_object(env, object, tag) == napi_ok &&
	    napi_wrap(env, object, data, finalize, (void *)release, NULL) == napi_ok)
		return object;
	release(data);
	return l7_throw(env, "handle can't be made");
}

void *l7_unwrap(napi_env env, napi_value value, const napi_type_tag *tag, const char *what)
{
	napi_valuetype type;
	bool matches = false;
	void *data = NULL;
	char message[96];

	if (napi_typeof(env, value, &type) == napi_ok && type == napi_object &&
	    napi_check_object_type_tag(env, value, tag, &matches) == napi_ok && matches &&
	    napi_unwrap(env, value, &data) == napi_ok && data)
		return data;
	snprintf(message, sizeof(message), "not a handle of a %s", what);
	return l7_throw_type(env, message);
}

struct l7_fd {
	enum l7_fd_kind kind;
	int fd;
	void *cache;
};

static const napi_type_tag fd_tag = { 0x6c37656767666431, 0x9d1c07a2b8f34e55 };
static const char *const kind_names[L7_FD_KINDS] = { "BPF map", "BPF program", "BPF link" };

static void fd_release(void *data)
{
	struct l7_fd *handle = data;
	if (handle->fd >= 0)
		close(handle->fd);
	free(handle->cache);
	free(handle);
}

napi_value l7_fd_wrap(napi_env env, enum l7_fd_kind kind, int fd)
{
	struct l7_fd *handle = malloc(sizeof(*handle));
	if (!handle) {
		close(fd);
		return l7_throw_errno(env, "malloc", ENOMEM, NULL, NULL);
	}
	*handle = (struct l7_fd){ .kind = kind, .fd = fd };
	return l7_wrap(env, handle, &fd_tag, fd_release);
}

static struct l7_fd *open_handle(napi_env env, napi_value value, enum l7_fd_kind kind)
{
	char message[96];
	struct l7_fd *handle = l7_unwrap(env, value, &fd_tag, kind_names[kind]);

	if (!handle)
		return NULL;
	if (handle->kind != kind) {
		snprintf(message, sizeof(message), "not a handle of a %s but of a %s", kind_names[kind], kind_names[handle->kind]);
		l7_throw_type(env, message);
		return NULL;
	}
	if (handle->fd < 0) {
		snprintf(message, sizeof(message), "%s is closed", kind_names[kind]);
		l7_throw(env, message);
		return NULL;
	}
	return handle;
}

int l7_fd_get(napi_env env, napi_value value, enum l7_fd_kind kind)
{
	const struct l7_fd *handle = open_handle(env, value, kind);
	return handle ? handle->fd : -1;
}

/* Both in one, because telling a handle from other objects is what an operation on a map costs most of, beside the system call. */
int l7_fd_get_cache(napi_env env, napi_value value, enum l7_fd_kind kind, void ***cache)
{
	struct l7_fd *handle = open_handle(env, value, kind);

	if (!handle)
		return -1;
	*cache = &handle->cache;
	return handle->fd;
}

napi_value l7_fd_close(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct l7_fd *handle;

	if (!l7_args(env, info, 1, argv) || !(handle = l7_unwrap(env, argv[0], &fd_tag, "BPF object")))
		return NULL;
	if (handle->fd >= 0)
		close(handle->fd);
	handle->fd = -1;
	return l7_undefined(env);
}

napi_value l7_fd_number(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	struct l7_fd *handle;

	if (!l7_args(env, info, 1, argv) || !(handle = l7_unwrap(env, argv[0], &fd_tag, "BPF object")))
		return NULL;
	return l7_number(env, handle->fd);
}
