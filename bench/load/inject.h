/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What inject.c and inject.bpf.c share. */
#ifndef L7_INJECT_H
#define L7_INJECT_H

/* Without its checksum, which a NIC adds: 14 Ethernet, 20 IPv4, 8 UDP, 18 of payload. */
#define FRAME_LENGTH 60
#define FRAME_WORDS 8
#define FRAME_SOURCE_PORT 34
#define FRAME_PORT 36
#define FRAME_STAMP 42
/* Flows that the frames belong to, in turns. A power of 2. */
#define FLOWS 64
#define FIRST_SOURCE_PORT 20000

/* Read-only for the programs, set before they are loaded. */
struct inject_plan {
	unsigned long long frame[FRAME_WORDS]; /* headers and payload, padded to whole words */
	unsigned long long rate; /* frames a second */
	unsigned long long duration; /* ns */
	unsigned long long catch_up; /* the most frames that are sent at once after a delay; the rest is given up */
};

/* What the programs wrote. */
struct inject_state {
	unsigned long long begun; /* CLOCK_MONOTONIC at the first frame, 0: not yet */
	unsigned long long sent;
	unsigned long long allowed; /* so many of `sent`, until the clock is read again */
	unsigned long long given_up;
	unsigned long long delivered; /* `received` when the time was up */
	unsigned long long ended; /* ns after the first frame when the time was seen to be up, 0: not yet */
	/* Written by whatever CPU a packet leaves on: not in a cache line of the sender's. */
	unsigned long long received __attribute__((aligned(128)));
};

#endif
