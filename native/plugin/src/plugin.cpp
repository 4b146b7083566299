#include "plugin.h"

#include "kernel_call.h"
#include "log.h"
#include "operands.h"

#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

namespace cumo {
namespace {

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::IPluginV3;
using nvinfer1::PluginCapabilityType;
using nvinfer1::PluginTensorDesc;

constexpr int32_t kOk = 0;
constexpr int32_t kFault = 1;

const char* name(DataType type) {
  switch (type) {
    case DataType::kFLOAT:
      return "f32";
    case DataType::kHALF:
      return "f16";
    case DataType::kBF16:
      return "bf16";
    case DataType::kINT32:
      return "i32";
    case DataType::kINT64:
      return "i64";
    default:
      return "another type";
  }
}

bool is_matrix_type(DataType type) noexcept {
  return type == DataType::kHALF || type == DataType::kBF16;
}

/// The type that an input must have, given x's.
DataType wanted_type(int32_t input, DataType x) noexcept {
  if (input == Operands::kWeights) return DataType::kFLOAT;
  if (input == Operands::kExperts) return DataType::kINT32;
  return x;
}

template <class TypeOf>
void check_types(const MoeFields& fields, const TypeOf& type) {
  const Operands operands(fields);
  const auto x = type(Operands::kX);
  if (!is_matrix_type(x))
    throw std::invalid_argument(std::string("x is ") + name(x) + ", it must be f16 or bf16");
  for (int32_t input = 0; input < operands.count(); ++input) {
    const auto want = wanted_type(input, x);
    if (type(input) == want) continue;
    throw std::invalid_argument("input " + std::to_string(input) + " (" + operands.name(input) +
                                ") is " + name(type(input)) + ", it must be " + name(want));
  }
}

void check_outputs(int32_t count) {
  if (count != 1) throw std::invalid_argument(std::to_string(count) + " outputs, it must be 1");
}

/// A dimension that the network gives as a constant, -1 for one that depends on its inputs.
Dims constants(const DimsExprs& dims) {
  Dims known{dims.nbDims, {}};
  for (int32_t i = 0; i < dims.nbDims; ++i) {
    known.d[i] = dims.d[i] && dims.d[i]->isConstant() ? dims.d[i]->getConstantValue() : -1;
  }
  return known;
}

}  // namespace

MoePlugin::MoePlugin(MoeFields fields)
    : fields_(std::move(fields)), serialized_(fields_), description_(describe(fields_)) {}

nvinfer1::IPluginCapability* MoePlugin::getCapabilityInterface(PluginCapabilityType type) noexcept {
  switch (type) {
    case PluginCapabilityType::kCORE:
      return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case PluginCapabilityType::kBUILD:
      return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case PluginCapabilityType::kRUNTIME:
      return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

IPluginV3* MoePlugin::clone() noexcept {
  return guarded("clone", static_cast<IPluginV3*>(nullptr), [&] { return new MoePlugin(fields_); });
}

const nvinfer1::AsciiChar* MoePlugin::getPluginName() const noexcept { return kPluginName; }
const nvinfer1::AsciiChar* MoePlugin::getPluginVersion() const noexcept { return kPluginVersion; }
const nvinfer1::AsciiChar* MoePlugin::getPluginNamespace() const noexcept {
  return kPluginNamespace;
}

int32_t MoePlugin::getNbOutputs() const noexcept { return 1; }

int32_t MoePlugin::getOutputDataTypes(DataType* outputs, int32_t output_count,
                                      const DataType* inputs, int32_t input_count) const noexcept {
  return guarded("getOutputDataTypes", kFault, [&] {
    check_count(fields_, input_count);
    check_outputs(output_count);
    check_types(fields_, [&](int32_t i) { return inputs[i]; });
    outputs[0] = inputs[Operands::kX];
    return kOk;
  });
}

int32_t MoePlugin::getOutputShapes(const DimsExprs* inputs, int32_t input_count, const DimsExprs*,
                                   int32_t, DimsExprs* outputs, int32_t output_count,
                                   nvinfer1::IExprBuilder&) noexcept {
  return guarded("getOutputShapes", kFault, [&] {
    check_count(fields_, input_count);
    check_outputs(output_count);
    std::vector<Dims> known;
    for (int32_t i = 0; i < input_count; ++i) known.push_back(constants(inputs[i]));
    checked_sizes(fields_, [&](int32_t i) -> const Dims& { return known[i]; });
    const auto& fc2 = inputs[Operands(fields_).matrix(0, Operands::Matrix::kFc2)];
    outputs[0] = inputs[Operands::kX];
    outputs[0].d[outputs[0].nbDims - 1] = fc2.d[1];
    return kOk;
  });
}

bool MoePlugin::supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* in_out,
                                          int32_t input_count, int32_t output_count) noexcept {
  return guarded("supportsFormatCombination", false, [&] {
    check_count(fields_, input_count);
    check_outputs(output_count);
    if (position < 0 || position >= input_count + output_count) return false;
    const auto& desc = in_out[position].desc;
    if (desc.format != nvinfer1::TensorFormat::kLINEAR) return false;
    if (position == Operands::kX) return is_matrix_type(desc.type);
    return desc.type == wanted_type(position, in_out[Operands::kX].desc.type);
  });
}

int32_t MoePlugin::configurePlugin(const DynamicPluginTensorDesc* inputs, int32_t input_count,
                                   const DynamicPluginTensorDesc*, int32_t output_count) noexcept {
  return guarded("configurePlugin", kFault, [&] {
    check_count(fields_, input_count);
    check_outputs(output_count);
    check_types(fields_, [&](int32_t i) { return inputs[i].desc.type; });
    checked_sizes(fields_, [&](int32_t i) -> const Dims& { return inputs[i].desc.dims; });
    const auto most = sizes_of(fields_, [&](int32_t i) -> const Dims& { return inputs[i].max; });
    workspace_bytes({fields_, most, inputs[Operands::kX].desc.type});
    return kOk;
  });
}

size_t MoePlugin::getWorkspaceSize(const DynamicPluginTensorDesc* inputs, int32_t input_count,
                                   const DynamicPluginTensorDesc*, int32_t) const noexcept {
  return guarded("getWorkspaceSize", size_t{0}, [&] {
    check_count(fields_, input_count);
    const auto most = sizes_of(fields_, [&](int32_t i) -> const Dims& { return inputs[i].max; });
    return workspace_bytes({fields_, most, inputs[Operands::kX].desc.type});
  });
}

const char* MoePlugin::getMetadataString() noexcept { return description_.c_str(); }

int32_t MoePlugin::onShapeChange(const PluginTensorDesc* inputs, int32_t input_count,
                                 const PluginTensorDesc*, int32_t output_count) noexcept {
  return guarded("onShapeChange", kFault, [&] {
    check_count(fields_, input_count);
    check_outputs(output_count);
    check_types(fields_, [&](int32_t i) { return inputs[i].type; });
    const auto sizes =
        checked_sizes(fields_, [&](int32_t i) -> const Dims& { return inputs[i].dims; });
    workspace_bytes({fields_, sizes, inputs[Operands::kX].type});
    return kOk;
  });
}

int32_t MoePlugin::enqueue(const PluginTensorDesc* input_descs, const PluginTensorDesc*,
                           const void* const* inputs, void* const* outputs, void* workspace,
                           cudaStream_t stream) noexcept {
  return guarded("enqueue", kFault, [&] {
    check_types(fields_, [&](int32_t i) { return input_descs[i].type; });
    const auto sizes =
        checked_sizes(fields_, [&](int32_t i) -> const Dims& { return input_descs[i].dims; });
    launch({fields_, sizes, input_descs[Operands::kX].type}, inputs, outputs[0], workspace, stream);
    return kOk;
  });
}

IPluginV3* MoePlugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept {
  return clone();
}

const nvinfer1::PluginFieldCollection* MoePlugin::getFieldsToSerialize() noexcept {
  return serialized_.collection();
}

}  // namespace cumo
