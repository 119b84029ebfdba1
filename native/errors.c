/* SPDX-License-Identifier: MIT */
/* Exceptions. The class of system errors is JavaScript's (src/native/errors.ts), so that `instanceof` works. */
#include "l7.h"

#include <string.h>

static bool pending(napi_env env)
{
	bool is_pending = false;
	napi_is_exception_pending(env, &is_pending);
	return is_pending;
}

napi_value l7_throw_errno(napi_env env, const char *operation, int err, const char *detail, const char *log)
{
	char text_buffer[128];
	const char *text = strerror_r(err, text_buffer, sizeof(text_buffer));
	napi_value constructor = NULL, error, argv[5];
	struct l7_instance *instance = l7_instance(env);

	if (pending(env))
		return NULL;
	argv[0] = l7_string(env, operation);
	argv[1] = l7_number(env, err);
	argv[2] = l7_string(env, text);
	argv[3] = detail && detail[0] ? l7_string(env, detail) : l7_undefined(env);
	argv[4] = log && log[0] ? l7_string(env, log) : l7_undefined(env);
	for (size_t i = 0; i < L7_COUNT(argv); i++)
		if (!argv[i])
			return NULL;
	if (instance && instance->error_class)
		napi_get_reference_value(env, instance->error_class, &constructor);
	if (!constructor) {
		napi_throw_error(env, operation, text);
		return NULL;
	}
	if (napi_new_instance(env, constructor, L7_COUNT(argv), argv, &error) == napi_ok)
		napi_throw(env, error);
	return NULL;
}

napi_value l7_throw(napi_env env, const char *message)
{
	if (!pending(env))
		napi_throw_error(env, NULL, message);
	return NULL;
}

napi_value l7_throw_type(napi_env env, const char *message)
{
	if (!pending(env))
		napi_throw_type_error(env, NULL, message);
	return NULL;
}

napi_value l7_set_error_class(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	napi_valuetype type;
	struct l7_instance *instance = l7_instance(env);

	if (!l7_args(env, info, 1, argv))
		return NULL;
	if (!instance || napi_typeof(env, argv[0], &type) != napi_ok || type != napi_function)
		return l7_throw_type(env, "setErrorClass: constructor must be a function");
	if (instance->error_class)
		napi_delete_reference(env, instance->error_class);
	instance->error_class = NULL;
	napi_create_reference(env, argv[0], 1, &instance->error_class);
	return l7_undefined(env);
}
