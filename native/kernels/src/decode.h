// The mixture for few tokens, as matrix-vector products: what bounds it is reading the weights, so
// it reads those of the chosen experts, once, and no others.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "experts.h"

namespace cumo {

constexpr int kDecodeTokens = 8;   // more are better served by the grouped product
constexpr int kDecodePairs = 32;   // a warp holds all of them, one a lane
constexpr int kDecodeSlice = 512;  // of the depth, a block

// x[row of pair] @ matrix of the pair's expert, in slices of the depth that are summed later.
struct VectorArgs {
  const void* x;          // [rows, depth] T
  const int32_t* chosen;  // [pairs]
  float* partial;         // [slices, matrices, pairs, columns]; slice 0 has the bias in it
  int32_t pairs;
  int32_t pairs_a_row;  // x's row of a pair p: p / pairs_a_row
  int32_t experts;
  int32_t expert_begin;  // the experts of this launch: 64 from here on
  int32_t matrices;      // 1, or 2 for fc1 beside up
  int32_t depth;         // multiples of 8
  int32_t columns;
};

cudaError_t launch_vector(const VectorArgs& args, const LayerPointers& layer, int tokens, bool bf16,
                          void* stream);

// hidden [pairs, columns] T = act(sum of the slices), gated times the sum of the second's.
struct ActivateArgs {
  const float* partial;  // [slices, matrices, pairs, columns]
  const int32_t* chosen;
  void* hidden;
  int32_t pairs;
  int32_t experts;
  int32_t slices;
  int32_t matrices;
  int32_t columns;
  int32_t activation;
};

cudaError_t launch_activate(const ActivateArgs& args, bool bf16, void* stream);

// y [tokens, columns] T = sum over j of weights [token, j] * sum of the slices of pair (token, j).
struct ReduceArgs {
  const float* partial;  // [slices, pairs, columns]
  const int32_t* chosen;
  const float* weights;
  void* y;
  int32_t tokens;
  int32_t k;
  int32_t experts;
  int32_t slices;
  int32_t columns;
};

cudaError_t launch_reduce(const ReduceArgs& args, bool bf16, void* stream);

}  // namespace cumo
