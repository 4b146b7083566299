// Grouped product on tensor cores: c[place] = epilogue(a[row(place)] @ matrix[expert] + bias).
//
// A block computes one tile of one expert's rows. Its loop over the depth is a pipeline: cp.async
// fills kStages buffers in shared memory, ldmatrix fills two alternating sets of fragments from
// them, mma.m16n8k16 adds to f32 accumulators in registers. One barrier a step: behind it, what
// all threads copied for the next step is there, and all have read what the next copy overwrites.
// Gated, the left half of the tile's columns is of the first matrix and the right half of the
// second, and each warp has the same columns of both, so that the epilogue multiplies in registers.
// The result goes through shared memory, to be written 16 bytes at a time.
//
// Shapes: a [rows, depth], matrix [depth, columns], bias [columns], c [pairs, columns], all T.
#pragma once

#include "activation.cuh"
#include "grouped.h"
#include "numbers.cuh"
#include "permute.cuh"
#include "tensor_core.cuh"
#include "tile.cuh"

namespace cumo {

// What a block works on.
struct Work {
  int expert;     // of this launch's 64
  int first_row;  // place of the tile's first row
  int end_row;    // behind the expert's last place
  int column;     // of c, the tile's first
};

// Blocks go down kBand row tiles before they go right by one: blocks that run together share rows
// of a and columns of the matrix in the L2 cache.
template <class Tile, bool kGated>
__device__ inline bool find_work(const GroupedArgs& args, Work& work) {
  constexpr int kBand = 8;
  constexpr int kOutColumns = kGated ? Tile::kColumns / 2 : Tile::kColumns;
  int in_band = kBand * args.column_tiles;
  int band = int(blockIdx.x) / in_band, rest = int(blockIdx.x) % in_band;
  int height = min(kBand, args.row_tiles - band * kBand);
  int row_tile = band * kBand + rest % height, column_tile = rest / height;
  if (row_tile >= *args.tile_count) return false;
  RowTile tile = args.tiles[row_tile];
  work.expert = tile.expert - args.expert_begin;
  if (work.expert < 0 || work.expert >= kExpertsALaunch) return false;
  work.first_row = tile.first_row;
  work.end_row = args.offsets[tile.expert + 1];
  work.column = column_tile * kOutColumns;
  return true;
}

// A thread's share of the copies of each step.
template <class T, class Tile, bool kGated, bool kGuarded>
class Copies {
 public:
  using Stage = typename GroupedShared<Tile>::Stage;

  __device__ inline Copies(const GroupedArgs& args, const LayerPointers& layer, const Work& work,
                           int thread)
      : depth_(args.depth), columns_(args.columns) {
    chunk_of_a_ = thread % kChunksAcrossA;
    row_of_a_ = thread / kChunksAcrossA;
    rows_there_ = 0;
    for (int i = 0; i < kCopiesOfA; ++i) {
      int place = work.first_row + row_of_a_ + i * kRowStep;
      bool there = place < work.end_row;
      int row = there ? place : work.first_row;
      if (args.pairs_a_row > 0) row = args.rows[row] / args.pairs_a_row;
      a_[i] = static_cast<const T*>(args.a) + int64_t(row) * depth_;
      rows_there_ |= unsigned(there) << i;
    }
    chunk_of_b_ = thread % kChunksAcrossB;
    depth_of_b_ = thread / kChunksAcrossB;
    constexpr int kHalf = kChunksAcrossB / 2;
    int second = kGated && chunk_of_b_ >= kHalf;
    column_ = work.column + (chunk_of_b_ - second * kHalf) * kVector;
    b_ = static_cast<const T*>(layer.matrix[second][work.expert]) + column_ +
         int64_t(depth_of_b_) * columns_;
  }

  // Starts the copies of step `step` into `stage`.
  __device__ inline void start(Stage& stage, int step) const {
    int depth = step * Tile::kDepth + chunk_of_a_ * kVector;
#pragma unroll
    for (int i = 0; i < kCopiesOfA; ++i) {
      uint4* to = &stage.a[swizzled<kChunksAcrossA>(row_of_a_ + i * kRowStep, chunk_of_a_)];
      bool there = rows_there_ >> i & 1;
      copy(to, a_[i] + depth, there ? left(depth, depth_) : 0);
    }
    int64_t stride = columns_;
    const T* from = b_ + step * Tile::kDepth * stride;
    depth = step * Tile::kDepth + depth_of_b_;
#pragma unroll
    for (int i = 0; i < kCopiesOfB; ++i) {
      int in_stage = depth_of_b_ + i * kDepthStep;
      uint4* to = &stage.b[swizzled<kChunksAcrossB>(in_stage, chunk_of_b_)];
      bool there = left(depth + i * kDepthStep, depth_) > 0;
      copy(to, from + i * kDepthStep * stride, there ? left(column_, columns_) : 0);
    }
  }

