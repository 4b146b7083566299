// The files of prepare_cases.py: an MoE layer of a golden with its inputs and results.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// A layer; arrays as prepare_cases.py describes them.
struct MoeCase {
  std::string name;
  std::string activation;
  int32_t gated, biased, num_experts, num_experts_per_tok;
  int64_t tokens, in, hidden, out;
  float limit;                    ///< of whole models in f16: max |error| over max |y|
  std::vector<float> x, weights;  ///< [tokens, in], [tokens, k]
  std::vector<int32_t> experts;   ///< [tokens, k]
  std::vector<std::vector<float>> expert_tensors;  ///< in the order of the plugin's inputs
  std::vector<float> y;                            ///< [tokens, out]

  /// Sizes of expert tensor `index`: two of a matrix, one of a bias.
  std::vector<int64_t> tensor_dims(size_t index) const;
  size_t tensors_per_expert() const { return (2u + gated) * (1u + biased); }
};

/// Every *.moe of a folder, by name. Throws std::runtime_error for a folder without any and a bad
/// file.
std::vector<MoeCase> read_cases(const std::string& folder);
