// From a network to an engine's bytes.
#include "blob.h"
#include "builder.h"
#include "profile.h"
#include "status.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <string>

namespace cumo::trt {
namespace {

/// Passes TensorRT's progress on, and the wish to cancel back.
class Progress final : public nvinfer1::IProgressMonitor {
 public:
  Progress(cumo_trt_progress_fn call, void* user) noexcept : mCall{call}, mUser{user} {}

  void phaseStart(const char* phase, const char* parent, int32_t steps) noexcept override {
    report({CUMO_TRT_PROGRESS_START, steps, text(phase), text(parent)});
  }

  bool stepComplete(const char* phase, int32_t step) noexcept override {
    report({CUMO_TRT_PROGRESS_STEP, step, text(phase), ""});
    return !mCancelled;
  }

  void phaseFinish(const char* phase) noexcept override {
    report({CUMO_TRT_PROGRESS_FINISH, 0, text(phase), ""});
  }

  bool is_cancelled() const noexcept { return mCancelled; }

 private:
  static const char* text(const char* text) noexcept { return text == nullptr ? "" : text; }

  void report(const cumo_trt_progress& progress) noexcept {
    if (mCall(mUser, &progress) != 0) mCancelled = true;
  }

  cumo_trt_progress_fn mCall;
  void* mUser;
  std::atomic<bool> mCancelled{false};
};

bool has_moe(const cumo_trt_network& network) {
  for (int32_t i = 0; i < network.network->getNbLayers(); ++i) {
    if (std::strcmp(plugin_name(*network.network->getLayer(i)), "CumoMoE") == 0) return true;
  }
  return false;
}

std::string dotted(int32_t capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

/// The plugin's kernels need 8.0: an engine with them for less would be built, and fail where it is
/// loaded.
void check_plugins(const cumo_trt_network& network, int32_t capability) {
  constexpr int32_t kLEAST = 80;
  if (capability >= kLEAST || !has_moe(network)) return;
  throw Fault{CUMO_TRT_CODE_UNSUPPORTED,
              "the network has CumoMoE plugins, which need compute capability 8.0 or later, not " +
                  dotted(capability) + "; export it with `--moe function`"};
}

#if defined(CUMO_TRT_FLAVOUR_RTX)
void set_compute_capabilities(nvinfer1::IBuilderConfig& config,
                              const cumo_trt_build_options& options) {
  const size_t count = options.num_compute_capabilities;
  if (count == 0) return;
  required(options.compute_capabilities, "compute_capabilities");
  const auto unsupported = [](const std::string& which) {
    return Fault{CUMO_TRT_CODE_UNSUPPORTED,
                 "TensorRT-RTX cannot build for compute capability " + which +
                     " ahead of time; it can for 7.5, 8.0, 8.6, 8.9, 12.0 and 12.1"};
  };
  if (count > 16 || !config.setNbComputeCapabilities(static_cast<int32_t>(count))) {
    throw unsupported("lists of " + std::to_string(count));
  }
  for (size_t i = 0; i < count; ++i) {
    const int32_t number = options.compute_capabilities[i];
    const auto capability = static_cast<nvinfer1::ComputeCapability>(number);
    bool known = false;
    for (const int32_t one : {75, 80, 86, 89, 120, 121}) known = known || one == number;
    if (!known || !config.setComputeCapability(capability, static_cast<int32_t>(i))) {
      throw unsupported(dotted(number));
    }
  }
}
#else
void set_compute_capabilities(nvinfer1::IBuilderConfig&, const cumo_trt_build_options& options) {
  if (options.num_compute_capabilities != 0) {
    throw Fault{CUMO_TRT_CODE_UNSUPPORTED,
                "this flavour of TensorRT builds for the device at hand only; compute capabilities "
                "are RTX's"};
  }
}
#endif

void set_options(nvinfer1::IBuilderConfig& config, const cumo_trt_build_options& options) {
  if (options.workspace_bytes > 0) {
    config.setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE, options.workspace_bytes);
  }
  if (options.optimization_level_plus_1 != 0) {
    const int32_t level = options.optimization_level_plus_1 - 1;
    if (level < 0 || level > 5) {
      throw Fault{CUMO_TRT_CODE_INVALID_ARGUMENT,
                  "optimization level " + std::to_string(level) + "; there are 0 to 5"};
    }
    config.setBuilderOptimizationLevel(level);
  }
  if (options.detailed != 0) config.setProfilingVerbosity(nvinfer1::ProfilingVerbosity::kDETAILED);
  if (options.refittable != 0) config.setFlag(nvinfer1::BuilderFlag::kREFIT);
  set_compute_capabilities(config, options);
}

/// TensorRT-RTX measures nothing as it builds, and has no such cache.
std::unique_ptr<nvinfer1::ITimingCache> start_timing_cache(nvinfer1::IBuilderConfig& config,
                                                           const cumo_trt_build_options& options) {
#if defined(CUMO_TRT_FLAVOUR_RTX)
  if (options.timing_cache != nullptr) {
    throw Fault{CUMO_TRT_CODE_UNSUPPORTED, "TensorRT-RTX has no timing cache"};
  }
  static_cast<void>(config);
  return nullptr;
#else
  size_t const bytes = options.timing_cache == nullptr ? 0 : options.timing_cache_bytes;
  std::unique_ptr<nvinfer1::ITimingCache> cache{
      config.createTimingCache(options.timing_cache, bytes)};
  // A cache of another version or device is no fault: the build then starts with an empty one.
  if (!cache && bytes > 0) cache.reset(config.createTimingCache(nullptr, 0));
  if (cache) config.setTimingCache(*cache, false);
  return cache;
#endif
}

[[noreturn]] void explain_failure(Sink& sink, bool cancelled) {
  if (cancelled) throw Fault{CUMO_TRT_CODE_CANCELLED, "the build was cancelled"};
  std::string text = sink.explain("TensorRT cannot build the engine");
  const bool memory = text.find("ut of memory") != std::string::npos;
  throw Fault{memory ? CUMO_TRT_CODE_OUT_OF_MEMORY : CUMO_TRT_CODE_BUILD, std::move(text)};
}

struct Built {
  std::unique_ptr<cumo_trt_blob> engine;
  std::unique_ptr<cumo_trt_blob> timing_cache;
};

Built build(cumo_trt_network& network, const cumo_trt_build_options& options) {
  auto& builder = network.builder;
  const BuilderScope scope{builder};
  std::unique_ptr<nvinfer1::IBuilderConfig> config{builder.builder->createBuilderConfig()};
  if (!config)
    throw Fault{CUMO_TRT_CODE_BUILD, builder.sink.explain("TensorRT gives no configuration")};
#if defined(CUMO_TRT_FLAVOUR_RTX)
  for (size_t i = 0; i < options.num_compute_capabilities; ++i) {
    check_plugins(network, (&required(options.compute_capabilities, "compute_capabilities"))[i]);
  }
#else
  check_plugins(network, builder.device.compute_capability());
#endif
  set_options(*config, options);
  add_profiles(*builder.builder, *network.network, *config, options.profiles, options.num_profiles);
  const auto cache = start_timing_cache(*config, options);
  Progress progress{options.progress, options.progress_user};
  if (options.progress != nullptr) config->setProgressMonitor(&progress);

  std::unique_ptr<nvinfer1::IHostMemory> engine;
  {
    const BuildTurn turn{builder.sink};
    engine.reset(builder.builder->buildSerializedNetwork(*network.network, *config));
  }
  if (const std::string warning = builder.sink.take_profile_warning(); !warning.empty()) {
    throw Fault{CUMO_TRT_CODE_PROFILE, "the network cannot run with the profile: " + warning};
  }
  if (!engine || progress.is_cancelled()) explain_failure(builder.sink, progress.is_cancelled());
  Built built;
  built.engine = std::make_unique<cumo_trt_blob>();
  built.engine->memory = std::move(engine);
  if (cache) {
    std::unique_ptr<nvinfer1::IHostMemory> bytes{cache->serialize()};
    if (bytes) {
      built.timing_cache = std::make_unique<cumo_trt_blob>();
      built.timing_cache->memory = std::move(bytes);
    }
  }
  return built;
}

}  // namespace
}  // namespace cumo::trt

extern "C" cumo_trt_status* cumo_trt_network_build(cumo_trt_network* network,
                                                   const cumo_trt_build_options* options,
                                                   cumo_trt_blob** engine,
                                                   cumo_trt_blob** timing_cache) {
  return cumo::trt::guarded([&] {
    using cumo::trt::Fault;
    using cumo::trt::required;
    required(engine, "engine") = nullptr;
    if (timing_cache != nullptr) *timing_cache = nullptr;
    if (required(options, "options").struct_bytes != sizeof(cumo_trt_build_options)) {
      throw Fault{CUMO_TRT_CODE_INVALID_ARGUMENT,
                  "struct_bytes is not the size of cumo_trt_build_options"};
    }
    auto built = cumo::trt::build(required(network, "network"), *options);
    *engine = built.engine.release();
    if (timing_cache != nullptr) *timing_cache = built.timing_cache.release();
  });
}
