// Makes CumoMoE plugins: from a graph's attributes, or from the fields that an engine holds.
#pragma once

#include <NvInferRuntime.h>

namespace cumo {

class MoeCreator final : public nvinfer1::IPluginCreatorV3One {
 public:
  /// The plugin, or null after a logged message that says which field is wrong.
  nvinfer1::IPluginV3* createPlugin(const nvinfer1::AsciiChar* name,
                                    const nvinfer1::PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase phase) noexcept override;
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override;
  const nvinfer1::AsciiChar* getPluginName() const noexcept override;
  const nvinfer1::AsciiChar* getPluginVersion() const noexcept override;
  const nvinfer1::AsciiChar* getPluginNamespace() const noexcept override;
};

}  // namespace cumo
