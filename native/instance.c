/* SPDX-License-Identifier: MIT */
/* State of one environment: the main thread and each worker has its own. */
#include "l7.h"

struct l7_instance *l7_instance(napi_env env)
{
	void *data = NULL;
	return napi_get_instance_data(env, &data) == napi_ok ? data : NULL;
}