 private:
  static constexpr int kChunksAcrossA = Tile::kDepth / kVector;
  static constexpr int kChunksAcrossB = Tile::kColumns / kVector;
  static constexpr int kRowStep = Tile::kThreads / kChunksAcrossA;
  static constexpr int kDepthStep = Tile::kThreads / kChunksAcrossB;
  static constexpr int kCopiesOfA = Tile::kRows / kRowStep;
  static constexpr int kCopiesOfB = Tile::kDepth / kDepthStep;

  // Elements from `at` on; may be negative.
  __device__ static inline int left(int at, int size) {
    return planted(Fault::wrong_guard) ? size + 1 - at : size - at;
  }

  // 8 elements, zeros from `elements` on.
  __device__ static inline void copy(uint4* to, const T* from, int elements) {
    if constexpr (kGuarded) {
      T values[kVector];
      for (int i = 0; i < kVector; ++i) values[i] = i < elements ? from[i] : from_float<T>(0.0f);
      memcpy(to, values, sizeof(values));
    } else {
      copy_async(to, from, elements > 0);
    }
  }

  const T* a_[kCopiesOfA];  // the rows, at depth 0
  const T* b_;              // the matrix at (depth_of_b_, column_)
  unsigned rows_there_;     // bit i: row i of a_ is the expert's
  int chunk_of_a_, row_of_a_, chunk_of_b_, depth_of_b_;
  int column_;
  int depth_, columns_;
};

// A warp's part of the product.
template <class T, class Tile, bool kGated>
class WarpProduct {
 public:
  static constexpr int kDown = Tile::kWarpRows / 16;      // fragments of 16 rows
  static constexpr int kAcross = Tile::kWarpColumns / 8;  // fragments of 8 columns
  using Shared = GroupedShared<Tile>;

  __device__ inline explicit WarpProduct(int thread) {
    int warp = thread / 32;
    lane = thread % 32;
    down = warp / Tile::kWarpsAcross;
    across = warp % Tile::kWarpsAcross;
  }

  // Fragments of 16 of the stage's depth, from `slice` * 16 on, into set `set`.
  __device__ inline void load(const typename Shared::Stage& stage, int slice, int set) {
    constexpr int kChunksAcrossA = Tile::kDepth / kVector;
    constexpr int kChunksAcrossB = Tile::kColumns / kVector;
    int low = lane % 16, high = lane / 16;
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
      int row = down * Tile::kWarpRows + i * 16 + low;
      load_matrices<false>(a_[set][i], &stage.a[swizzled<kChunksAcrossA>(row, slice * 2 + high)]);
    }
#pragma unroll
    for (int j = 0; j < kAcross; j += 2) {
      int at = swizzled<kChunksAcrossB>(slice * 16 + low, chunk_of(j) + high);
      load_matrices<true>(b_[set][j / 2], &stage.b[at]);
    }
  }

  __device__ inline void multiply(int set) {
#pragma unroll
    for (int i = 0; i < kDown; ++i)
#pragma unroll
      for (int j = 0; j < kAcross; ++j)
        multiply_add<T>(sum[i][j], a_[set][i], &b_[set][j / 2][j % 2 * 2]);
  }

  int lane, down, across;
  float sum[kDown][kAcross][4] = {};

 private:
  // Chunk of the tile's columns that is the warp's j-th; gated, the second half of a warp's is in
  // the second half of the tile.
  __device__ inline int chunk_of(int j) const {
    if constexpr (kGated) {
      constexpr int kHalf = kAcross / 2;
      return (j < kHalf ? 0 : Tile::kColumns / 2 / kVector - kHalf) + across * kHalf + j;
    } else {
      return across * kAcross + j;
    }
  }

  uint32_t a_[2][kDown][4];
  uint32_t b_[2][kAcross / 2][4];
};

