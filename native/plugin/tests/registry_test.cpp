// CumoMoE in the plugin registry of a real TensorRT library: made, cloned, written, read back, refused, and
// run on host memory over the emulated kernels against the goldens' layers and the list of cases.
//
//   registry_test TENSORRT_LIBRARY PLUGIN_LIBRARY CASES LIST
//
// CASES is the folder that prepare_cases.py writes, LIST is native/emulation/cases.txt.
//
// Needs no GPU and no driver; creates no runtime, which the flavours but RTX cannot do without a driver.

#include "case_file.h"
#include "check.h"
#include "node.h"
#include "registry.h"
#include "shared_cases.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>

using nvinfer1::DataType;
using nvinfer1::IPluginV3;
using nvinfer1::PluginCapabilityType;
using nvinfer1::PluginFieldType;
using nvinfer1::TensorRTPhase;

namespace {

using Plugin = std::unique_ptr<IPluginV3>;

struct Test {
    Checks& check;
    Registry& registry;
    Messages& messages;
    std::vector<MoeCase> cases;
    std::vector<SharedCase> shared;

    Plugin make(Fields fields, TensorRTPhase phase = TensorRTPhase::kBUILD) const {
        return Plugin(registry.creator().createPlugin("moe", fields.collection(), phase));
    }

    /// A layer of 4 experts, 2 per token, biased, 64 channels everywhere: 19 inputs.
    MoeCase const& connector() const {
        for (auto const& layer : cases) {
            if (layer.name == "mistral-moe.connector.wide") return layer;
        }
        throw std::runtime_error("there is no case mistral-moe.connector.wide");
    }
};

template <class T>
T& capability(IPluginV3& plugin, PluginCapabilityType type) {
    return *static_cast<T*>(plugin.getCapabilityInterface(type));
}

/// The fields that an engine would hold, in memory of their own.
Fields serialised(IPluginV3& plugin) {
    auto& runtime = capability<nvinfer1::IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
    auto const& collection = *runtime.getFieldsToSerialize();
    Fields copies;
    for (int32_t i = 0; i < collection.nbFields; ++i) {
        auto const& field = collection.fields[i];
        if (field.type == PluginFieldType::kCHAR) {
            copies.text(field.name,
                        std::string(static_cast<char const*>(field.data), static_cast<size_t>(field.length)));
        } else {
            int32_t value;
            std::memcpy(&value, field.data, sizeof value);
            copies.integer(field.name, value);
        }
    }
    return copies;
}

std::string metadata(IPluginV3& plugin) {
    return capability<nvinfer1::IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD).getMetadataString();
}

/// max |error| over max |want|; NaN where a number is missing.
double error_of(std::vector<float> const& got, std::vector<float> const& want) {
    double worst = 0, largest = 0;
    for (size_t i = 0; i < want.size(); ++i) {
        double const error = std::fabs(double(got[i]) - want[i]);
        if (std::isnan(error)) return error;
        worst = std::max(worst, error);
        largest = std::max(largest, std::fabs(double(want[i])));
    }
    return got.size() == want.size() ? worst / largest : NAN;
}

void makes_plugins(Test const& test) {
    auto const& names = *test.registry.creator().getFieldNames();
    test.check.that(names.nbFields == 5, "the creator names 5 fields");
    auto plugin = test.make(fields_of(test.connector()));
    if (!test.check.that(plugin != nullptr, "fields make a plugin", test.messages.take())) return;
    auto& core = capability<nvinfer1::IPluginV3OneCore>(*plugin, PluginCapabilityType::kCORE);
    test.check.that(std::string(core.getPluginName()) == "CumoMoE" && std::string(core.getPluginVersion()) == "1" &&
                        std::string(core.getPluginNamespace()).empty(),
                    "it is CumoMoE 1 of no namespace");
    auto const words = metadata(*plugin);
    test.check.says(words, test.connector().activation + ", 4 experts, 2 per token, biased");

    Plugin copy(plugin->clone());
    plugin.reset();
    test.check.that(copy && metadata(*copy) == words, "a clone outlives its origin and says the same");
    auto again = test.make(serialised(*copy), TensorRTPhase::kRUNTIME);
    test.check.that(again && metadata(*again) == words, "serialised fields make the same plugin", test.messages.take());
    auto& runtime = capability<nvinfer1::IPluginV3OneRuntime>(*again, PluginCapabilityType::kRUNTIME);
    Plugin attached(runtime.attachToContext(nullptr));
    test.check.that(attached && metadata(*attached) == words, "a context gets a copy");

    auto padded = fields_of(test.connector());
    padded.text("activation", std::string("silu\0\0", 6));
    auto silu = test.make(std::move(padded));
    test.check.that(silu && metadata(*silu).rfind("silu,", 0) == 0, "nulls behind a string are not part of it");
}

