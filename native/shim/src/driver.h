// The CUDA driver, loaded at run time: devices, memory, streams, events, graphs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cumo::trt {

// CUDA's driver types as its ABI has them, so that nothing here depends on the version of its
// headers.
using CuResult = int;
using CuDevice = int;
using CuContext = void*;
using CuStream = void*;
using CuEvent = void*;
using CuGraph = void*;
using CuGraphExec = void*;
using CuAddress = unsigned long long;

/// CUDA_MEMCPY2D: both sides are device memory where their kind is kDEVICE.
struct CuCopy2d {
  static constexpr int kDEVICE = 2;

  size_t from_x{};
  size_t from_y{};
  int from_kind{kDEVICE};
  const void* from_host{};
  CuAddress from{};
  void* from_array{};
  size_t from_pitch{};
  size_t to_x{};
  size_t to_y{};
  int to_kind{kDEVICE};
  void* to_host{};
  CuAddress to{};
  void* to_array{};
  size_t to_pitch{};
  size_t width_bytes{};
  size_t height{};
};

/// The driver's functions that are used here, by the names that its library has them under.
struct Driver {
  CuResult (*init)(unsigned flags);
  CuResult (*error_name)(CuResult, const char**);
  CuResult (*error_string)(CuResult, const char**);
  CuResult (*driver_version)(int*);
  CuResult (*device_count)(int*);
  CuResult (*device_get)(CuDevice*, int);
  CuResult (*device_name)(char*, int, CuDevice);
  CuResult (*device_pci_bus_id)(char*, int, CuDevice);
  CuResult (*device_attribute)(int*, int attribute, CuDevice);
  CuResult (*device_total_memory)(size_t*, CuDevice);
  CuResult (*primary_retain)(CuContext*, CuDevice);
  CuResult (*primary_release)(CuDevice);
  CuResult (*context_push)(CuContext);
  CuResult (*context_pop)(CuContext*);
  CuResult (*memory_info)(size_t*, size_t*);
  CuResult (*memory_alloc)(CuAddress*, size_t);
  CuResult (*memory_free)(CuAddress);
  CuResult (*host_alloc)(void**, size_t, unsigned flags);
  CuResult (*host_free)(void*);
  CuResult (*host_register)(void*, size_t, unsigned flags);
  CuResult (*host_unregister)(void*);
  CuResult (*host_address)(CuAddress*, void*, unsigned flags);
  CuResult (*copy_to_device)(CuAddress, const void*, size_t, CuStream);
  CuResult (*copy_to_host)(void*, CuAddress, size_t, CuStream);
  CuResult (*copy_on_device)(CuAddress, CuAddress, size_t, CuStream);
  CuResult (*copy_2d)(const CuCopy2d*, CuStream);
  CuResult (*fill)(CuAddress, unsigned char, size_t, CuStream);
  CuResult (*stream_create)(CuStream*, unsigned flags);
  CuResult (*stream_destroy)(CuStream);
  CuResult (*stream_synchronize)(CuStream);
  CuResult (*stream_wait)(CuStream, CuEvent, unsigned flags);
  CuResult (*capture_begin)(CuStream, int mode);
  CuResult (*capture_end)(CuStream, CuGraph*);
  CuResult (*graph_instantiate)(CuGraphExec*, CuGraph, unsigned long long flags);
  CuResult (*graph_destroy)(CuGraph);
  CuResult (*graph_exec_destroy)(CuGraphExec);
  CuResult (*graph_launch)(CuGraphExec, CuStream);
  CuResult (*event_create)(CuEvent*, unsigned flags);
  CuResult (*event_destroy)(CuEvent);
  CuResult (*event_record)(CuEvent, CuStream);
  CuResult (*event_synchronize)(CuEvent);
  CuResult (*event_elapsed)(float*, CuEvent, CuEvent);
};

/// The driver, initialised, with at least one device. Throws CUMO_TRT_CODE_MISSING_DRIVER and says
/// what is missing.
const Driver& driver();

/// The number of devices, at least 1.
int device_count();

/// Throws what a result says, unless it is success. `doing` completes "cannot ...".
void check(CuResult result, const char* doing);

/// The primary context of a device, which TensorRT uses too.
class Device {
 public:
  explicit Device(int ordinal);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  CuContext context() const noexcept { return mContext; }

  /// 86 is 8.6.
  int32_t compute_capability() const;
  /// A number of CUdevice_attribute.
  int attribute(int which) const;

 private:
  CuDevice mDevice{};
  CuContext mContext{};
};

/// While it lives, calls of this thread are for one device.
class OnDevice {
 public:
  explicit OnDevice(const Device& device);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
};

}  // namespace cumo::trt
