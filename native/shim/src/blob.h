// Bytes that TensorRT or the shim allocated.
#pragma once

#include "cumo_trt.h"

#include <NvInferRuntime.h>

#include <memory>
#include <string>

/// See cumo_trt_blob_data. One of the two is set.
struct cumo_trt_blob {
  std::unique_ptr<nvinfer1::IHostMemory> memory;
  std::string text;
};
