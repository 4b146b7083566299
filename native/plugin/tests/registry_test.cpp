// CumoMoE in the plugin registry of a real TensorRT library: made, cloned, written, read back,
// refused, and run on host memory over the emulated kernels against the goldens' layers and the
// list of cases.
//
//   registry_test TENSORRT_LIBRARY PLUGIN_LIBRARY CASES LIST
//
// CASES is the folder that prepare_cases.py writes, LIST is native/emulation/cases.txt.
//
// Needs no GPU and no driver; creates no runtime, which the flavours but RTX cannot do without a
// driver.

#include "plugin_tests.h"

#include <cstdio>
#include <exception>

int main(int count, char** arguments) {
  if (count != 5)
    return std::fprintf(stderr, "registry_test TENSORRT_LIBRARY PLUGIN_LIBRARY CASES LIST\n"), 2;
  Checks check;
  try {
    Messages messages;
    Registry registry(arguments[1], arguments[2], messages);
    check.that(true, "loaded by the registry of " + std::string(arguments[1]));
    auto cases = read_cases(arguments[3]);
    const auto limit = cases.front().limit;
    const Test test{check, registry, messages, std::move(cases),
                    read_shared_cases(arguments[4], limit)};
    makes_plugins(test);
    refuses_devices_that_cannot_run_it(test);
    refuses_other_layouts(test);
    refuses_bad_attributes(test);
    refuses_wrong_tensors(test);
    refuses_any_changed_tensor(test);
    reads_random_fields(test);
    supports_linear_halves(test);
    computes_golden_layers(test);
    computes_shared_cases(test);
    one_workspace_does_for_fewer_rows(test);
    reports_kernel_faults(test);
    writes_rows_into_caches(test, arguments[2]);
    survives_finders(test);
    check.that(registry.unload(), "the registry lets go of it");
  } catch (const std::exception& fault) {
    check.that(false, "the test runs", fault.what());
  }
  return check.finish();
}
