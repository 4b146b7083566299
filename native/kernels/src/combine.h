// Sums over a token's experts, in the order of its choices.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cumo_kernels.h"

namespace cumo {

// y [tokens, out] T = sum over j of parts [token * k + j]; parts [pairs, out] T, already weighted.
// A choice outside of [0, experts) is left out.
struct CombineArgs {
  const void* parts;
  const int32_t* chosen;  // [pairs]
  void* y;
  int32_t tokens;
  int32_t k;
  int32_t experts;
  int32_t out;
};

cudaError_t launch_combine(const CombineArgs& args, bool bf16, void* stream);

}  // namespace cumo
