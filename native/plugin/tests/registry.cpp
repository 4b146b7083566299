#include "registry.h"

#include <dlfcn.h>

#include <cstring>
#include <stdexcept>

void Messages::log(Severity severity, const nvinfer1::AsciiChar* message) noexcept {
  if (severity <= Severity::kERROR) text_ += std::string(message) + "\n";
}

std::string Messages::take() {
  std::string text;
  text.swap(text_);
  return text;
}

Fields& Fields::text(const char* name, std::string value) {
  values_.push_back(std::make_unique<Value>(Value{name, std::move(value), 0}));
  const auto& kept = *values_.back();
  return raw({kept.name.c_str(), kept.text.data(), nvinfer1::PluginFieldType::kCHAR,
              static_cast<int32_t>(kept.text.size())});
}

Fields& Fields::integer(const char* name, int32_t value) {
  values_.push_back(std::make_unique<Value>(Value{name, "", value}));
  const auto& kept = *values_.back();
  return raw({kept.name.c_str(), &kept.integer, nvinfer1::PluginFieldType::kINT32, 1});
}

Fields& Fields::raw(nvinfer1::PluginField field) {
  without(field.name);
  fields_.push_back(field);
  return *this;
}

Fields& Fields::without(const char* name) {
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (std::strcmp(fields_[i].name, name) == 0)
      fields_.erase(fields_.begin() + static_cast<long>(i));
  }
  return *this;
}

const nvinfer1::PluginFieldCollection* Fields::collection() {
  collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
  return &collection_;
}

namespace {

/// TensorRT 10's IPluginRegistry begins with calls of old plugin versions, which the headers of 11
/// and RTX do not have: its functions are taken by their place in the table of virtual functions,
/// as 10's headers order them.
class CallsOf10 final : public RegistryCalls {
 public:
  explicit CallsOf10(void* registry) : registry_(registry) {}
  void* load_library(const char* path) override {
    return function<void* (*)(void*, const char*)>(10)(registry_, path);
  }
  void deregister_library(void* handle) override {
    function<void (*)(void*, void*)>(11)(registry_, handle);
  }
  nvinfer1::IPluginCreatorInterface* get_creator() override {
    using Function =
        nvinfer1::IPluginCreatorInterface* (*)(void*, const char*, const char*, const char*);
    return function<Function>(14)(registry_, "CumoMoE", "1", "");
  }

 private:
  template <class Function>
  Function function(size_t place) const {
    return reinterpret_cast<Function>((*static_cast<void***>(registry_))[place]);
  }

  void* registry_;
};

class CallsOfHeaders final : public RegistryCalls {
 public:
  explicit CallsOfHeaders(void* registry)
      : registry_(*static_cast<nvinfer1::IPluginRegistry*>(registry)) {}
  void* load_library(const char* path) override { return registry_.loadLibrary(path); }
  void deregister_library(void* handle) override { registry_.deregisterLibrary(handle); }
  nvinfer1::IPluginCreatorInterface* get_creator() override {
    return registry_.getCreator("CumoMoE", "1", "");
  }

 private:
  nvinfer1::IPluginRegistry& registry_;
};

template <class Function>
Function symbol(void* library, const char* name) {
  void* address = dlsym(library, name);
  if (!address) throw std::runtime_error(dlerror());
  return reinterpret_cast<Function>(address);
}

}  // namespace

Registry::Registry(const std::string& tensorrt, const std::string& plugin, Messages& messages) {
  void* library = dlopen(tensorrt.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw std::runtime_error(dlerror());
  auto* registry = symbol<void* (*)()>(library, "getPluginRegistry")();
  if (!registry) throw std::runtime_error("there is no plugin registry");
  const bool ten = symbol<int32_t (*)()>(library, "getInferLibMajorVersion")() == 10;
  if (ten)
    registry_ = std::make_unique<CallsOf10>(registry);
  else
    registry_ = std::make_unique<CallsOfHeaders>(registry);

  handle_ = registry_->load_library(plugin.c_str());
  if (!handle_) throw std::runtime_error("the registry did not load " + plugin);
  creator_ = static_cast<nvinfer1::IPluginCreatorV3One*>(registry_->get_creator());
  if (!creator_) throw std::runtime_error("the registry has no creator of CumoMoE 1");
  void* loaded = dlopen(plugin.c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (!loaded) throw std::runtime_error("the plugin is not loaded");
  set_logger_finder_ = symbol<void (*)(nvinfer1::ILoggerFinder*)>(loaded, "setLoggerFinder");
  set_logger_finder_(&messages);
  dlclose(loaded);
}

bool Registry::unload() {
  registry_->deregister_library(handle_);
  return registry_->get_creator() == nullptr;
}
