/*
 * The header is C, and what no caller should pass is refused with a sentence: null pointers, a
 * struct of another size, folders without TensorRT. Usage: c_abi_test FLAVOUR.
 */
#include "cumo_trt.h"

#include <stdio.h>
#include <string.h>

static int failures = 0;

static void expect(int holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "failed: %s\n", what);
  ++failures;
}

/* The status has this code and `part` in its text; it is freed. */
static void refused(cumo_trt_status* status, int32_t code, const char* part) {
  if (cumo_trt_status_code(status) != code || strstr(cumo_trt_status_text(status), part) == NULL) {
    fprintf(stderr, "failed: code %d, \"%s\" wanted; code %d, \"%s\" found\n", (int)code, part,
            (int)cumo_trt_status_code(status), cumo_trt_status_text(status));
    ++failures;
  }
  cumo_trt_status_free(status);
}

static void null_pointers(void) {
  const int32_t code = CUMO_TRT_CODE_INVALID_ARGUMENT;
  cumo_trt_builder* builder = NULL;
  cumo_trt_network* network = NULL;
  cumo_trt_engine* engine = NULL;
  cumo_trt_blob* blob = NULL;
  cumo_trt_kernels* kernels = NULL;
  cumo_trt_tensor tensor;
  void* memory = NULL;
  uint64_t address = 0;
  cumo_trt_build_options options;
  memset(&options, 0, sizeof options);

  refused(cumo_trt_library_open(NULL, NULL), code, "out is null");
  refused(cumo_trt_library_load_plugins(NULL, "x"), code, "library is null");
  refused(cumo_trt_builder_create(NULL, NULL, &builder), code, "library is null");
  refused(cumo_trt_network_parse(NULL, "x", 1, NULL, &network), code, "builder is null");
  refused(cumo_trt_network_parse(NULL, NULL, 0, NULL, &network), code, "model is null");
  refused(cumo_trt_network_tensor(NULL, 0, &tensor), code, "network is null");
  refused(cumo_trt_network_build(NULL, NULL, &blob, NULL), code, "options is null");
  refused(cumo_trt_network_build(NULL, &options, &blob, NULL), code, "struct_bytes");
  options.struct_bytes = sizeof options;
  refused(cumo_trt_network_build(NULL, &options, &blob, NULL), code, "network is null");
  refused(cumo_trt_engine_check(NULL, NULL, 0), code, "engine is null");
  refused(cumo_trt_engine_load(NULL, "x", 1, &engine), code, "runtime is null");
  refused(cumo_trt_engine_tensor(NULL, 0, &tensor), code, "engine is null");
  refused(cumo_trt_engine_load_compiled_kernels(NULL, "x", 1), code, "engine is null");
  refused(cumo_trt_engine_load_compiled_kernels(NULL, NULL, 1), code, "kernels is null");
  refused(cumo_trt_runtime_compiled_kernels(NULL, NULL), code, "out is null");
  refused(cumo_trt_runtime_compiled_kernels(NULL, &blob), code, "runtime is null");
  refused(cumo_trt_context_enqueue(NULL, NULL), code, "context is null");
  refused(cumo_trt_stream_synchronize(NULL), code, "stream is null");
  refused(cumo_trt_event_synchronize(NULL), code, "event is null");
  refused(cumo_trt_graph_launch(NULL, NULL), code, "graph is null");
  refused(cumo_trt_graph_end(NULL, NULL), code, "stream is null");
  refused(cumo_trt_kernels_load(NULL, "x", NULL), code, "out is null");
  refused(cumo_trt_kernels_load(NULL, "x", &kernels), code, "runtime is null");
  refused(cumo_trt_kernels_write_rows(NULL, NULL, NULL), code, "kernels is null");
  refused(cumo_trt_num_devices(NULL), code, "out is null");
  refused(cumo_trt_host_alloc(NULL, 1, NULL), code, "out is null");
  refused(cumo_trt_host_alloc(NULL, 1, &memory), code, "runtime is null");
  refused(cumo_trt_host_register(NULL, NULL, 1, &address), code, "memory is null");
  refused(cumo_trt_host_register(NULL, &address, 1, &address), code, "runtime is null");
  refused(cumo_trt_copy_rows_on_device(NULL, 1, 1, 2, 1, 1, 1), code, "stream is null");
}

static void nothing_is_freed_and_described(void) {
  cumo_trt_status_free(NULL);
  cumo_trt_library_free(NULL);
  cumo_trt_builder_free(NULL);
  cumo_trt_network_free(NULL);
  cumo_trt_blob_free(NULL);
  cumo_trt_runtime_free(NULL);
  cumo_trt_engine_free(NULL);
  cumo_trt_context_free(NULL);
  cumo_trt_stream_free(NULL);
  cumo_trt_event_free(NULL);
  cumo_trt_graph_free(NULL);
  cumo_trt_kernels_free(NULL);
  cumo_trt_buffer_free(NULL, 1);
  cumo_trt_host_free(NULL, &failures);
  cumo_trt_host_unregister(NULL, &failures);
  expect(cumo_trt_status_code(NULL) == 0, "no status is success");
  expect(cumo_trt_status_parse_error(NULL, 0).index == -1, "no status has no parse errors");
  expect(cumo_trt_network_num_layers(NULL) == 0, "no network has no layers");
  expect(cumo_trt_blob_bytes(NULL) == 0 && cumo_trt_blob_data(NULL) == NULL,
         "no blob has no bytes");
  expect(cumo_trt_engine_aliased_input(NULL, "x")[0] == '\0', "no engine has no aliases");
}

int main(int argc, char** argv) {
  cumo_trt_library* library = NULL;
  expect(argc == 2 && strcmp(cumo_trt_flavour(), argv[1]) == 0,
         "the shim is of the flavour that it is named for");
  expect(cumo_trt_abi_version() == CUMO_TRT_ABI_VERSION, "shim and header are of one version");
  null_pointers();
  nothing_is_freed_and_described();
  refused(cumo_trt_library_open("/nonexistent", &library), CUMO_TRT_CODE_MISSING_LIBRARY,
          "/nonexistent/lib");
  expect(library == NULL, "a library that is missing gives no handle");
  if (failures == 0) puts("passed");
  return failures == 0 ? 0 : 1;
}
