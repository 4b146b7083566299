// Messages to TensorRT's logger, and the fence between exceptions and TensorRT's noexcept calls.
#pragma once

#include <NvInferRuntime.h>

#include <exception>

namespace cumo {

/// Keeps the finder that TensorRT hands over when it loads the library; null forgets it.
void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

/// Says at kERROR "CumoMoE: <where>: <what>", to the logger that TensorRT names for this thread.
/// Where there is none, to stderr: a plugin that only returned null would leave the user without a
/// reason.
void log_error(const char* where, const char* what) noexcept;

/// Runs `body` and gives its result; whatever it throws is logged, and `on_fault` is given instead.
template <class Result, class Body>
Result guarded(const char* where, Result on_fault, Body&& body) noexcept {
  try {
    return body();
  } catch (const std::exception& fault) {
    log_error(where, fault.what());
  } catch (...) {
    log_error(where, "unknown exception");
  }
  return on_fault;
}

}  // namespace cumo
