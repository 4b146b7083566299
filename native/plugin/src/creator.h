// Makes CumoMoE plugins: from a graph's attributes, or from the fields that an engine holds.
#pragma once

#include <NvInferRuntime.h>

namespace cumo {

class MoeCreator final : public nvinfer1::IPluginCreatorV3One {
public:
    /// The plugin, or null after a logged message that says which field is wrong.
    nvinfer1::IPluginV3* createPlugin(nvinfer1::AsciiChar const* name, nvinfer1::PluginFieldCollection const* fields,
                                      nvinfer1::TensorRTPhase phase) noexcept override;
    nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override;
    nvinfer1::AsciiChar const* getPluginName() const noexcept override;
    nvinfer1::AsciiChar const* getPluginVersion() const noexcept override;
    nvinfer1::AsciiChar const* getPluginNamespace() const noexcept override;
};

}  // namespace cumo
