// What the library shows: the two functions that TensorRT's plugin registry looks up, and one for
// who asks which engines it reads.

#include "creator.h"
#include "fields.h"
#include "log.h"

#include <NvInferRuntime.h>

#define CUMO_EXPORT extern "C" __attribute__((visibility("default")))

/// The creators of this library; they live as long as it is loaded.
CUMO_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  static cumo::MoeCreator creator;
  static nvinfer1::IPluginCreatorInterface* const list[] = {&creator};
  count = 1;
  return list;
}

/// Called by TensorRT as it loads the library. The finder belongs to TensorRT.
CUMO_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
  cumo::set_logger_finder(finder);
}

/// The layout version of the engines that this library makes and reads.
CUMO_EXPORT int32_t cumo_plugin_layout_version() noexcept { return cumo::kLayoutVersion; }
