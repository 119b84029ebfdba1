/* SPDX-License-Identifier: MIT */
/* bpf(2) itself: the same on every libbpf. libbpf is used only to load objects. */
#include "l7.h"
#include "bpf_uapi.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool get_kind(napi_env env, napi_value value, uint32_t *kind);

long l7_bpf(int command, union bpf_attr *attr, size_t size)
{
	long result = syscall(__NR_bpf, command, attr, size);
	return result < 0 ? -errno : result;
}

int l7_bpf_info(int fd, void *info, uint32_t size)
{
	union bpf_attr attr = {};
	attr.info.bpf_fd = (uint32_t)fd;
	attr.info.info_len = size;
	attr.info.info = (uint64_t)(uintptr_t)info;
	return (int)l7_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
}

int l7_possible_cpus(void)
{
	return libbpf_num_possible_cpus();
}

napi_value l7_possible_cpus_js(napi_env env, napi_callback_info info)
{
	int cpus = l7_possible_cpus();
	(void)info;
	return cpus > 0 ? l7_u32(env, (uint32_t)cpus) : l7_throw_errno(env, "possible cpus", -cpus, NULL, NULL);
}

/* pin(handle, kind, path) */
napi_value l7_pin(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	union bpf_attr attr = {};
	uint32_t kind;
	char path[PATH_MAX];
	int fd;
	long err;

	if (!l7_args(env, info, 3, argv) || !get_kind(env, argv[1], &kind))
		return NULL;
	if ((fd = l7_fd_get(env, argv[0], kind)) < 0 || !l7_get_string(env, argv[2], "path", path, sizeof(path)))
		return NULL;
	attr.pathname = (uint64_t)(uintptr_t)path;
	attr.bpf_fd = (uint32_t)fd;
	err = l7_bpf(BPF_OBJ_PIN, &attr, sizeof(attr));
	return err ? l7_throw_errno(env, "BPF_OBJ_PIN", (int)-err, path, NULL) : l7_undefined(env);
}

/* What a descriptor is; the kernel lets all kinds be pinned and opened alike. */
static bool is_kind(int fd, uint32_t kind)
{
	static const char *const inodes[L7_FD_KINDS] = { "bpf-map", "bpf-prog", "link" }; /* links are "bpf_link" or "bpf-link", by how the descriptor was made */
	char path[64], target[64];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return false;
	target[length] = 0;
	return strstr(target, inodes[kind]) != NULL;
}

/* openPinned(kind, path) */
napi_value l7_open_pinned(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	union bpf_attr attr = {};
	uint32_t kind;
	char path[PATH_MAX];
	long fd;

	if (!l7_args(env, info, 2, argv) || !get_kind(env, argv[0], &kind) ||
	    !l7_get_string(env, argv[1], "path", path, sizeof(path)))
		return NULL;
	attr.pathname = (uint64_t)(uintptr_t)path;
	fd = l7_bpf(BPF_OBJ_GET, &attr, sizeof(attr));
	if (fd < 0)
		return l7_throw_errno(env, "BPF_OBJ_GET", (int)-fd, path, NULL);
	if (!is_kind((int)fd, kind)) {
		close((int)fd);
		return l7_throw_errno(env, "BPF_OBJ_GET", EINVAL, "another kind of BPF object is pinned here", NULL);
	}
	return l7_fd_wrap(env, kind, (int)fd);
}

/* share(kind, fd): a handle of its own for what another thread of this process holds open */
napi_value l7_share_fd(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	uint32_t kind, given;
	int fd;

	if (!l7_args(env, info, 2, argv) || !get_kind(env, argv[0], &kind) || !l7_get_u32(env, argv[1], "fd", &given))
		return NULL;
	fd = fcntl((int)given, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return l7_throw_errno(env, "share a BPF object", errno, NULL, NULL);
	if (!is_kind(fd, kind)) {
		close(fd);
		return l7_throw_errno(env, "share a BPF object", EINVAL, "this descriptor is of something else", NULL);
	}
	return l7_fd_wrap(env, kind, fd);
}

static bool get_kind(napi_env env, napi_value value, uint32_t *kind)
{
	if (!l7_get_u32(env, value, "kind", kind))
		return false;
	return *kind < L7_FD_KINDS || l7_throw_type(env, "kind is unknown") != NULL;
}
