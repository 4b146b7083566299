#include "runtime.h"

#include "status.h"

#include <string>

using cumo::trt::Fault;
using cumo::trt::guarded;
using cumo::trt::required;
using cumo::trt::RuntimeScope;

// The device comes first: without one, TensorRT gives a pointer that is neither null nor a runtime.
cumo_trt_runtime::cumo_trt_runtime(cumo_trt_library& library, int32_t ordinal,
                                   const cumo_trt_log* log)
    : device{ordinal}, sink{log} {
  const RuntimeScope scope{*this};
  runtime.reset(static_cast<nvinfer1::IRuntime*>(library.create_runtime()));
  if (!runtime) throw Fault{CUMO_TRT_CODE_RUN, sink.explain("TensorRT gives no runtime")};
}

namespace {

/// Frees what lives on a runtime's device; nothing can be said of what goes wrong then.
template <class Body>
void release(cumo_trt_runtime& runtime, Body&& body) noexcept {
  cumo_trt_status_free(guarded([&] {
    const RuntimeScope scope{runtime};
    body();
  }));
}

}  // namespace

extern "C" {

cumo_trt_status* cumo_trt_runtime_create(cumo_trt_library* library, int32_t device,
                                         const cumo_trt_log* log, cumo_trt_runtime** out) {
  return guarded([&] {
    required(out, "out") = nullptr;
    *out = new cumo_trt_runtime{required(library, "library"), device, log};
  });
}

cumo_trt_status* cumo_trt_runtime_memory(cumo_trt_runtime* runtime, uint64_t* free_bytes,
                                         uint64_t* total_bytes) {
  return guarded([&] {
    required(free_bytes, "free_bytes") = 0;
    required(total_bytes, "total_bytes") = 0;
    const RuntimeScope scope{required(runtime, "runtime")};
    size_t free = 0;
    size_t total = 0;
    cumo::trt::check(cumo::trt::driver().memory_info(&free, &total), "ask for free memory");
    *free_bytes = free;
    *total_bytes = total;
  });
}

void cumo_trt_runtime_free(cumo_trt_runtime* runtime) {
  if (runtime == nullptr) return;
  release(*runtime, [&] {
#if defined(CUMO_TRT_FLAVOUR_RTX)
    runtime->cache.reset();
#endif
    runtime->runtime.reset();
  });
  delete runtime;
}

cumo_trt_status* cumo_trt_buffer_alloc(cumo_trt_runtime* runtime, uint64_t bytes,
                                       uint64_t* address) {
  return guarded([&] {
    required(address, "address") = 0;
    const RuntimeScope scope{required(runtime, "runtime")};
    const auto& d = cumo::trt::driver();
    cumo::trt::CuAddress at = 0;
    // CUDA refuses allocations of nothing; a tensor without elements still needs an address.
    const auto result = d.memory_alloc(&at, bytes == 0 ? 1 : static_cast<size_t>(bytes));
    std::string doing = "allocate " + std::to_string(bytes) + " bytes of device memory";
    size_t free = 0;
    size_t total = 0;
    if (result != 0 && d.memory_info(&free, &total) == 0) {
      doing += " (" + std::to_string(free) + " of " + std::to_string(total) + " are free)";
    }
    cumo::trt::check(result, doing.c_str());
    *address = at;
  });
}

void cumo_trt_buffer_free(cumo_trt_runtime* runtime, uint64_t address) {
  if (runtime == nullptr || address == 0) return;
  release(*runtime, [&] { cumo::trt::driver().memory_free(address); });
}

}  // extern "C"
