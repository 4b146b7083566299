// A device with TensorRT's runtime on it, and what lives there.
#pragma once

#include "cumo_trt.h"
#include "driver.h"
#include "library.h"
#include "log.h"

#include <NvInferRuntime.h>

#include <memory>
#include <shared_mutex>

/// See cumo_trt_runtime_create.
struct cumo_trt_runtime {
  cumo_trt_runtime(cumo_trt_library& library, int32_t device, const cumo_trt_log* log);

  cumo::trt::Device device;
  cumo::trt::Sink sink;
  std::unique_ptr<nvinfer1::IRuntime> runtime;
#if defined(CUMO_TRT_FLAVOUR_RTX)
  // Kernels that were compiled for one context, for all others of any engine. NVIDIA does not say
  // that it may be read while a context compiles into it: who lets a context do that shares the
  // lock, who makes or reads the cache has it alone.
  std::shared_mutex cache_lock;
  std::unique_ptr<nvinfer1::IRuntimeCache> cache;
#endif
};

/// See cumo_trt_engine_load.
struct cumo_trt_engine {
  cumo_trt_runtime& runtime;
  std::unique_ptr<nvinfer1::ICudaEngine> engine;
};

/// See cumo_trt_context_create.
struct cumo_trt_context {
  cumo_trt_engine& engine;
  std::unique_ptr<nvinfer1::IExecutionContext> context;
};

/// See cumo_trt_stream_create.
struct cumo_trt_stream {
  cumo_trt_runtime& runtime;
  cumo::trt::CuStream handle;
};

/// See cumo_trt_event_create.
struct cumo_trt_event {
  cumo_trt_runtime& runtime;
  cumo::trt::CuEvent handle;
};

/// See cumo_trt_graph_end.
struct cumo_trt_graph {
  cumo_trt_runtime& runtime;
  cumo::trt::CuGraphExec handle;
};

namespace cumo::trt {

/// What belongs around every call into a runtime: its device and its messages.
class RuntimeScope {
 public:
  explicit RuntimeScope(cumo_trt_runtime& runtime) : mLog{runtime.sink}, mDevice{runtime.device} {}

 private:
  LogScope mLog;
  OnDevice mDevice;
};

}  // namespace cumo::trt
