// TensorRT's messages on their way to the builder or runtime that they are about.
#pragma once

#include "cumo_trt.h"

#include <NvInferRuntime.h>

#include <mutex>
#include <string>
#include <vector>

namespace cumo::trt {

/// Receives the messages of one builder or runtime, and keeps the errors for the status.
class Sink {
 public:
  /// `log` may be null: errors are kept all the same.
  explicit Sink(const cumo_trt_log* log);
  ~Sink();
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  void receive(int32_t severity, const char* text) noexcept;

  /// The errors since the last call, a line each, after `sentence`.
  std::string explain(std::string sentence);

  /// TensorRT's warning of a profile that the network cannot run with, since the last call; empty
  /// if there was none.
  std::string take_profile_warning();

  /// Forgets errors and warnings that were of something else.
  void forget() noexcept;

 private:
  cumo_trt_log mLog;
  std::mutex mMutex;
  std::vector<std::string> mErrors;
  std::string mProfileWarning;
};

/// While it lives, messages of this thread go to one sink.
class LogScope {
 public:
  explicit LogScope(Sink& sink) noexcept;
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

 private:
  Sink* mBefore;
};

/// While it lives, it is one sink's turn to build: no other builds, and messages of threads that
/// TensorRT started go to this sink alone. What others' work left in the sink before is forgotten.
class BuildTurn {
 public:
  explicit BuildTurn(Sink& sink);
  ~BuildTurn();
  BuildTurn(const BuildTurn&) = delete;
  BuildTurn& operator=(const BuildTurn&) = delete;

 private:
  std::unique_lock<std::mutex> mTurn;
};

/// The logger for all of TensorRT, which keeps a pointer to the first that it sees: it lives as
/// long as the process.
nvinfer1::ILogger& logger() noexcept;

}  // namespace cumo::trt
