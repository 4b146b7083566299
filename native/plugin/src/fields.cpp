#include "fields.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace cumo {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginFieldType;
using nvinfer1::TensorRTPhase;

constexpr char kActivation[] = "activation";
constexpr char kGated[] = "gated";
constexpr char kBiased[] = "biased";
constexpr char kNumExperts[] = "num_experts";
constexpr char kNumExpertsPerTok[] = "num_experts_per_tok";
constexpr char kLayout[] = "layout_version";

[[noreturn]] void refuse(const std::string& reason) { throw std::invalid_argument(reason); }

const PluginField& find(const PluginFieldCollection& given, const char* name) {
  const auto* end = given.fields + given.nbFields;
  const auto* field = std::find_if(given.fields, end, [&](const PluginField& candidate) {
    return candidate.name && std::strcmp(candidate.name, name) == 0;
  });
  if (field == end) refuse("attribute `" + std::string(name) + "` is missing");
  return *field;
}

int32_t read_int(const PluginFieldCollection& given, const char* name) {
  const auto& field = find(given, name);
  if (field.type != PluginFieldType::kINT32 || field.length != 1 || !field.data) {
    refuse("attribute `" + std::string(name) + "` is not one integer");
  }
  int32_t value;
  std::memcpy(&value, field.data, sizeof value);
  return value;
}

int32_t read_int(const PluginFieldCollection& given, const char* name, int32_t least,
                 int32_t most) {
  const auto value = read_int(given, name);
  if (value < least || value > most) {
    refuse(std::string(name) + " is " + std::to_string(value) + ", it must be " +
           std::to_string(least) + " to " + std::to_string(most));
  }
  return value;
}

std::string read_text(const PluginFieldCollection& given, const char* name) {
  const auto& field = find(given, name);
  if (field.type != PluginFieldType::kCHAR || field.length < 0 || (field.length && !field.data)) {
    refuse("attribute `" + std::string(name) + "` is not a string");
  }
  const auto* text = static_cast<const char*>(field.data);
  // With or without a terminating null: parsers differ.
  return std::string(text, std::find(text, text + field.length, '\0'));
}

void check_layout(const PluginFieldCollection& given) {
  const auto version = read_int(given, kLayout);
  if (version != kLayoutVersion) {
    refuse("the engine holds layout version " + std::to_string(version) + ", this plugin reads " +
           std::to_string(kLayoutVersion) + ": build the engine again with this plugin");
  }
}

}  // namespace

const PluginFieldCollection& field_names() noexcept {
  static const std::array<PluginField, 5> fields{{
      {kActivation, nullptr, PluginFieldType::kCHAR, 0},
      {kGated, nullptr, PluginFieldType::kINT32, 1},
      {kBiased, nullptr, PluginFieldType::kINT32, 1},
      {kNumExperts, nullptr, PluginFieldType::kINT32, 1},
      {kNumExpertsPerTok, nullptr, PluginFieldType::kINT32, 1},
  }};
  static const PluginFieldCollection collection{static_cast<int32_t>(fields.size()), fields.data()};
  return collection;
}

MoeFields read_fields(const PluginFieldCollection& given, TensorRTPhase phase) {
  if (given.nbFields < 0 || (given.nbFields && !given.fields)) refuse("the fields cannot be read");
  if (phase == TensorRTPhase::kRUNTIME) check_layout(given);
  MoeFields fields;
  fields.activation = read_text(given, kActivation);
  if (fields.activation != "gelu" && fields.activation != "quick_gelu" &&
      fields.activation != "silu") {
    refuse("activation `" + fields.activation + "` is none of gelu, quick_gelu, silu");
  }
  fields.gated = read_int(given, kGated, 0, 1);
  fields.biased = read_int(given, kBiased, 0, 1);
  fields.num_experts = read_int(given, kNumExperts, 1, kMaxExperts);
  fields.num_experts_per_tok = read_int(given, kNumExpertsPerTok, 1, fields.num_experts);
  return fields;
}

std::string describe(const MoeFields& fields) {
  return fields.activation + ", " + std::to_string(fields.num_experts) + " experts, " +
         std::to_string(fields.num_experts_per_tok) + " per token" +
         (fields.gated ? ", gated" : "") + (fields.biased ? ", biased" : "");
}

SerializedFields::SerializedFields(const MoeFields& fields) noexcept
    : fields_{{
          {kLayout, &kLayoutVersion, PluginFieldType::kINT32, 1},
          {kActivation, fields.activation.data(), PluginFieldType::kCHAR,
           static_cast<int32_t>(fields.activation.size())},
          {kGated, &fields.gated, PluginFieldType::kINT32, 1},
          {kBiased, &fields.biased, PluginFieldType::kINT32, 1},
          {kNumExperts, &fields.num_experts, PluginFieldType::kINT32, 1},
          {kNumExpertsPerTok, &fields.num_experts_per_tok, PluginFieldType::kINT32, 1},
      }},
      collection_{static_cast<int32_t>(fields_.size()), fields_.data()} {}

}  // namespace cumo
