// Combination: parts [pairs, out] T -> y [tokens, out] T, summed in f32. A thread makes 8
// neighbouring values, or one where `out` is not a multiple of 8.
#include "combine.h"

#include "numbers.cuh"

namespace cumo {
namespace {

constexpr int kThreads = 256;

template <class T, bool kVectors>
__global__ void __launch_bounds__(kThreads) combine(const CombineArgs args) {
  constexpr int kWidth = kVectors ? kVector : 1;
  int across = divide_up(args.out, kWidth);
  int64_t index = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= int64_t(args.tokens) * across) return;
  int64_t token = index / across;
  int column = int(index % across) * kWidth;
  float sum[kWidth] = {};
  for (int j = 0; j < args.k; ++j) {
    int64_t pair = token * args.k + j;
    int expert = args.chosen[pair];
    if (expert < 0 || expert >= args.experts) continue;
    const T* part = static_cast<const T*>(args.parts) + pair * args.out + column;
    if constexpr (kVectors) {
      float values[kVector];
      unpack<T>(*reinterpret_cast<const uint4*>(part), values);
      for (int i = 0; i < kVector; ++i) sum[i] += values[i];
    } else {
      sum[0] += to_float(*part);
    }
  }
  T* y = static_cast<T*>(args.y) + token * args.out + column;
  if constexpr (kVectors)
    *reinterpret_cast<uint4*>(y) = pack<T>(sum);
  else
    *y = from_float<T>(sum[0]);
}

template <class T>
cudaError_t launch_typed(const CombineArgs& args, void* stream) {
  bool vectors = args.out % kVector == 0;
  int64_t threads = int64_t(args.tokens) * (vectors ? args.out / kVector : args.out);
  Launch how{dim3(unsigned((threads + kThreads - 1) / kThreads)), dim3(kThreads), 0, stream};
  return launch("combine", how, vectors ? combine<T, true> : combine<T, false>, args);
}

}  // namespace

cudaError_t launch_combine(const CombineArgs& args, bool bf16, void* stream) {
  return bf16 ? launch_typed<__nv_bfloat16>(args, stream) : launch_typed<__half>(args, stream);
}

}  // namespace cumo
