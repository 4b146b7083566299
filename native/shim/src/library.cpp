#include "library.h"

#include "log.h"
#include "status.h"

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <dlfcn.h>
#include <link.h>

#include <set>
#include <utility>

namespace {

using cumo::trt::Fault;

// Names of the libraries, by the headers that this object is compiled with.
#if defined(CUMO_TRT_FLAVOUR_RTX)
constexpr char kFULL[] = "libtensorrt_rtx.so.1";
constexpr char kLEAN[] = "";
constexpr char kPARSER[] = "libtensorrt_onnxparser_rtx.so.1";
constexpr char kINSTALL[] = "TensorRT-RTX (the wheel tensorrt-rtx-cu13-libs has it)";
#else
#if NV_TENSORRT_MAJOR == 10
constexpr char kFULL[] = "libnvinfer.so.10";
constexpr char kLEAN[] = "libnvinfer_lean.so.10";
constexpr char kPARSER[] = "libnvonnxparser.so.10";
constexpr char kINSTALL[] = "TensorRT 10 (JetPack 6.1 or later has it)";
#elif NV_TENSORRT_MAJOR == 11
constexpr char kFULL[] = "libnvinfer.so.11";
constexpr char kLEAN[] = "libnvinfer_lean.so.11";
constexpr char kPARSER[] = "libnvonnxparser.so.11";
constexpr char kINSTALL[] = "TensorRT 11";
#else
#error "headers of a TensorRT that the shim does not know"
#endif
#endif

/// The loader's words for what it last failed at.
std::string loader_error() {
  const char* error = dlerror();
  return error == nullptr ? "unknown error of the loader" : error;
}

std::string in_folder(const std::string& folder, const char* name) {
  return folder.empty() ? name : folder + "/" + name;
}

template <class Fn>
Fn symbol(void* handle, const char* name) noexcept {
  return reinterpret_cast<Fn>(dlsym(handle, name));
}

/// The file that a handle was loaded from.
std::string file_of(void* handle, const std::string& asked) {
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr && map->l_name != nullptr)
    return map->l_name;
  return asked;
}

}  // namespace

cumo_trt_library::cumo_trt_library(std::string folder) : mFolder{std::move(folder)} {
  const std::string full = in_folder(mFolder, kFULL);
  mHandle = dlopen(full.c_str(), RTLD_NOW | RTLD_LOCAL);
  std::string missing = mHandle == nullptr ? loader_error() : "";
  if (mHandle == nullptr && kLEAN[0] != '\0') {
    mHandle = dlopen(in_folder(mFolder, kLEAN).c_str(), RTLD_NOW | RTLD_LOCAL);
    if (mHandle == nullptr) missing += "; " + loader_error();
  }
  if (mHandle == nullptr) {
    throw Fault{CUMO_TRT_CODE_MISSING_LIBRARY,
                std::string{"cannot load "} + kINSTALL + ": " + missing};
  }
  mPath = file_of(mHandle, full);
  // The loader gives a library that is loaded already by its name alone: its parts are where it was
  // loaded from.
  if (const size_t slash = mPath.rfind('/'); slash != std::string::npos)
    mFolder = mPath.substr(0, slash);
  mCreateBuilder = symbol<CreateFn>(mHandle, "createInferBuilder_INTERNAL");
  mCreateRuntime = symbol<CreateFn>(mHandle, "createInferRuntime_INTERNAL");
  mRegistry = symbol<RegistryFn>(mHandle, "getPluginRegistry");
  if (mCreateRuntime == nullptr || mRegistry == nullptr) {
    throw Fault{CUMO_TRT_CODE_WRONG_LIBRARY, mPath + " is not TensorRT: functions are missing"};
  }
  check_version();
}

void cumo_trt_library::check_version() {
  using Number = int32_t (*)();
  int32_t parts[4] = {};
  const char* const names[4] = {"getInferLibMajorVersion", "getInferLibMinorVersion",
                                "getInferLibPatchVersion", "getInferLibBuildVersion"};
  for (int i = 0; i < 4; ++i) {
    const auto number = symbol<Number>(mHandle, names[i]);
    if (number == nullptr) {
      throw Fault{CUMO_TRT_CODE_WRONG_LIBRARY, mPath + " is not TensorRT: it has no " + names[i]};
    }
    parts[i] = number();
    mVersion += (i == 0 ? "" : ".") + std::to_string(parts[i]);
  }
  // Within a major version, TensorRT's interfaces only grow.
  if (parts[0] != NV_TENSORRT_MAJOR || parts[1] < NV_TENSORRT_MINOR) {
    throw Fault{CUMO_TRT_CODE_WRONG_LIBRARY,
                mPath + " is version " + mVersion + "; this program was compiled for " +
                    std::to_string(NV_TENSORRT_MAJOR) + "." + std::to_string(NV_TENSORRT_MINOR) +
                    " and later ones of the same major version"};
  }
}

