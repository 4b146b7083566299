// The inputs of a CumoMoE node: their order, their shapes, and what follows from them.
//
//   0  x        [.., in]    f16 or bf16
//   1  weights  [.., k]     f32
//   2  experts  [.., k]     int32
//   then for each expert, of x's type:
//      fc1 [in, hidden], its bias [hidden] where biased,
//      up  [in, hidden], its bias [hidden] where biased (both only where gated),
//      fc2 [hidden, out], its bias [out] where biased
//   output: y   [.., out]   of x's type
#pragma once

#include "fields.h"

#include <NvInferRuntime.h>

#include <cstdint>
#include <functional>
#include <string>

namespace cumo {

/// Indices of the inputs of a node with the given attributes.
class Operands {
 public:
  explicit Operands(const MoeFields& fields) noexcept : fields_(fields) {}

  static constexpr int32_t kX = 0;
  static constexpr int32_t kWeights = 1;
  static constexpr int32_t kExperts = 2;
  static constexpr int32_t kFirstExpert = 3;

  /// The matrices of an expert, in the order of the inputs.
  enum class Matrix { kFc1, kUp, kFc2 };

  int32_t count() const noexcept { return kFirstExpert + fields_.num_experts * per_expert(); }

  /// The input with a matrix. `kUp` only where gated.
  int32_t matrix(int32_t expert, Matrix which) const noexcept {
    const auto before = which == Matrix::kFc1 ? 0 : which == Matrix::kUp ? 1 : 1 + fields_.gated;
    return kFirstExpert + expert * per_expert() + before * per_matrix();
  }

  /// The input with a matrix's bias. Only where biased.
  int32_t bias(int32_t expert, Matrix which) const noexcept { return matrix(expert, which) + 1; }

  /// What an input is, in words: `expert 1 fc2 bias`.
  std::string name(int32_t input) const;

 private:
  int32_t per_matrix() const noexcept { return 1 + fields_.biased; }
  int32_t per_expert() const noexcept { return (2 + fields_.gated) * per_matrix(); }

  const MoeFields& fields_;
};

/// Sizes that a kernel needs. A size that is not known while the graph is built is -1.
struct MoeSizes {
  int64_t tokens;
  int64_t in;
  int64_t hidden;
  int64_t out;
};

/// The dimensions of an input by its index.
using DimsOf = std::function<const nvinfer1::Dims&(int32_t)>;

/// Compares the number of inputs with what the attributes ask for. Throws std::invalid_argument
/// with both.
void check_count(const MoeFields& fields, int32_t given);

/// The sizes in x and in fc1 and fc2 of expert 0, unchecked but for their ranks.
/// Throws std::invalid_argument where a rank is wrong or the tokens are more than int32 can count.
MoeSizes sizes_of(const MoeFields& fields, const DimsOf& dims);

/// The same, after comparing all inputs with each other; -1 goes with any size. Allocates only to
/// throw: it runs before every launch. Throws std::invalid_argument that names the input, its shape
/// and the one it must have.
MoeSizes checked_sizes(const MoeFields& fields, const DimsOf& dims);

}  // namespace cumo
