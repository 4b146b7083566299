// Faults inside the shim, statuses outside, and the fence between exceptions and C.
#pragma once

#include "cumo_trt.h"

#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace cumo::trt {

/// What the ONNX parser refused. See cumo_trt_parse_error.
struct ParseError {
  std::string text;
  std::string name;
  std::string operator_type;
  int64_t index{-1};
};

/// Thrown by everything in here that fails; `guarded` turns it into a status.
struct Fault final : std::exception {
  Fault(int32_t code, std::string text) : code{code}, text{std::move(text)} {}

  const char* what() const noexcept override { return text.c_str(); }

  int32_t code;
  std::string text;
  std::vector<ParseError> parse_errors;
};

/// The status of a fault; a static one where there is no memory for it.
cumo_trt_status* make_status(int32_t code, const char* text,
                             std::vector<ParseError>* parse_errors) noexcept;

/// Runs `body`; whatever it throws becomes the status that is returned.
template <class Body>
cumo_trt_status* guarded(Body&& body) noexcept {
  try {
    body();
    return nullptr;
  } catch (Fault& fault) {
    return make_status(fault.code, fault.what(), &fault.parse_errors);
  } catch (const std::bad_alloc&) {
    return make_status(CUMO_TRT_CODE_OUT_OF_MEMORY, "the host has no memory left", nullptr);
  } catch (const std::exception& fault) {
    return make_status(CUMO_TRT_CODE_INTERNAL, fault.what(), nullptr);
  } catch (...) {
    return make_status(CUMO_TRT_CODE_INTERNAL, "unknown exception", nullptr);
  }
}

/// Refuses a null pointer that no caller should pass. `what` names the parameter.
template <class T>
T& required(T* pointer, const char* what) {
  if (pointer == nullptr)
    throw Fault{CUMO_TRT_CODE_INVALID_ARGUMENT, std::string{what} + " is null"};
  return *pointer;
}

}  // namespace cumo::trt
