// Loading and describing engines.
#include "blob.h"
#include "runtime.h"
#include "status.h"
#include "tensor.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace cumo::trt {
namespace {

/// The name of a tensor of the engine, or a fault.
const char* tensor_name(const cumo_trt_engine* engine, size_t index) {
  const auto& which = *required(engine, "engine").engine;
  if (index >= static_cast<size_t>(which.getNbIOTensors())) {
    throw Fault{CUMO_TRT_CODE_INVALID_ARGUMENT,
                "the engine has no tensor " + std::to_string(index)};
  }
  return which.getIOTensorName(static_cast<int32_t>(index));
}

int32_t profile_index(const nvinfer1::ICudaEngine& engine, size_t profile) {
  if (profile >= static_cast<size_t>(engine.getNbOptimizationProfiles())) {
    throw Fault{CUMO_TRT_CODE_INVALID_ARGUMENT,
                "the engine has no profile " + std::to_string(profile)};
  }
  return static_cast<int32_t>(profile);
}

#if defined(CUMO_TRT_FLAVOUR_RTX)
struct Reason {
  nvinfer1::EngineInvalidityDiagnostics bit;
  const char* text;
};

using Diagnostics = nvinfer1::EngineInvalidityDiagnostics;

/// What of an engine's header is wrong, whatever the machine.
constexpr Reason kWRONG[] = {
    {Diagnostics::kVERSION_MISMATCH, "it was built by another version of TensorRT-RTX"},
    {Diagnostics::kMALFORMED_ENGINE, "it is damaged"},
};

std::string wrong(uint64_t diagnostics) {
  std::string text;
  for (const Reason& reason : kWRONG) {
    if ((diagnostics & static_cast<uint64_t>(reason.bit)) == 0) continue;
    text += (text.empty() ? "" : ", ") + std::string{reason.text};
  }
  return text;
}

/// What an engine's own header says, as RTX 1.7 writes it: "vtrt", four bytes, the number 2 and the
/// engine's length as little-endian 64-bit numbers, then the four parts of the version, a byte
/// each. RTX itself compares neither length nor version where there is no device.
struct Header {
  uint64_t length{};
  unsigned major{};
  unsigned minor{};
  unsigned patch{};
  unsigned build{};
};

/// False where the header is of another form: then there is nothing to compare.
bool read_header(const unsigned char* bytes, size_t size, Header& header) noexcept {
  if (size < 28 || std::memcmp(bytes, "vtrt", 4) != 0) return false;
  const auto number = [&](size_t at) {
    uint64_t value = 0;
    for (size_t i = 8; i-- > 0;) value = value << 8 | bytes[at + i];
    return value;
  };
  if (number(8) != 2) return false;
  header = {number(16), bytes[24], bytes[25], bytes[26], bytes[27]};
  return true;
}

void compare_header(const cumo_trt_library& library, const unsigned char* bytes, size_t size) {
  Header header;
  if (!read_header(bytes, size, header)) return;
  const auto built_by = [&] {
    return std::to_string(header.major) + "." + std::to_string(header.minor) + "." +
           std::to_string(header.patch) + "." + std::to_string(header.build);
  };
  const std::string release =
      std::to_string(header.major) + "." + std::to_string(header.minor) + ".";
  if (library.version().compare(0, release.size(), release) != 0) {
    throw Fault{CUMO_TRT_CODE_WRONG_ENGINE, "the engine was built by TensorRT-RTX " + built_by() +
                                                ", this is " + library.version()};
  }
  if (header.length != size) {
    throw Fault{CUMO_TRT_CODE_WRONG_ENGINE,
                "the engine is damaged: it has " + std::to_string(size) +
                    " bytes, and its header says " + std::to_string(header.length)};
  }
}

void check_engine(cumo_trt_library& library, const unsigned char* bytes, size_t size) {
  Sink sink{nullptr};
  const LogScope scope{sink};
  // RTX, other than TensorRT, gives a runtime that can be asked on a machine without a driver.
  std::unique_ptr<nvinfer1::IRuntime> runtime{
      static_cast<nvinfer1::IRuntime*>(library.create_runtime())};
  if (!runtime) throw Fault{CUMO_TRT_CODE_RUN, sink.explain("TensorRT gives no runtime")};
  const int64_t header = runtime->getEngineHeaderSize();
  if (size < static_cast<size_t>(header)) {
    throw Fault{CUMO_TRT_CODE_WRONG_ENGINE, "not an engine: " + std::to_string(size) +
                                                " bytes, less than the header's " +
                                                std::to_string(header)};
  }
  compare_header(library, bytes, size);
  uint64_t diagnostics = 0;
  const auto validity = runtime->getEngineValidity(bytes, static_cast<int64_t>(size), &diagnostics);
  if (validity != nvinfer1::EngineValidity::kINVALID) return;
  const std::string why = wrong(diagnostics);
  if (!why.empty())
    throw Fault{CUMO_TRT_CODE_WRONG_ENGINE, sink.explain("the engine cannot be used: " + why)};
}
#endif

}  // namespace
}  // namespace cumo::trt

using cumo::trt::Fault;
using cumo::trt::guarded;
using cumo::trt::required;
using cumo::trt::RuntimeScope;

