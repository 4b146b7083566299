#include "kernel_call.h"

#include <cumo_kernels.h>

#include <array>
#include <limits>
#include <stdexcept>
#include <string>

namespace cumo {
namespace {

using Matrix = Operands::Matrix;

static_assert(kMaxExperts <= CUMO_MOE_MAX_EXPERTS, "the kernels must take what the plugin takes");

int32_t activation(const std::string& name) {
  if (name == "gelu") return CUMO_ACTIVATION_GELU;
  if (name == "quick_gelu") return CUMO_ACTIVATION_QUICK_GELU;
  return CUMO_ACTIVATION_SILU;  // read_fields lets no other pass
}

int32_t narrowed(int64_t size, const char* name) {
  if (size < 0 || size > std::numeric_limits<int32_t>::max()) {
    throw std::invalid_argument(std::string(name) + " is " + std::to_string(size));
  }
  return static_cast<int32_t>(size);
}

cumo_moe_shape shape_of(const KernelCall& call) {
  cumo_moe_shape shape{};
  shape.tokens = narrowed(call.sizes.tokens, "tokens");
  shape.in = narrowed(call.sizes.in, "in");
  shape.hidden = narrowed(call.sizes.hidden, "hidden");
  shape.out = narrowed(call.sizes.out, "out");
  shape.num_experts = call.fields.num_experts;
  shape.num_experts_per_tok = call.fields.num_experts_per_tok;
  shape.dtype = call.type == nvinfer1::DataType::kBF16 ? CUMO_DTYPE_BF16 : CUMO_DTYPE_F16;
  shape.activation = activation(call.fields.activation);
  shape.gated = call.fields.gated;
  shape.biased = call.fields.biased;
  return shape;
}

/// Throws for a status that is not fine; names the sizes, and CUDA's error where it was one.
void check(int32_t status, const cumo_moe_shape& shape) {
  if (status == CUMO_KERNELS_OK) return;
  std::string reason = cumo_kernels_status_text(status);
  if (status == CUMO_KERNELS_CUDA_ERROR) {
    reason += " (CUDA error " + std::to_string(cumo_kernels_last_cuda_error()) + ")";
  }
  throw std::runtime_error(reason + "; tokens " + std::to_string(shape.tokens) + ", in " +
                           std::to_string(shape.in) + ", hidden " + std::to_string(shape.hidden) +
                           ", out " + std::to_string(shape.out));
}

size_t workspace_bytes(const cumo_moe_shape& shape) {
  uint64_t bytes = 0;
  check(cumo_moe_workspace_bytes(&shape, &bytes), shape);
  return bytes;
}

}  // namespace

void check_device() {
  if (cumo_kernels_check_device() != CUMO_KERNELS_UNSUPPORTED_DEVICE) return;
  throw std::runtime_error(std::string(cumo_kernels_status_text(CUMO_KERNELS_UNSUPPORTED_DEVICE)) +
                           ", which the plugin needs: export the model with `--moe function`");
}

size_t workspace_bytes(const KernelCall& call) { return workspace_bytes(shape_of(call)); }

void launch(const KernelCall& call, const void* const* inputs, void* y, void* workspace,
            cudaStream_t stream) {
  if (call.sizes.tokens == 0) return;  // y is empty, and pointers to empty tensors may be null
  const auto& fields = call.fields;
  const Operands operands(fields);
  std::array<cumo_moe_expert, kMaxExperts> experts{};
  for (int32_t i = 0; i < fields.num_experts; ++i) {
    auto bias = [&](Matrix which) {
      return fields.biased ? inputs[operands.bias(i, which)] : nullptr;
    };
    auto& expert = experts[i];
    expert.fc1 = inputs[operands.matrix(i, Matrix::kFc1)];
    expert.fc1_bias = bias(Matrix::kFc1);
    if (fields.gated) {
      expert.up = inputs[operands.matrix(i, Matrix::kUp)];
      expert.up_bias = bias(Matrix::kUp);
    }
    expert.fc2 = inputs[operands.matrix(i, Matrix::kFc2)];
    expert.fc2_bias = bias(Matrix::kFc2);
  }
  cumo_moe_args args{};
  args.x = inputs[Operands::kX];
  args.weights = static_cast<const float*>(inputs[Operands::kWeights]);
  args.chosen = static_cast<const int32_t*>(inputs[Operands::kExperts]);
  args.experts = experts.data();
  args.y = y;
  const auto shape = shape_of(call);
  // TensorRT gives at least what getWorkspaceSize asked for the profile's maximum, which is no
  // less.
  check(cumo_moe_forward(&shape, &args, workspace, workspace_bytes(shape), stream), shape);
}

}  // namespace cumo
