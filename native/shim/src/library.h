// TensorRT's shared libraries, loaded at run time.
#pragma once

#include "cumo_trt.h"

#include <NvInferRuntime.h>

#include <cstdint>
#include <mutex>
#include <string>

/// See cumo_trt_library_open. The libraries stay loaded: plugins and their registry live in them.
struct cumo_trt_library {
  /// Loads the builder's library, or the lean runtime. `folder` may be empty: where the system's
  /// loader looks.
  explicit cumo_trt_library(std::string folder);

  /// An `nvinfer1::IBuilder`. Throws where the library is the lean runtime.
  void* create_builder();

  /// An `nvinfer1::IRuntime`. Without a driver it may be garbage: ask for devices first.
  void* create_runtime();

  /// An `nvonnxparser::IParser` that writes into an `nvinfer1::INetworkDefinition`. Loads it when
  /// first asked.
  void* create_parser(void* network);

  /// Loads plugins into the registry of the process.
  void load_plugins(const std::string& path);

  bool can_build() const noexcept { return mCreateBuilder != nullptr; }

  const std::string& path() const noexcept { return mPath; }
  const std::string& version() const noexcept { return mVersion; }

 private:
  using CreateFn = void* (*)(void* logger, int32_t version);
  using CreateParserFn = void* (*)(void* network, void* logger, int version);
  using RegistryFn = nvinfer1::IPluginRegistry* (*)();

  void check_version();

  std::string mFolder;
  std::string mPath;
  std::string mVersion;
  void* mHandle{};
  CreateFn mCreateBuilder{};
  CreateFn mCreateRuntime{};
  RegistryFn mRegistry{};

  std::mutex mMutex;
  CreateParserFn mCreateParser{};
};
