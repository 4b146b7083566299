// What kernels are written against: CUDA, or in tests its emulation on the CPU.
#pragma once

#if defined(CUMO_EMULATION)
#include "cuda_on_cpu.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

#include <cstdint>
#include <type_traits>

#include "faults.h"

namespace cumo {

// Dynamic shared memory as one struct: all that a kernel shares is in it.
template <class Shared>
__device__ inline Shared& shared_memory() {
#if defined(CUMO_EMULATION)
  return *static_cast<Shared*>(emulation::shared_memory());
#else
  extern __shared__ __align__(128) unsigned char bytes[];
  return *reinterpret_cast<Shared*>(bytes);
#endif
}

struct Launch {
  dim3 grid;
  dim3 block;
  size_t shared_bytes;
  void* stream;
};

// Only where kernels are compiled: a compiler for the host alone does not know how to launch them.
#if defined(CUMO_EMULATION) || defined(__CUDACC__)
// Puts `kernel` into the stream; more than 48 KB of shared memory is asked for first, and that the
// multiprocessor's first-level cache leaves room for as many blocks as can be.
template <class... Parameters>
cudaError_t launch(const char* name, const Launch& how, void (*kernel)(Parameters...),
                   const std::common_type_t<Parameters>&... arguments) {
#if defined(CUMO_EMULATION)
  emulation::launch(how.grid, how.block, how.shared_bytes, [&] { kernel(arguments...); }, name);
  return cudaSuccess;
#else
  (void)name;
  constexpr size_t kAlwaysThere = 48 << 10;
  auto* function = reinterpret_cast<const void*>(kernel);
  if (how.shared_bytes > kAlwaysThere) {
    cudaError_t error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                             int(how.shared_bytes));
    if (error == cudaSuccess)
      error = cudaFuncSetAttribute(function, cudaFuncAttributePreferredSharedMemoryCarveout,
                                   cudaSharedmemCarveoutMaxShared);
    if (error != cudaSuccess) return error;
  }
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  return cudaLaunchKernel(function, how.grid, how.block, pointers, how.shared_bytes,
                          static_cast<cudaStream_t>(how.stream));
#endif
}
#endif

// Of the current device: 10 * major + minor of its compute capability, and its multiprocessors.
inline cudaError_t current_device(int* architecture, int* multiprocessors) {
#if defined(CUMO_EMULATION)
  *architecture = emulation::architecture();
  *multiprocessors = emulation::kMultiprocessors;
  return cudaSuccess;
#else
  int device = 0, major = 0, minor = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(multiprocessors, cudaDevAttrMultiProcessorCount, device);
  *architecture = 10 * major + minor;
  return error;
#endif
}

}  // namespace cumo
