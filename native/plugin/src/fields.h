// The attributes of a CumoMoE node: read from plugin fields, checked, and written for engines.
#pragma once

#include <NvInferRuntime.h>

#include <array>
#include <cstdint>
#include <string>

namespace cumo {

/// Counts the forms of the plugin that engines can hold: attributes, inputs and their order. An
/// engine with another one is refused. Raise it when any of them changes.
constexpr int32_t kLayoutVersion = 1;

/// Experts of a node, at most.
constexpr int32_t kMaxExperts = 64;

/// The attributes. Only made by `read_fields`, so the values are possible ones.
struct MoeFields {
  std::string activation;       ///< gelu, quick_gelu or silu
  int32_t gated;                ///< 1: an expert is fc2(act(fc1 x) * up x); 0: fc2(act(fc1 x))
  int32_t biased;               ///< 1: each matrix is followed by its bias
  int32_t num_experts;          ///< 1 to kMaxExperts
  int32_t num_experts_per_tok;  ///< 1 to num_experts
};

/// The fields that a graph gives: names and types, no values.
const nvinfer1::PluginFieldCollection& field_names() noexcept;

/// The attributes from a graph (kBUILD) or from an engine (kRUNTIME), whose layout version must be
/// ours. Throws std::invalid_argument that names the field and its value.
MoeFields read_fields(const nvinfer1::PluginFieldCollection& given, nvinfer1::TensorRTPhase phase);

/// `activation, 4 experts, 2 per token, gated, biased`: for the engine inspector.
std::string describe(const MoeFields& fields);

/// The fields that an engine holds, with the layout version. They point into the `MoeFields` given,
/// which must live as long.
class SerializedFields {
 public:
  explicit SerializedFields(const MoeFields& fields) noexcept;
  SerializedFields(const SerializedFields&) = delete;
  SerializedFields& operator=(const SerializedFields&) = delete;

  const nvinfer1::PluginFieldCollection* collection() const noexcept { return &collection_; }

 private:
  std::array<nvinfer1::PluginField, 6> fields_;
  nvinfer1::PluginFieldCollection collection_;
};

}  // namespace cumo
