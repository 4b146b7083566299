// Routing: logits [tokens, experts] -> weights [tokens, k] f32, chosen [tokens, k] i32.
//
// One warp a token. 1. the largest logit; 2. exp(logit - largest) and their sum; 3. k times the
// largest probability left, the lower index where two are equal; 4. divided by their sum.
#include "cumo_kernels.h"
#include "cuda_error.h"
#include "numbers.cuh"
#include "tensor_core.cuh"

namespace cumo {
namespace {

constexpr int kWarps = 4;
constexpr float kTaken = -2.0f;
constexpr float kNotANumber = -1.0f;  // the key of NaN: after every probability, still selectable

struct RouteArgs {
  const void* logits;
  float* weights;
  int32_t* chosen;
  int tokens;
  int experts;
  int k;
};

// Shared: probability of each expert, [kWarps, experts] f32.
struct RouteShared {
  float probability[1];
};

__device__ inline float warp_max(float value) {
  for (int bits = 16; bits > 0; bits >>= 1)
    value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, bits));
  return value;
}

__device__ inline float warp_sum(float value) {
  for (int bits = 16; bits > 0; bits >>= 1) value += __shfl_xor_sync(kFullWarp, value, bits);
  return value;
}

// The largest of `keys` and its index, in every lane.
__device__ inline void warp_best(const float* keys, int experts, int lane, float& best,
                                 int& index) {
  best = kTaken;
  index = experts;
  for (int e = lane; e < experts; e += 32) {
    if (keys[e] > best) {
      best = keys[e];
      index = e;
    }
  }
  for (int bits = 16; bits > 0; bits >>= 1) {
    float other = __shfl_xor_sync(kFullWarp, best, bits);
    int other_index = __shfl_xor_sync(kFullWarp, index, bits);
    bool lower = planted(Fault::unsorted_tie) ? other_index > index : other_index < index;
    if (other > best || (other == best && lower)) {
      best = other;
      index = other_index;
    }
  }
}

template <class T>
__global__ void __launch_bounds__(32 * kWarps) route(const RouteArgs args) {
  int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32;
  int token = int(blockIdx.x) * kWarps + warp;
  if (token >= args.tokens) return;  // a whole warp; no barrier of the block follows
  float* keys = shared_memory<RouteShared>().probability + warp * args.experts;
  const T* logits = static_cast<const T*>(args.logits) + int64_t(token) * args.experts;

  float largest = -INFINITY;
  for (int e = lane; e < args.experts; e += 32) largest = fmaxf(largest, to_float(logits[e]));
  largest = warp_max(largest);
  float sum = 0;
  for (int e = lane; e < args.experts; e += 32) {
    keys[e] = expf(to_float(logits[e]) - largest);
    sum += keys[e];
  }
  sum = warp_sum(sum);
  for (int e = lane; e < args.experts; e += 32) {
    float probability = keys[e] / sum;
    keys[e] = probability >= 0 ? probability : kNotANumber;
  }
  __syncwarp();

  float* weights = args.weights + int64_t(token) * args.k;
  int32_t* chosen = args.chosen + int64_t(token) * args.k;
  float total = 0;
  for (int j = 0; j < args.k; ++j) {
    float best;
    int index;
    warp_best(keys, args.experts, lane, best, index);
    float probability = best == kNotANumber ? NAN : best;
    total += probability;
    if (lane == 0) {
      weights[j] = probability;
      chosen[j] = index;
      keys[index] = kTaken;
    }
    __syncwarp();
  }
  if (lane == 0)
    for (int j = 0; j < args.k; ++j) weights[j] /= total;
}

}  // namespace

extern "C" int32_t cumo_moe_route(const cumo_route_args* args, void* stream) {
  if (!args) return CUMO_KERNELS_NULL_POINTER;
  int experts = args->num_experts, k = args->num_experts_per_tok;
  if (args->tokens < 0 || experts < 1 || experts > CUMO_MOE_MAX_EXPERTS || k < 1 || k > experts)
    return CUMO_KERNELS_BAD_SHAPE;
  if (args->dtype != CUMO_DTYPE_F32 && args->dtype != CUMO_DTYPE_F16 &&
      args->dtype != CUMO_DTYPE_BF16)
    return CUMO_KERNELS_BAD_SHAPE;
  if (int64_t(args->tokens) * k > INT32_MAX) return CUMO_KERNELS_TOO_LARGE;
  if (args->tokens == 0) return CUMO_KERNELS_OK;
  if (!args->logits || !args->weights || !args->chosen) return CUMO_KERNELS_NULL_POINTER;
  if (!aligned(args->logits) || !aligned(args->weights) || !aligned(args->chosen))
    return CUMO_KERNELS_MISALIGNED;

  RouteArgs by_value{args->logits, args->weights, args->chosen, args->tokens, experts, k};
  Launch how{dim3(unsigned(divide_up(args->tokens, kWarps))), dim3(32 * kWarps),
             size_t(kWarps) * size_t(experts) * sizeof(float), stream};
  switch (args->dtype) {
    case CUMO_DTYPE_F32:
      return status_of(launch("route", how, route<float>, by_value));
    case CUMO_DTYPE_F16:
      return status_of(launch("route", how, route<__half>, by_value));
    default:
      return status_of(launch("route", how, route<__nv_bfloat16>, by_value));
  }
}

}  // namespace cumo
