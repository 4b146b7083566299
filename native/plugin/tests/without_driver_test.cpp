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

#include <cumo_plugin.h>
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

void rows_fail_with_a_reason(Checks& check, const char* library) {
  void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  const auto device = reinterpret_cast<decltype(&cumo_plugin_check_device)>(
      dlsym(handle, "cumo_plugin_check_device"));
  const auto write =
      reinterpret_cast<decltype(&cumo_plugin_write_rows)>(dlsym(handle, "cumo_plugin_write_rows"));
  if (!check.that(device && write, "the library has what writes rows")) return;
  const char* const why = device();
  check.says(why ? why : "", "(CUDA error 35)");
  int64_t memory[4] = {};
  cumo_write_rows_args args{1, 1, 1, 1, 8, memory, memory + 1, memory + 2};
  const char* const failed = write(&args, nullptr);
  check.says(failed ? failed : "", "(CUDA error 35)");
  dlclose(handle);
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
    rows_fail_with_a_reason(check, arguments[2]);
    check.that(registry.unload(), "the registry lets go of it");
  } catch (const std::exception& fault) {
    check.that(false, "the test runs", fault.what());
  }
  return check.finish();
}
