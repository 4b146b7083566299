// A CUDA driver of one device that only counts: built as libcuda.so.1 for stream_test.
#include "fake_cuda.h"

#include <cstring>

namespace {

FakeCuda state;

void* handle() {
  static char memory;
  return &memory;
}

}  // namespace

#define FAKE extern "C" __attribute__((visibility("default")))
#define SUCCEEDS(name) \
  FAKE int name() { return 0; }

FAKE FakeCuda* fake_cuda() { return &state; }

SUCCEEDS(cuInit)
SUCCEEDS(cuDriverGetVersion)
SUCCEEDS(cuDeviceGet)
SUCCEEDS(cuDeviceGetName)
SUCCEEDS(cuDeviceGetPCIBusId)
SUCCEEDS(cuDeviceGetAttribute)
SUCCEEDS(cuDeviceTotalMem_v2)
SUCCEEDS(cuDevicePrimaryCtxRelease_v2)
SUCCEEDS(cuMemGetInfo_v2)
SUCCEEDS(cuMemAlloc_v2)
SUCCEEDS(cuMemFree_v2)
SUCCEEDS(cuMemcpyHtoDAsync_v2)
SUCCEEDS(cuMemcpyDtoHAsync_v2)
SUCCEEDS(cuMemcpyDtoDAsync_v2)
SUCCEEDS(cuMemcpy2DAsync_v2)
SUCCEEDS(cuMemsetD8Async)
SUCCEEDS(cuMemHostAlloc)
SUCCEEDS(cuMemFreeHost)
SUCCEEDS(cuMemHostRegister_v2)
SUCCEEDS(cuMemHostUnregister)
SUCCEEDS(cuMemHostGetDevicePointer_v2)
SUCCEEDS(cuStreamDestroy_v2)
SUCCEEDS(cuStreamSynchronize)
SUCCEEDS(cuStreamWaitEvent)
SUCCEEDS(cuGraphLaunch)
SUCCEEDS(cuEventCreate)
SUCCEEDS(cuEventDestroy_v2)
SUCCEEDS(cuEventRecord)
SUCCEEDS(cuEventSynchronize)
SUCCEEDS(cuEventElapsedTime)

FAKE int cuGetErrorName(int, const char** text) {
  *text = "FAKE";
  return 0;
}

FAKE int cuGetErrorString(int, const char** text) {
  *text = "it fails";
  return 0;
}

FAKE int cuDeviceGetCount(int* count) {
  *count = 1;
  return 0;
}

FAKE int cuDevicePrimaryCtxRetain(void** context, int) {
  *context = handle();
  return 0;
}

FAKE int cuCtxPushCurrent_v2(void*) {
  ++state.pushed;
  return 0;
}

FAKE int cuCtxPopCurrent_v2(void**) {
  --state.pushed;
  return 0;
}

FAKE int cuStreamCreate(void** stream, unsigned) {
  *stream = handle();
  return 0;
}

FAKE int cuStreamBeginCapture_v2(void*, int) {
  state.is_capturing = true;
  return 0;
}

FAKE int cuStreamEndCapture(void*, void** graph) {
  state.is_capturing = false;
  *graph = nullptr;
  if (state.fails != nullptr && std::strcmp(state.fails, "end") == 0) return 1;
  ++state.graphs;
  *graph = handle();
  return 0;
}

FAKE int cuGraphDestroy(void*) {
  --state.graphs;
  return 0;
}

FAKE int cuGraphInstantiateWithFlags(void** exec, void*, unsigned long long) {
  if (state.fails != nullptr && std::strcmp(state.fails, "instantiate") == 0) return 1;
  ++state.execs;
  *exec = handle();
  return 0;
}

FAKE int cuGraphExecDestroy(void*) {
  --state.execs;
  return 0;
}
