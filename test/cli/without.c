/* SPDX-License-Identifier: MIT */
/*
 * A kernel that lacks something, as a program meets it: the system call fails as it does there.
 *
 *   without bpf COMMAND...      built without eBPF: bpf(2) is not there
 *   without tcx COMMAND...      before 6.6: links can't be made at TCX
 *   without nfqueue COMMAND...  built without netfilter's netlink: no such socket
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The low half of an argument, which comes first on the machines that this runs on. */
#define ARGUMENT(n) offsetof(struct seccomp_data, args[n])
#define ANY ARGUMENT(0)

/* System call `number` fails with `error` if the argument at `offset` is `value`; `mask` 0: whatever it is. */
static int forbid(int number, unsigned offset, unsigned value, unsigned mask, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value & mask, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	int failed = -1;

	if (argc < 3)
		return 125;
	if (!strcmp(argv[1], "bpf"))
		failed = forbid(__NR_bpf, ANY, 0, 0, ENOSYS);
	else if (!strcmp(argv[1], "tcx"))
		failed = forbid(__NR_bpf, ARGUMENT(0), BPF_LINK_CREATE, ~0U, EINVAL);
	else if (!strcmp(argv[1], "nfqueue"))
		failed = forbid(__NR_socket, ARGUMENT(2), NETLINK_NETFILTER, ~0U, EPROTONOSUPPORT);
	if (failed) {
		perror("without");
		return 125;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 126;
}
