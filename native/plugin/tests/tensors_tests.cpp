// Descriptions of tensors that CumoMoE takes, and those that it must not.

#include "plugin_tests.h"
#include "node.h"

#include <algorithm>
#include <iterator>

using nvinfer1::DataType;
using nvinfer1::PluginCapabilityType;

namespace {

/// A layer of the list that is gated and biased: every kind of input.
const SharedCase& full_layer(const Test& test) {
  for (const auto& one : test.shared) {
    if (one.layer.gated && one.layer.biased && one.layer.tokens && one.layer.num_experts <= 64)
      return one;
  }
  throw std::runtime_error("the list has no gated, biased case");
}

}  // namespace

void refuses_wrong_tensors(const Test& test) {
  auto plugin = test.make(fields_of(test.connector()));
  auto refuse = [&](auto spoil, const std::string& reason) {
    Node node(*plugin, test.connector(), DataType::kHALF);
    spoil(node);
    test.check.that(node.shape_change() != 0, "onShapeChange fails");
    test.check.says(test.messages.take(), "CumoMoE: onShapeChange: " + reason);
    test.check.that(node.configure(64) != 0, "configurePlugin fails");
    test.check.says(test.messages.take(), "CumoMoE: configurePlugin: " + reason);
  };
  refuse([](Node& node) { node.inputs.pop_back(); },
         "18 inputs, but gelu, 4 experts, 2 per token, biased takes 19");
  refuse([](Node& node) { node.inputs.push_back(node.inputs[0]); }, "20 inputs, but");
  refuse([](Node& node) { node.inputs[0].type = DataType::kFLOAT; },
         "x is f32, it must be f16 or bf16");
  refuse([](Node& node) { node.inputs[1].type = DataType::kHALF; },
         "input 1 (weights) is f16, it must be f32");
  refuse([](Node& node) { node.inputs[2].type = DataType::kINT64; },
         "input 2 (experts) is i64, it must be i32");
  refuse([](Node& node) { node.inputs[5].type = DataType::kBF16; },
         "input 5 (expert 0 fc2) is bf16, it must be f16");
  refuse([](Node& node) { node.inputs[0].dims.nbDims = 0; },
         "input 0 (x) is [], it must be [.., in]");
  refuse([](Node& node) { node.inputs[3].dims.nbDims = 3; },
         "input 3 (expert 0 fc1) is [64, 64, 0], it must be [in, hidden]");
  refuse([](Node& node) { node.inputs[1].dims.d[2] = 3; }, "input 1 (weights) is [1, ");
  refuse([](Node& node) { node.inputs[2].dims.nbDims = 2; }, "input 2 (experts) is [");
  refuse([](Node& node) { node.inputs[4].dims.d[0] = 7; },
         "input 4 (expert 0 fc1 bias) is [7], it must be [64]");
  refuse([](Node& node) { node.inputs[9].dims.d[1] = 48; },
         "input 9 (expert 1 fc2) is [64, 48], it must be [64, 64]");
  refuse([](Node& node) { node.inputs[15].dims.d[0] = 63; },
         "input 15 (expert 3 fc1) is [63, 64], it must be [64, 64]");
  refuse(
      [](Node& node) {
        for (int i : {0, 1, 2}) node.inputs[i].dims.d[0] = int64_t{1} << 40;
      },
      "x is [1099511627776, ");
  auto& build = capability<nvinfer1::IPluginV3OneBuild>(*plugin, PluginCapabilityType::kBUILD);
  DataType types[19], result;
  std::fill(std::begin(types), std::end(types), DataType::kBF16);
  types[1] = DataType::kFLOAT, types[2] = DataType::kINT32;
  test.check.that(build.getOutputDataTypes(&result, 1, types, 19) == 0 && result == DataType::kBF16,
                  "y has x's type", test.messages.take());
  test.check.that(build.getOutputDataTypes(&result, 1, types, 18) != 0,
                  "getOutputDataTypes counts the inputs");
  test.check.says(test.messages.take(), "18 inputs");
}

/// Each size, rank and type of each input is bound by another's: one that is changed alone must be
/// refused.
void refuses_any_changed_tensor(const Test& test) {
  const auto& [layer, type] = full_layer(test);
  auto plugin = test.make(fields_of(layer));
  Node node(*plugin, layer, type);
  test.check.that(node.shape_change() == 0, layer.name + " is taken as it is",
                  test.messages.take());
  int changes = 0, taken = 0;
  auto change = [&](auto& value, auto other) {
    const auto kept = value;
    value = other;
    ++changes;
    if (node.shape_change() == 0) {
      ++taken;
      std::printf("        taken: change %d\n", changes);
    }
    value = kept;
  };
  for (auto& input : node.inputs) {
    for (int32_t i = 0; i < input.dims.nbDims; ++i) {
      change(input.dims.d[i], input.dims.d[i] + 1);
      change(input.dims.d[i], input.dims.d[i] - 1);
    }
    change(input.dims.nbDims, input.dims.nbDims + 1);
    change(input.dims.nbDims, input.dims.nbDims - 1);
    for (auto other :
         {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT32, DataType::kINT64}) {
      if (other != input.type) change(input.type, other);
    }
  }
  test.messages.take();
  test.check.that(taken == 0 && changes > 100,
                  std::to_string(changes) + " changed descriptions are refused");
}

void supports_linear_halves(const Test& test) {
  auto plugin = test.make(fields_of(test.connector()));
  auto& build = capability<nvinfer1::IPluginV3OneBuild>(*plugin, PluginCapabilityType::kBUILD);
  for (auto type : {DataType::kHALF, DataType::kBF16}) {
    const Node node(*plugin, test.connector(), type);
    auto descs = node.profile(64);
    descs.push_back({node.output, node.output.dims, node.output.dims, node.output.dims});
    bool all = true, none = true, linear = true;
    for (int32_t position = 0; position < 20; ++position) {
      auto supported = [&] {
        return build.supportsFormatCombination(position, descs.data(), 19, 1);
      };
      const auto kept = descs[position].desc;
      all &= supported();
      for (auto other : {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT8,
                         DataType::kINT32, DataType::kINT64, DataType::kFP8}) {
        descs[position].desc.type = other;
        const bool either = position == 0 && (other == DataType::kHALF || other == DataType::kBF16);
        none &= supported() == (other == kept.type || either);
      }
      descs[position].desc = kept;
      descs[position].desc.format = nvinfer1::TensorFormat::kCHW16;
      linear &= !supported();
      descs[position].desc = kept;
    }
    test.check.that(all, "every tensor is supported as it should be");
    test.check.that(none, "no other type is");
    test.check.that(linear, "no other format is");
    test.check.that(!build.supportsFormatCombination(20, descs.data(), 19, 1) &&
                        !build.supportsFormatCombination(-1, descs.data(), 19, 1),
                    "no tensor that is not there is");
  }
  test.messages.take();
}
