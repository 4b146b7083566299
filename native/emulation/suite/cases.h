// The list of cases, cases.txt.
#pragma once

#include <string>
#include <vector>

#include "cumo_kernels.h"

namespace cumo::test {

enum class Routing { random, all_to_one, equal, half_empty };

struct Case {
  std::string name;
  cumo_moe_shape shape{};
  Routing routing = Routing::random;
};

// Throws std::runtime_error with file, line and column's name where something is not as described.
std::vector<Case> read_cases(const std::string& path);

}  // namespace cumo::test
