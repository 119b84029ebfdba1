/* SPDX-License-Identifier: MIT */
/*
 * A descriptor in JavaScript's own event loop: no thread, no copy between threads, one epoll for everything.
 *
 * uv.h is not among node-api-headers and need not exist on a user's machine, so the seven functions used are declared here. Node's documentation
 * warns that libuv promises no ABI; but these signatures and the two enum values have been the same in all of libuv 1.x, the handle's size is
 * asked for, never known, and the same binary is tested under Node 20 and 24. The alternative, an epoll thread with a threadsafe function,
 * needs none of this but switches threads twice for each batch, which at low rates means for each packet.
 */
#include "l7.h"

#include <stdlib.h>

struct uv_loop_s;
typedef void (*uv_close_cb)(void *handle);
typedef void (*uv_poll_cb)(void *handle, int status, int events);
extern size_t uv_handle_size(int type);
extern void *uv_handle_get_data(const void *handle);
extern void uv_handle_set_data(void *handle, void *data);
extern int uv_poll_init(struct uv_loop_s *loop, void *handle, int fd);
extern int uv_poll_start(void *handle, int events, uv_poll_cb callback);
extern int uv_poll_stop(void *handle);
extern void uv_close(void *handle, uv_close_cb callback);
#define UV_POLL 8 /* uv_handle_type */
#define UV_READABLE 1 /* uv_poll_event */

static void on_ready(void *uv, int status, int events)
{
	struct l7_poller *poller = uv_handle_get_data(uv);
	(void)events;
	if (poller->closing)
		return;
	poller->ready(poller);
	/*
	 * libuv stops watching at POLLERR. For a netlink socket that means an overrun (ENOBUFS), which `ready` has just read and thereby
	 * cleared; without this line the queue would be deaf ever after.
	 */
	if (status < 0 && !poller->closing && uv_poll_start(uv, UV_READABLE, on_ready))
		napi_fatal_error("l7egg", NAPI_AUTO_LENGTH, "a descriptor can't be watched again", NAPI_AUTO_LENGTH);
}

static void on_closed(void *uv)
{
	struct l7_poller *poller = uv_handle_get_data(uv);
	napi_async_cleanup_hook_handle hook = poller->hook;

	/* Not in start_close: the handler that closes its own poller is running in this context. */
	napi_async_destroy(poller->env, poller->context);
	free(uv);
	poller->release(poller);
	napi_remove_async_cleanup_hook(hook);
}

static void start_close(struct l7_poller *poller)
{
	napi_env env = poller->env;

	if (poller->closing)
		return;
	poller->closing = true;
	uv_poll_stop(poller->uv);
	poller->stop(poller);
	if (poller->callback)
		napi_delete_reference(env, poller->callback);
	poller->callback = NULL;
	uv_close(poller->uv, on_closed);
}

/* The environment ends (a worker stops): it waits until on_closed has removed the hook. */
static void on_environment_end(napi_async_cleanup_hook_handle hook, void *data)
{
	(void)hook;
	start_close(data);
}

int l7_poller_open(struct l7_poller *poller, napi_env env, int fd, napi_value callback, const char *name)
{
	struct uv_loop_s *loop;
	napi_value label;
	int err;

	poller->env = env;
	poller->fd = fd;
	if (napi_get_uv_event_loop(env, &loop) != napi_ok || napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &label) != napi_ok)
		return -22;
	poller->uv = malloc(uv_handle_size(UV_POLL));
	if (!poller->uv)
		return -12;
	err = uv_poll_init(loop, poller->uv, fd);
	if (err) {
		free(poller->uv);
		poller->uv = NULL;
		return err;
	}
	uv_handle_set_data(poller->uv, poller);
	/* From here the handle is the loop's: it can't be freed but by uv_close. These fail only without memory, which Node doesn't survive. */
	if (napi_create_reference(env, callback, 1, &poller->callback) != napi_ok ||
	    napi_async_init(env, NULL, label, &poller->context) != napi_ok ||
	    napi_add_async_cleanup_hook(env, on_environment_end, poller, &poller->hook) != napi_ok || uv_poll_start(poller->uv, UV_READABLE, on_ready))
		napi_fatal_error("l7egg", NAPI_AUTO_LENGTH, "no memory for a poller", NAPI_AUTO_LENGTH);
	return 0;
}

void l7_poller_close(struct l7_poller *poller)
{
	start_close(poller);
}

bool l7_poller_call(struct l7_poller *poller, size_t argc, const napi_value *argv)
{
	napi_env env = poller->env;
	napi_value callback, receiver, result, error;
	bool pending = false;

	if (napi_get_reference_value(env, poller->callback, &callback) != napi_ok || !callback || napi_get_global(env, &receiver) != napi_ok)
		return false;
	if (napi_make_callback(env, poller->context, receiver, callback, argc, argv, &result) == napi_ok)
		return true;
	/* Also here when a worker is being terminated: then there is nothing to hand on. */
	if (napi_is_exception_pending(env, &pending) == napi_ok && pending && napi_get_and_clear_last_exception(env, &error) == napi_ok)
		napi_fatal_exception(env, error);
	return false;
}
