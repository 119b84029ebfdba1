/* SPDX-License-Identifier: MIT */
/* Programs: asked for their name, run on a packet by the kernel's own test run, or on a context of the caller's (BPF_PROG_TYPE_SYSCALL). */
#include "l7.h"
#include "bpf_uapi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A program may push headers; the kernel answers ENOSPC if what it returns doesn't fit. */
#define GROWTH 512

napi_value l7_program_info(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	struct bpf_prog_info program = {};
	char name[BPF_OBJ_NAME_LEN + 1] = "";
	int fd, err;

	if (!l7_args(env, info, 1, argv) || (fd = l7_fd_get(env, argv[0], L7_FD_PROGRAM)) < 0)
		return NULL;
	err = l7_bpf_info(fd, &program, sizeof(program));
	if (err)
		return l7_throw_errno(env, "BPF_OBJ_GET_INFO_BY_FD", -err, NULL, NULL);
	memcpy(name, program.name, BPF_OBJ_NAME_LEN);
	if (napi_create_object(env, &result) != napi_ok || !l7_set(env, result, "name", l7_string(env, name)) ||
	    !l7_set(env, result, "id", l7_u32(env, program.id)) || !l7_set(env, result, "type", l7_u32(env, program.type)))
		return l7_throw(env, "no memory");
	return result;
}

/* testRun(program, data, repeat, mark, ifindex, ingressIfindex, gsoSegs, gsoSize) */
napi_value l7_program_test_run(napi_env env, napi_callback_info info)
{
	napi_value argv[8], result, bytes;
	struct __sk_buff in = {}, out = {};
	union bpf_attr attr = {};
	uint8_t *data, *returned;
	size_t length;
	uint32_t repeat, ifindex;
	long err;
	int fd;

	if (!l7_args(env, info, 8, argv) || (fd = l7_fd_get(env, argv[0], L7_FD_PROGRAM)) < 0 ||
	    !l7_get_bytes(env, argv[1], "data", &data, &length) || !l7_get_u32(env, argv[2], "repeat", &repeat) ||
	    !l7_get_u32(env, argv[3], "mark", &in.mark) || !l7_get_u32(env, argv[4], "ifindex", &ifindex) ||
	    !l7_get_u32(env, argv[5], "ingressIfindex", &in.ingress_ifindex) || !l7_get_u32(env, argv[6], "gsoSegs", &in.gso_segs) ||
	    !l7_get_u32(env, argv[7], "gsoSize", &in.gso_size))
		return NULL;
	in.ifindex = ifindex;
	returned = malloc(length + GROWTH);
	if (!returned)
		return l7_throw_errno(env, "malloc", ENOMEM, NULL, NULL);

	attr.test.prog_fd = (uint32_t)fd;
	attr.test.data_in = (uint64_t)(uintptr_t)data;
	attr.test.data_size_in = (uint32_t)length;
	attr.test.data_out = (uint64_t)(uintptr_t)returned;
	attr.test.data_size_out = (uint32_t)(length + GROWTH);
	attr.test.repeat = repeat;
	attr.test.ctx_in = (uint64_t)(uintptr_t)&in;
	attr.test.ctx_size_in = sizeof(in);
	attr.test.ctx_out = (uint64_t)(uintptr_t)&out;
	attr.test.ctx_size_out = sizeof(out);
	do {
		err = l7_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));
	} while (err == -EAGAIN);
	if (err < 0) {
		free(returned);
		return l7_throw_errno(env, "BPF_PROG_TEST_RUN", (int)-err, NULL, NULL);
	}
	bytes = l7_buffer(env, returned, attr.test.data_size_out <= length + GROWTH ? attr.test.data_size_out : 0);
	free(returned);
	if (napi_create_object(env, &result) != napi_ok || !l7_set(env, result, "returnValue", l7_u32(env, attr.test.retval)) ||
	    !l7_set(env, result, "durationNs", l7_u32(env, attr.test.duration)) ||
	    !l7_set(env, result, "mark", l7_u32(env, out.mark)) || !l7_set(env, result, "data", bytes))
		return l7_throw(env, "no memory");
	return result;
}

/* run(program, context): the context is read and written in place */
napi_value l7_program_run(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	union bpf_attr attr = {};
	uint8_t *context;
	size_t length;
	long err;
	int fd;

	if (!l7_args(env, info, 2, argv) || (fd = l7_fd_get(env, argv[0], L7_FD_PROGRAM)) < 0 ||
	    !l7_get_bytes(env, argv[1], "context", &context, &length))
		return NULL;
	attr.test.prog_fd = (uint32_t)fd;
	attr.test.ctx_in = (uint64_t)(uintptr_t)context;
	attr.test.ctx_size_in = (uint32_t)length;
	err = l7_bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr));
	if (err < 0)
		return l7_throw_errno(env, "BPF_PROG_RUN", (int)-err, NULL, NULL);
	return l7_u32(env, attr.test.retval);
}
