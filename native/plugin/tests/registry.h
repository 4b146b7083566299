// A TensorRT library's plugin registry with our library in it.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

/// Keeps what is logged, and gives it out as the finder of itself.
class Messages final : public nvinfer1::ILogger, public nvinfer1::ILoggerFinder {
 public:
  void log(Severity severity, const nvinfer1::AsciiChar* message) noexcept override;
  nvinfer1::ILogger* findLogger() override { return this; }

  /// What was logged at kERROR or worse since the last call, lines joined.
  std::string take();

 private:
  std::string text_;
};

/// Attributes of a node; each may be left out, so that faults can be written down.
class Fields {
 public:
  Fields& text(const char* name, std::string value);
  Fields& integer(const char* name, int32_t value);
  Fields& raw(nvinfer1::PluginField field);
  Fields& without(const char* name);

  /// Valid until the next change.
  const nvinfer1::PluginFieldCollection* collection();

 private:
  struct Value {
    std::string name, text;
    int32_t integer;
  };
  std::vector<std::unique_ptr<Value>> values_;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_{};
};

/// What the tests call of nvinfer1::IPluginRegistry.
class RegistryCalls {
 public:
  virtual ~RegistryCalls() = default;
  virtual void* load_library(const char* path) = 0;
  virtual void deregister_library(void* handle) = 0;
  virtual nvinfer1::IPluginCreatorInterface* get_creator() = 0;
};

/// A registry into which the plugin library was loaded by the registry itself.
class Registry {
 public:
  /// Loads TensorRT's library, finds `getPluginRegistry` in it and loads the plugin. `messages`
  /// gets the plugin's log. Throws std::runtime_error that says which step failed.
  Registry(const std::string& tensorrt, const std::string& plugin, Messages& messages);

  nvinfer1::IPluginCreatorV3One& creator() const { return *creator_; }
  void set_logger_finder(nvinfer1::ILoggerFinder* finder) const { set_logger_finder_(finder); }
  /// Takes the library out again; whether the creator is gone.
  bool unload();

 private:
  std::unique_ptr<RegistryCalls> registry_;
  void* handle_;
  nvinfer1::IPluginCreatorV3One* creator_;
  void (*set_logger_finder_)(nvinfer1::ILoggerFinder*);
};
