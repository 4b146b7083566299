// One case through the kernels, against the reference.
#pragma once

#include <string>
#include <vector>

#include "memory.h"
#include "reference.h"

namespace cumo::test {

// A case with all that is computed once: inputs on the device, the reference's results.
class Bench {
 public:
  explicit Bench(const Case& one);
  // With other choices than the router's; the reference follows them.
  Bench(const Case& one, Routes routes);

  // Each gives "" or what is wrong, with index and both values.
  // The router, from logits of type `dtype`.
  std::string check_route(int32_t dtype) const;
  std::string check_permute() const;
  // The mixture with `tile`; `bits`, where not null, gets y's.
  std::string check_forward(int32_t tile, std::vector<uint16_t>* bits) const;

  const cumo_moe_shape& shape() const { return one_.shape; }

 private:
  Case one_;
  Inputs inputs_;
  Routes routes_;
  std::vector<double> expected_;
  std::vector<Buffer> tensors_;  // what experts_ points to
  std::vector<cumo_moe_expert> experts_;
};

// Whether `tile` may run the shape.
bool tile_runs(const cumo_moe_shape& shape, int32_t tile);

}  // namespace cumo::test