// Two neighbouring values of a vector, 0 for null and from `size` on.
template <class T, bool kGuarded>
__device__ inline void load_two(const void* vector, int at, int size, float (&values)[2]) {
  const T* from = static_cast<const T*>(vector);
  values[0] = values[1] = 0;
  if (from == nullptr || at >= size) return;
  if constexpr (kGuarded) {
    values[0] = to_float(from[at]);
    if (at + 1 < size) values[1] = to_float(from[at + 1]);
  } else {
    unpack<T>(*reinterpret_cast<const uint32_t*>(from + at), values[0], values[1]);
  }
}

// A warp's result in shared memory: rows of kColumns of c, swizzled, and where they belong.
template <class Tile, bool kGated>
struct WarpResult {
  static constexpr int kColumns = Tile::kWarpColumns / (kGated ? 2 : 1);
  static constexpr int kChunks = kColumns / kVector;

  __device__ inline WarpResult(GroupedShared<Tile>& shared, const Work& work, int down, int across)
      : chunks(shared.result + (down * Tile::kWarpsAcross + across) * Tile::kWarpRows * kChunks),
        first_row(down * Tile::kWarpRows),
        column(work.column + across * kColumns) {}

  uint4* chunks;
  int first_row;  // in the tile
  int column;     // of c
};

// Bias, activation, gate and scale, from the accumulators to `result`. The activation is a
// template's argument: a choice for each of 128 values would be 128 branches.
template <class T, class Tile, bool kGated, bool kGuarded, int kActivation>
__device__ inline void finish(const GroupedArgs& args, const LayerPointers& layer, int expert,
                              const WarpProduct<T, Tile, kGated>& product, const float* scales,
                              const WarpResult<Tile, kGated>& result) {
  using Product = WarpProduct<T, Tile, kGated>;
  constexpr int kChunks = WarpResult<Tile, kGated>::kChunks;
  int lane = product.lane;
#pragma unroll
  for (int j = 0; j < kChunks; ++j) {
    float bias[2], second_bias[2];
    int column = result.column + j * 8 + lane % 4 * 2;
    load_two<T, kGuarded>(layer.bias[0][expert], column, args.columns, bias);
    if constexpr (kGated)
      load_two<T, kGuarded>(layer.bias[1][expert], column, args.columns, second_bias);
#pragma unroll
    for (int i = 0; i < Product::kDown; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int row = i * 16 + half * 8 + lane / 4;
        float scale = scales[result.first_row + row], out[2];
#pragma unroll
        for (int q = 0; q < 2; ++q) {
          out[q] = activate<kActivation>(product.sum[i][j][half * 2 + q] + bias[q]) * scale;
          if constexpr (kGated)
            out[q] *= product.sum[i][j + kChunks][half * 2 + q] + second_bias[q];
        }
        auto* chunk = reinterpret_cast<uint32_t*>(&result.chunks[swizzled<kChunks>(row, j)]);
        chunk[lane % 4] = pack<T>(out[0], out[1]);
      }
  }
}

// The warp's rows from `result` to c, 16 bytes a lane.
template <class T, class Tile, bool kGated, bool kGuarded>
__device__ inline void store(const GroupedArgs& args, const Work& work, int lane, const int* pairs,
                             const WarpResult<Tile, kGated>& result) {
  constexpr int kChunks = WarpResult<Tile, kGated>::kChunks;
#pragma unroll 4
  for (int i = lane; i < Tile::kWarpRows * kChunks; i += 32) {
    int row = i / kChunks, chunk = i % kChunks, column = result.column + chunk * kVector;
    int place = work.first_row + result.first_row + row;
    if (place >= work.end_row || column >= args.columns) continue;
    int out_row = args.scatter ? pairs[result.first_row + row] : place;
    T* to = static_cast<T*>(args.c) + int64_t(out_row) * args.columns + column;
    uint4 values = result.chunks[swizzled<kChunks>(row, chunk)];
    if constexpr (kGuarded) {
      T single[kVector];
      memcpy(static_cast<void*>(single), &values, sizeof(single));
      for (int e = 0; e < kVector && column + e < args.columns; ++e) to[e] = single[e];
    } else {
      *reinterpret_cast<uint4*>(to) = values;
    }
  }
}

