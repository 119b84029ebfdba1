/* SPDX-License-Identifier: MIT */
/*
 * For kernels without TCX: a clsact qdisc and a direct-action bpf filter, over rtnetlink. A filter is known by (point, priority, handle);
 * other people's filters and their qdisc stay as they are.
 */
#include "l7.h"
#include "bpf_uapi.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef TCA_RTA
#define TCA_RTA(tc) ((struct rtattr *)((char *)(tc) + NLMSG_ALIGN(sizeof(struct tcmsg))))
#endif

#define CLSACT_HANDLE TC_H_MAKE(TC_H_CLSACT, 0)

static uint32_t point_parent(bool egress)
{
	return TC_H_MAKE(TC_H_CLSACT, egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
}

/* A filter's priority and the protocol that it sees: all. */
static uint32_t filter_info(uint32_t priority)
{
	return TC_H_MAKE(priority << 16, htons(ETH_P_ALL));
}

static int change_qdisc(int fd, uint16_t type, uint16_t flags, int ifindex, char *detail, size_t size)
{
	uint8_t bytes[256];
	struct l7_nl message = { .data = bytes, .capacity = sizeof(bytes) };
	struct tcmsg header = { .tcm_family = AF_UNSPEC, .tcm_ifindex = ifindex, .tcm_handle = CLSACT_HANDLE, .tcm_parent = TC_H_CLSACT };

	l7_nl_begin(&message, type, flags | NLM_F_ACK, &header, sizeof(header));
	l7_nl_attr(&message, TCA_KIND, "clsact", sizeof("clsact"));
	l7_nl_end(&message, 0);
	return l7_nl_ack(fd, &message, detail, size);
}

/* What a dump of the filters or qdiscs of one interface is searched for. */
struct search {
	int ifindex;
	uint32_t handle;
	uint32_t priority;
	bool found; /* the bpf filter with this handle and priority */
	uint32_t filters; /* all of them */
	bool clsact; /* the qdisc is clsact (not ingress, which has the same place) */
	bool blocks; /* it shares a block of filters with other interfaces */
};

static const struct rtattr *find(const struct nlmsghdr *header, uint16_t type)
{
	const struct tcmsg *tc = NLMSG_DATA(header);
	int length = (int)header->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*tc));

	for (const struct rtattr *attribute = TCA_RTA(tc); RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length))
		if ((attribute->rta_type & NLA_TYPE_MASK) == type)
			return attribute;
	return NULL;
}

static bool kind_is(const struct nlmsghdr *header, const char *kind)
{
	const struct rtattr *attribute = find(header, TCA_KIND);
	return attribute && RTA_PAYLOAD(attribute) >= strlen(kind) + 1 && strcmp(RTA_DATA(attribute), kind) == 0;
}

static void each_filter(const struct nlmsghdr *header, void *context)
{
	struct search *search = context;
	const struct tcmsg *tc = NLMSG_DATA(header);

	if (header->nlmsg_type != RTM_NEWTFILTER || header->nlmsg_len < NLMSG_LENGTH(sizeof(*tc)))
		return;
	search->filters++;
	if (tc->tcm_handle == search->handle && tc->tcm_info == filter_info(search->priority) && kind_is(header, "bpf"))
		search->found = true;
}

static void each_qdisc(const struct nlmsghdr *header, void *context)
{
	struct search *search = context;
	const struct tcmsg *tc = NLMSG_DATA(header);

	if (header->nlmsg_type != RTM_NEWQDISC || header->nlmsg_len < NLMSG_LENGTH(sizeof(*tc)) || tc->tcm_ifindex != search->ifindex ||
	    tc->tcm_parent != TC_H_CLSACT)
		return;
	search->clsact = kind_is(header, "clsact");
	search->blocks = find(header, TCA_INGRESS_BLOCK) || find(header, TCA_EGRESS_BLOCK);
}

static int dump(int fd, uint16_t type, int ifindex, uint32_t parent, void (*each)(const struct nlmsghdr *, void *), struct search *search)
{
	uint8_t bytes[128];
	struct l7_nl message = { .data = bytes, .capacity = sizeof(bytes) };
	struct tcmsg header = { .tcm_family = AF_UNSPEC, .tcm_ifindex = ifindex, .tcm_parent = parent };

	l7_nl_begin(&message, type, NLM_F_DUMP, &header, sizeof(header));
	l7_nl_end(&message, 0);
	return l7_nl_dump(fd, &message, each, search);
}

/* 0, or -EBUSY: an `ingress` qdisc has the place. It has one chain, and would take a filter for egress and run it at ingress. */
static int usable_qdisc(int fd, int ifindex, bool egress, char *detail, size_t size)
{
	struct search search = { .ifindex = ifindex };
	int err = dump(fd, RTM_GETQDISC, ifindex, 0, each_qdisc, &search);

	if (err || search.clsact || !egress)
		return err;
	snprintf(detail, size, "an ingress qdisc is in its place: tc qdisc del dev IF ingress");
	return -EBUSY;
}

