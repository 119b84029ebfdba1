/* SPDX-License-Identifier: MIT */
/*
 * Shared by all files of the addon: arguments, errors, handles, the event-loop poller.
 *
 * Rules that every file keeps:
 *  - a function that returns NULL to JavaScript has an exception pending;
 *  - nothing here trusts JavaScript: sizes, tags and ranges are checked again, so that a mistake is an exception, never a crash;
 *  - no global state except libbpf's print hook, so that each worker thread has an addon of its own.
 */
#ifndef L7_NATIVE_H
#define L7_NATIVE_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define L7_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- errors.c ---- */

/* Throws a SystemError: `operation` failed with `err` (positive errno). `detail` (the kernel's message) and `log` may be NULL. Returns NULL. */
napi_value l7_throw_errno(napi_env env, const char *operation, int err, const char *detail, const char *log);
/* Plain Error, for use after close. Returns NULL. */
napi_value l7_throw(napi_env env, const char *message);
napi_value l7_throw_type(napi_env env, const char *message);
/* setErrorClass(constructor): what l7_throw_errno makes, called with (operation, errno, strerror, detail, log). */
napi_value l7_set_error_class(napi_env env, napi_callback_info info);

/* ---- instance.c ---- */

/* What one environment (main thread or worker) owns. */
struct l7_instance {
	napi_ref error_class;
	napi_ref log;
};
struct l7_instance *l7_instance(napi_env env);

/* ---- values.c: false or NULL means that an exception is pending ---- */

/* Exactly `count` arguments into `argv`; missing ones are undefined. */
bool l7_args(napi_env env, napi_callback_info info, size_t count, napi_value *argv);
bool l7_get_u32(napi_env env, napi_value value, const char *name, uint32_t *out);
bool l7_get_bool(napi_env env, napi_value value, const char *name, bool *out);
/* false: it isn't, an exception is pending. */
bool l7_is_function(napi_env env, napi_value value, const char *name);
/* Pointer into the view's memory: valid only until control returns to JavaScript. */
bool l7_get_bytes(napi_env env, napi_value value, const char *name, uint8_t **data, size_t *length);
bool l7_get_string(napi_env env, napi_value value, const char *name, char *out, size_t size);
bool l7_is_nullish(napi_env env, napi_value value);
napi_value l7_undefined(napi_env env);
napi_value l7_u32(napi_env env, uint32_t value);
napi_value l7_number(napi_env env, double value);
napi_value l7_bool(napi_env env, bool value);
napi_value l7_string(napi_env env, const char *value);
/* A Buffer of its own; NULL data: zeroes. */
napi_value l7_buffer(napi_env env, const void *data, size_t length);
bool l7_set(napi_env env, napi_value object, const char *name, napi_value value);

/* ---- handle.c: an object that JavaScript holds and that only we can open ---- */

/* Wraps `data`; `release` runs when JavaScript has let go of it, or at the end of the environment. On failure `release` has run. */
napi_value l7_wrap(napi_env env, void *data, const napi_type_tag *tag, void (*release)(void *data));
/* NULL and a TypeError that names `what` if it is another kind of value. */
void *l7_unwrap(napi_env env, napi_value value, const napi_type_tag *tag, const char *what);

/* A file descriptor with a kind. Closed by its owner or by the garbage collector, whichever comes first. */
enum l7_fd_kind { L7_FD_MAP, L7_FD_PROGRAM, L7_FD_LINK, L7_FD_KINDS };
napi_value l7_fd_wrap(napi_env env, enum l7_fd_kind kind, int fd);
/* -1 and an exception (TypeError: wrong kind, Error: closed). */
int l7_fd_get(napi_env env, napi_value value, enum l7_fd_kind kind);
/* The same, and where a kind keeps what it knows of an open handle (malloc'd, freed with it), NULL at first. */
int l7_fd_get_cache(napi_env env, napi_value value, enum l7_fd_kind kind, void ***cache);
napi_value l7_fd_close(napi_env env, napi_callback_info info);
napi_value l7_fd_number(napi_env env, napi_callback_info info);

/* ---- bpf_sys.c: bpf(2) without libbpf's changing surface ---- */

union bpf_attr;
/* Result ≥ 0, or -errno. */
long l7_bpf(int command, union bpf_attr *attr, size_t size);
/* Info into `info`; 0 or -errno. */
int l7_bpf_info(int fd, void *info, uint32_t size);
int l7_possible_cpus(void);

/* ---- log.c: what libbpf prints ---- */

/* Between begin and end, this thread's libbpf lines are collected; `end` hands them to the handler of setLog and returns them (caller frees, may be NULL). */
void l7_log_begin(void);
char *l7_log_end(napi_env env);

/* ---- poller.c: a descriptor watched by JavaScript's own event loop ---- */