template <class T, class Tile, bool kGated, bool kGuarded>
__device__ inline void finish_and_store(const GroupedArgs& args, const LayerPointers& layer,
                                        const Work& work,
                                        const WarpProduct<T, Tile, kGated>& product,
                                        GroupedShared<Tile>& shared) {
  WarpResult<Tile, kGated> result(shared, work, product.down, product.across);
  auto finish_with = [&](auto activation) {
    finish<T, Tile, kGated, kGuarded, decltype(activation)::value>(args, layer, work.expert,
                                                                   product, shared.scale, result);
  };
  switch (args.activation) {
    case CUMO_ACTIVATION_GELU:
      finish_with(std::integral_constant<int, CUMO_ACTIVATION_GELU>());
      break;
    case CUMO_ACTIVATION_QUICK_GELU:
      finish_with(std::integral_constant<int, CUMO_ACTIVATION_QUICK_GELU>());
      break;
    case CUMO_ACTIVATION_SILU:
      finish_with(std::integral_constant<int, CUMO_ACTIVATION_SILU>());
      break;
    default:
      finish_with(std::integral_constant<int, kNoActivation>());
  }
  __syncwarp();
  store<T, Tile, kGated, kGuarded>(args, work, product.lane, shared.pair, result);
}

template <class T, class Tile, bool kGated, bool kGuarded>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    grouped(const __grid_constant__ GroupedArgs args, const __grid_constant__ LayerPointers layer) {
  constexpr int kStages = Tile::kStages, kSlices = Tile::kDepth / 16;
  auto& shared = shared_memory<GroupedShared<Tile>>();
  int thread = int(threadIdx.x);
  Work work;
  if (!find_work<Tile, kGated>(args, work)) return;
  for (int row = thread; row < Tile::kRows; row += Tile::kThreads) {
    int place = work.first_row + row;
    int pair = place < work.end_row ? args.rows[place] : -1;
    shared.pair[row] = pair;
    shared.scale[row] = args.scale && pair >= 0 ? args.scale[pair] : 1.0f;
  }

  Copies<T, Tile, kGated, kGuarded> copies(args, layer, work, thread);
  WarpProduct<T, Tile, kGated> product(thread);
  int steps = divide_up(args.depth, Tile::kDepth);
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) copies.start(shared.stage[s], s);
    copy_commit();
  }
  copy_wait<kStages - 2>();
  __syncthreads();
  product.load(shared.stage[0], 0, 0);

  int read = 0, write = kStages - 1;
  for (int step = 0; step < steps; ++step) {
#pragma unroll
    for (int slice = 0; slice < kSlices; ++slice) {
      if (slice == kSlices - 1) {
        if (!planted(Fault::missing_wait)) copy_wait<kStages - 2>();
        if (!planted(Fault::missing_barrier)) __syncthreads();
        read = read + 1 == kStages ? 0 : read + 1;
      }
      product.load(shared.stage[read], (slice + 1) % kSlices, (slice + 1) % 2);
      if (slice == 0) {
        if (step + kStages - 1 < steps) copies.start(shared.stage[write], step + kStages - 1);
        copy_commit();
        write = write + 1 == kStages ? 0 : write + 1;
      }
      product.multiply(slice % 2);
    }
  }
  copy_wait<0>();
  __syncthreads();  // all have read the stages; `result` takes their place
  finish_and_store<T, Tile, kGated, kGuarded>(args, layer, work, product, shared);
}

// The launch of one tile; a file instantiates it for f16 and one for bf16.
template <class T, class Tile, bool kGuarded>
cudaError_t launch_tile(const GroupedLaunch& how, const GroupedArgs& args,
                        const LayerPointers& layer) {
  static_assert(sizeof(GroupedArgs) + sizeof(LayerPointers) <= 4096);
  Launch at{dim3(unsigned(args.row_tiles) * unsigned(args.column_tiles)), dim3(Tile::kThreads),
            sizeof(GroupedShared<Tile>), how.stream};
  auto* kernel = how.gated ? grouped<T, Tile, true, kGuarded> : grouped<T, Tile, false, kGuarded>;
  return launch("grouped", at, kernel, args, layer);
}

template <class T>
cudaError_t launch_any_tile(const GroupedLaunch& how, const GroupedArgs& args,
                            const LayerPointers& layer) {
  if (how.guarded) return launch_tile<T, GuardedTile, true>(how, args, layer);
  switch (how.tile) {
    case 1:
      return launch_tile<T, Tile128x256, false>(how, args, layer);
    case 2:
      return launch_tile<T, Tile128x128, false>(how, args, layer);
    case 3:
      return launch_tile<T, Tile64x128, false>(how, args, layer);
    default:
      return launch_tile<T, Tile32x128, false>(how, args, layer);
  }
}

}  // namespace cumo