/* clsactAttach(program, ifindex, egress, handle, priority) */
napi_value l7_clsact_attach(napi_env env, napi_callback_info info)
{
	napi_value argv[5];
	uint8_t bytes[512];
	struct l7_nl message = { .data = bytes, .capacity = sizeof(bytes) };
	struct tcmsg header = { .tcm_family = AF_UNSPEC };
	uint32_t ifindex, handle, priority, program_fd, flags = TCA_BPF_FLAG_ACT_DIRECT;
	char detail[256] = "";
	bool egress;
	size_t nest;
	int program, fd, err;

	if (!l7_args(env, info, 5, argv) || (program = l7_fd_get(env, argv[0], L7_FD_PROGRAM)) < 0 ||
	    !l7_get_u32(env, argv[1], "ifindex", &ifindex) || !l7_get_bool(env, argv[2], "egress", &egress) ||
	    !l7_get_u32(env, argv[3], "handle", &handle) || !l7_get_u32(env, argv[4], "priority", &priority))
		return NULL;
	fd = l7_nl_open(NETLINK_ROUTE);
	if (fd < 0)
		return l7_throw_errno(env, "open NETLINK_ROUTE", -fd, NULL, NULL);
	err = change_qdisc(fd, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, (int)ifindex, detail, sizeof(detail));
	if (err == -EEXIST)
		err = usable_qdisc(fd, (int)ifindex, egress, detail, sizeof(detail));
	if (err) {
		close(fd);
		return l7_throw_errno(env, "add clsact qdisc", -err, detail, NULL);
	}

	header.tcm_ifindex = (int)ifindex;
	header.tcm_parent = point_parent(egress);
	header.tcm_handle = handle;
	header.tcm_info = filter_info(priority);
	program_fd = (uint32_t)program;
	l7_nl_begin(&message, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_ACK, &header, sizeof(header));
	l7_nl_attr(&message, TCA_KIND, "bpf", sizeof("bpf"));
	nest = l7_nl_nest(&message, TCA_OPTIONS);
	l7_nl_attr(&message, TCA_BPF_FD, &program_fd, sizeof(program_fd));
	l7_nl_attr(&message, TCA_BPF_NAME, "l7egg", sizeof("l7egg"));
	l7_nl_attr(&message, TCA_BPF_FLAGS, &flags, sizeof(flags));
	l7_nl_nest_end(&message, nest);
	l7_nl_end(&message, 0);
	err = l7_nl_ack(fd, &message, detail, sizeof(detail));
	close(fd);
	return err ? l7_throw_errno(env, "add clsact filter", -err, detail, NULL) : l7_undefined(env);
}

static int remove_filter(int fd, const struct search *search, uint32_t parent, char *detail, size_t size)
{
	uint8_t bytes[256];
	struct l7_nl message = { .data = bytes, .capacity = sizeof(bytes) };
	struct tcmsg header = { .tcm_family = AF_UNSPEC, .tcm_ifindex = search->ifindex, .tcm_parent = parent, .tcm_handle = search->handle };

	header.tcm_info = filter_info(search->priority);
	l7_nl_begin(&message, RTM_DELTFILTER, NLM_F_ACK, &header, sizeof(header));
	l7_nl_attr(&message, TCA_KIND, "bpf", sizeof("bpf"));
	l7_nl_end(&message, 0);
	return l7_nl_ack(fd, &message, detail, size);
}

/* 1 removed, 0 was not there, or -errno. */
static int detach(int fd, int ifindex, bool egress, uint32_t handle, uint32_t priority, char *detail, size_t size)
{
	struct search search = { .ifindex = ifindex, .handle = handle, .priority = priority };
	struct search left = { .ifindex = ifindex };
	int err = dump(fd, RTM_GETTFILTER, ifindex, point_parent(egress), each_filter, &search);

	if (err || !search.found)
		return err;
	err = remove_filter(fd, &search, point_parent(egress), detail, size);
	if (err)
		return err == -ENOENT ? 0 : err;
	err = dump(fd, RTM_GETTFILTER, ifindex, point_parent(false), each_filter, &left);
	if (!err)
		err = dump(fd, RTM_GETTFILTER, ifindex, point_parent(true), each_filter, &left);
	if (!err)
		err = dump(fd, RTM_GETQDISC, ifindex, 0, each_qdisc, &left);
	/* The filter is gone, which was the task; an empty qdisc that could not be looked at does no harm. */
	if (!err && left.filters == 0 && left.clsact && !left.blocks)
		change_qdisc(fd, RTM_DELQDISC, 0, ifindex, detail, size);
	return 1;
}

/* clsactDetach(ifindex, egress, handle, priority) → boolean */
napi_value l7_clsact_detach(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	uint32_t ifindex, handle, priority;
	char detail[256] = "";
	bool egress;
	int fd, result;

	if (!l7_args(env, info, 4, argv) || !l7_get_u32(env, argv[0], "ifindex", &ifindex) || !l7_get_bool(env, argv[1], "egress", &egress) ||
	    !l7_get_u32(env, argv[2], "handle", &handle) || !l7_get_u32(env, argv[3], "priority", &priority))
		return NULL;
	fd = l7_nl_open(NETLINK_ROUTE);
	if (fd < 0)
		return l7_throw_errno(env, "open NETLINK_ROUTE", -fd, NULL, NULL);
	result = detach(fd, (int)ifindex, egress, handle, priority, detail, sizeof(detail));
	close(fd);
	return result < 0 ? l7_throw_errno(env, "remove clsact filter", -result, detail, NULL) : l7_bool(env, result == 1);
}
