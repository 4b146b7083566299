/* What libcumo_plugin.so exports beside what TensorRT's plugin registry looks up. C only. */
#ifndef CUMO_PLUGIN_H
#define CUMO_PLUGIN_H

#include <stdint.h>

#include "cumo_rows.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The layout version of the engines that this library makes and reads. */
int32_t cumo_plugin_layout_version(void);

/* NULL, or why the current device cannot run the library's kernels: static, or this thread's until
 * its next call of the library. */
const char* cumo_plugin_check_device(void);

/* cumo_write_rows of cumo_rows.h, its status as above. */
const char* cumo_plugin_write_rows(const cumo_write_rows_args* args, void* stream);

#ifdef __cplusplus
}
#endif

#endif
