// The plugin that is shipped, over the kernels for GPUs, on a machine that has none: it loads,
// makes plugins and says its workspace, as building an engine needs; enqueue fails with CUDA's
// reason and the process lives.
//
//   without_driver_test TENSORRT_LIBRARY PLUGIN_LIBRARY CASES
//
// Exit code 77, skipped, where there is a CUDA driver.

#include "case_file.h"
#include "check.h"
#include "node.h"
#include "registry.h"

#include <dlfcn.h>

#include <exception>
#include <memory>

namespace {

constexpr int kSkipped = 77;

void fails_with_a_reason(Checks& check, Registry& registry, Messages& messages,
                         const MoeCase& layer) {
  auto fields = fields_of(layer);
  std::unique_ptr<nvinfer1::IPluginV3> plugin(
      registry.creator().createPlugin("moe", fields.collection(), nvinfer1::TensorRTPhase::kBUILD));
  if (!check.that(plugin != nullptr, "fields make a plugin", messages.take())) return;
  Node node(*plugin, layer, nvinfer1::DataType::kHALF);
  check.that(node.configure(layer.tokens) == 0 && node.shape_change() == 0, "it takes the layer",
             messages.take());
  const Memory workspace(node.workspace_bytes(layer.tokens));
  check.that(workspace.bytes() > 0, "it asks for a workspace", messages.take());
  check.that(node.enqueue(workspace.data()) != 0, "enqueue fails");
  check.says(messages.take(), "(CUDA error 35)");  // cudaErrorInsufficientDriver
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4)
    return std::fprintf(stderr, "without_driver_test TENSORRT_LIBRARY PLUGIN_LIBRARY CASES\n"), 2;
  if (dlopen("libcuda.so.1", RTLD_LAZY))
    return std::printf("skipped: there is a CUDA driver\n"), kSkipped;
  Checks check;
  try {
    Messages messages;
    Registry registry(arguments[1], arguments[2], messages);
    fails_with_a_reason(check, registry, messages, read_cases(arguments[3]).front());
    check.that(registry.unload(), "the registry lets go of it");
  } catch (const std::exception& fault) {
    check.that(false, "the test runs", fault.what());
  }
  return check.finish();
}
