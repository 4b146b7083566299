// Host memory that the device reads and writes by itself, and copies of rows.
#include "runtime.h"
#include "status.h"

#include <string>

using cumo::trt::check;
using cumo::trt::driver;
using cumo::trt::Fault;
using cumo::trt::guarded;
using cumo::trt::required;
using cumo::trt::RuntimeScope;

namespace {

// Flags of cuMemHostRegister.
constexpr unsigned kDEVICE_MAP = 2;
constexpr unsigned kREAD_ONLY = 8;

// Numbers of CUdevice_attribute.
constexpr int kHOST_REGISTER = 99;
constexpr int kREAD_ONLY_REGISTER = 113;

}  // namespace

extern "C" {

cumo_trt_status* cumo_trt_host_alloc(cumo_trt_runtime* runtime, size_t bytes, void** out) {
  return guarded([&] {
    required(out, "out") = nullptr;
    const RuntimeScope scope{required(runtime, "runtime")};
    const std::string doing = "allocate " + std::to_string(bytes) + " bytes of pinned host memory";
    void* memory = nullptr;
    check(driver().host_alloc(&memory, bytes == 0 ? 1 : bytes, 0), doing.c_str());
    *out = memory;
  });
}

void cumo_trt_host_free(cumo_trt_runtime* runtime, void* memory) {
  if (runtime == nullptr || memory == nullptr) return;
  cumo_trt_status_free(guarded([&] {
    const RuntimeScope scope{*runtime};
    driver().host_free(memory);
  }));
}

cumo_trt_status* cumo_trt_host_register(cumo_trt_runtime* runtime, const void* memory, size_t bytes,
                                        uint64_t* address) {
  return guarded([&] {
    required(address, "address") = 0;
    // CUDA only reads what is registered so.
    void* const start = &required(const_cast<char*>(static_cast<const char*>(memory)), "memory");
    const RuntimeScope scope{required(runtime, "runtime")};
    const auto& device = runtime->device;
    if (device.attribute(kHOST_REGISTER) == 0 || device.attribute(kREAD_ONLY_REGISTER) == 0) {
      throw Fault{CUMO_TRT_CODE_UNSUPPORTED,
                  "the device cannot read the host's memory where it lies"};
    }
    const auto& d = driver();
    check(d.host_register(start, bytes, kDEVICE_MAP | kREAD_ONLY),
          "let the device read the host's memory");
    cumo::trt::CuAddress at = 0;
    const auto result = d.host_address(&at, start, 0);
    if (result != 0) d.host_unregister(start);
    check(result, "find the host's memory on the device");
    *address = at;
  });
}

void cumo_trt_host_unregister(cumo_trt_runtime* runtime, const void* memory) {
  if (runtime == nullptr || memory == nullptr) return;
  cumo_trt_status_free(guarded([&] {
    const RuntimeScope scope{*runtime};
    driver().host_unregister(const_cast<void*>(memory));
  }));
}

cumo_trt_status* cumo_trt_copy_rows_on_device(cumo_trt_stream* stream, uint64_t to,
                                              uint64_t to_pitch, uint64_t from, uint64_t from_pitch,
                                              size_t row_bytes, size_t rows) {
  return guarded([&] {
    const RuntimeScope scope{required(stream, "stream").runtime};
    if (row_bytes == 0 || rows == 0) return;
    if (to_pitch < row_bytes || from_pitch < row_bytes) {
      throw Fault{CUMO_TRT_CODE_INVALID_ARGUMENT, "rows of " + std::to_string(row_bytes) +
                                                      " bytes lie " + std::to_string(from_pitch) +
                                                      " and " + std::to_string(to_pitch) +
                                                      " bytes apart"};
    }
    cumo::trt::CuCopy2d copy;
    copy.from = from;
    copy.from_pitch = from_pitch;
    copy.to = to;
    copy.to_pitch = to_pitch;
    copy.width_bytes = row_bytes;
    copy.height = rows;
    check(driver().copy_2d(&copy, stream->handle), "copy rows on the device");
  });
}

}  // extern "C"
