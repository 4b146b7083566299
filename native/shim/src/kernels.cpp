// Kernels of the plugin's library that are called without TensorRT.
#include "runtime.h"
#include "status.h"

#include <cumo_plugin.h>

#include <dlfcn.h>

#include <memory>
#include <string>

using cumo::trt::Fault;
using cumo::trt::guarded;
using cumo::trt::required;
using cumo::trt::RuntimeScope;

/// See cumo_trt_kernels_load.
struct cumo_trt_kernels {
  cumo_trt_runtime& runtime;
  decltype(&cumo_plugin_write_rows) write_rows;
};

namespace {

/// A function of the library, by the type that its header gives it.
template <class Fn>
Fn* function(void* library, const std::string& path, const char* name) {
  auto* const found = reinterpret_cast<Fn*>(dlsym(library, name));
  if (found == nullptr) {
    throw Fault{CUMO_TRT_CODE_PLUGIN, path + " has no kernels that write rows: it has no " + name};
  }
  return found;
}

template <class T>
T* pointer(uint64_t address) {
  return reinterpret_cast<T*>(static_cast<uintptr_t>(address));
}

}  // namespace

extern "C" {

cumo_trt_status* cumo_trt_kernels_load(cumo_trt_runtime* runtime, const char* path,
                                       cumo_trt_kernels** out) {
  return guarded([&] {
    required(out, "out") = nullptr;
    const RuntimeScope scope{required(runtime, "runtime")};
    const std::string file = &required(path, "path");
    // Never closed: work on a device may be its kernels' as long as the process lives.
    void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      const char* const error = dlerror();
      throw Fault{CUMO_TRT_CODE_PLUGIN, std::string{"cannot load the kernels: "} +
                                            (error == nullptr ? file : std::string{error})};
    }
    const auto check =
        function<decltype(cumo_plugin_check_device)>(library, file, "cumo_plugin_check_device");
    const auto write =
        function<decltype(cumo_plugin_write_rows)>(library, file, "cumo_plugin_write_rows");
    if (const char* const why = check(); why != nullptr) {
      throw Fault{CUMO_TRT_CODE_UNSUPPORTED,
                  std::string{"the device cannot run the kernels: "} + why};
    }
    *out = std::make_unique<cumo_trt_kernels>(cumo_trt_kernels{*runtime, write}).release();
  });
}

cumo_trt_status* cumo_trt_kernels_write_rows(cumo_trt_kernels* kernels, cumo_trt_stream* stream,
                                             const cumo_trt_write_rows* write) {
  return guarded([&] {
    const RuntimeScope scope{required(kernels, "kernels").runtime};
    required(stream, "stream");
    required(write, "write");
    cumo_write_rows_args args{};
    args.batch = write->batch;
    args.heads = write->heads;
    args.sequence = write->sequence;
    args.pitch = write->pitch;
    args.position_bytes = write->position_bytes;
    args.rows = pointer<const void>(write->rows);
    args.indices = pointer<const int64_t>(write->indices);
    args.cache = pointer<void>(write->cache);
    if (const char* const why = kernels->write_rows(&args, stream->handle); why != nullptr)
      throw Fault{CUMO_TRT_CODE_CUDA, std::string{"cannot write rows into a cache: "} + why};
  });
}

void cumo_trt_kernels_free(cumo_trt_kernels* kernels) { delete kernels; }

}  // extern "C"