struct l7_poller {
	napi_env env;
	void *uv; /* uv_poll_t, opaque */
	int fd;
	bool closing;
	napi_async_cleanup_hook_handle hook;
	napi_async_context context;
	napi_ref callback;
	void (*ready)(struct l7_poller *poller);
	/* Stop using the environment and the descriptor. Called once, at close or at the end of the environment. */
	void (*stop)(struct l7_poller *poller);
	/* The loop has let go: memory may be freed. Called once, after `stop`. */
	void (*release)(struct l7_poller *poller);
};
/* 0 or -errno; then nothing was started and neither `stop` nor `release` will be called. */
int l7_poller_open(struct l7_poller *poller, napi_env env, int fd, napi_value callback, const char *name);
/* Twice is fine. */
void l7_poller_close(struct l7_poller *poller);
/* Calls the JavaScript function. false: it threw; the exception has been handed to `uncaughtException`. Needs a handle scope. */
bool l7_poller_call(struct l7_poller *poller, size_t argc, const napi_value *argv);

/* ---- memory.c: seen by both sides, freed when neither uses it ---- */

struct l7_memory;
/* Zeroed; NULL: no memory. */
struct l7_memory *l7_memory_new(size_t size);
uint8_t *l7_memory_start(const struct l7_memory *memory);
/* A Buffer over all of it, which holds a reference. */
napi_value l7_memory_buffer(napi_env env, struct l7_memory *memory);
void l7_memory_release(struct l7_memory *memory);

/* ---- netlink.c ---- */

struct nlmsghdr;
/* A netlink message under construction. `overflow` is set when it did not fit. */
struct l7_nl {
	uint8_t *data;
	size_t length;
	size_t capacity;
	bool overflow;
};
void *l7_nl_begin(struct l7_nl *message, uint16_t type, uint16_t flags, const void *header, size_t header_size);
void l7_nl_attr(struct l7_nl *message, uint16_t type, const void *data, size_t length);
size_t l7_nl_nest(struct l7_nl *message, uint16_t type);
void l7_nl_nest_end(struct l7_nl *message, size_t start);
/* Completes the length of the message that starts at `start`. */
void l7_nl_end(struct l7_nl *message, size_t start);
/* A socket that hears only the kernel, with extended acks. ≥ 0 or -errno. */
int l7_nl_open(int protocol);
/* Sends one message with NLM_F_ACK and waits for its ack. 0 or -errno; `detail` gets the kernel's own message, or "". */
int l7_nl_ack(int fd, struct l7_nl *message, char *detail, size_t detail_size);
/* Sends one dump request; `each` gets every message. 0 or -errno. */
int l7_nl_dump(int fd, struct l7_nl *message, void (*each)(const struct nlmsghdr *header, void *context), void *context);

/* ---- what addon.c exports ---- */

napi_value l7_load_object(napi_env env, napi_callback_info info);
napi_value l7_object_map(napi_env env, napi_callback_info info);
napi_value l7_object_program(napi_env env, napi_callback_info info);
napi_value l7_object_close(napi_env env, napi_callback_info info);

napi_value l7_map_info(napi_env env, napi_callback_info info);
napi_value l7_map_get(napi_env env, napi_callback_info info);
napi_value l7_map_read(napi_env env, napi_callback_info info);
napi_value l7_map_put(napi_env env, napi_callback_info info);
napi_value l7_map_delete(napi_env env, napi_callback_info info);
napi_value l7_map_put_batch(napi_env env, napi_callback_info info);
napi_value l7_map_delete_batch(napi_env env, napi_callback_info info);
napi_value l7_map_entries(napi_env env, napi_callback_info info);
napi_value l7_pin(napi_env env, napi_callback_info info);
napi_value l7_open_pinned(napi_env env, napi_callback_info info);
napi_value l7_share_fd(napi_env env, napi_callback_info info);

napi_value l7_program_info(napi_env env, napi_callback_info info);
napi_value l7_program_test_run(napi_env env, napi_callback_info info);
napi_value l7_program_run(napi_env env, napi_callback_info info);

napi_value l7_link_attach(napi_env env, napi_callback_info info);
napi_value l7_link_update(napi_env env, napi_callback_info info);
napi_value l7_tcx_count(napi_env env, napi_callback_info info);
napi_value l7_link_detach(napi_env env, napi_callback_info info);
napi_value l7_link_info(napi_env env, napi_callback_info info);

napi_value l7_clsact_attach(napi_env env, napi_callback_info info);
napi_value l7_clsact_detach(napi_env env, napi_callback_info info);

napi_value l7_ringbuf_open(napi_env env, napi_callback_info info);
napi_value l7_ringbuf_close(napi_env env, napi_callback_info info);
napi_value l7_ringbuf_read(napi_env env, napi_callback_info info);

napi_value l7_queue_open(napi_env env, napi_callback_info info);
napi_value l7_queue_flush(napi_env env, napi_callback_info info);
napi_value l7_queue_stats(napi_env env, napi_callback_info info);
napi_value l7_queue_close(napi_env env, napi_callback_info info);

napi_value l7_raw_open(napi_env env, napi_callback_info info);
napi_value l7_raw_send(napi_env env, napi_callback_info info);
napi_value l7_raw_close(napi_env env, napi_callback_info info);

napi_value l7_transparent_socket(napi_env env, napi_callback_info info);
napi_value l7_close_fd(napi_env env, napi_callback_info info);

napi_value l7_possible_cpus_js(napi_env env, napi_callback_info info);
napi_value l7_set_log(napi_env env, napi_callback_info info);
napi_value l7_probe(napi_env env, napi_callback_info info);

#endif
