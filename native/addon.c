/* SPDX-License-Identifier: MIT */
/* The table of what JavaScript sees. src/native/binding.ts has the same names with types. */
#include "l7.h"

#include <stdlib.h>

static const struct {
	const char *name;
	napi_callback call;
} functions[] = {
	{ "setErrorClass", l7_set_error_class },
	{ "setLog", l7_set_log },
	{ "possibleCpus", l7_possible_cpus_js },

	{ "loadObject", l7_load_object },
	{ "objectMap", l7_object_map },
	{ "objectProgram", l7_object_program },
	{ "objectClose", l7_object_close },

	{ "fdNumber", l7_fd_number },
	{ "fdClose", l7_fd_close },
	{ "pin", l7_pin },
	{ "openPinned", l7_open_pinned },
	{ "share", l7_share_fd },

	{ "mapInfo", l7_map_info },
	{ "mapGet", l7_map_get },
	{ "mapRead", l7_map_read },
	{ "mapPut", l7_map_put },
	{ "mapDelete", l7_map_delete },
	{ "mapPutBatch", l7_map_put_batch },
	{ "mapDeleteBatch", l7_map_delete_batch },
	{ "mapEntries", l7_map_entries },

	{ "programInfo", l7_program_info },
	{ "programTestRun", l7_program_test_run },
	{ "programRun", l7_program_run },

	{ "linkAttach", l7_link_attach },
	{ "linkUpdate", l7_link_update },
	{ "tcxCount", l7_tcx_count },
	{ "linkDetach", l7_link_detach },
	{ "linkInfo", l7_link_info },
	{ "clsactAttach", l7_clsact_attach },
	{ "clsactDetach", l7_clsact_detach },

	{ "ringbufOpen", l7_ringbuf_open },
	{ "ringbufClose", l7_ringbuf_close },
	{ "ringbufRead", l7_ringbuf_read },

	{ "rawOpen", l7_raw_open },
	{ "rawSend", l7_raw_send },
	{ "rawClose", l7_raw_close },
	{ "transparentSocket", l7_transparent_socket },
	{ "closeFd", l7_close_fd },
	{ "probe", l7_probe },

	{ "queueOpen", l7_queue_open },
	{ "queueFlush", l7_queue_flush },
	{ "queueStats", l7_queue_stats },
	{ "queueClose", l7_queue_close },
};

static void release_instance(napi_env env, void *data, void *hint)
{
	struct l7_instance *instance = data;
	(void)hint;
	if (instance->error_class)
		napi_delete_reference(env, instance->error_class);
	if (instance->log)
		napi_delete_reference(env, instance->log);
	free(instance);
}

NAPI_MODULE_INIT(/* napi_env env, napi_value exports */)
{
	struct l7_instance *instance = calloc(1, sizeof(*instance));
	napi_value function;

	if (!instance || napi_set_instance_data(env, instance, release_instance, NULL) != napi_ok) {
		free(instance);
		return l7_throw(env, "no memory");
	}
	for (size_t i = 0; i < L7_COUNT(functions); i++)
		if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function) != napi_ok ||
		    napi_set_named_property(env, exports, functions[i].name, function) != napi_ok)
			return l7_throw(env, "exports can't be made");
	return exports;
}
