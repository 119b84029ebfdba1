/* SPDX-License-Identifier: MIT */
/* What this kernel can do, found by trying. Three answers: yes, no, and "unknown" where something else (a missing privilege) got in the way. */
#include "l7.h"
#include "bpf_uapi.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum answer { NO, YES, UNKNOWN };

static enum answer from_errno(long err)
{
	if (err >= 0)
		return YES;
	return err == -EPERM || err == -EACCES || err == -ENOMEM || err == -EMFILE || err == -ENFILE ? UNKNOWN : NO;
}

/* Descriptor or -errno. `helper` 0: a program that only returns. */
static long load_program(uint32_t type, int helper, char *log, uint32_t log_size)
{
	struct bpf_insn instructions[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct bpf_insn calls[] = {
		{ .code = BPF_JMP | BPF_CALL, .imm = helper },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {};

	attr.prog_type = type;
	attr.insns = (uint64_t)(uintptr_t)(helper ? calls : instructions);
	attr.insn_cnt = 2;
	attr.license = (uint64_t)(uintptr_t)"GPL";
	if (log) {
		attr.log_buf = (uint64_t)(uintptr_t)log;
		attr.log_size = log_size;
		attr.log_level = 1;
	}
	return l7_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
}

static enum answer probe_bpf(void)
{
	long fd = load_program(BPF_PROG_TYPE_SCHED_CLS, 0, NULL, 0);
	if (fd >= 0)
		close((int)fd);
	return from_errno(fd);
}

/* A call without arguments is always refused; what the verifier says of it tells whether it knows the helper. */
static enum answer probe_helper(int helper)
{
	char log[4096] = "";
	long fd = load_program(BPF_PROG_TYPE_SCHED_CLS, helper, log, sizeof(log));

	if (fd >= 0) {
		close((int)fd);
		return YES;
	}
	if (fd == -EPERM || !log[0])
		return UNKNOWN;
	return strstr(log, "invalid func ") || strstr(log, "unknown func ") || strstr(log, "program of this type cannot use helper ") ? NO : YES;
}

static long create_map(uint32_t type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags)
{
	union bpf_attr attr = {};
	attr.map_type = type;
	attr.key_size = key;
	attr.value_size = value;
	attr.max_entries = entries;
	attr.map_flags = flags;
	return l7_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
}

static enum answer probe_map(uint32_t type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags)
{
	long fd = create_map(type, key, value, entries, flags);
	if (fd >= 0)
		close((int)fd);
	return from_errno(fd);
}

static enum answer probe_batch(void)
{
	union bpf_attr attr = {};
	uint32_t key = 1, value = 1;
	long fd = create_map(BPF_MAP_TYPE_HASH, sizeof(key), sizeof(value), 1, 0), err;

	if (fd < 0)
		return UNKNOWN;
	attr.batch.map_fd = (uint32_t)fd;
	attr.batch.keys = (uint64_t)(uintptr_t)&key;
	attr.batch.values = (uint64_t)(uintptr_t)&value;
	attr.batch.count = 1;
	err = l7_bpf(BPF_MAP_UPDATE_BATCH, &attr, sizeof(attr));
	close((int)fd);
	return from_errno(err);
}

/* To an interface that doesn't exist: kernels with TCX miss the interface, others don't know the attach type. */
static enum answer probe_tcx(void)
{
	struct l7_bpf_link_create create = { .target_ifindex = INT32_MAX, .attach_type = L7_BPF_TCX_INGRESS };
	union bpf_attr attr = {};
	long program = load_program(BPF_PROG_TYPE_SCHED_CLS, 0, NULL, 0), err;

	if (program < 0)
		return UNKNOWN;
	create.prog_fd = (uint32_t)program;
	memcpy(&attr, &create, sizeof(create));
	err = l7_bpf(BPF_LINK_CREATE, &attr, sizeof(create));
	close((int)program);
	if (err >= 0)
		close((int)err);
	return err == -ENODEV ? YES : from_errno(err);
}

static enum answer probe_btf(void)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK) == 0)
		return YES;
	return errno == ENOENT && access("/sys/kernel", X_OK) == 0 ? NO : UNKNOWN;
}

/* A command that does nothing but is answered only where nfnetlink_queue is. */
static enum answer probe_nfqueue(void)
{
	uint8_t bytes[128];
	struct l7_nl message = { .data = bytes, .capacity = sizeof(bytes) };
	struct nfgenmsg header = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };
	struct nfqnl_msg_config_cmd command = { .command = NFQNL_CFG_CMD_PF_UNBIND, .pf = htons(AF_INET) };
	int fd = l7_nl_open(NETLINK_NETFILTER), err;

	if (fd < 0)
		return fd == -EPROTONOSUPPORT ? NO : UNKNOWN;
	l7_nl_begin(&message, (NFNL_SUBSYS_QUEUE << 8) | NFQNL_MSG_CONFIG, NLM_F_ACK, &header, sizeof(header));
	l7_nl_attr(&message, NFQA_CFG_CMD, &command, sizeof(command));
	l7_nl_end(&message, 0);
	err = l7_nl_ack(fd, &message, NULL, 0);
	close(fd);
	return err == -ETIMEDOUT ? UNKNOWN : from_errno(err);
}

static enum answer probe_transparent(void)
{
	int on = 1, err = 0;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return UNKNOWN;
	if (setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)) < 0)
		err = -errno;
	close(fd);
	return from_errno(err);
}

napi_value l7_probe(napi_env env, napi_callback_info info)
{
	static const char *const words[] = { "no", "yes", "unknown" };
	const struct {
		const char *name;
		enum answer answer;
	} answers[] = {
		{ "bpf", probe_bpf() },
		{ "tcx", probe_tcx() },
		{ "btf", probe_btf() },
		{ "ringbuf", probe_map(BPF_MAP_TYPE_RINGBUF, 0, 0, (uint32_t)sysconf(_SC_PAGESIZE), 0) },
		{ "lpmTrie", probe_map(BPF_MAP_TYPE_LPM_TRIE, 8, 4, 1, BPF_F_NO_PREALLOC) },
		{ "batchOps", probe_batch() },
		{ "nfqueue", probe_nfqueue() },
		{ "transparent", probe_transparent() },
		{ "bpfLoop", probe_helper(L7_BPF_FUNC_LOOP) },
		{ "fibLookup", probe_helper(L7_BPF_FUNC_FIB_LOOKUP) },
	};
	napi_value result;

	(void)info;
	if (napi_create_object(env, &result) != napi_ok)
		return l7_throw(env, "no memory");
	for (size_t i = 0; i < L7_COUNT(answers); i++)
		if (!l7_set(env, result, answers[i].name, l7_string(env, words[answers[i].answer])))
			return l7_throw(env, "no memory");
	return result;
}
