// A plugin with tensors on the host: what TensorRT would give it, for the build with the kernels'
// emulation.
#pragma once

#include "case_file.h"
#include "registry.h"

#include <NvInferRuntime.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

/// The attributes of a layer.
Fields fields_of(const MoeCase& layer);

/// Memory at an alignment of 256 bytes, as TensorRT's workspace and tensors have it, of exactly
/// that size; null for none.
class Memory {
 public:
  /// Every byte is 0xff: a NaN in each float format.
  explicit Memory(size_t bytes);
  void* data() const { return data_.get(); }
  size_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> data_;
  size_t bytes_;
};

/// Numbers as f16 or bf16.
Memory narrowed(const std::vector<float>& values, nvinfer1::DataType type);
std::vector<float> widened(const Memory& memory, nvinfer1::DataType type);

/// A layer's tensors and their descriptions, which a test may spoil before it runs them.
class Node {
 public:
  Node(nvinfer1::IPluginV3& plugin, const MoeCase& layer, nvinfer1::DataType type);

  std::vector<nvinfer1::PluginTensorDesc> inputs;
  nvinfer1::PluginTensorDesc output;
  std::vector<Memory> input_memory;
  Memory y;

  /// Descriptions with the range of a profile: x, weights and experts from 1 to `tokens` rows.
  std::vector<nvinfer1::DynamicPluginTensorDesc> profile(int64_t tokens) const;

  int32_t configure(int64_t tokens) const;
  size_t workspace_bytes(int64_t tokens) const;
  int32_t shape_change() const;
  /// `onShapeChange` and `enqueue`, with a workspace of the given size; null for none.
  int32_t run(const Memory* workspace) const;
  /// `enqueue` alone.
  int32_t enqueue(void* workspace) const;

 private:
  nvinfer1::IPluginV3OneBuild* build_;
  nvinfer1::IPluginV3OneRuntime* runtime_;
};
