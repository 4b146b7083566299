// Streams and graphs on a driver that counts: whatever fails, nothing is left behind.
#include <cstdio>
#include <cstring>
#include <string>

#include "cumo_trt.h"
#include "fake_cuda.h"
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

}  // namespace

int main() {
  auto* const library = reinterpret_cast<cumo_trt_library*>(1);  // not looked at
  {
    cumo_trt_runtime runtime{*library, 0, nullptr};
    cumo_trt_stream* stream = nullptr;
    says(cumo_trt_stream_create(&runtime, &stream), "");
    a_capture_leaves_nothing_behind(stream);
    cumo_trt_stream_free(stream);
    expect(fake_cuda()->pushed == 0, "all calls leave the device as it was");
  }
  if (failures == 0) std::puts("passed");
  return failures == 0 ? 0 : 1;
}
