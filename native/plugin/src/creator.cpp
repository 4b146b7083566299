#include "creator.h"

#include "fields.h"
#include "log.h"
#include "plugin.h"

#include <stdexcept>
#include <string>

namespace cumo {

nvinfer1::IPluginV3* MoeCreator::createPlugin(nvinfer1::AsciiChar const* name,
                                              nvinfer1::PluginFieldCollection const* fields,
                                              nvinfer1::TensorRTPhase phase) noexcept {
    return guarded("createPlugin", static_cast<nvinfer1::IPluginV3*>(nullptr), [&] {
        try {
            if (!fields) throw std::invalid_argument("there are no fields");
            return static_cast<nvinfer1::IPluginV3*>(new MoePlugin(read_fields(*fields, phase)));
        } catch (std::invalid_argument const& fault) {
            throw std::invalid_argument("node `" + std::string(name ? name : "") + "`: " + fault.what());
        }
    });
}

nvinfer1::PluginFieldCollection const* MoeCreator::getFieldNames() noexcept { return &field_names(); }
nvinfer1::AsciiChar const* MoeCreator::getPluginName() const noexcept { return kPluginName; }
nvinfer1::AsciiChar const* MoeCreator::getPluginVersion() const noexcept { return kPluginVersion; }
nvinfer1::AsciiChar const* MoeCreator::getPluginNamespace() const noexcept { return kPluginNamespace; }

}  // namespace cumo
