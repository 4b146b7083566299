// Matrix-vector products for few tokens, and the sums behind them.
//
// A block multiplies the rows of one expert with 256 columns and 512 of the depth of its matrix:
// each lane reads 8 columns (16 bytes), a warp 512 bytes of one matrix row, 8 rows in flight. Its
// warps' sums are added in their order through shared memory, the slices' sums by the next kernel
// in theirs.
#include "decode.h"

#include "activation.cuh"
#include "numbers.cuh"
#include "tensor_core.cuh"

namespace cumo {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;
constexpr int kColumns = 32 * kVector;
constexpr int kInFlight = 8;
static_assert(kColumns == kThreads, "a thread adds up one column");
static_assert(kDecodeSlice % (kWarps * kInFlight) == 0);

template <int kRows>
struct VectorShared {
  float x[kRows][kDecodeSlice];
  alignas(16) float sum[kWarps][kColumns];
};

// The `which`-th of the launch's experts that any pair chose, and its pairs, a bit each; false if
// there are fewer. The same in all lanes.
__device__ inline bool find_expert(const VectorArgs& args, int which, int lane, int& expert,
                                   unsigned& members) {
  int mine = lane < args.pairs ? args.chosen[lane] : -1;
  int in_launch = mine - args.expert_begin;
  bool valid = mine >= 0 && mine < args.experts && in_launch >= 0 && in_launch < kExpertsALaunch;
  unsigned alike = __match_any_sync(kFullWarp, valid ? mine : -1);
  unsigned firsts = __ballot_sync(kFullWarp, valid && lane == __ffs(int(alike)) - 1);
  for (int i = 0; i < which; ++i) firsts &= firsts - 1;
  int leader = firsts ? __ffs(int(firsts)) - 1 : 0;
  expert = __shfl_sync(kFullWarp, in_launch, leader);
  members = __shfl_sync(kFullWarp, alike, leader);
  return firsts != 0;
}

// 16 bytes that are read once: not kept in the first-level cache.
__device__ inline uint4 load_once(const void* from) {
#if defined(CUMO_EMULATION)
  return *static_cast<const uint4*>(from);
#else
  uint4 bits;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(bits.x), "=r"(bits.y), "=r"(bits.z), "=r"(bits.w)
               : "l"(from));
  return bits;
#endif
}

template <class T, int kRows>
__device__ inline void multiply_row(const uint4& bits, int depth, const VectorShared<kRows>& shared,
                                    float (&sum)[kRows][kVector]) {
  float values[kVector];
  unpack<T>(bits, values);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    float x = shared.x[r][depth];
#pragma unroll
    for (int c = 0; c < kVector; ++c) sum[r][c] += x * values[c];
  }
}

// sum[r] += x[r] * the lane's 8 columns of the warp's rows of the slice. The loads of a group of
// rows are all started before the first is used; no guard inside, so that they stay together.
template <class T, int kRows>
__device__ inline void multiply_slice(const T* matrix, int64_t columns, int depth, int warp,
                                      const VectorShared<kRows>& shared,
                                      float (&sum)[kRows][kVector]) {
  int row = warp;
  for (; row + (kInFlight - 1) * kWarps < depth; row += kInFlight * kWarps) {
    uint4 bits[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) bits[i] = load_once(matrix + (row + i * kWarps) * columns);
#pragma unroll
    for (int i = 0; i < kInFlight; ++i)
      multiply_row<T, kRows>(bits[i], row + i * kWarps, shared, sum);
  }
  for (; row < depth; row += kWarps)
    multiply_row<T, kRows>(load_once(matrix + row * columns), row, shared, sum);
}

// grid: (256 columns, 512 of the depth, expert and matrix).
template <class T, int kRows>
__global__ void __launch_bounds__(kThreads, kRows == 1 ? 4 : 2)
    multiply_vectors(const __grid_constant__ VectorArgs args,
                     const __grid_constant__ LayerPointers layer) {
  auto& shared = shared_memory<VectorShared<kRows>>();
  int thread = int(threadIdx.x), warp = thread / 32, lane = thread % 32;
  int second = int(blockIdx.z) % args.matrices, slice = int(blockIdx.y);
  int expert;
  unsigned members;
  if (!find_expert(args, int(blockIdx.z) / args.matrices, lane, expert, members)) return;

  int begin = slice * kDecodeSlice, depth = min(args.depth - begin, kDecodeSlice);
  int column = int(blockIdx.x) * kColumns + lane * kVector;
  const T* matrix =
      static_cast<const T*>(layer.matrix[second][expert]) + int64_t(begin) * args.columns + column;
  const T* bias = static_cast<const T*>(layer.bias[second][expert]);
  int out_column = int(blockIdx.x) * kColumns + thread;
  bool writes = out_column < args.columns;
  float start = slice == 0 && bias && writes ? to_float(bias[out_column]) : 0.0f;
  float* partial =
      args.partial + (int64_t(slice) * args.matrices + second) * args.pairs * int64_t(args.columns);

  while (members) {  // once, unless a token chose an expert twice
    int pair[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      pair[r] = members ? __ffs(int(members)) - 1 : -1;
      members &= members - 1;
      const T* x =
          static_cast<const T*>(args.x) + int64_t(max(pair[r], 0) / args.pairs_a_row) * args.depth;
      for (int i = thread; i < kDecodeSlice; i += kThreads)
        shared.x[r][i] = pair[r] >= 0 && i < depth ? to_float(x[begin + i]) : 0.0f;
    }
    __syncthreads();
    float sum[kRows][kVector] = {};
    if (column < args.columns)
      multiply_slice<T, kRows>(matrix, args.columns, depth, warp, shared, sum);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      // 16 bytes at a time: singly, 8 lanes of a warp would meet in each bank.
      auto* to = reinterpret_cast<float4*>(&shared.sum[warp][lane * kVector]);
      to[0] = make_float4(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
      to[1] = make_float4(sum[r][4], sum[r][5], sum[r][6], sum[r][7]);
      __syncthreads();
      float total = start;
      for (int w = 0; w < kWarps; ++w) total += shared.sum[w][thread];
      if (pair[r] >= 0 && writes) partial[int64_t(pair[r]) * args.columns + out_column] = total;
      __syncthreads();
    }
  }
}

