#include "status.h"

using cumo::trt::ParseError;

struct cumo_trt_status {
  int32_t code;
  std::string text;
  std::vector<ParseError> parse_errors;
};

namespace cumo::trt {
namespace {

/// Stands for every status that there is no memory for; never freed.
cumo_trt_status& last_resort() noexcept {
  static cumo_trt_status status{CUMO_TRT_CODE_OUT_OF_MEMORY, "out of memory", {}};
  return status;
}

}  // namespace

cumo_trt_status* make_status(int32_t code, const char* text,
                             std::vector<ParseError>* parse_errors) noexcept {
  try {
    auto* status = new cumo_trt_status{code, text, {}};
    if (parse_errors != nullptr) status->parse_errors.swap(*parse_errors);
    return status;
  } catch (...) {
    return &last_resort();
  }
}

}  // namespace cumo::trt

extern "C" {

int32_t cumo_trt_status_code(const cumo_trt_status* status) {
  return status == nullptr ? 0 : status->code;
}

const char* cumo_trt_status_text(const cumo_trt_status* status) {
  return status == nullptr ? "" : status->text.c_str();
}

size_t cumo_trt_status_num_parse_errors(const cumo_trt_status* status) {
  return status == nullptr ? 0 : status->parse_errors.size();
}

cumo_trt_parse_error cumo_trt_status_parse_error(const cumo_trt_status* status, size_t index) {
  if (index >= cumo_trt_status_num_parse_errors(status)) return {"", "", "", -1};
  const ParseError& error = status->parse_errors[index];
  return {error.text.c_str(), error.name.c_str(), error.operator_type.c_str(), error.index};
}

void cumo_trt_status_free(cumo_trt_status* status) {
  if (status != &cumo::trt::last_resort()) delete status;
}

}  // extern "C"
