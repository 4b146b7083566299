// From CUDA's errors to our statuses.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cumo_kernels.h"

namespace cumo {

// The status; a CUDA error is kept for cumo_kernels_last_cuda_error.
int32_t status_of(cudaError_t error);

constexpr uintptr_t kAlignment = 16;

inline bool aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % kAlignment == 0;
}

}  // namespace cumo