__device__ inline float sum_slices(const float* partial, int slices, int64_t stride) {
  float sum = 0;
  for (int s = 0; s < slices; ++s) sum += partial[s * stride];
  return sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads) activate_slices(const ActivateArgs args) {
  int64_t plane = int64_t(args.pairs) * args.columns;
  int64_t index = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= plane) return;
  int expert = args.chosen[index / args.columns];
  if (expert < 0 || expert >= args.experts) return;
  int64_t stride = plane * args.matrices;
  float value = activate(args.activation, sum_slices(args.partial + index, args.slices, stride));
  if (args.matrices == 2) value *= sum_slices(args.partial + plane + index, args.slices, stride);
  static_cast<T*>(args.hidden)[index] = from_float<T>(value);
}

template <class T>
__global__ void __launch_bounds__(kThreads) reduce_slices(const ReduceArgs args) {
  int64_t index = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= int64_t(args.tokens) * args.columns) return;
  int64_t token = index / args.columns, column = index % args.columns;
  int64_t stride = int64_t(args.tokens) * args.k * args.columns;
  float sum = 0;
  for (int j = 0; j < args.k; ++j) {
    int64_t pair = token * args.k + j;
    int expert = args.chosen[pair];
    if (expert < 0 || expert >= args.experts) continue;
    sum += args.weights[pair] *
           sum_slices(args.partial + pair * args.columns + column, args.slices, stride);
  }
  static_cast<T*>(args.y)[index] = from_float<T>(sum);
}

template <class T, int kRows>
cudaError_t launch_rows(const VectorArgs& args, const LayerPointers& layer, void* stream) {
  int experts = args.experts - args.expert_begin;
  if (experts > kExpertsALaunch) experts = kExpertsALaunch;
  if (experts > args.pairs) experts = args.pairs;
  Launch how{dim3(unsigned(divide_up(args.columns, kColumns)),
                  unsigned(divide_up(args.depth, kDecodeSlice)), unsigned(experts * args.matrices)),
             dim3(kThreads), sizeof(VectorShared<kRows>), stream};
  return launch("multiply_vectors", how, multiply_vectors<T, kRows>, args, layer);
}

template <class T>
cudaError_t launch_typed(const VectorArgs& args, const LayerPointers& layer, int tokens,
                         void* stream) {
  if (tokens == 1) return launch_rows<T, 1>(args, layer, stream);
  if (tokens <= 4) return launch_rows<T, 4>(args, layer, stream);
  return launch_rows<T, 8>(args, layer, stream);
}

Launch one_thread_each(int64_t values, void* stream) {
  return {dim3(unsigned((values + kThreads - 1) / kThreads)), dim3(kThreads), 0, stream};
}

}  // namespace

cudaError_t launch_vector(const VectorArgs& args, const LayerPointers& layer, int tokens, bool bf16,
                          void* stream) {
  return bf16 ? launch_typed<__nv_bfloat16>(args, layer, tokens, stream)
              : launch_typed<__half>(args, layer, tokens, stream);
}

cudaError_t launch_activate(const ActivateArgs& args, bool bf16, void* stream) {
  return launch("activate_slices", one_thread_each(int64_t(args.pairs) * args.columns, stream),
                bf16 ? activate_slices<__nv_bfloat16> : activate_slices<__half>, args);
}

cudaError_t launch_reduce(const ReduceArgs& args, bool bf16, void* stream) {
  return launch("reduce_slices", one_thread_each(int64_t(args.tokens) * args.columns, stream),
                bf16 ? reduce_slices<__nv_bfloat16> : reduce_slices<__half>, args);
}

}  // namespace cumo
