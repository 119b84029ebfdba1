/* SPDX-License-Identifier: MIT */
/* TCX links, by bpf(2) itself: libbpf has them only since 1.3. */
#include "l7.h"
#include "bpf_uapi.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* linkAttach(program, ifindex, egress): at the head of the chain, so that nobody's verdict comes before ours. */
napi_value l7_link_attach(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	struct l7_bpf_link_create create = { .flags = L7_BPF_F_BEFORE };
	union bpf_attr attr;
	uint32_t ifindex;
	bool egress;
	long fd;
	int program;

	if (!l7_args(env, info, 3, argv) || (program = l7_fd_get(env, argv[0], L7_FD_PROGRAM)) < 0 ||
	    !l7_get_u32(env, argv[1], "ifindex", &ifindex) || !l7_get_bool(env, argv[2], "egress", &egress))
		return NULL;
	create.prog_fd = (uint32_t)program;
	create.target_ifindex = ifindex;
	create.attach_type = egress ? L7_BPF_TCX_EGRESS : L7_BPF_TCX_INGRESS;
	memset(&attr, 0, sizeof(attr));
	memcpy(&attr, &create, sizeof(create));
	fd = l7_bpf(BPF_LINK_CREATE, &attr, sizeof(create));
	if (fd < 0)
		return l7_throw_errno(env, "attach TCX", (int)-fd, NULL, NULL);
	return l7_fd_wrap(env, L7_FD_LINK, (int)fd);
}

/* tcxCount(ifindex, egress): programs there; 0 where the kernel has no TCX. */
napi_value l7_tcx_count(napi_env env, napi_callback_info info)
{
	struct l7_bpf_prog_query query = {};
	napi_value argv[2];
	union bpf_attr attr;
	bool egress;
	long err;

	if (!l7_args(env, info, 2, argv) || !l7_get_u32(env, argv[0], "ifindex", &query.target_ifindex) ||
	    !l7_get_bool(env, argv[1], "egress", &egress))
		return NULL;
	query.attach_type = egress ? L7_BPF_TCX_EGRESS : L7_BPF_TCX_INGRESS;
	memset(&attr, 0, sizeof(attr));
	memcpy(&attr, &query, sizeof(query));
	err = l7_bpf(BPF_PROG_QUERY, &attr, sizeof(query));
	memcpy(&query, &attr, sizeof(query));
	/* ENOENT: nobody was ever there (6.6). EINVAL: a kernel that doesn't know the place. */
	if (err && err != -ENOENT && err != -EINVAL)
		return l7_throw_errno(env, "BPF_PROG_QUERY", (int)-err, NULL, NULL);
	return l7_u32(env, err ? 0 : query.count);
}

/* linkUpdate(link, program): the kernel swaps it in one step. */
napi_value l7_link_update(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	union bpf_attr attr = {};
	int link, program;
	long err;

	if (!l7_args(env, info, 2, argv) || (link = l7_fd_get(env, argv[0], L7_FD_LINK)) < 0 ||
	    (program = l7_fd_get(env, argv[1], L7_FD_PROGRAM)) < 0)
		return NULL;
	attr.link_update.link_fd = (uint32_t)link;
	attr.link_update.new_prog_fd = (uint32_t)program;
	err = l7_bpf(BPF_LINK_UPDATE, &attr, sizeof(attr.link_update));
	return err ? l7_throw_errno(env, "BPF_LINK_UPDATE", (int)-err, NULL, NULL) : l7_undefined(env);
}

napi_value l7_link_detach(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	union bpf_attr attr = {};
	int link;
	long err;

	if (!l7_args(env, info, 1, argv) || (link = l7_fd_get(env, argv[0], L7_FD_LINK)) < 0)
		return NULL;
	attr.link_detach.link_fd = (uint32_t)link;
	err = l7_bpf(BPF_LINK_DETACH, &attr, sizeof(attr.link_detach));
	return err ? l7_throw_errno(env, "BPF_LINK_DETACH", (int)-err, NULL, NULL) : l7_undefined(env);
}

napi_value l7_link_info(napi_env env, napi_callback_info info)
{
	napi_value argv[1], result;
	struct l7_bpf_link_info link = {};
	long err;
	int fd;

	if (!l7_args(env, info, 1, argv) || (fd = l7_fd_get(env, argv[0], L7_FD_LINK)) < 0)
		return NULL;
	err = l7_bpf_info(fd, &link, sizeof(link));
	if (err)
		return l7_throw_errno(env, "BPF_OBJ_GET_INFO_BY_FD", (int)-err, NULL, NULL);
	if (link.type != L7_BPF_LINK_TYPE_TCX)
		return l7_throw_errno(env, "BPF_OBJ_GET_INFO_BY_FD", EINVAL, "not a TCX link", NULL);
	if (napi_create_object(env, &result) != napi_ok || !l7_set(env, result, "id", l7_u32(env, link.id)) ||
	    !l7_set(env, result, "programId", l7_u32(env, link.prog_id)) || !l7_set(env, result, "ifindex", l7_u32(env, link.ifindex)) ||
	    !l7_set(env, result, "egress", l7_bool(env, link.attach_type == L7_BPF_TCX_EGRESS)))
		return l7_throw(env, "no memory");
	return result;
}
