// The kernel that a runtime calls itself, through the library's own function, on host memory.

#include "plugin_tests.h"

#include <cumo_plugin.h>
#include <dlfcn.h>

#include <cstdlib>
#include <vector>

void writes_rows_into_caches(const Test& test, const char* library) {
  void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  const auto device = reinterpret_cast<decltype(&cumo_plugin_check_device)>(
      dlsym(handle, "cumo_plugin_check_device"));
  const auto write =
      reinterpret_cast<decltype(&cumo_plugin_write_rows)>(dlsym(handle, "cumo_plugin_write_rows"));
  if (!test.check.that(device && write, "the library has what writes rows")) return;
  test.check.that(device() == nullptr, "the device can run it");
  setenv("CUMO_EMULATED_ARCHITECTURE", "75", 1);
  const char* const old = device();
  unsetenv("CUMO_EMULATED_ARCHITECTURE");
  test.check.says(old ? old : "", "compute capability is below 8.0");

  // Two heads of two new positions into five, from the third on; a position is an int.
  const std::vector<int32_t> rows{1, 2, 3, 4};
  const std::vector<int64_t> indices{2};
  std::vector<int32_t> cache(10, 9);
  cumo_write_rows_args args{1, 2, 2, 5, 4, rows.data(), indices.data(), cache.data()};
  test.check.that(write(&args, nullptr) == nullptr, "rows are written");
  test.check.that(cache == std::vector<int32_t>{9, 9, 1, 2, 9, 9, 9, 3, 4, 9}, "where they belong");
  args.pitch = 0;
  const char* const why = write(&args, nullptr);
  test.check.says(why ? why : "", "out of its range");
  dlclose(handle);
}
