/* SPDX-License-Identifier: MIT */
/*
 * What bpftool would say, without bpftool: Ubuntu's is a wrapper that needs a package of the very kernel that runs, and older ones know
 * nothing of TCX.
 *
 *   programs loaded ID     exit code 0: the program is loaded; 1: it isn't
 *   programs attached      the TCX programs of this network namespace, one a line: "lan0 ingress classify"
 *
 * Exit code 2: the kernel couldn't be asked.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux 6.6; older headers don't have them. */
#define TCX_INGRESS 46
#define TCX_EGRESS 47

static int bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int fail(const char *what)
{
	fprintf(stderr, "programs: %s: %s\n", what, strerror(errno));
	return 2;
}

static int print_program(const char *device, const char *side, __u32 id)
{
	struct bpf_prog_info info = {};
	union bpf_attr attr = { .prog_id = id };
	int fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr);

	if (fd < 0)
		return fail("program");
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = fd;
	attr.info.info = (__u64)(unsigned long)&info;
	attr.info.info_len = sizeof(info);
	if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) != 0)
		return fail("program's name");
	close(fd);
	printf("%s %s %s\n", device, side, info.name);
	return 0;
}

static int attached(void)
{
	struct if_nameindex *devices = if_nameindex();

	if (!devices)
		return fail("interfaces");
	for (struct if_nameindex *device = devices; device->if_index; device++) {
		for (int type = TCX_INGRESS; type <= TCX_EGRESS; type++) {
			__u32 ids[64] = {};
			union bpf_attr attr = {};

			/* The same place as target_ifindex. */
			attr.query.target_fd = device->if_index;
			attr.query.attach_type = type;
			attr.query.prog_ids = (__u64)(unsigned long)ids;
			attr.query.prog_cnt = 64;
			if (bpf(BPF_PROG_QUERY, &attr) != 0) {
				/* Nothing there; EINVAL: a kernel without TCX, where nothing can be. */
				if (errno == ENOENT || errno == EINVAL)
					continue;
				return fail(device->if_name);
			}
			for (__u32 i = 0; i < attr.query.prog_cnt; i++)
				if (print_program(device->if_name, type == TCX_INGRESS ? "ingress" : "egress", ids[i]))
					return 2;
		}
	}
	return 0;
}

static int loaded(__u32 id)
{
	union bpf_attr attr = { .prog_id = id };

	if (bpf(BPF_PROG_GET_FD_BY_ID, &attr) >= 0)
		return 0;
	return errno == ENOENT ? 1 : fail("program");
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "loaded"))
		return loaded(strtoul(argv[2], NULL, 10));
	if (argc == 2 && !strcmp(argv[1], "attached"))
		return attached();
	return 2;
}
