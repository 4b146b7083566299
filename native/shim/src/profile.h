// Optimisation profiles, checked against a network before TensorRT sees them.
#pragma once

#include "cumo_trt.h"

#include <NvInfer.h>

namespace cumo::trt {

/// Adds the profiles to the configuration. Throws CUMO_TRT_CODE_PROFILE and names input, dimension
/// and numbers.
void add_profiles(nvinfer1::IBuilder& builder, const nvinfer1::INetworkDefinition& network,
                  nvinfer1::IBuilderConfig& config, const cumo_trt_profile* profiles,
                  size_t num_profiles);

}  // namespace cumo::trt
