/* SPDX-License-Identifier: MIT */
/*
 * libbpf prints through one hook for the whole process. The hook only writes to a buffer of the calling thread; JavaScript is called
 * after libbpf has returned, because it may throw and libbpf can't unwind. Lines of threads that are not collecting are discarded.
 */
#include "l7.h"

#include <bpf/libbpf.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A verifier log can be megabytes; its end says what is wrong. */
#define KEEP (64 * 1024)

static __thread bool collecting;
static __thread char *collected;
static __thread size_t collected_length;

static int print(enum libbpf_print_level level, const char *format, va_list arguments)
{
	va_list again;
	int length;
	size_t whole;
	char *grown;

	if (!collecting || level == LIBBPF_DEBUG)
		return 0;
	va_copy(again, arguments);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (length <= 0)
		return 0;
	grown = realloc(collected, collected_length + (size_t)length + 1);
	if (!grown)
		return 0;
	collected = grown;
	vsnprintf(collected + collected_length, (size_t)length + 1, format, arguments);
	whole = collected_length + (size_t)length;
	if (whole > KEEP) {
		memmove(collected, collected + whole - KEEP, KEEP + 1);
		whole = KEEP;
	}
	collected_length = whole;
	return length;
}

static void install(void)
{
	libbpf_set_print(print);
}

void l7_log_begin(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, install);
	free(collected);
	collected = NULL;
	collected_length = 0;
	collecting = true;
}

static void forward(napi_env env, const char *text)
{
	napi_value handler, receiver, argument, result;
	struct l7_instance *instance = l7_instance(env);

	if (!instance || !instance->log || napi_get_reference_value(env, instance->log, &handler) != napi_ok || !handler)
		return;
	receiver = l7_undefined(env);
	for (const char *line = text; *line;) {
		size_t length = strcspn(line, "\n");
		if (length && (napi_create_string_utf8(env, line, length, &argument) != napi_ok ||
			       napi_call_function(env, receiver, handler, 1, &argument, &result) != napi_ok))
			return;
		line += length + (line[length] == '\n');
	}
}

char *l7_log_end(napi_env env)
{
	char *text = collected;

	collecting = false;
	collected = NULL;
	collected_length = 0;
	if (text)
		forward(env, text);
	return text;
}

napi_value l7_set_log(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	napi_valuetype type;
	struct l7_instance *instance = l7_instance(env);

	if (!l7_args(env, info, 1, argv) || !instance)
		return NULL;
	if (instance->log)
		napi_delete_reference(env, instance->log);
	instance->log = NULL;
	if (l7_is_nullish(env, argv[0]))
		return l7_undefined(env);
	if (napi_typeof(env, argv[0], &type) != napi_ok || type != napi_function)
		return l7_throw_type(env, "handler must be a function or undefined");
	napi_create_reference(env, argv[0], 1, &instance->log);
	return l7_undefined(env);
}
