// Kernels that TensorRT-RTX compiled on this machine, for later processes.
#include "blob.h"
#include "runtime.h"
#include "status.h"

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>

using cumo::trt::Fault;
using cumo::trt::guarded;
using cumo::trt::required;
using cumo::trt::RuntimeScope;

namespace {

#if defined(CUMO_TRT_FLAVOUR_RTX)
void load(cumo_trt_engine& engine, const void* kernels, size_t bytes) {
  cumo_trt_runtime& runtime = engine.runtime;
  const RuntimeScope scope{runtime};
  const std::lock_guard<std::shared_mutex> lock{runtime.cache_lock};
  if (runtime.cache) {
    throw Fault{CUMO_TRT_CODE_INVALID_ARGUMENT,
                "the runtime has kernels: they are given once, before its first context"};
  }
  std::unique_ptr<nvinfer1::IRuntimeConfig> config{engine.engine->createRuntimeConfig()};
  std::unique_ptr<nvinfer1::IRuntimeCache> cache{config ? config->createRuntimeCache() : nullptr};
  // One that refuses them is as new (NvInferRuntime.h, 1.7); the first context makes another.
  if (!cache || !cache->deserialize(kernels, bytes)) {
    throw Fault{CUMO_TRT_CODE_RUN,
                runtime.sink.explain("TensorRT-RTX does not take " + std::to_string(bytes) +
                                     " bytes of compiled kernels")};
  }
  runtime.cache = std::move(cache);
}

cumo_trt_blob* kernels_of(cumo_trt_runtime& runtime) {
  const RuntimeScope scope{runtime};
  const std::lock_guard<std::shared_mutex> lock{runtime.cache_lock};
  if (!runtime.cache) return nullptr;
  auto blob = std::make_unique<cumo_trt_blob>();
  blob->memory.reset(runtime.cache->serialize());
  if (!blob->memory) {
    throw Fault{CUMO_TRT_CODE_RUN,
                runtime.sink.explain("TensorRT-RTX does not give its compiled kernels")};
  }
  return blob->memory->size() == 0 ? nullptr : blob.release();
}
#else
[[noreturn]] void unsupported() {
  throw Fault{CUMO_TRT_CODE_UNSUPPORTED,
              "only TensorRT-RTX compiles kernels as it runs; other engines hold theirs"};
}
#endif

}  // namespace

extern "C" {

cumo_trt_status* cumo_trt_engine_load_compiled_kernels(cumo_trt_engine* engine, const void* kernels,
                                                       size_t kernels_bytes) {
  return guarded([&] {
    required(static_cast<const char*>(kernels), "kernels");
    required(engine, "engine");
#if defined(CUMO_TRT_FLAVOUR_RTX)
    load(*engine, kernels, kernels_bytes);
#else
    static_cast<void>(kernels_bytes);
    unsupported();
#endif
  });
}

cumo_trt_status* cumo_trt_runtime_compiled_kernels(cumo_trt_runtime* runtime, cumo_trt_blob** out) {
  return guarded([&] {
    required(out, "out") = nullptr;
    required(runtime, "runtime");
#if defined(CUMO_TRT_FLAVOUR_RTX)
    *out = kernels_of(*runtime);
#else
    unsupported();
#endif
  });
}

}  // extern "C"
