// Permutation: chosen [pairs] -> offsets [experts + 1], rows [pairs], and the list of row tiles.
//
// One block an expert, all reading all pairs: no block waits for another, and one launch does it.
// 1. each warp counts, in its own stretch of the pairs, every expert (into shared counters, whole
// numbers, so that the order does not matter) and its block's own; 2. the expert's first place and
// first tile are sums over the counters of the experts before it; 3. each warp walks its stretch
// again and writes its block's pairs from the place where the warp before it ends.
#include "permute.cuh"

#include "cuda_error.h"
#include "numbers.cuh"
#include "tensor_core.cuh"

namespace cumo {
namespace {

constexpr int kWarps = 16;
constexpr int kNobody = -1;

// Shared: pairs of each expert, of each warp's stretch the block's own.
struct PermuteShared {
  int own[kWarps];
  int count[1];  // [experts]
};

__device__ inline int warp_sum(int value) {
  for (int bits = 16; bits > 0; bits >>= 1) value += __shfl_xor_sync(kFullWarp, value, bits);
  return value;
}

__device__ inline int expert_of(const PermuteArgs& args, int pair, int end) {
  int expert = pair < end ? args.chosen[pair] : kNobody;
  return expert >= 0 && expert < args.experts ? expert : kNobody;
}

// What precedes the block's expert: its first row and its first tile, in every lane.
__device__ inline void sum_before(const PermuteArgs& args, const int* count, int expert, int lane,
                                  int& rows, int& tiles) {
  rows = tiles = 0;
  for (int e = lane; e < expert; e += 32) {
    rows += count[e];
    tiles += divide_up(count[e], args.tile_rows);
  }
  rows = warp_sum(rows);
  tiles = warp_sum(tiles);
}

__global__ void __launch_bounds__(32 * kWarps) permute(const PermuteArgs args) {
  PermuteShared& shared = shared_memory<PermuteShared>();
  int warp = int(threadIdx.x) / 32, lane = int(threadIdx.x) % 32, mine = int(blockIdx.x);
  if (!planted(Fault::uninitialised_shared))
    for (int e = int(threadIdx.x); e < args.experts; e += 32 * kWarps) shared.count[e] = 0;
  __syncthreads();

  int stretch = divide_up(divide_up(args.pairs, 32), kWarps) * 32;
  int begin = min(warp * stretch, args.pairs), end = min(begin + stretch, args.pairs);
  int own = 0;
  for (int first = begin; first < end; first += 32) {
    int expert = expert_of(args, first + lane, end);
    unsigned alike = __match_any_sync(kFullWarp, expert);
    if (expert != kNobody && lane == __ffs(int(alike)) - 1)
      atomicAdd(&shared.count[expert], __popc(alike));
    own += __popc(__ballot_sync(kFullWarp, expert == mine));
  }
  if (lane == 0) shared.own[warp] = own;
  __syncthreads();

  int first_row, first_tile;
  sum_before(args, shared.count, mine, lane, first_row, first_tile);
  int rows = shared.count[mine], tiles = divide_up(rows, args.tile_rows);
  if (threadIdx.x == 0) {
    args.offsets[mine] = first_row;
    if (mine == args.experts - 1) {
      args.offsets[args.experts] = first_row + rows;
      if (args.tile_count) *args.tile_count = first_tile + tiles;
    }
  }
  if (args.tiles)
    for (int i = int(threadIdx.x); i < tiles; i += 32 * kWarps)
      args.tiles[first_tile + i] = {mine, first_row + i * args.tile_rows};

  int place = first_row;
  for (int w = 0; w < warp; ++w) place += shared.own[w];
  unsigned before = (1u << lane) - 1u;
  if (planted(Fault::permutation_off_by_one)) before = before << 1 | 1u;
  for (int first = begin; first < end; first += 32) {
    unsigned found = __ballot_sync(kFullWarp, expert_of(args, first + lane, end) == mine);
    if (found >> lane & 1) args.rows[place + __popc(found & before)] = first + lane;
    place += __popc(found);
  }
}

}  // namespace

cudaError_t launch_permute(const PermuteArgs& args, void* stream) {
  Launch how{dim3(unsigned(args.experts)), dim3(32 * kWarps),
             sizeof(PermuteShared) + size_t(args.experts) * sizeof(int), stream};
  return launch("permute", how, permute, args);
}

extern "C" int32_t cumo_moe_permute(const cumo_permute_args* args, void* stream) {
  if (!args) return CUMO_KERNELS_NULL_POINTER;
  if (args->pairs < 0 || args->num_experts < 1 || args->num_experts > CUMO_MOE_MAX_EXPERTS)
    return CUMO_KERNELS_BAD_SHAPE;
  // A warp's walk steps behind its end, by up to a warp.
  if (args->pairs > INT32_MAX - 1024) return CUMO_KERNELS_TOO_LARGE;
  if (!args->offsets || (args->pairs > 0 && (!args->chosen || !args->rows)))
    return CUMO_KERNELS_NULL_POINTER;
  if (!aligned(args->chosen) || !aligned(args->offsets) || !aligned(args->rows))
    return CUMO_KERNELS_MISALIGNED;
  // The tiles are not listed; any height does.
  return status_of(launch_permute({args->chosen, args->offsets, args->rows, nullptr, nullptr,
                                   args->pairs, args->num_experts, 1},
                                  stream));
}

}  // namespace cumo
