#include "log.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cumo::trt {
namespace {

/// Errors kept for a status: the first ones say what was wrong, the rest follow from them.
constexpr size_t kMAX_ERRORS = 8;

/// Only a warning to TensorRT, which builds an engine that fails when it runs.
constexpr char kPROFILE_WARNING[] = "values are not self-consistent";

thread_local Sink* t_sink = nullptr;

/// Every sink that is alive, for messages of threads that TensorRT started.
struct Sinks {
  std::mutex mutex;
  std::vector<Sink*> alive;
  Sink* building{};  // The one whose turn it is to build, if any.
};

Sinks& sinks() noexcept {
  static auto* all = new Sinks;
  return *all;
}

/// One build at a time: in TensorRT-RTX 1.7, a build for chosen compute capabilities makes another
/// one that runs meanwhile fail ("Target SM 80 is not found in the accelerator list").
std::mutex& building() noexcept {
  static auto* only = new std::mutex;
  return *only;
}

class Logger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override {
    if (text == nullptr) return;
    if (t_sink != nullptr) return t_sink->receive(static_cast<int32_t>(severity), text);
    try {
      const std::lock_guard<std::mutex> lock{sinks().mutex};
      if (sinks().building != nullptr)
        return sinks().building->receive(static_cast<int32_t>(severity), text);
      for (Sink* sink : sinks().alive) sink->receive(static_cast<int32_t>(severity), text);
    } catch (...) {
      // A lock that fails loses a message, and nothing else.
    }
  }
};

}  // namespace

Sink::Sink(const cumo_trt_log* log) : mLog{log == nullptr ? cumo_trt_log{} : *log} {
  const std::lock_guard<std::mutex> lock{sinks().mutex};
  sinks().alive.push_back(this);
}

Sink::~Sink() {
  const std::lock_guard<std::mutex> lock{sinks().mutex};
  auto& alive = sinks().alive;
  alive.erase(std::remove(alive.begin(), alive.end(), this), alive.end());
}

void Sink::receive(int32_t severity, const char* text) noexcept {
  if (mLog.call != nullptr && severity <= mLog.max_severity) {
    mLog.call(mLog.user, severity, text, std::strlen(text));
  }
  const bool is_profile = std::strstr(text, kPROFILE_WARNING) != nullptr;
  if (severity > CUMO_TRT_SEVERITY_ERROR && !is_profile) return;
  try {
    const std::lock_guard<std::mutex> lock{mMutex};
    if (is_profile) {
      mProfileWarning = text;
    } else if (mErrors.size() < kMAX_ERRORS)
      mErrors.emplace_back(text);
  } catch (...) {
    // The status will say less; the log has had it.
  }
}

std::string Sink::explain(std::string sentence) {
  const std::lock_guard<std::mutex> lock{mMutex};
  for (const std::string& error : mErrors) sentence += "\n" + error;
  mErrors.clear();
  return sentence;
}

std::string Sink::take_profile_warning() {
  const std::lock_guard<std::mutex> lock{mMutex};
  return std::exchange(mProfileWarning, std::string{});
}

void Sink::forget() noexcept {
  const std::lock_guard<std::mutex> lock{mMutex};
  mErrors.clear();
  mProfileWarning.clear();
}

BuildTurn::BuildTurn(Sink& sink) : mTurn{building()} {
  const std::lock_guard<std::mutex> lock{sinks().mutex};
  sinks().building = &sink;
  sink.forget();
}

BuildTurn::~BuildTurn() {
  const std::lock_guard<std::mutex> lock{sinks().mutex};
  sinks().building = nullptr;
}

LogScope::LogScope(Sink& sink) noexcept : mBefore{std::exchange(t_sink, &sink)} {}

LogScope::~LogScope() { t_sink = mBefore; }

nvinfer1::ILogger& logger() noexcept {
  static auto* only = new Logger;
  return *only;
}

}  // namespace cumo::trt
