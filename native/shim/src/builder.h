// A builder and the networks that were parsed for it.
#pragma once

#include "cumo_trt.h"
#include "driver.h"
#include "library.h"
#include "log.h"

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <memory>
#include <vector>

/// See cumo_trt_builder_create.
struct cumo_trt_builder {
  cumo_trt_builder(cumo_trt_library& library, const cumo_trt_log* log);

  cumo_trt_library& library;
  cumo::trt::Sink sink;
#if !defined(CUMO_TRT_FLAVOUR_RTX)
  cumo::trt::Device device{0};
#endif
  std::unique_ptr<nvinfer1::IBuilder> builder;
};

/// See cumo_trt_network_parse. The parser holds the weights that the network points to.
struct cumo_trt_network {
  explicit cumo_trt_network(cumo_trt_builder& builder);

  /// Parses; throws with every error that the parser names.
  void parse(const void* model, size_t model_bytes, const char* model_path);

  cumo_trt_builder& builder;
  std::unique_ptr<nvinfer1::INetworkDefinition> network;
  std::unique_ptr<nvonnxparser::IParser> parser;
};

namespace cumo::trt {

/// The name of the plugin in a layer, or an empty text.
const char* plugin_name(nvinfer1::ILayer& layer) noexcept;

/// What belongs around every call into a builder: its messages, and its device where it needs one.
class BuilderScope {
 public:
  explicit BuilderScope(cumo_trt_builder& builder)
      : mLog{builder.sink}
#if !defined(CUMO_TRT_FLAVOUR_RTX)
        ,
        mDevice{builder.device}
#endif
  {
  }

 private:
  LogScope mLog;
#if !defined(CUMO_TRT_FLAVOUR_RTX)
  OnDevice mDevice;
#endif
};

}  // namespace cumo::trt
