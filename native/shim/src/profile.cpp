#include "profile.h"

#include "status.h"
#include "tensor.h"

#include <string>

namespace cumo::trt {
namespace {

using nvinfer1::Dims;

[[noreturn]] void refuse(const std::string& text) { throw Fault{CUMO_TRT_CODE_PROFILE, text}; }

bool is_dynamic(const Dims& dims) noexcept {
  for (int32_t i = 0; i < dims.nbDims; ++i) {
    if (dims.d[i] < 0) return true;
  }
  return false;
}

const nvinfer1::ITensor* find_input(const nvinfer1::INetworkDefinition& network,
                                    const std::string& name) noexcept {
  for (int32_t i = 0; i < network.getNbInputs(); ++i) {
    if (name == network.getInput(i)->getName()) return network.getInput(i);
  }
  return nullptr;
}

/// The three shapes of one input agree with the network and with each other.
void check_range(const nvinfer1::ITensor& input, const Dims& min, const Dims& opt,
                 const Dims& max) {
  const Dims declared = input.getDimensions();
  const std::string name = std::string{"input `"} + input.getName() + "` " + show(declared);
  if (input.isShapeTensor()) {
    throw Fault{CUMO_TRT_CODE_UNSUPPORTED,
                name + ": its values are shapes, for which there are no profiles here"};
  }
  if (min.nbDims != declared.nbDims)
    refuse(name + ": the profile's shapes have another rank: " + show(min));
  for (int32_t i = 0; i < declared.nbDims; ++i) {
    const std::string where = name + ": dimension " + std::to_string(i);
    const std::string numbers = std::to_string(min.d[i]) + ", " + std::to_string(opt.d[i]) + ", " +
                                std::to_string(max.d[i]);
    if (min.d[i] < 0 || min.d[i] > opt.d[i] || opt.d[i] > max.d[i]) {
      refuse(where + " has minimum, optimum and maximum " + numbers + ", which are not in order");
    }
    if (declared.d[i] >= 0 && (min.d[i] != declared.d[i] || max.d[i] != declared.d[i])) {
      refuse(where + " is fixed; the profile has " + numbers);
    }
  }
}

void set_range(const nvinfer1::INetworkDefinition& network, nvinfer1::IOptimizationProfile& profile,
               const cumo_trt_range& range) {
  const std::string name = &required(range.input, "a range's input");
  const auto* input = find_input(network, name);
  if (input == nullptr) refuse("the network has no input `" + name + "`, which the profile names");
  const Dims min = dims(range.min, range.rank);
  const Dims opt = dims(range.opt, range.rank);
  const Dims max = dims(range.max, range.rank);
  check_range(*input, min, opt, max);
  using Select = nvinfer1::OptProfileSelector;
  if (!profile.setDimensions(name.c_str(), Select::kMIN, min) ||
      !profile.setDimensions(name.c_str(), Select::kOPT, opt) ||
      !profile.setDimensions(name.c_str(), Select::kMAX, max)) {
    refuse("TensorRT refuses the profile of input `" + name + "`: " + show(min) + ", " + show(opt) +
           ", " + show(max));
  }
}

bool names(const cumo_trt_profile& profile, const std::string& input) {
  for (size_t i = 0; i < profile.num_ranges; ++i) {
    if (profile.ranges[i].input != nullptr && input == profile.ranges[i].input) return true;
  }
  return false;
}

/// Every input that is not fixed is in the profile.
void check_complete(const nvinfer1::INetworkDefinition& network, const cumo_trt_profile* profile) {
  for (int32_t i = 0; i < network.getNbInputs(); ++i) {
    const auto& input = *network.getInput(i);
    if (!is_dynamic(input.getDimensions())) continue;
    if (profile != nullptr && names(*profile, input.getName())) continue;
    refuse(std::string{"input `"} + input.getName() + "` " + show(input.getDimensions()) +
           " has dimensions that are not fixed, and no profile gives their range");
  }
}

}  // namespace

void add_profiles(nvinfer1::IBuilder& builder, const nvinfer1::INetworkDefinition& network,
                  nvinfer1::IBuilderConfig& config, const cumo_trt_profile* profiles,
                  size_t num_profiles) {
  if (num_profiles == 0) return check_complete(network, nullptr);
  required(profiles, "profiles");
  for (size_t i = 0; i < num_profiles; ++i) {
    const cumo_trt_profile& given = profiles[i];
    if (given.num_ranges > 0) required(given.ranges, "a profile's ranges");
    auto* profile = builder.createOptimizationProfile();
    if (profile == nullptr) throw Fault{CUMO_TRT_CODE_BUILD, "TensorRT gives no profile"};
    for (size_t r = 0; r < given.num_ranges; ++r) set_range(network, *profile, given.ranges[r]);
    check_complete(network, &given);
    if (config.addOptimizationProfile(profile) < 0) {
      refuse("TensorRT refuses profile " + std::to_string(i));
    }
  }
}

}  // namespace cumo::trt
