// CumoMoE nodes through TensorRT-RTX's ONNX parser and builder, which need no GPU.
//
//   engine_test PLUGIN_LIBRARY GRAPHS
//
// TensorRT-RTX's folder must be on LD_LIBRARY_PATH as the process starts.

#include "check.h"
#include "registry.h"

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <chrono>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

using nvinfer1::Dims;
using nvinfer1::OptProfileSelector;

struct Test {
  Checks& check;
  nvinfer1::IBuilder& builder;
  Messages& messages;
  std::string folder;
};

/// A graph's network with its parser, which owns constants of the network: both live until it is
/// built.
struct Parsed {
  std::unique_ptr<nvinfer1::INetworkDefinition> network;
  std::unique_ptr<nvonnxparser::IParser> parser;
  bool parsed;

  Parsed(const Test& test, const std::string& graph)
      : network(test.builder.createNetworkV2(0)),
        parser(nvonnxparser::createParser(*network, test.messages)),
        parsed(parser->parseFromFile((test.folder + "/" + graph + ".onnx").c_str(), 1)) {}
};

/// The plugin layers of a network; `metadata` gets what the last one says of itself.
int plugin_layers(nvinfer1::INetworkDefinition& network, std::string& metadata) {
  int found = 0;
  for (int32_t i = 0; i < network.getNbLayers(); ++i) {
    auto* layer = network.getLayer(i);
    if (layer->getType() != nvinfer1::LayerType::kPLUGIN_V3) continue;
    ++found;
    auto& plugin = static_cast<nvinfer1::IPluginV3Layer*>(layer)->getPlugin();
    metadata = static_cast<nvinfer1::IPluginV3OneBuild*>(
                   plugin.getCapabilityInterface(nvinfer1::PluginCapabilityType::kBUILD))
                   ->getMetadataString();
  }
  return found;
}

/// Profile of x [1 to 10, 1 to 577, in]; all other inputs have fixed sizes.
std::unique_ptr<nvinfer1::IBuilderConfig> config_of(const Test& test,
                                                    nvinfer1::INetworkDefinition& network) {
  std::unique_ptr<nvinfer1::IBuilderConfig> config(test.builder.createBuilderConfig());
  auto* profile = test.builder.createOptimizationProfile();
  const auto in = network.getInput(0)->getDimensions().d[2];
  profile->setDimensions("x", OptProfileSelector::kMIN, Dims{3, {1, 1, in}});
  profile->setDimensions("x", OptProfileSelector::kOPT, Dims{3, {10, 577, in}});
  profile->setDimensions("x", OptProfileSelector::kMAX, Dims{3, {10, 577, in}});
  config->addOptimizationProfile(profile);
  return config;
}

bool holds(const nvinfer1::IHostMemory& engine, const char* text) {
  const std::string bytes(static_cast<const char*>(engine.data()), engine.size());
  return bytes.find(text) != std::string::npos;
}

void builds(const Test& test, const std::string& graph, int32_t inputs, int64_t out,
            const std::string& words) {
  std::string metadata;
  const Parsed of(test, graph);
  auto& network = of.network;
  if (!test.check.that(of.parsed, graph + ": parsed", test.messages.take())) return;
  test.check.that(network->getNbInputs() == inputs,
                  graph + ": " + std::to_string(inputs) + " network inputs",
                  std::to_string(network->getNbInputs()));
  test.check.that(plugin_layers(*network, metadata) == 1, graph + ": one plugin layer");
  test.check.says(metadata, words);
  const auto y = network->getOutput(0)->getDimensions();
  test.check.that(y.nbDims == 3 && y.d[0] == -1 && y.d[1] == -1 && y.d[2] == out,
                  graph + ": y is [?, ?, " + std::to_string(out) + "]");

  const auto start = std::chrono::steady_clock::now();
  const auto config = config_of(test, *network);
  std::unique_ptr<nvinfer1::IHostMemory> engine(
      test.builder.buildSerializedNetwork(*network, *config));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (!test.check.that(engine != nullptr, graph + ": built", test.messages.take())) return;
  std::printf("        %zu bytes in %.2f s\n", engine->size(), seconds.count());
  test.check.that(holds(*engine, "CumoMoE") && holds(*engine, "layout_version") &&
                      holds(*engine, "num_experts_per_tok"),
                  graph + ": the engine holds the plugin and its fields");
}

/// A graph that must be refused, with the plugin's reason in the log.
void refuses(const Test& test, const std::string& graph, const std::string& reason) {
  const Parsed of(test, graph);
  test.check.that(!of.parsed, graph + ": refused by the parser");
  test.check.says(test.messages.take(), reason);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return std::fprintf(stderr, "engine_test PLUGIN_LIBRARY GRAPHS\n"), 2;
  Checks check;
  try {
    Messages messages;
    std::unique_ptr<nvinfer1::IBuilder> builder(nvinfer1::createInferBuilder(messages));
    if (!builder) throw std::runtime_error("no builder");
    if (!builder->getPluginRegistry().loadLibrary(arguments[1]))
      throw std::runtime_error("plugin not loaded");
    const Test test{check, *builder, messages, arguments[2]};
    builds(test, "clip_layer", 18, 1024, "quick_gelu, 4 experts, 2 per token, biased");
    builds(test, "clip_layer_bf16", 18, 1024, "quick_gelu, 4 experts, 2 per token, biased");
    builds(test, "connector", 18, 4096, "gelu, 4 experts, 2 per token, biased");
    builds(test, "mixtral_layer", 26, 4096, "silu, 8 experts, 2 per token, gated");
    refuses(test, "bad.activation",
            "node `moe`: activation `relu` is none of gelu, quick_gelu, silu");
    refuses(test, "bad.experts", "num_experts is 65, it must be 1 to 64");
    refuses(test, "bad.no_experts", "attribute `num_experts` is missing");
    refuses(test, "bad.k", "num_experts_per_tok is 5, it must be 1 to 4");
    refuses(test, "bad.inputs",
            "18 inputs, but quick_gelu, 4 experts, 2 per token, biased takes 19");
    refuses(test, "bad.shape", "input 9 (expert 1 fc2) is [96, 47], it must be [96, 48]");
    refuses(test, "bad.weights_type", "input 1 (weights) is f16, it must be f32");
    refuses(test, "bad.type", "x is f32, it must be f16 or bf16");
  } catch (const std::exception& fault) {
    check.that(false, "the test runs", fault.what());
  }
  return check.finish();
}
