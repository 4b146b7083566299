#include "log.h"

#include <atomic>
#include <cstdio>

namespace cumo {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

nvinfer1::ILogger* find_logger() noexcept {
  auto* finder = logger_finder.load();
  try {
    return finder ? finder->findLogger() : nullptr;
  } catch (...) {
    return nullptr;
  }
}

}  // namespace

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { logger_finder.store(finder); }

void log_error(const char* where, const char* what) noexcept {
  char message[1024];  // on the stack: this also reports that memory ran out
  std::snprintf(message, sizeof message, "CumoMoE: %s: %s", where, what);
  if (auto* logger = find_logger()) {
    logger->log(nvinfer1::ILogger::Severity::kERROR, message);
  } else {
    std::fprintf(stderr, "%s\n", message);
  }
}

}  // namespace cumo