void* cumo_trt_library::create_builder() {
  if (mCreateBuilder == nullptr) {
    throw Fault{CUMO_TRT_CODE_MISSING_LIBRARY,
                mPath + " is TensorRT's lean runtime, which cannot build; install " + kINSTALL};
  }
  return mCreateBuilder(&cumo::trt::logger(), NV_TENSORRT_VERSION);
}

void* cumo_trt_library::create_runtime() {
  return mCreateRuntime(&cumo::trt::logger(), NV_TENSORRT_VERSION);
}

void* cumo_trt_library::create_parser(void* network) {
  const std::lock_guard<std::mutex> lock{mMutex};
  if (mCreateParser == nullptr) {
    const std::string file = in_folder(mFolder, kPARSER);
    void* const handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      throw Fault{CUMO_TRT_CODE_MISSING_LIBRARY,
                  "cannot load TensorRT's ONNX parser: " + loader_error()};
    }
    mCreateParser = symbol<CreateParserFn>(handle, "createNvOnnxParser_INTERNAL");
    if (mCreateParser == nullptr) {
      throw Fault{CUMO_TRT_CODE_WRONG_LIBRARY,
                  file + " is not TensorRT's ONNX parser: functions are missing"};
    }
  }
  return mCreateParser(network, &cumo::trt::logger(), NV_ONNX_PARSER_VERSION);
}

void cumo_trt_library::load_plugins(const std::string& path) {
  // The registry is the process's, and refuses a file that it has: so is the list of them,
  // whichever library object they were loaded through.
  static std::mutex mutex;
  static std::set<std::pair<void*, std::string>> files;
  const std::lock_guard<std::mutex> lock{mutex};
  nvinfer1::IPluginRegistry* const registry = mRegistry();
  if (files.count({registry, path}) != 0) return;
  // TensorRT says little of a library that it cannot load, so the loader is asked first.
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr)
    throw Fault{CUMO_TRT_CODE_PLUGIN, "cannot load the plugins: " + loader_error()};
  for (const char* name : {"setLoggerFinder", "getCreators"}) {
    if (dlsym(handle, name) == nullptr) {
      dlclose(handle);
      throw Fault{CUMO_TRT_CODE_PLUGIN, path + " holds no TensorRT plugins: it has no " + name};
    }
  }
  cumo::trt::Sink sink{nullptr};
  const cumo::trt::LogScope scope{sink};
  const bool loaded = registry->loadLibrary(path.c_str()) != nullptr;
  dlclose(handle);
  if (!loaded)
    throw Fault{CUMO_TRT_CODE_PLUGIN, sink.explain("TensorRT refused the plugins of " + path)};
  files.insert({registry, path});
}

extern "C" {

uint32_t cumo_trt_abi_version(void) { return CUMO_TRT_ABI_VERSION; }

const char* cumo_trt_flavour(void) {
#if defined(CUMO_TRT_FLAVOUR_RTX)
  return "rtx";
#elif NV_TENSORRT_MAJOR == 10
  return "10";
#else
  return "11";
#endif
}

cumo_trt_status* cumo_trt_library_open(const char* folder, cumo_trt_library** out) {
  return cumo::trt::guarded([&] {
    cumo::trt::required(out, "out") = nullptr;
    *out = new cumo_trt_library{folder == nullptr ? "" : folder};
  });
}

const char* cumo_trt_library_version(const cumo_trt_library* library) {
  return library == nullptr ? "" : library->version().c_str();
}

const char* cumo_trt_library_path(const cumo_trt_library* library) {
  return library == nullptr ? "" : library->path().c_str();
}

int32_t cumo_trt_library_can_build(const cumo_trt_library* library) {
  return library != nullptr && library->can_build() ? 1 : 0;
}

cumo_trt_status* cumo_trt_library_load_plugins(cumo_trt_library* library, const char* path) {
  return cumo::trt::guarded([&] {
    cumo::trt::required(library, "library").load_plugins(&cumo::trt::required(path, "path"));
  });
}

void cumo_trt_library_free(cumo_trt_library* library) { delete library; }

}  // extern "C"
