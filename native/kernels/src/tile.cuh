// Tiles of the grouped product, and how their data lie in shared memory.
#pragma once

#include "platform.cuh"

namespace cumo {

// Index, in units of 16 bytes, of `chunk` of `row` in a tile of kChunks 16-byte chunks a row. The
// exclusive-or spreads 8 successive rows of one chunk over all 32 banks, so that ldmatrix, and the
// epilogue's writes, have no conflict, without padding.
template <int kChunks>
__host__ __device__ constexpr int swizzled(int row, int chunk) {
  static_assert(kChunks >= 2 && (kChunks & (kChunks - 1)) == 0);
  constexpr int kRowsInLine = kChunks >= 8 ? 1 : 8 / kChunks;  // a line is 128 bytes: all banks
  constexpr int kMask = kChunks >= 8 ? 7 : kChunks - 1;
  return row * kChunks + (chunk ^ ((row / kRowsInLine) & kMask));
}

// Whether 8 successive rows of any chunk lie in different eighths of the banks.
template <int kChunks>
constexpr bool is_without_conflicts() {
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    unsigned eighths = 0;
    for (int row = 0; row < 8; ++row) eighths |= 1u << swizzled<kChunks>(row, chunk) % 8;
    if (eighths != 0xff) return false;
  }
  return true;
}
static_assert(is_without_conflicts<2>() && is_without_conflicts<4>() && is_without_conflicts<8>() &&
              is_without_conflicts<16>() && is_without_conflicts<32>());

// A block computes [kRows, kColumns] with kWarpsDown x kWarpsAcross warps, kDepth at a time, with
// kStages - 1 steps of copies on their way.
template <int kRows_, int kColumns_, int kDepth_, int kStages_, int kWarpsDown_, int kWarpsAcross_,
          int kBlocks_>
struct Tile {
  static constexpr int kRows = kRows_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kDepth = kDepth_;
  static constexpr int kStages = kStages_;
  static constexpr int kWarpsDown = kWarpsDown_;
  static constexpr int kWarpsAcross = kWarpsAcross_;
  static constexpr int kBlocks = kBlocks_;  // that are to fit on one multiprocessor
  static constexpr int kThreads = 32 * kWarpsDown * kWarpsAcross;
  static constexpr int kWarpRows = kRows / kWarpsDown;
  static constexpr int kWarpColumns = kColumns / kWarpsAcross;

  static_assert(kWarpRows % 16 == 0, "a warp's rows are made of 16-row fragments");
  static_assert(kWarpColumns % 32 == 0, "half a warp's columns are made of pairs of 8");
  static_assert(kDepth % 32 == 0, "fragments of a step alternate between two buffers");
  static_assert(kStages >= 2);
  static_assert(kRows * kDepth / 8 % kThreads == 0, "threads share a stage's rows evenly");
  static_assert(kDepth * kColumns / 8 % kThreads == 0, "threads share a stage's matrix evenly");
  static_assert(kThreads % (kColumns / 8) == 0, "a thread copies one column of chunks");
  static_assert(kThreads % (kDepth / 8) == 0, "a thread copies one column of chunks");
};

constexpr int kValuesInChunk = 8;  // 16 bytes of f16 or bf16

// A block's shared memory; T is f16 or bf16.
template <class Tile>
struct GroupedShared {
  static constexpr int kChunksOfA = Tile::kRows * Tile::kDepth / kValuesInChunk;
  static constexpr int kChunksOfB = Tile::kDepth * Tile::kColumns / kValuesInChunk;
  struct Stage {
    uint4 a[kChunksOfA];  // [kRows, kDepth] T, swizzled
    uint4 b[kChunksOfB];  // [kDepth, kColumns] T, swizzled
  };
  union {
    Stage stage[Tile::kStages];
    uint4 result[Tile::kRows * Tile::kColumns / kValuesInChunk];  // by warp, swizzled
  };
  int pair[Tile::kRows];  // of each row; -1 behind the expert's last
  float scale[Tile::kRows];
};

// Blocks of a multiprocessor share its 64 Ki registers: 255 a thread where kThreads * kBlocks =
// 256.
using Tile128x256 = Tile<128, 256, 32, 4, 2, 4, 1>;
using Tile128x128 = Tile<128, 128, 32, 3, 2, 2, 2>;
using Tile64x128 = Tile<64, 128, 32, 4, 2, 2, 2>;
using Tile32x128 = Tile<32, 128, 64, 4, 1, 4, 1>;
using GuardedTile = Tile64x128;

}  // namespace cumo
