// The mixture by plain loops in double precision.
#pragma once

#include <cstdint>
#include <vector>

#include "inputs.h"

namespace cumo::test {

struct Routes {
  std::vector<float> weights;   // [tokens, k]
  std::vector<int32_t> chosen;  // [tokens, k]
};
Routes reference_routes(const Case& one, const Inputs& inputs);

struct Permutation {
  std::vector<int32_t> offsets;  // [experts + 1]
  std::vector<int32_t> rows;     // [offsets[experts]]
};
// Leaves out what is not in [0, experts).
Permutation reference_permutation(const std::vector<int32_t>& chosen, int experts);

// y [tokens, out]; leaves out choices that are not in [0, experts).
std::vector<double> reference_moe(const Case& one, const Inputs& inputs, const Routes& routes);

}  // namespace cumo::test
