// One node with its sizes, said in the terms of native/kernels' C interface.
#pragma once

#include "fields.h"
#include "operands.h"

#include <NvInferRuntime.h>

#include <cstddef>

namespace cumo {

/// What a launch depends on but for its pointers.
struct KernelCall {
  const MoeFields& fields;
  MoeSizes sizes;
  nvinfer1::DataType type;  ///< kHALF or kBF16
};

/// Throws std::runtime_error where the current device cannot run the kernels. Without a device,
/// nothing is wrong yet.
void check_device();

/// Bytes of workspace for these sizes, which also does for fewer tokens. Throws
/// std::invalid_argument or std::runtime_error where the kernels do not take such sizes.
size_t workspace_bytes(const KernelCall& call);

/// Puts the node's work on the stream and returns; nothing for zero tokens. `inputs` are in the
/// order of operands.h. Throws std::runtime_error with the kernels' reason where that fails.
void launch(const KernelCall& call, const void* const* inputs, void* y, void* workspace,
            cudaStream_t stream);

}  // namespace cumo
