#include "driver.h"

#include "cumo_trt.h"
#include "status.h"

#include <dlfcn.h>

#include <mutex>
#include <string>

namespace cumo::trt {
namespace {

constexpr CuResult kOUT_OF_MEMORY = 2;

[[noreturn]] void missing(const std::string& why) {
  throw Fault{CUMO_TRT_CODE_MISSING_DRIVER,
              why + "; engines run on a machine with an NVIDIA GPU and its driver"};
}

template <class Fn>
void load(void* handle, Fn& function, const char* name) {
  function = reinterpret_cast<Fn>(dlsym(handle, name));
  if (function == nullptr) missing(std::string{"the CUDA driver is too old: it has no "} + name);
}

/// All of the functions. `_v2` are the forms that programs have been compiled for since CUDA 4
/// (streams: 10.1).
Driver load_all(void* handle) {
  Driver d{};
  load(handle, d.init, "cuInit");
  load(handle, d.error_name, "cuGetErrorName");
  load(handle, d.error_string, "cuGetErrorString");
  load(handle, d.driver_version, "cuDriverGetVersion");
  load(handle, d.device_count, "cuDeviceGetCount");
  load(handle, d.device_get, "cuDeviceGet");
  load(handle, d.device_name, "cuDeviceGetName");
  load(handle, d.device_pci_bus_id, "cuDeviceGetPCIBusId");
  load(handle, d.device_attribute, "cuDeviceGetAttribute");
  load(handle, d.device_total_memory, "cuDeviceTotalMem_v2");
  load(handle, d.primary_retain, "cuDevicePrimaryCtxRetain");
  load(handle, d.primary_release, "cuDevicePrimaryCtxRelease_v2");
  load(handle, d.context_push, "cuCtxPushCurrent_v2");
  load(handle, d.context_pop, "cuCtxPopCurrent_v2");
  load(handle, d.memory_info, "cuMemGetInfo_v2");
  load(handle, d.memory_alloc, "cuMemAlloc_v2");
  load(handle, d.memory_free, "cuMemFree_v2");
  load(handle, d.host_alloc, "cuMemHostAlloc");
  load(handle, d.host_free, "cuMemFreeHost");
  load(handle, d.host_register, "cuMemHostRegister_v2");
  load(handle, d.host_unregister, "cuMemHostUnregister");
  load(handle, d.host_address, "cuMemHostGetDevicePointer_v2");
  load(handle, d.copy_to_device, "cuMemcpyHtoDAsync_v2");
  load(handle, d.copy_to_host, "cuMemcpyDtoHAsync_v2");
  load(handle, d.copy_on_device, "cuMemcpyDtoDAsync_v2");
  load(handle, d.copy_2d, "cuMemcpy2DAsync_v2");
  load(handle, d.fill, "cuMemsetD8Async");
  load(handle, d.stream_create, "cuStreamCreate");
  load(handle, d.stream_destroy, "cuStreamDestroy_v2");
  load(handle, d.stream_synchronize, "cuStreamSynchronize");
  load(handle, d.stream_wait, "cuStreamWaitEvent");
  load(handle, d.capture_begin, "cuStreamBeginCapture_v2");
  load(handle, d.capture_end, "cuStreamEndCapture");
  load(handle, d.graph_instantiate, "cuGraphInstantiateWithFlags");
  load(handle, d.graph_destroy, "cuGraphDestroy");
  load(handle, d.graph_exec_destroy, "cuGraphExecDestroy");
  load(handle, d.graph_launch, "cuGraphLaunch");
  load(handle, d.event_create, "cuEventCreate");
  load(handle, d.event_destroy, "cuEventDestroy_v2");
  load(handle, d.event_record, "cuEventRecord");
  load(handle, d.event_synchronize, "cuEventSynchronize");
  load(handle, d.event_elapsed, "cuEventElapsedTime");
  return d;
}

std::string describe(const Driver& d, CuResult result) {
  const char* name = nullptr;
  const char* text = nullptr;
  if (d.error_name(result, &name) != 0 || name == nullptr)
    return "CUDA error " + std::to_string(result);
  if (d.error_string(result, &text) != 0 || text == nullptr) return name;
  return std::string{text} + " (" + name + ")";
}

/// The driver and its number of devices; both are asked once, when that succeeds.
struct Loaded {
  Driver driver{};
  int count{};
};

Loaded load_driver() {
  void* const handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* error = dlerror();
    missing(std::string{"no NVIDIA driver: "} +
            (error == nullptr ? "libcuda.so.1 cannot be loaded" : error));
  }
  Loaded loaded{load_all(handle), 0};
  const Driver& d = loaded.driver;
  if (const CuResult result = d.init(0); result != 0) {
    missing("the NVIDIA driver does not start: " + describe(d, result));
  }
  if (const CuResult result = d.device_count(&loaded.count); result != 0) {
    missing("the NVIDIA driver does not count its devices: " + describe(d, result));
  }
  if (loaded.count < 1) missing("the NVIDIA driver has no device");
  return loaded;
}

const Loaded& loaded() {
  static std::mutex mutex;
  static const Loaded* only = nullptr;
  const std::lock_guard<std::mutex> lock{mutex};
  if (only == nullptr) only = new Loaded{load_driver()};
  return *only;
}

}  // namespace

