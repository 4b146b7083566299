// Streams and what is put on them: copies, events, graphs.
#include "runtime.h"
#include "status.h"

#include <memory>

using cumo::trt::check;
using cumo::trt::driver;
using cumo::trt::guarded;
using cumo::trt::required;
using cumo::trt::RuntimeScope;

namespace {

/// Runs `body` with the device of a stream, event or graph around it.
template <class Handle, class Body>
cumo_trt_status* with(Handle* handle, const char* what, Body&& body) noexcept {
  return guarded([&] {
    const RuntimeScope scope{required(handle, what).runtime};
    body(driver());
  });
}

/// Frees a handle's CUDA object and the handle.
template <class Handle, class Body>
void release(Handle* handle, Body&& body) noexcept {
  if (handle == nullptr) return;
  cumo_trt_status_free(with(handle, "handle", body));
  delete handle;
}

// Only this thread's calls are refused while a stream is captured.
constexpr int kCAPTURE_THREAD_LOCAL = 1;
// Streams do not wait for the default stream.
constexpr unsigned kNON_BLOCKING = 1;

}  // namespace

extern "C" {

cumo_trt_status* cumo_trt_copy_to_device(cumo_trt_stream* stream, uint64_t to, const void* from,
                                         size_t bytes) {
  return with(stream, "stream", [&](const auto& d) {
    if (bytes > 0) check(d.copy_to_device(to, from, bytes, stream->handle), "copy to the device");
  });
}

cumo_trt_status* cumo_trt_copy_to_host(cumo_trt_stream* stream, void* to, uint64_t from,
                                       size_t bytes) {
  return with(stream, "stream", [&](const auto& d) {
    if (bytes > 0) check(d.copy_to_host(to, from, bytes, stream->handle), "copy from the device");
  });
}

cumo_trt_status* cumo_trt_copy_on_device(cumo_trt_stream* stream, uint64_t to, uint64_t from,
                                         size_t bytes) {
  return with(stream, "stream", [&](const auto& d) {
    if (bytes > 0) check(d.copy_on_device(to, from, bytes, stream->handle), "copy on the device");
  });
}

cumo_trt_status* cumo_trt_fill(cumo_trt_stream* stream, uint64_t address, uint8_t value,
                               size_t bytes) {
  return with(stream, "stream", [&](const auto& d) {
    if (bytes > 0) check(d.fill(address, value, bytes, stream->handle), "fill device memory");
  });
}

cumo_trt_status* cumo_trt_stream_create(cumo_trt_runtime* runtime, cumo_trt_stream** out) {
  return guarded([&] {
    required(out, "out") = nullptr;
    const RuntimeScope scope{required(runtime, "runtime")};
    auto made = std::make_unique<cumo_trt_stream>(cumo_trt_stream{*runtime, nullptr});
    check(driver().stream_create(&made->handle, kNON_BLOCKING), "create a stream");
    *out = made.release();
  });
}

cumo_trt_status* cumo_trt_stream_synchronize(cumo_trt_stream* stream) {
  return with(stream, "stream", [&](const auto& d) {
    check(d.stream_synchronize(stream->handle), "wait for the device");
  });
}

cumo_trt_status* cumo_trt_stream_wait(cumo_trt_stream* stream, cumo_trt_event* event) {
  return with(stream, "stream", [&](const auto& d) {
    check(d.stream_wait(stream->handle, required(event, "event").handle, 0), "wait for an event");
  });
}

void cumo_trt_stream_free(cumo_trt_stream* stream) {
  release(stream, [&](const auto& d) { d.stream_destroy(stream->handle); });
}

cumo_trt_status* cumo_trt_event_create(cumo_trt_runtime* runtime, cumo_trt_event** out) {
  return guarded([&] {
    required(out, "out") = nullptr;
    const RuntimeScope scope{required(runtime, "runtime")};
    auto made = std::make_unique<cumo_trt_event>(cumo_trt_event{*runtime, nullptr});
    check(driver().event_create(&made->handle, 0), "create an event");
    *out = made.release();
  });
}

cumo_trt_status* cumo_trt_event_record(cumo_trt_event* event, cumo_trt_stream* stream) {
  return with(event, "event", [&](const auto& d) {
    check(d.event_record(event->handle, required(stream, "stream").handle), "record an event");
  });
}

cumo_trt_status* cumo_trt_event_synchronize(cumo_trt_event* event) {
  return with(event, "event", [&](const auto& d) {
    check(d.event_synchronize(event->handle), "wait for an event");
  });
}

cumo_trt_status* cumo_trt_event_elapsed(cumo_trt_event* start, cumo_trt_event* end,
                                        float* milliseconds) {
  return with(start, "start", [&](const auto& d) {
    required(milliseconds, "milliseconds") = 0;
    check(d.event_elapsed(milliseconds, start->handle, required(end, "end").handle),
          "take the time between events");
  });
}

void cumo_trt_event_free(cumo_trt_event* event) {
  release(event, [&](const auto& d) { d.event_destroy(event->handle); });
}

cumo_trt_status* cumo_trt_graph_begin(cumo_trt_stream* stream) {
  return with(stream, "stream", [&](const auto& d) {
    check(d.capture_begin(stream->handle, kCAPTURE_THREAD_LOCAL), "begin to capture a graph");
  });
}

cumo_trt_status* cumo_trt_graph_end(cumo_trt_stream* stream, cumo_trt_graph** out) {
  return with(stream, "stream", [&](const auto& d) {
    // Whatever fails, the stream is not captured any more, and the recording is freed.
    cumo::trt::CuGraph graph = nullptr;
    const auto ended = d.capture_end(stream->handle, &graph);
    const auto destroy = [&d](void* recorded) { d.graph_destroy(recorded); };
    const std::unique_ptr<void, decltype(destroy)> recorded{graph, destroy};
    required(out, "out") = nullptr;
    check(ended, "capture a graph");
    auto made = std::make_unique<cumo_trt_graph>(cumo_trt_graph{stream->runtime, nullptr});
    check(d.graph_instantiate(&made->handle, graph, 0), "prepare a graph");
    *out = made.release();
  });
}

cumo_trt_status* cumo_trt_graph_launch(cumo_trt_graph* graph, cumo_trt_stream* stream) {
  return with(graph, "graph", [&](const auto& d) {
    check(d.graph_launch(graph->handle, required(stream, "stream").handle), "launch a graph");
  });
}

void cumo_trt_graph_free(cumo_trt_graph* graph) {
  release(graph, [&](const auto& d) { d.graph_exec_destroy(graph->handle); });
}

}  // extern "C"