void refuses_other_layouts(Test const& test) {
    auto plugin = test.make(fields_of(test.connector()));
    auto refuse = [&](Fields fields, std::string const& reason) {
        test.check.that(!test.make(std::move(fields), TensorRTPhase::kRUNTIME), "no plugin for another layout");
        test.check.says(test.messages.take(), reason);
    };
    for (int32_t version : {0, 2, -1}) {
        refuse(std::move(serialised(*plugin).integer("layout_version", version)),
               "the engine holds layout version " + std::to_string(version) + ", this plugin reads 1");
    }
    refuse(std::move(serialised(*plugin).without("layout_version")), "attribute `layout_version` is missing");
    refuse(std::move(serialised(*plugin).text("layout_version", "1")), "attribute `layout_version` is not one integer");
}

void refuses_bad_attributes(Test const& test) {
    auto refuse = [&](Fields fields, std::string const& reason) {
        test.check.that(!test.make(std::move(fields)), "no plugin");
        test.check.says(test.messages.take(), "CumoMoE: createPlugin: node `moe`: " + reason);
    };
    auto good = [&] { return fields_of(test.connector()); };
    refuse(std::move(good().text("activation", "relu")), "activation `relu` is none of gelu, quick_gelu, silu");
    refuse(std::move(good().text("activation", "")), "activation `` is none of");
    refuse(std::move(good().integer("activation", 1)), "attribute `activation` is not a string");
    refuse(std::move(good().integer("gated", 2)), "gated is 2, it must be 0 to 1");
    refuse(std::move(good().integer("biased", -1)), "biased is -1, it must be 0 to 1");
    refuse(std::move(good().integer("num_experts", 65)), "num_experts is 65, it must be 1 to 64");
    refuse(std::move(good().integer("num_experts", 0)), "num_experts is 0, it must be 1 to 64");
    refuse(std::move(good().integer("num_experts_per_tok", 5)), "num_experts_per_tok is 5, it must be 1 to 4");
    refuse(std::move(good().integer("num_experts_per_tok", 0)), "num_experts_per_tok is 0, it must be 1 to 4");
    for (auto const* name : {"activation", "gated", "biased", "num_experts", "num_experts_per_tok"}) {
        refuse(std::move(good().without(name)), std::string("attribute `") + name + "` is missing");
    }
    int64_t const wide = 4;
    refuse(std::move(good().raw({"num_experts", &wide, PluginFieldType::kINT64, 1})),
           "attribute `num_experts` is not one integer");
    refuse(std::move(good().raw({"gated", nullptr, PluginFieldType::kINT32, 1})),
           "attribute `gated` is not one integer");
    refuse(std::move(good().raw({"activation", nullptr, PluginFieldType::kCHAR, 4})),
           "attribute `activation` is not a string");
    test.check.that(!test.registry.creator().createPlugin("moe", nullptr, TensorRTPhase::kBUILD), "no plugin");
    test.check.says(test.messages.take(), "there are no fields");
    test.check.that(
        !test.registry.creator().createPlugin(nullptr, good().without("gated").collection(), TensorRTPhase::kBUILD),
        "no plugin, and no name");
    test.check.says(test.messages.take(), "node ``: attribute `gated` is missing");
}

