// Pairs sorted by expert: see cumo_moe_permute. Internal form, which also lists the row tiles of
// the grouped product.
#pragma once

#include <cstdint>

#include "platform.cuh"

namespace cumo {

// Rows [first_row, ...) of `expert`, at most one tile high.
struct RowTile {
  int32_t expert;
  int32_t first_row;
};

struct PermuteArgs {
  const int32_t* chosen;  // [pairs]
  int32_t* offsets;       // [experts + 1]
  int32_t* rows;          // [pairs]
  RowTile* tiles;         // [row_tile_bound(...)] or null
  int32_t* tile_count;    // [1], null where tiles is
  int32_t pairs;
  int32_t experts;
  int32_t tile_rows;
};

// At most so many tiles, however the pairs fall: each expert may leave one that is not full.
constexpr int64_t row_tile_bound(int64_t pairs, int64_t experts, int64_t tile_rows) {
  return pairs / tile_rows + (experts < pairs ? experts : pairs);
}

cudaError_t launch_permute(const PermuteArgs& args, void* stream);

}  // namespace cumo
