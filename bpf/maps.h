/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The maps; what is in them is described in l7egg_abi.h, what happens when one is full in docs/datapath.md. */
#ifndef L7EGG_MAPS_H
#define L7EGG_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "l7egg_abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct l7_config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, L7_MAX_INTERFACES);
	__type(key, __u32);
	__type(value, struct l7_interface);
} interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, L7_MAX_INTERFACES);
	__type(key, __u32);
	__type(value, __u32);
} egress SEC(".maps");

/* Tries have no other way than BPF_F_NO_PREALLOC. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, L7_MAX_SOURCES);
	__type(key, struct l7_source_key);
	__type(value, __u32);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * L7_MAX_POLICIES);
	__type(key, __u32);
	__type(value, struct l7_policy);
} policies SEC(".maps");

/*
 * Arrays, not a trie: the verifier puts their lookup in the place of the call, while a trie of 100,000 CIDRs is a walk of 17 nodes behind one.
 * User space sets how many entries the rules need.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct l7_cidr4_index);
} cidr4_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct l7_cidr4);
} cidr4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct l7_cidr6_node);
} cidr6_nodes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct l7_cidr6_index);
} cidr6_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct l7_cidr6);
} cidr6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * L7_MAX_PORT_SETS + 2);
	__type(key, __u32);
	__type(value, struct l7_port_set);
} port_sets SEC(".maps");

/*
 * Not LRU: an address that somebody else's traffic pushes out would be a denial at random; a full map only fails to learn.
 * Not preallocated: user space alone inserts, and 90 MB for tables that are mostly empty is much for a router box.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, L7_MAX_NAMES);
	__type(key, struct l7_name4_key);
	__type(value, struct l7_name);
} names4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, L7_MAX_NAMES);
	__type(key, struct l7_name6_key);
	__type(value, struct l7_name);
} names6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, L7_MAX_BINDINGS);
	__type(key, struct l7_binding_key);
	__type(value, struct l7_binding);
} bindings SEC(".maps");

/* LRU maps are always preallocated. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, L7_MAX_FLOWS);
	__type(key, struct l7_flow4_key);
	__type(value, struct l7_flow);
} flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, L7_MAX_FLOWS / 2);
	__type(key, struct l7_flow6_key);
	__type(value, struct l7_flow);
} flows6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, L7_MAX_QUESTIONS);
	__type(key, struct l7_question_key);
	__type(value, struct l7_question);
} questions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, L7_MAX_ASKED);
	__type(key, struct l7_asked_key);
	__type(value, struct l7_asked);
} asked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, L7_REASON_MAX);
	__type(key, __u32);
	__type(value, struct l7_counter);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, L7_MAX_EVENT_BYTES);
} events SEC(".maps");

/* Not for user space: the rate limit's state, see report.h. Key 0: denials, 1: allows, 2: questions. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} event_budget SEC(".maps");

#endif