void refuses_wrong_tensors(Test const& test) {
    auto plugin = test.make(fields_of(test.connector()));
    auto refuse = [&](auto spoil, std::string const& reason) {
        Node node(*plugin, test.connector(), DataType::kHALF);
        spoil(node);
        test.check.that(node.shape_change() != 0, "onShapeChange fails");
        test.check.says(test.messages.take(), "CumoMoE: onShapeChange: " + reason);
        test.check.that(node.configure(64) != 0, "configurePlugin fails");
        test.check.says(test.messages.take(), "CumoMoE: configurePlugin: " + reason);
    };
    refuse([](Node& node) { node.inputs.pop_back(); }, "18 inputs, but gelu, 4 experts, 2 per token, biased takes 19");
    refuse([](Node& node) { node.inputs.push_back(node.inputs[0]); }, "20 inputs, but");
    refuse([](Node& node) { node.inputs[0].type = DataType::kFLOAT; }, "x is f32, it must be f16 or bf16");
    refuse([](Node& node) { node.inputs[1].type = DataType::kHALF; }, "input 1 (weights) is f16, it must be f32");
    refuse([](Node& node) { node.inputs[2].type = DataType::kINT64; }, "input 2 (experts) is i64, it must be i32");
    refuse([](Node& node) { node.inputs[5].type = DataType::kBF16; }, "input 5 (expert 0 fc2) is bf16, it must be f16");
    refuse([](Node& node) { node.inputs[0].dims.nbDims = 0; }, "input 0 (x) is [], it must be [.., in]");
    refuse([](Node& node) { node.inputs[3].dims.nbDims = 3; },
           "input 3 (expert 0 fc1) is [64, 64, 0], it must be [in, hidden]");
    refuse([](Node& node) { node.inputs[1].dims.d[2] = 3; }, "input 1 (weights) is [1, ");
    refuse([](Node& node) { node.inputs[2].dims.nbDims = 2; }, "input 2 (experts) is [");
    refuse([](Node& node) { node.inputs[4].dims.d[0] = 7; }, "input 4 (expert 0 fc1 bias) is [7], it must be [64]");
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
    test.check.that(build.getOutputDataTypes(&result, 1, types, 19) == 0 && result == DataType::kBF16, "y has x's type",
                    test.messages.take());
    test.check.that(build.getOutputDataTypes(&result, 1, types, 18) != 0, "getOutputDataTypes counts the inputs");
    test.check.says(test.messages.take(), "18 inputs");
}

