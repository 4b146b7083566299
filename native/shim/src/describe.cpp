// What is in a network: its tensors, and its layers as the parser made them.
#include "builder.h"
#include "status.h"
#include "tensor.h"

#include <string>

namespace cumo::trt {
namespace {

/// By nvinfer1::LayerType, whose numbers do not change from version to version.
// clang-format off
constexpr const char* kKINDS[] = {
  "convolution", "cast", "activation", "pooling", "lrn", "scale", "softmax", "deconvolution",
  "concatenation", "elementwise", "plugin", "unary", "padding", "shuffle", "reduce", "top_k",
  "gather", "matrix_multiply", "ragged_softmax", "constant", "identity", "plugin_v2", "slice",
  "shape", "parametric_relu", "resize", "trip_limit", "recurrence", "iterator", "loop_output",
  "select", "fill", "quantize", "dequantize", "condition", "conditional_input",
  "conditional_output", "scatter", "einsum", "assertion", "one_hot", "non_zero", "grid_sample",
  "nms", "reverse_sequence", "normalization", "plugin_v3", "squeeze", "unsqueeze", "cumulative",
  "dynamic_quantize", "attention_input", "attention_output", "rotary_embedding",
  "kv_cache_update", "moe", "collective",
};
// clang-format on

const char* kind(nvinfer1::LayerType type) noexcept {
  const auto index = static_cast<size_t>(type);
  return index < sizeof kKINDS / sizeof kKINDS[0] ? kKINDS[index] : "other";
}

cumo_trt_tensor describe(const nvinfer1::ITensor* tensor, bool is_input) {
  cumo_trt_tensor out{};
  out.name = tensor == nullptr ? "" : tensor->getName();
  out.is_input = is_input ? 1 : 0;
  out.rank = -1;
  if (tensor == nullptr) return out;
  out.dtype = dtype_number(tensor->getType());
  out.is_host = tensor->isShapeTensor() ? 1 : 0;
  set_shape(out, tensor->getDimensions());
  return out;
}

nvinfer1::ILayer& layer_at(const cumo_trt_network* network, size_t index) {
  const auto& definition = *required(network, "network").network;
  if (index >= static_cast<size_t>(definition.getNbLayers())) {
    throw Fault{CUMO_TRT_CODE_INVALID_ARGUMENT,
                "the network has no layer " + std::to_string(index)};
  }
  return *definition.getLayer(static_cast<int32_t>(index));
}

}  // namespace

const char* plugin_name(nvinfer1::ILayer& layer) noexcept {
  if (layer.getType() != nvinfer1::LayerType::kPLUGIN_V3) return "";
  auto& plugin = static_cast<nvinfer1::IPluginV3Layer&>(layer).getPlugin();
  auto* core = plugin.getCapabilityInterface(nvinfer1::PluginCapabilityType::kCORE);
  if (core == nullptr) return "";
  return static_cast<nvinfer1::IPluginV3OneCore*>(core)->getPluginName();
}

}  // namespace cumo::trt

extern "C" {

size_t cumo_trt_network_num_tensors(const cumo_trt_network* network) {
  if (network == nullptr) return 0;
  return static_cast<size_t>(network->network->getNbInputs()) +
         static_cast<size_t>(network->network->getNbOutputs());
}

cumo_trt_status* cumo_trt_network_tensor(const cumo_trt_network* network, size_t index,
                                         cumo_trt_tensor* out) {
  return cumo::trt::guarded([&] {
    cumo::trt::required(out, "out") = {};
    const auto& definition = *cumo::trt::required(network, "network").network;
    const auto inputs = static_cast<size_t>(definition.getNbInputs());
    if (index >= cumo_trt_network_num_tensors(network)) {
      throw cumo::trt::Fault{CUMO_TRT_CODE_INVALID_ARGUMENT, "no tensor " + std::to_string(index)};
    }
    const bool is_input = index < inputs;
    const auto at = static_cast<int32_t>(is_input ? index : index - inputs);
    *out = cumo::trt::describe(is_input ? definition.getInput(at) : definition.getOutput(at),
                               is_input);
  });
}

size_t cumo_trt_network_num_layers(const cumo_trt_network* network) {
  return network == nullptr ? 0 : static_cast<size_t>(network->network->getNbLayers());
}

cumo_trt_status* cumo_trt_network_layer(const cumo_trt_network* network, size_t index,
                                        cumo_trt_layer* out) {
  return cumo::trt::guarded([&] {
    cumo::trt::required(out, "out") = {};
    auto& layer = cumo::trt::layer_at(network, index);
    *out = {layer.getName(), cumo::trt::kind(layer.getType()), cumo::trt::plugin_name(layer),
            layer.getNbInputs(), layer.getNbOutputs()};
  });
}

cumo_trt_status* cumo_trt_network_layer_tensor(const cumo_trt_network* network, size_t layer,
                                               int32_t is_input, size_t index,
                                               cumo_trt_tensor* out) {
  return cumo::trt::guarded([&] {
    cumo::trt::required(out, "out") = {};
    auto& which = cumo::trt::layer_at(network, layer);
    const auto count =
        static_cast<size_t>(is_input != 0 ? which.getNbInputs() : which.getNbOutputs());
    if (index >= count) {
      throw cumo::trt::Fault{CUMO_TRT_CODE_INVALID_ARGUMENT,
                             "the layer has no tensor " + std::to_string(index)};
    }
    const auto at = static_cast<int32_t>(index);
    *out = cumo::trt::describe(is_input != 0 ? which.getInput(at) : which.getOutput(at),
                               is_input != 0);
  });
}

}  // extern "C"