extern "C" {

cumo_trt_status* cumo_trt_engine_check(cumo_trt_library* library, const void* engine,
                                       size_t engine_bytes) {
  return guarded([&] {
    const auto* bytes = &required(static_cast<const unsigned char*>(engine), "engine");
#if defined(CUMO_TRT_FLAVOUR_RTX)
    cumo::trt::check_engine(required(library, "library"), bytes, engine_bytes);
#else
    static_cast<void>(bytes);
    static_cast<void>(engine_bytes);
    required(library, "library");
    throw Fault{CUMO_TRT_CODE_UNSUPPORTED,
                "only TensorRT-RTX can judge an engine without a device"};
#endif
  });
}

cumo_trt_status* cumo_trt_engine_load(cumo_trt_runtime* runtime, const void* engine,
                                      size_t engine_bytes, cumo_trt_engine** out) {
  return guarded([&] {
    required(out, "out") = nullptr;
    required(static_cast<const char*>(engine), "engine");
    const RuntimeScope scope{required(runtime, "runtime")};
    std::unique_ptr<nvinfer1::ICudaEngine> loaded{
        runtime->runtime->deserializeCudaEngine(engine, engine_bytes)};
    if (!loaded) {
      std::string text = runtime->sink.explain("TensorRT cannot load the engine");
      const bool memory = text.find("ut of memory") != std::string::npos;
      throw Fault{memory ? CUMO_TRT_CODE_OUT_OF_MEMORY : CUMO_TRT_CODE_WRONG_ENGINE,
                  std::move(text)};
    }
    *out = new cumo_trt_engine{*runtime, std::move(loaded)};
  });
}

size_t cumo_trt_engine_num_tensors(const cumo_trt_engine* engine) {
  return engine == nullptr ? 0 : static_cast<size_t>(engine->engine->getNbIOTensors());
}

cumo_trt_status* cumo_trt_engine_tensor(const cumo_trt_engine* engine, size_t index,
                                        cumo_trt_tensor* out) {
  return guarded([&] {
    required(out, "out") = {};
    const char* name = cumo::trt::tensor_name(engine, index);
    const auto& which = *engine->engine;
    cumo_trt_tensor tensor{};
    tensor.name = name;
    tensor.dtype = cumo::trt::dtype_number(which.getTensorDataType(name));
    tensor.is_input = which.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT ? 1 : 0;
    tensor.is_host = which.getTensorLocation(name) == nvinfer1::TensorLocation::kHOST ? 1 : 0;
    cumo::trt::set_shape(tensor, which.getTensorShape(name));
    *out = tensor;
  });
}

size_t cumo_trt_engine_num_profiles(const cumo_trt_engine* engine) {
  return engine == nullptr ? 0 : static_cast<size_t>(engine->engine->getNbOptimizationProfiles());
}

cumo_trt_status* cumo_trt_engine_profile(const cumo_trt_engine* engine, const char* input,
                                         size_t profile, int64_t* min, int64_t* opt, int64_t* max) {
  return guarded([&] {
    using Select = nvinfer1::OptProfileSelector;
    const auto& which = *required(engine, "engine").engine;
    const int32_t index = cumo::trt::profile_index(which, profile);
    const auto shape = [&](int64_t* out, Select select) {
      const auto dims = which.getProfileShape(&required(input, "input"), index, select);
      if (dims.nbDims < 0) {
        throw Fault{CUMO_TRT_CODE_INVALID_ARGUMENT,
                    "the engine has no profile of an input `" + std::string{input} + "`"};
      }
      std::copy_n(dims.d, dims.nbDims, &required(out, "a shape"));
    };
    shape(min, Select::kMIN);
    shape(opt, Select::kOPT);
    shape(max, Select::kMAX);
  });
}

const char* cumo_trt_engine_aliased_input(const cumo_trt_engine* engine, const char* output) {
  if (engine == nullptr || output == nullptr) return "";
#if defined(CUMO_TRT_FLAVOUR_RTX) || NV_TENSORRT_MAJOR > 10 || NV_TENSORRT_MINOR >= 15
  const char* input = engine->engine->getAliasedInputTensor(output);
  return input == nullptr ? "" : input;
#else
  // Before 10.15 no layer updates an input in place.
  return "";
#endif
}

cumo_trt_status* cumo_trt_engine_activation_bytes(const cumo_trt_engine* engine, size_t profile,
                                                  uint64_t* out) {
  return guarded([&] {
    required(out, "out") = 0;
    const auto& which = *required(engine, "engine").engine;
    const auto bytes =
        which.getDeviceMemorySizeForProfileV2(cumo::trt::profile_index(which, profile));
    *out = static_cast<uint64_t>(std::max<int64_t>(bytes, 0));
  });
}

cumo_trt_status* cumo_trt_engine_inspect(const cumo_trt_engine* engine, cumo_trt_blob** out) {
  return guarded([&] {
    required(out, "out") = nullptr;
    const RuntimeScope scope{required(engine, "engine").runtime};
    std::unique_ptr<nvinfer1::IEngineInspector> inspector{engine->engine->createEngineInspector()};
    const char* text =
        inspector ? inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON)
                  : nullptr;
    if (text == nullptr) {
      throw Fault{CUMO_TRT_CODE_RUN,
                  engine->runtime.sink.explain("TensorRT does not describe the engine")};
    }
    auto blob = std::make_unique<cumo_trt_blob>();
    blob->text = text;
    *out = blob.release();
  });
}

void cumo_trt_engine_free(cumo_trt_engine* engine) {
  if (engine == nullptr) return;
  cumo_trt_status_free(guarded([&] {
    const RuntimeScope scope{engine->runtime};
    engine->engine.reset();
  }));
  delete engine;
}

}  // extern "C"