void supports_linear_halves(Test const& test) {
    auto plugin = test.make(fields_of(test.connector()));
    auto& build = capability<nvinfer1::IPluginV3OneBuild>(*plugin, PluginCapabilityType::kBUILD);
    for (auto type : {DataType::kHALF, DataType::kBF16}) {
        Node const node(*plugin, test.connector(), type);
        auto descs = node.profile(64);
        descs.push_back({node.output, node.output.dims, node.output.dims, node.output.dims});
        bool all = true, none = true, linear = true;
        for (int32_t position = 0; position < 20; ++position) {
            auto supported = [&] { return build.supportsFormatCombination(position, descs.data(), 19, 1); };
            auto const kept = descs[position].desc;
            all &= supported();
            for (auto other : {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT8, DataType::kINT32,
                               DataType::kINT64, DataType::kFP8}) {
                descs[position].desc.type = other;
                bool const either = position == 0 && (other == DataType::kHALF || other == DataType::kBF16);
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

/// Runs a layer in a workspace of exactly the bytes that the plugin asks for.
void compute(Test const& test, MoeCase const& layer, DataType type) {
    auto plugin = test.make(fields_of(layer));
    if (!test.check.that(plugin != nullptr, layer.name + ": made", test.messages.take())) return;
    Node node(*plugin, layer, type);
    test.check.that(node.configure(layer.tokens) == 0, layer.name + ": configured", test.messages.take());
    Memory const workspace(node.workspace_bytes(layer.tokens));
    auto const status = node.run(&workspace);
    auto const error = status ? NAN : layer.y.empty() ? 0 : error_of(widened(node.y, type), layer.y);
    char numbers[64];
    std::snprintf(numbers, sizeof numbers, "error/max %.1e, limit %.0e", error, double(layer.limit));
    test.check.that(error <= layer.limit,  // false for NaN
                    layer.name + (type == DataType::kHALF ? " f16: " : " bf16: ") + numbers, test.messages.take());
}

void computes_golden_layers(Test const& test) {
    for (auto const& layer : test.cases) {
        for (auto type : {DataType::kHALF, DataType::kBF16}) compute(test, layer, type);
    }
}

void computes_shared_cases(Test const& test) {
    for (auto const& [layer, type] : test.shared) {
        if (layer.num_experts <= 64) {
            compute(test, layer, type);
        } else {
            test.check.that(!test.make(fields_of(layer)), layer.name + ": refused");
            test.check.says(test.messages.take(), "num_experts is " + std::to_string(layer.num_experts));
        }
    }
}

/// The first `tokens` rows of a layer.
MoeCase first_rows(MoeCase layer, int64_t tokens) {
    layer.tokens = tokens;
    layer.x.resize(static_cast<size_t>(tokens * layer.in));
    layer.weights.resize(static_cast<size_t>(tokens * layer.num_experts_per_tok));
    layer.experts.resize(layer.weights.size());
    layer.y.resize(static_cast<size_t>(tokens * layer.out));
    return layer;
}

void one_workspace_does_for_fewer_rows(Test const& test) {
    auto const& layer = *std::max_element(test.cases.begin(), test.cases.end(),
                                          [](auto const& a, auto const& b) { return a.tokens < b.tokens; });
    auto plugin = test.make(fields_of(layer));
    Node const whole(*plugin, layer, DataType::kHALF);
    Memory const workspace(whole.workspace_bytes(layer.tokens));
    bool grows = true;
    for (int64_t tokens = 1; tokens <= 600; ++tokens) {
        grows &= whole.workspace_bytes(tokens) >= whole.workspace_bytes(tokens - 1);
    }
    test.check.that(grows, "the workspace never shrinks from 0 to 600 rows");
    for (int64_t tokens : {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{5}, int64_t{17}, layer.tokens}) {
        auto const part = first_rows(layer, tokens);
        Node const node(*plugin, part, DataType::kHALF);
        auto const status = node.run(&workspace);
        auto const ok =
            status == 0 && (tokens == 0 || error_of(widened(node.y, DataType::kHALF), part.y) <= part.limit);
        test.check.that(ok, std::to_string(tokens) + " rows in the workspace of " + std::to_string(layer.tokens),
                        test.messages.take());
    }
    auto const part = first_rows(layer, 9);
    Node const once(*plugin, part, DataType::kHALF), twice(*plugin, part, DataType::kHALF);
    once.run(&workspace), twice.run(&workspace);
    test.check.that(std::memcmp(once.y.data(), twice.y.data(), once.y.bytes()) == 0, "two runs are bit-equal");
}

void reports_kernel_faults(Test const& test) {
    auto plugin = test.make(fields_of(test.connector()));
    Node node(*plugin, test.connector(), DataType::kHALF);
    test.check.that(node.enqueue(nullptr) != 0, "enqueue without a workspace fails");
    test.check.says(test.messages.take(), "CumoMoE: enqueue: ");
    Memory const odd(node.workspace_bytes(test.connector().tokens) + 8);
    test.check.that(node.enqueue(static_cast<char*>(odd.data()) + 8) != 0, "and with one that is not aligned");
    test.check.says(test.messages.take(), "CumoMoE: enqueue: ");
    node.inputs[0].dims.d[2] += 1;
    Memory const workspace(node.workspace_bytes(test.connector().tokens));
    test.check.that(node.enqueue(workspace.data()) != 0, "enqueue with another shape than the experts' fails");
    test.check.says(test.messages.take(), "CumoMoE: enqueue: input 3 (expert 0 fc1) is");
}

void survives_finders(Test const& test) {
    struct Throwing final : nvinfer1::ILoggerFinder {
        nvinfer1::ILogger* findLogger() override { throw std::runtime_error("no"); }
    } throwing;
    struct Empty final : nvinfer1::ILoggerFinder {
        nvinfer1::ILogger* findLogger() override { return nullptr; }
    } empty;
    for (nvinfer1::ILoggerFinder* finder :
         {static_cast<nvinfer1::ILoggerFinder*>(&throwing), static_cast<nvinfer1::ILoggerFinder*>(&empty),
          static_cast<nvinfer1::ILoggerFinder*>(nullptr)}) {
        test.registry.set_logger_finder(finder);
        test.check.that(!test.make(std::move(fields_of(test.connector()).without("gated"))),
                        "refused also where no logger is found (the line above this one)");
    }
    test.registry.set_logger_finder(&test.messages);
    test.check.that(test.messages.take().empty(), "and the logger that was not named got nothing");
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 5) return std::fprintf(stderr, "registry_test TENSORRT_LIBRARY PLUGIN_LIBRARY CASES LIST\n"), 2;
    Checks check;
    try {
        Messages messages;
        Registry registry(arguments[1], arguments[2], messages);
        check.that(true, "loaded by the registry of " + std::string(arguments[1]));
        auto cases = read_cases(arguments[3]);
        auto const limit = cases.front().limit;
        Test const test{check, registry, messages, std::move(cases), read_shared_cases(arguments[4], limit)};
        makes_plugins(test);
        refuses_other_layouts(test);
        refuses_bad_attributes(test);
        refuses_wrong_tensors(test);
        supports_linear_halves(test);
        computes_golden_layers(test);
        computes_shared_cases(test);
        one_workspace_does_for_fewer_rows(test);
        reports_kernel_faults(test);
        survives_finders(test);
        check.that(registry.unload(), "the registry lets go of it");
    } catch (std::exception const& fault) {
        check.that(false, "the test runs", fault.what());
    }
    return check.finish();
}
