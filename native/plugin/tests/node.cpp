#include "node.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdlib>
#include <cstring>
#include <new>

using nvinfer1::DataType;
using nvinfer1::Dims;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginCapabilityType;
using nvinfer1::PluginTensorDesc;

namespace {

PluginTensorDesc describe(const std::vector<int64_t>& sizes, DataType type) {
  PluginTensorDesc desc{};
  desc.dims.nbDims = static_cast<int32_t>(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) desc.dims.d[i] = sizes[i];
  desc.type = type;
  desc.format = nvinfer1::TensorFormat::kLINEAR;
  desc.scale = -1.f;
  return desc;
}

template <class T>
Memory copied(const std::vector<T>& values) {
  Memory memory(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(memory.data(), values.data(), memory.bytes());
  return memory;
}

}  // namespace

Fields fields_of(const MoeCase& layer) {
  Fields fields;
  fields.text("activation", layer.activation)
      .integer("gated", layer.gated)
      .integer("biased", layer.biased)
      .integer("num_experts", layer.num_experts)
      .integer("num_experts_per_tok", layer.num_experts_per_tok);
  return fields;
}

Memory::Memory(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, bytes)) throw std::bad_alloc();
  data_.reset(memory);
  std::memset(memory, 0xff, bytes);
}

Memory narrowed(const std::vector<float>& values, DataType type) {
  Memory memory(values.size() * 2);
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == DataType::kHALF) {
      static_cast<__half*>(memory.data())[i] = __float2half(values[i]);
    } else {
      static_cast<__nv_bfloat16*>(memory.data())[i] = __float2bfloat16(values[i]);
    }
  }
  return memory;
}

std::vector<float> widened(const Memory& memory, DataType type) {
  std::vector<float> values(memory.bytes() / 2);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = type == DataType::kHALF
                    ? __half2float(static_cast<const __half*>(memory.data())[i])
                    : __bfloat162float(static_cast<const __nv_bfloat16*>(memory.data())[i]);
  }
  return values;
}

Node::Node(nvinfer1::IPluginV3& plugin, const MoeCase& layer, DataType type)
    : output(describe({1, layer.tokens, layer.out}, type)),
      y(static_cast<size_t>(layer.tokens * layer.out) * 2),
      build_(static_cast<nvinfer1::IPluginV3OneBuild*>(
          plugin.getCapabilityInterface(PluginCapabilityType::kBUILD))),
      runtime_(static_cast<nvinfer1::IPluginV3OneRuntime*>(
          plugin.getCapabilityInterface(PluginCapabilityType::kRUNTIME))) {
  auto add = [&](const std::vector<int64_t>& sizes, DataType dtype, Memory memory) {
    inputs.push_back(describe(sizes, dtype));
    input_memory.push_back(std::move(memory));
  };
  const int64_t k = layer.num_experts_per_tok;
  add({1, layer.tokens, layer.in}, type, narrowed(layer.x, type));
  add({1, layer.tokens, k}, DataType::kFLOAT, copied(layer.weights));
  add({1, layer.tokens, k}, DataType::kINT32, copied(layer.experts));
  for (size_t i = 0; i < layer.expert_tensors.size(); ++i) {
    add(layer.tensor_dims(i), type, narrowed(layer.expert_tensors[i], type));
  }
}

std::vector<DynamicPluginTensorDesc> Node::profile(int64_t tokens) const {
  std::vector<DynamicPluginTensorDesc> descs;
  for (const auto& input : inputs) {
    DynamicPluginTensorDesc desc{input, input.dims, input.dims, input.dims};
    if (descs.size() < 3 && input.dims.nbDims > 1) {
      const auto rows = input.dims.nbDims - 2;
      desc.desc.dims.d[rows] = -1;
      desc.min.d[rows] = 1;
      desc.opt.d[rows] = desc.max.d[rows] = tokens;
    }
    descs.push_back(desc);
  }
  return descs;
}

int32_t Node::configure(int64_t tokens) const {
  const DynamicPluginTensorDesc result{output, output.dims, output.dims, output.dims};
  const auto descs = profile(tokens);
  return build_->configurePlugin(descs.data(), static_cast<int32_t>(descs.size()), &result, 1);
}

size_t Node::workspace_bytes(int64_t tokens) const {
  const DynamicPluginTensorDesc result{output, output.dims, output.dims, output.dims};
  const auto descs = profile(tokens);
  return build_->getWorkspaceSize(descs.data(), static_cast<int32_t>(descs.size()), &result, 1);
}

int32_t Node::shape_change() const {
  return runtime_->onShapeChange(inputs.data(), static_cast<int32_t>(inputs.size()), &output, 1);
}

int32_t Node::run(const Memory* workspace) const {
  const auto status = shape_change();
  return status ? status : enqueue(workspace ? workspace->data() : nullptr);
}

int32_t Node::enqueue(void* workspace) const {
  std::vector<const void*> pointers;
  for (const auto& memory : input_memory) pointers.push_back(memory.data());
  void* results[] = {y.data()};
  return runtime_->enqueue(inputs.data(), &output, pointers.data(), results, workspace, nullptr);
}
