// What the library shows: the two functions that TensorRT's plugin registry looks up, one for who
// asks which engines it reads, and what a runtime calls itself: the kernel that puts rows into a
// cache, for engines of a TensorRT that cannot (before 10.15).

#include "creator.h"
#include "fields.h"
#include "log.h"

#include <cumo_kernels.h>
#include <cumo_plugin.h>

#include <NvInferRuntime.h>

#include <cstdio>

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
CUMO_EXPORT int32_t cumo_plugin_layout_version(void) { return cumo::kLayoutVersion; }

namespace {

/// Null, or the sentence of a kernels' status, which is this thread's until its next one.
const char* sentence(int32_t status) noexcept {
  static thread_local char text[200];
  if (status == CUMO_KERNELS_OK) return nullptr;
  if (status != CUMO_KERNELS_CUDA_ERROR) return cumo_kernels_status_text(status);
  std::snprintf(text, sizeof text, "%s (CUDA error %d)", cumo_kernels_status_text(status),
                static_cast<int>(cumo_kernels_last_cuda_error()));
  return text;
}

}  // namespace

CUMO_EXPORT const char* cumo_plugin_check_device(void) {
  return sentence(cumo_kernels_check_device());
}

CUMO_EXPORT const char* cumo_plugin_write_rows(const cumo_write_rows_args* args, void* stream) {
  return sentence(cumo_write_rows(args, stream));
}
