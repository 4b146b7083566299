// Execution contexts.
#include "runtime.h"
#include "status.h"
#include "tensor.h"

#include <algorithm>
#include <mutex>
#include <shared_mutex>
#include <string>

using cumo::trt::Fault;
using cumo::trt::guarded;
using cumo::trt::required;
using cumo::trt::RuntimeScope;

namespace {

/// The fault of a call that TensorRT refused, with its errors.
Fault refused(const cumo_trt_context& context, const std::string& what) {
  return Fault{CUMO_TRT_CODE_RUN, context.engine.runtime.sink.explain(what)};
}

using Strategy = nvinfer1::ExecutionContextAllocationStrategy;

#if defined(CUMO_TRT_FLAVOUR_RTX)
/// A context of RTX, which compiles kernels on this machine: those that another context had
/// compiled are taken from it, and those for the shapes of an execution are compiled in the first
/// one. By default RTX would run fallback kernels until others are compiled behind it, and a graph
/// that is captured meanwhile would keep them for good.
std::unique_ptr<nvinfer1::IExecutionContext> make_context(cumo_trt_engine& engine,
                                                          Strategy strategy) {
  using Specialization = nvinfer1::DynamicShapesKernelSpecializationStrategy;
  std::unique_ptr<nvinfer1::IRuntimeConfig> config{engine.engine->createRuntimeConfig()};
  if (!config) {
    throw Fault{CUMO_TRT_CODE_RUN,
                engine.runtime.sink.explain("TensorRT-RTX gives no configuration of a context")};
  }
  config->setExecutionContextAllocationStrategy(strategy);
  config->setDynamicShapesKernelSpecializationStrategy(Specialization::kEAGER);
  auto& cache = engine.runtime.cache;
  {
    const std::lock_guard<std::shared_mutex> lock{engine.runtime.cache_lock};
    if (!cache) cache.reset(config->createRuntimeCache());
  }
  const std::shared_lock<std::shared_mutex> lock{engine.runtime.cache_lock};
  // Without it every context compiles for itself, and runs all the same.
  if (cache) static_cast<void>(config->setRuntimeCache(*cache));
  return std::unique_ptr<nvinfer1::IExecutionContext>{
      engine.engine->createExecutionContext(config.get())};
}
#else
std::unique_ptr<nvinfer1::IExecutionContext> make_context(cumo_trt_engine& engine,
                                                          Strategy strategy) {
  return std::unique_ptr<nvinfer1::IExecutionContext>{
      engine.engine->createExecutionContext(strategy)};
}
#endif

/// Runs `body` with the context's device and log around it, and for RTX with a share of the kernels
/// that it may compile into.
template <class Body>
cumo_trt_status* with(const cumo_trt_context* context, Body&& body) noexcept {
  return guarded([&] {
    const RuntimeScope scope{required(context, "context").engine.runtime};
#if defined(CUMO_TRT_FLAVOUR_RTX)
    const std::shared_lock<std::shared_mutex> lock{context->engine.runtime.cache_lock};
#endif
    body(*context->context);
  });
}

}  // namespace

extern "C" {

cumo_trt_status* cumo_trt_context_create(cumo_trt_engine* engine, int32_t is_user_managed,
                                         cumo_trt_context** out) {
  return guarded([&] {
    required(out, "out") = nullptr;
    const RuntimeScope scope{required(engine, "engine").runtime};
    const auto strategy = is_user_managed != 0 ? Strategy::kUSER_MANAGED : Strategy::kSTATIC;
    auto made = make_context(*engine, strategy);
    if (!made) {
      std::string text = engine->runtime.sink.explain("TensorRT gives no execution context");
      const bool memory = text.find("ut of memory") != std::string::npos;
      throw Fault{memory ? CUMO_TRT_CODE_OUT_OF_MEMORY : CUMO_TRT_CODE_RUN, std::move(text)};
    }
    *out = new cumo_trt_context{*engine, std::move(made)};
  });
}

cumo_trt_status* cumo_trt_context_set_memory(cumo_trt_context* context, uint64_t address,
                                             uint64_t bytes) {
  return with(context, [&](nvinfer1::IExecutionContext& which) {
    which.setDeviceMemoryV2(reinterpret_cast<void*>(address), static_cast<int64_t>(bytes));
  });
}

cumo_trt_status* cumo_trt_context_set_profile(cumo_trt_context* context, size_t profile,
                                              cumo_trt_stream* stream) {
  return with(context, [&](nvinfer1::IExecutionContext& which) {
    const auto handle = static_cast<cudaStream_t>(required(stream, "stream").handle);
    if (!which.setOptimizationProfileAsync(static_cast<int32_t>(profile), handle)) {
      throw refused(*context, "TensorRT refuses profile " + std::to_string(profile));
    }
  });
}

cumo_trt_status* cumo_trt_context_set_shape(cumo_trt_context* context, const char* input,
                                            const int64_t* shape, size_t rank) {
  return with(context, [&](nvinfer1::IExecutionContext& which) {
    const auto dims = cumo::trt::dims(shape, rank);
    if (!which.setInputShape(&required(input, "input"), dims)) {
      throw refused(*context, std::string{"TensorRT refuses the shape "} + cumo::trt::show(dims) +
                                  " of input `" + input + "`");
    }
  });
}

cumo_trt_status* cumo_trt_context_shape(const cumo_trt_context* context, const char* tensor,
                                        int64_t* shape, size_t* rank) {
  return with(context, [&](const nvinfer1::IExecutionContext& which) {
    required(rank, "rank") = 0;
    const auto dims = which.getTensorShape(&required(tensor, "tensor"));
    if (dims.nbDims < 0)
      throw refused(*context, std::string{"there is no tensor `"} + tensor + "`");
    std::copy_n(dims.d, dims.nbDims, &required(shape, "shape"));
    *rank = static_cast<size_t>(dims.nbDims);
  });
}

cumo_trt_status* cumo_trt_context_set_address(cumo_trt_context* context, const char* tensor,
                                              uint64_t address) {
  return with(context, [&](nvinfer1::IExecutionContext& which) {
    if (!which.setTensorAddress(&required(tensor, "tensor"), reinterpret_cast<void*>(address))) {
      throw refused(*context, std::string{"TensorRT refuses the address of `"} + tensor + "`");
    }
  });
}

cumo_trt_status* cumo_trt_context_activation_bytes(cumo_trt_context* context, uint64_t* out) {
  return with(context, [&](nvinfer1::IExecutionContext& which) {
    required(out, "out") = 0;
    *out = which.updateDeviceMemorySizeForShapes();
  });
}

cumo_trt_status* cumo_trt_context_enqueue(cumo_trt_context* context, cumo_trt_stream* stream) {
  return with(context, [&](nvinfer1::IExecutionContext& which) {
    if (!which.enqueueV3(static_cast<cudaStream_t>(required(stream, "stream").handle))) {
      throw refused(*context, "TensorRT cannot run the engine");
    }
  });
}

void cumo_trt_context_free(cumo_trt_context* context) {
  if (context == nullptr) return;
  cumo_trt_status_free(with(context, [&](auto&) { context->context.reset(); }));
  delete context;
}

}  // extern "C"
