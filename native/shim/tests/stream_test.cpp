// Streams, graphs and kernels on a driver that counts: whatever fails, nothing is left behind.
//
//   stream_test PLUGIN OTHER
//
// PLUGIN is fake_plugin.cpp as a library, OTHER a library that is no plugin.
#include <cstdio>
#include <cstring>
#include <string>

#include "cumo_trt.h"
#include "fake_cuda.h"
#include "fake_plugin.h"
#include "runtime.h"

// The runtime without TensorRT, of which streams need the device only.
cumo_trt_runtime::cumo_trt_runtime(cumo_trt_library&, int32_t ordinal, const cumo_trt_log* log)
    : device{ordinal}, sink{log} {}

namespace {

int failures = 0;

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  ++failures;
}

/// The status has the text, or is none where that is empty. Frees it.
void says(cumo_trt_status* status, const char* text) {
  const std::string said = status == nullptr ? "" : cumo_trt_status_text(status);
  if (said != text) {
    std::fprintf(stderr, "failed: \"%s\" wanted, \"%s\" found\n", text, said.c_str());
    ++failures;
  }
  cumo_trt_status_free(status);
}

/// Captures with one of the driver's functions failing, or none.
cumo_trt_status* capture(cumo_trt_stream* stream, const char* fails, cumo_trt_graph** out) {
  says(cumo_trt_graph_begin(stream), "");
  fake_cuda()->fails = fails;
  cumo_trt_status* const status = cumo_trt_graph_end(stream, out);
  fake_cuda()->fails = nullptr;
  expect(!fake_cuda()->is_capturing, "the stream is captured no more");
  expect(fake_cuda()->graphs == 0, "the recording is destroyed");
  expect(fake_cuda()->pushed == 0, "the device is as it was");
  return status;
}

void a_capture_leaves_nothing_behind(cumo_trt_stream* stream) {
  auto* const none = reinterpret_cast<cumo_trt_graph*>(1);
  cumo_trt_graph* graph = none;
  says(capture(stream, "end", &graph), "cannot capture a graph: it fails (FAKE)");
  expect(graph == nullptr, "a capture that fails gives no graph");
  graph = none;
  says(capture(stream, "instantiate", &graph), "cannot prepare a graph: it fails (FAKE)");
  expect(graph == nullptr && fake_cuda()->execs == 0, "nor one that cannot be prepared");
  says(capture(stream, nullptr, nullptr), "out is null");
  says(capture(stream, nullptr, &graph), "");
  expect(graph != nullptr && fake_cuda()->execs == 1, "one that holds gives a graph");
  says(cumo_trt_graph_launch(graph, stream), "");
  says(cumo_trt_graph_launch(graph, nullptr), "stream is null");
  cumo_trt_graph_free(graph);
  expect(fake_cuda()->execs == 0, "which is freed");
}

/// Where the status says more than its beginning.
void begins(cumo_trt_status* status, int32_t code, const std::string& text) {
  const std::string said = status == nullptr ? "" : cumo_trt_status_text(status);
  if (said.rfind(text, 0) != 0 || cumo_trt_status_code(status) != code) {
    std::fprintf(stderr, "failed: \"%s\" wanted, \"%s\" found\n", text.c_str(), said.c_str());
    ++failures;
  }
  cumo_trt_status_free(status);
}

void kernels_are_those_of_a_plugin_that_has_them(cumo_trt_runtime* runtime, cumo_trt_stream* stream,
                                                 const char* plugin, const char* other) {
  auto* const none = reinterpret_cast<cumo_trt_kernels*>(1);
  cumo_trt_kernels* kernels = none;
  begins(cumo_trt_kernels_load(runtime, "/nonexistent/plugin", &kernels), CUMO_TRT_CODE_PLUGIN,
         "cannot load the kernels: /nonexistent/plugin: ");
  expect(kernels == nullptr, "what is not there gives no kernels");
  begins(
      cumo_trt_kernels_load(runtime, other, &kernels), CUMO_TRT_CODE_PLUGIN,
      std::string{other} + " has no kernels that write rows: it has no cumo_plugin_check_device");
  says(cumo_trt_kernels_load(runtime, nullptr, &kernels), "path is null");
  fake_plugin() = {"the device is too old", nullptr, {}, nullptr};
  begins(cumo_trt_kernels_load(runtime, plugin, &kernels), CUMO_TRT_CODE_UNSUPPORTED,
         "the device cannot run the kernels: the device is too old");
  expect(kernels == nullptr, "nor does a device that cannot run them");
  fake_plugin() = {};
  says(cumo_trt_kernels_load(runtime, plugin, &kernels), "");

  cumo_trt_write_rows write{16, 32, 48, 1, 8, 2, 96, 256};
  says(cumo_trt_kernels_write_rows(kernels, stream, nullptr), "write is null");
  says(cumo_trt_kernels_write_rows(kernels, nullptr, &write), "stream is null");
  says(cumo_trt_kernels_write_rows(kernels, stream, &write), "");
  const cumo_write_rows_args& got = fake_plugin().args;
  expect(got.rows == reinterpret_cast<void*>(16) && got.cache == reinterpret_cast<void*>(48) &&
             got.indices == reinterpret_cast<int64_t*>(32),
         "addresses arrive");
  expect(got.batch == 1 && got.heads == 8 && got.sequence == 2 && got.pitch == 96 &&
             got.position_bytes == 256,
         "sizes arrive");
  expect(fake_plugin().stream != nullptr, "the stream arrives");
  fake_plugin().fails = "it fails";
  begins(cumo_trt_kernels_write_rows(kernels, stream, &write), CUMO_TRT_CODE_CUDA,
         "cannot write rows into a cache: it fails");
  cumo_trt_kernels_free(kernels);
  expect(fake_cuda()->pushed == 0, "the device is as it was");
}

}  // namespace

int main(int count, char** words) {
  if (count != 3) return std::fprintf(stderr, "stream_test PLUGIN OTHER\n"), 2;
  auto* const library = reinterpret_cast<cumo_trt_library*>(1);  // not looked at
  {
    cumo_trt_runtime runtime{*library, 0, nullptr};
    cumo_trt_stream* stream = nullptr;
    says(cumo_trt_stream_create(&runtime, &stream), "");
    a_capture_leaves_nothing_behind(stream);
    kernels_are_those_of_a_plugin_that_has_them(&runtime, stream, words[1], words[2]);
    cumo_trt_stream_free(stream);
    expect(fake_cuda()->pushed == 0, "all calls leave the device as it was");
  }
  if (failures == 0) std::puts("passed");
  return failures == 0 ? 0 : 1;
}