const Driver& driver() { return loaded().driver; }

int device_count() { return loaded().count; }

void check(CuResult result, const char* doing) {
  if (result == 0) return;
  const int32_t code = result == kOUT_OF_MEMORY ? CUMO_TRT_CODE_OUT_OF_MEMORY : CUMO_TRT_CODE_CUDA;
  throw Fault{code, std::string{"cannot "} + doing + ": " + describe(driver(), result)};
}

namespace {

int attribute(CuDevice device, int which) {
  int value = 0;
  check(driver().device_attribute(&value, which, device), "ask for the device's properties");
  return value;
}

int32_t compute_capability(CuDevice device) {
  // Numbers of CUdevice_attribute.
  constexpr int kMAJOR = 75, kMINOR = 76;
  return 10 * attribute(device, kMAJOR) + attribute(device, kMINOR);
}

}  // namespace

Device::Device(int ordinal) {
  const int count = device_count();
  if (ordinal < 0 || ordinal >= count) {
    throw Fault{CUMO_TRT_CODE_INVALID_ARGUMENT, "there is no device " + std::to_string(ordinal) +
                                                    ", only " + std::to_string(count) +
                                                    ", numbered from 0"};
  }
  check(driver().device_get(&mDevice, ordinal), "find the device");
  check(driver().primary_retain(&mContext, mDevice), "use the device");
}

int32_t Device::compute_capability() const { return cumo::trt::compute_capability(mDevice); }

Device::~Device() { driver().primary_release(mDevice); }

int Device::attribute(int which) const {
  int value = 0;
  check(driver().device_attribute(&value, which, mDevice), "ask for the device's properties");
  return value;
}

OnDevice::OnDevice(const Device& device) {
  check(driver().context_push(device.context()), "switch to the device");
}

OnDevice::~OnDevice() {
  CuContext before{};
  driver().context_pop(&before);
}

}  // namespace cumo::trt

extern "C" {

cumo_trt_status* cumo_trt_num_devices(int32_t* out) {
  return cumo::trt::guarded([&] {
    cumo::trt::required(out, "out") = 0;
    *out = cumo::trt::device_count();
  });
}

cumo_trt_status* cumo_trt_device_info(int32_t device, cumo_trt_device* out) {
  return cumo::trt::guarded([&] {
    using cumo::trt::check;
    // Numbers of CUdevice_attribute.
    constexpr int kMULTIPROCESSORS = 16, kINTEGRATED = 18;
    cumo::trt::required(out, "out") = {};
    const auto& d = cumo::trt::driver();
    cumo::trt::CuDevice handle{};
    check(d.device_get(&handle, device), "find the device");
    cumo_trt_device info{};
    check(d.device_name(info.name, static_cast<int>(sizeof info.name), handle),
          "ask for the device's name");
    info.compute_capability = cumo::trt::compute_capability(handle);
    info.multiprocessors = cumo::trt::attribute(handle, kMULTIPROCESSORS);
    info.is_integrated = cumo::trt::attribute(handle, kINTEGRATED);
    check(d.driver_version(&info.driver), "ask for the driver's version");
    size_t bytes = 0;
    check(d.device_total_memory(&bytes, handle), "ask for the device's memory");
    info.total_bytes = bytes;
    const auto room = static_cast<int>(sizeof info.pci_bus_id);
    // A device of a board may have no place on the bus.
    if (d.device_pci_bus_id(info.pci_bus_id, room, handle) != 0) info.pci_bus_id[0] = '\0';
    *out = info;
  });
}

}  // extern "C"
