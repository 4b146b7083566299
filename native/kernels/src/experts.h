// Expert tensors as kernels get them: by value, in pieces of 64 experts, so that no table has to be
// copied to the device. 2 KB of the 4 KB that a kernel's parameters may have.
#pragma once

#include "cumo_kernels.h"

namespace cumo {

constexpr int kExpertsALaunch = 64;

// One layer of up to 64 experts. `second` is the up matrix beside fc1, else null.
struct LayerPointers {
  const void* matrix[2][kExpertsALaunch];
  const void* bias[2][kExpertsALaunch];
};

enum class Layer { first, last };

// Those of experts `begin` to min(begin + 64, num_experts).
inline LayerPointers layer_pointers(const cumo_moe_shape& shape, const cumo_moe_expert* experts,
                                    Layer layer, int begin) {
  LayerPointers pointers{};
  for (int i = 0; i < kExpertsALaunch && begin + i < shape.num_experts; ++i) {
    const cumo_moe_expert& expert = experts[begin + i];
    bool first = layer == Layer::first;
    pointers.matrix[0][i] = first ? expert.fc1 : expert.fc2;
    pointers.matrix[1][i] = first && shape.gated ? expert.up : nullptr;
    if (!shape.biased) continue;
    pointers.bias[0][i] = first ? expert.fc1_bias : expert.fc2_bias;
    pointers.bias[1][i] = first && shape.gated ? expert.up_bias : nullptr;
  }
  return pointers;
}

}  // namespace cumo
