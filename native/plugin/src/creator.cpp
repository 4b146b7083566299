#include "creator.h"

#include "fields.h"
#include "kernel_call.h"
#include "log.h"
#include "plugin.h"

#include <stdexcept>
#include <string>

namespace cumo {

nvinfer1::IPluginV3* MoeCreator::createPlugin(const nvinfer1::AsciiChar* name,
                                              const nvinfer1::PluginFieldCollection* fields,
                                              nvinfer1::TensorRTPhase phase) noexcept {
  return guarded("createPlugin", static_cast<nvinfer1::IPluginV3*>(nullptr), [&] {
    try {
      if (!fields) throw std::invalid_argument("there are no fields");
      // An engine is read: on this device it will run. A network may be built for another.
      if (phase == nvinfer1::TensorRTPhase::kRUNTIME) check_device();
      return static_cast<nvinfer1::IPluginV3*>(new MoePlugin(read_fields(*fields, phase)));
    } catch (const std::invalid_argument& fault) {
      throw std::invalid_argument("node `" + std::string(name ? name : "") + "`: " + fault.what());
    }
  });
}

const nvinfer1::PluginFieldCollection* MoeCreator::getFieldNames() noexcept {
  return &field_names();
}
const nvinfer1::AsciiChar* MoeCreator::getPluginName() const noexcept { return kPluginName; }
const nvinfer1::AsciiChar* MoeCreator::getPluginVersion() const noexcept { return kPluginVersion; }
const nvinfer1::AsciiChar* MoeCreator::getPluginNamespace() const noexcept {
  return kPluginNamespace;
}

}  // namespace cumo
