// Attributes of CumoMoE: read, written, refused.

#include "plugin_tests.h"
#include "node.h"

#include <cstdlib>
#include <cstring>
#include <random>

using nvinfer1::IPluginV3;
using nvinfer1::PluginCapabilityType;
using nvinfer1::PluginFieldType;
using nvinfer1::TensorRTPhase;

namespace {

/// The fields that an engine would hold, in memory of their own.
Fields serialised(IPluginV3& plugin) {
  auto& runtime = capability<nvinfer1::IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
  const auto& collection = *runtime.getFieldsToSerialize();
  Fields copies;
  for (int32_t i = 0; i < collection.nbFields; ++i) {
    const auto& field = collection.fields[i];
    if (field.type == PluginFieldType::kCHAR) {
      copies.text(field.name, std::string(static_cast<const char*>(field.data),
                                          static_cast<size_t>(field.length)));
    } else {
      int32_t value;
      std::memcpy(&value, field.data, sizeof value);
      copies.integer(field.name, value);
    }
  }
  return copies;
}

std::string metadata(IPluginV3& plugin) {
  return capability<nvinfer1::IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD)
      .getMetadataString();
}

}  // namespace

void makes_plugins(const Test& test) {
  const auto& names = *test.registry.creator().getFieldNames();
  test.check.that(names.nbFields == 5, "the creator names 5 fields");
  auto plugin = test.make(fields_of(test.connector()));
  if (!test.check.that(plugin != nullptr, "fields make a plugin", test.messages.take())) return;
  auto& core = capability<nvinfer1::IPluginV3OneCore>(*plugin, PluginCapabilityType::kCORE);
  test.check.that(std::string(core.getPluginName()) == "CumoMoE" &&
                      std::string(core.getPluginVersion()) == "1" &&
                      std::string(core.getPluginNamespace()).empty(),
                  "it is CumoMoE 1 of no namespace");
  const auto words = metadata(*plugin);
  test.check.says(words, test.connector().activation + ", 4 experts, 2 per token, biased");

  Plugin copy(plugin->clone());
  plugin.reset();
  test.check.that(copy && metadata(*copy) == words,
                  "a clone outlives its origin and says the same");
  auto again = test.make(serialised(*copy), TensorRTPhase::kRUNTIME);
  test.check.that(again && metadata(*again) == words, "serialised fields make the same plugin",
                  test.messages.take());
  auto& runtime = capability<nvinfer1::IPluginV3OneRuntime>(*again, PluginCapabilityType::kRUNTIME);
  Plugin attached(runtime.attachToContext(nullptr));
  test.check.that(attached && metadata(*attached) == words, "a context gets a copy");

  auto padded = fields_of(test.connector());
  padded.text("activation", std::string("silu\0\0", 6));
  auto silu = test.make(std::move(padded));
  test.check.that(silu && metadata(*silu).rfind("silu,", 0) == 0,
                  "nulls behind a string are not part of it");
}

void refuses_devices_that_cannot_run_it(const Test& test) {
  auto plugin = test.make(fields_of(test.connector()));
  setenv("CUMO_EMULATED_ARCHITECTURE", "75", 1);
  test.check.that(test.make(fields_of(test.connector())) != nullptr,
                  "a network is built on any device");
  test.check.that(test.make(serialised(*plugin), TensorRTPhase::kRUNTIME) == nullptr,
                  "an engine is not read on 7.5");
  test.check.says(test.messages.take(),
                  "the device's compute capability is below 8.0, which the plugin needs: "
                  "export the model with `--moe function`");
  setenv("CUMO_EMULATED_ARCHITECTURE", "86", 1);
  test.check.that(test.make(serialised(*plugin), TensorRTPhase::kRUNTIME) != nullptr, "but on 8.6",
                  test.messages.take());
  unsetenv("CUMO_EMULATED_ARCHITECTURE");
}

void refuses_other_layouts(const Test& test) {
  auto plugin = test.make(fields_of(test.connector()));
  auto refuse = [&](Fields fields, const std::string& reason) {
    test.check.that(!test.make(std::move(fields), TensorRTPhase::kRUNTIME),
                    "no plugin for another layout");
    test.check.says(test.messages.take(), reason);
  };
  for (int32_t version : {0, 2, -1}) {
    refuse(std::move(serialised(*plugin).integer("layout_version", version)),
           "the engine holds layout version " + std::to_string(version) + ", this plugin reads 1");
  }
  refuse(std::move(serialised(*plugin).without("layout_version")),
         "attribute `layout_version` is missing");
  refuse(std::move(serialised(*plugin).text("layout_version", "1")),
         "attribute `layout_version` is not one integer");
}

