// The non-linearities, in f32.
#pragma once

#include "cumo_kernels.h"
#include "platform.cuh"

namespace cumo {

__device__ inline float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

// kActivation: of cumo_activation, else none.
template <int kActivation>
__device__ inline float activate(float x) {
  if constexpr (kActivation == CUMO_ACTIVATION_GELU) {
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
  } else if constexpr (kActivation == CUMO_ACTIVATION_QUICK_GELU) {
    return x * sigmoid(1.702f * x);
  } else if constexpr (kActivation == CUMO_ACTIVATION_SILU) {
    return x * sigmoid(x);
  } else {
    return x;
  }
}

__device__ inline float activate(int activation, float x) {
  switch (activation) {
    case CUMO_ACTIVATION_GELU:
      return activate<CUMO_ACTIVATION_GELU>(x);
    case CUMO_ACTIVATION_QUICK_GELU:
      return activate<CUMO_ACTIVATION_QUICK_GELU>(x);
    case CUMO_ACTIVATION_SILU:
      return activate<CUMO_ACTIVATION_SILU>(x);
    default:
      return x;
  }
}

}  // namespace cumo
