// The grouped product's parameters and launch; the kernel is in grouped.cuh.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "experts.h"

namespace cumo {

struct RowTile;

// Beside the values of cumo_activation: none.
constexpr int32_t kNoActivation = -1;

// c[place] = epilogue(a[row of place] @ matrix of its expert + bias), for each place of the
// permutation; epilogue: the activation, gated the product with the second matrix's result, the
// scale.
struct GroupedArgs {
  const void* a;           // [rows, depth] T
  void* c;                 // [pairs, columns] T
  const int32_t* rows;     // [pairs] pair at each place
  const float* scale;      // [pairs] by pair, or null
  const int32_t* offsets;  // [experts + 1] first place of each expert
  const RowTile* tiles;
  const int32_t* tile_count;
  int32_t depth;
  int32_t columns;
  int32_t pairs_a_row;   // a's row of a pair p: p / pairs_a_row; 0: a's rows are places
  int32_t scatter;       // 1: c's rows are pairs; 0: places
  int32_t activation;    // cumo_activation or kNoActivation
  int32_t expert_begin;  // the experts of this launch: 64 from here on
  int32_t row_tiles;     // of the grid, at least *tile_count
  int32_t column_tiles;
};

struct GroupedLaunch {
  int32_t tile;  // 1 to kTileCount
  bool bf16;
  bool gated;
  bool guarded;  // sizes that are not multiples of 8; then `tile` is kGuardedTile
  void* stream;
};

constexpr int kTileCount = 4;
constexpr int kGuardedTile = 3;

// Rows and columns that a block computes; of a gated product half as many columns.
struct TileSize {
  int rows, columns, depth, stages, shared_bytes;
  const char* name;
};
const TileSize& tile_size(int tile);

// One of each type, in a file of its own, so that they compile side by side.
cudaError_t launch_grouped_f16(const GroupedLaunch& how, const GroupedArgs& args,
                               const LayerPointers& layer);
cudaError_t launch_grouped_bf16(const GroupedLaunch& how, const GroupedArgs& args,
                                const LayerPointers& layer);

}  // namespace cumo