void refuses_bad_attributes(const Test& test) {
  auto refuse = [&](Fields fields, const std::string& reason) {
    test.check.that(!test.make(std::move(fields)), "no plugin");
    test.check.says(test.messages.take(), "CumoMoE: createPlugin: node `moe`: " + reason);
  };
  auto good = [&] { return fields_of(test.connector()); };
  refuse(std::move(good().text("activation", "relu")),
         "activation `relu` is none of gelu, quick_gelu, silu");
  refuse(std::move(good().text("activation", "")), "activation `` is none of");
  refuse(std::move(good().integer("activation", 1)), "attribute `activation` is not a string");
  refuse(std::move(good().integer("gated", 2)), "gated is 2, it must be 0 to 1");
  refuse(std::move(good().integer("biased", -1)), "biased is -1, it must be 0 to 1");
  refuse(std::move(good().integer("num_experts", 65)), "num_experts is 65, it must be 1 to 64");
  refuse(std::move(good().integer("num_experts", 0)), "num_experts is 0, it must be 1 to 64");
  refuse(std::move(good().integer("num_experts_per_tok", 5)),
         "num_experts_per_tok is 5, it must be 1 to 4");
  refuse(std::move(good().integer("num_experts_per_tok", 0)),
         "num_experts_per_tok is 0, it must be 1 to 4");
  for (const auto* name : {"activation", "gated", "biased", "num_experts", "num_experts_per_tok"}) {
    refuse(std::move(good().without(name)), std::string("attribute `") + name + "` is missing");
  }
  const int64_t wide = 4;
  refuse(std::move(good().raw({"num_experts", &wide, PluginFieldType::kINT64, 1})),
         "attribute `num_experts` is not one integer");
  refuse(std::move(good().raw({"gated", nullptr, PluginFieldType::kINT32, 1})),
         "attribute `gated` is not one integer");
  refuse(std::move(good().raw({"activation", nullptr, PluginFieldType::kCHAR, 4})),
         "attribute `activation` is not a string");
  test.check.that(!test.registry.creator().createPlugin("moe", nullptr, TensorRTPhase::kBUILD),
                  "no plugin");
  test.check.says(test.messages.take(), "there are no fields");
  test.check.that(!test.registry.creator().createPlugin(
                      nullptr, good().without("gated").collection(), TensorRTPhase::kBUILD),
                  "no plugin, and no name");
  test.check.says(test.messages.take(), "node ``: attribute `gated` is missing");
}

/// Fields at random: a plugin comes out just where all of them are right.
void reads_random_fields(const Test& test) {
  std::minstd_rand random(1);
  auto draw = [&](size_t count) { return random() % count; };
  const char* const names[] = {"gated", "biased", "num_experts", "num_experts_per_tok",
                               "layout_version"};
  const char* const words[] = {"gelu", "quick_gelu", "silu", "relu", ""};
  int made = 0, wrong = 0;
  for (int round = 0; round < 20000; ++round) {
    int32_t values[] = {1, 0, 4, 2, 1};
    const auto word = draw(20) ? words[draw(3)] : words[3 + draw(2)];
    bool right = word != words[3] && word != words[4];
    Fields fields;
    fields.raw(
        {"activation", word, PluginFieldType::kCHAR, static_cast<int32_t>(std::strlen(word))});
    for (int i = 0; i < 5; ++i) {
      auto type = PluginFieldType::kINT32;
      int32_t length = 1;
      const void* data = &values[i];
      switch (draw(60)) {
        case 0:
          values[i] = 65 + static_cast<int32_t>(draw(1000000)), right = false;
          break;
        case 1:
          values[i] = -static_cast<int32_t>(random() % 9) - 1, right = false;
          break;
        case 2:
          type = static_cast<PluginFieldType>(draw(15));
          break;
        case 3:
          length = static_cast<int32_t>(draw(5)) - 2;
          break;
        case 4:
          data = nullptr;
          break;
        case 5:
          continue;  // left out
        default:
          break;
      }
      fields.raw({names[i], data, type, length});
    }
    const auto& given = *fields.collection();
    right &= given.nbFields == 6;
    for (int32_t i = 1; i < given.nbFields; ++i) {
      const auto& field = given.fields[i];
      right &= field.data && field.length == 1 && field.type == PluginFieldType::kINT32;
    }
    const auto plugin = test.make(std::move(fields), TensorRTPhase::kRUNTIME);
    made += plugin != nullptr;
    wrong += (plugin != nullptr) != right;
  }
  test.messages.take();
  test.check.that(wrong == 0 && made > 1000,
                  "of 20000 random collections " + std::to_string(made) + " are right",
                  std::to_string(wrong) + " were taken for the other");
}

void survives_finders(const Test& test) {
  struct Throwing final : nvinfer1::ILoggerFinder {
    nvinfer1::ILogger* findLogger() override { throw std::runtime_error("no"); }
  } throwing;
  struct Empty final : nvinfer1::ILoggerFinder {
    nvinfer1::ILogger* findLogger() override { return nullptr; }
  } empty;
  for (nvinfer1::ILoggerFinder* finder : {static_cast<nvinfer1::ILoggerFinder*>(&throwing),
                                          static_cast<nvinfer1::ILoggerFinder*>(&empty),
                                          static_cast<nvinfer1::ILoggerFinder*>(nullptr)}) {
    test.registry.set_logger_finder(finder);
    test.check.that(!test.make(std::move(fields_of(test.connector()).without("gated"))),
                    "refused also where no logger is found (the line above this one)");
  }
  test.registry.set_logger_finder(&test.messages);
  test.check.that(test.messages.take().empty(), "and the logger that was not named got nothing");
}
