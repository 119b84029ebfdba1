/* SPDX-License-Identifier: MIT */
/* JavaScript values in and out. Wrong types are TypeErrors that name the argument. */
#include "l7.h"

#include <stdio.h>
#include <string.h>

static bool wrong(napi_env env, const char *name, const char *wanted)
{
	char message[160];
	snprintf(message, sizeof(message), "%s must be %s", name, wanted);
	l7_throw_type(env, message);
	return false;
}

bool l7_args(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	size_t given = count;
	if (napi_get_cb_info(env, info, &given, argv, NULL, NULL) == napi_ok)
		return true;
	l7_throw(env, "arguments can't be read");
	return false;
}

bool l7_get_u32(napi_env env, napi_value value, const char *name, uint32_t *out)
{
	double number;
	if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0 && number <= UINT32_MAX) ||
	    number != (double)(uint32_t)number)
		return wrong(env, name, "an unsigned 32-bit integer");
	*out = (uint32_t)number;
	return true;
}

bool l7_is_function(napi_env env, napi_value value, const char *name)
{
	napi_valuetype type;
	return (napi_typeof(env, value, &type) == napi_ok && type == napi_function) || wrong(env, name, "a function");
}

bool l7_get_bool(napi_env env, napi_value value, const char *name, bool *out)
{
	return napi_get_value_bool(env, value, out) == napi_ok || wrong(env, name, "a boolean");
}

bool l7_get_bytes(napi_env env, napi_value value, const char *name, uint8_t **data, size_t *length)
{
	napi_typedarray_type type;
	bool is_view = false;
	void *start = NULL;

	if (napi_is_typedarray(env, value, &is_view) != napi_ok || !is_view ||
	    napi_get_typedarray_info(env, value, &type, length, &start, NULL, NULL) != napi_ok || type != napi_uint8_array)
		return wrong(env, name, "a Uint8Array");
	/* An empty or detached array has no memory; callers may still form a pointer to zero bytes. */
	*data = start ? start : (uint8_t *)"";
	if (!start)
		*length = 0;
	return true;
}

bool l7_get_string(napi_env env, napi_value value, const char *name, char *out, size_t size)
{
	size_t length, whole;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &whole) != napi_ok ||
	    napi_get_value_string_utf8(env, value, out, size, &length) != napi_ok)
		return wrong(env, name, "a string");
	if (whole >= size || strlen(out) != length)
		return wrong(env, name, "a shorter string without NUL");
	return true;
}

bool l7_is_nullish(napi_env env, napi_value value)
{
	napi_valuetype type;
	return napi_typeof(env, value, &type) != napi_ok || type == napi_undefined || type == napi_null;
}

napi_value l7_undefined(napi_env env)
{
	napi_value value = NULL;
	napi_get_undefined(env, &value);
	return value;
}

napi_value l7_u32(napi_env env, uint32_t number)
{
	napi_value value = NULL;
	napi_create_uint32(env, number, &value);
	return value;
}

napi_value l7_number(napi_env env, double number)
{
	napi_value value = NULL;
	napi_create_double(env, number, &value);
	return value;
}

napi_value l7_bool(napi_env env, bool flag)
{
	napi_value value = NULL;
	napi_get_boolean(env, flag, &value);
	return value;
}

napi_value l7_string(napi_env env, const char *text)
{
	napi_value value = NULL;
	napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
	return value;
}

napi_value l7_buffer(napi_env env, const void *data, size_t length)
{
	napi_value value = NULL;
	void *copy = NULL;
	napi_status status;

	if (data) {
		status = napi_create_buffer_copy(env, length, data, NULL, &value);
	} else {
		status = napi_create_buffer(env, length, &copy, &value);
		if (status == napi_ok && length)
			memset(copy, 0, length);
	}
	return status == napi_ok ? value : l7_throw(env, "no memory for a buffer");
}

bool l7_set(napi_env env, napi_value object, const char *name, napi_value value)
{
	return value && napi_set_named_property(env, object, name, value) == napi_ok;
}
