/* SPDX-License-Identifier: MIT */
/* What linux/bpf.h of older distributions lacks. Numbers are the kernel's ABI (include/uapi/linux/bpf.h of 6.6). */
#ifndef L7_BPF_UAPI_H
#define L7_BPF_UAPI_H

#include <linux/bpf.h>
#include <stdint.h>

#define L7_BPF_TCX_INGRESS 46
#define L7_BPF_TCX_EGRESS 47
#define L7_BPF_LINK_TYPE_TCX 11
#define L7_BPF_F_BEFORE (1U << 3)
#define L7_BPF_FUNC_FIB_LOOKUP 69
#define L7_BPF_FUNC_LOOP 181
#define L7_ENOTSUPP 524 /* the kernel's own, not in errno.h: "this map type has no such operation" */

/* union bpf_attr, member link_create, with its tcx part. */
struct l7_bpf_link_create {
	uint32_t prog_fd;
	uint32_t target_ifindex;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t relative_fd;
	uint32_t pad;
	uint64_t expected_revision;
};

/* The part of union bpf_attr for BPF_PROG_QUERY by interface. */
struct l7_bpf_prog_query {
	uint32_t target_ifindex;
	uint32_t attach_type;
	uint32_t query_flags;
	uint32_t attach_flags;
	uint64_t prog_ids;
	uint32_t count;
	uint32_t pad;
};

/* struct bpf_link_info, with its tcx part. */
struct l7_bpf_link_info {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad;
	uint32_t ifindex;
	uint32_t attach_type;
	uint64_t room[8];
};

#endif
