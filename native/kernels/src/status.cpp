#include "cuda_error.h"

namespace {
thread_local int32_t last_cuda_error = 0;
}

namespace cumo {

int32_t status_of(cudaError_t error) {
  if (error == cudaSuccess) return CUMO_KERNELS_OK;
  last_cuda_error = int32_t(error);
  return CUMO_KERNELS_CUDA_ERROR;
}

}  // namespace cumo

extern "C" {

int32_t cumo_kernels_version(void) { return CUMO_KERNELS_VERSION; }

int32_t cumo_kernels_last_cuda_error(void) { return last_cuda_error; }

const char* cumo_kernels_status_text(int32_t status) {
  switch (status) {
    case CUMO_KERNELS_OK:
      return "fine";
    case CUMO_KERNELS_NULL_POINTER:
      return "a tensor that is needed is null";
    case CUMO_KERNELS_MISALIGNED:
      return "a tensor's address is not a multiple of 16, or the workspace's not of 256";
    case CUMO_KERNELS_BAD_SHAPE:
      return "a size, a number of experts or the value of an enum is out of its range";
    case CUMO_KERNELS_TOO_LARGE:
      return "tokens times experts per token, or a grid of blocks, does not fit 32 bits";
    case CUMO_KERNELS_SMALL_WORKSPACE:
      return "the workspace is smaller than cumo_moe_workspace_bytes says";
    case CUMO_KERNELS_UNSUPPORTED_DEVICE:
      return "the device's compute capability is below 8.0";
    case CUMO_KERNELS_CUDA_ERROR:
      return "CUDA reported an error";
    default:
      return "an unknown status";
  }
}
}
