// What a mixture of a given shape will do, and where in its workspace what lies.
#pragma once

#include <cstdint>

#include "cumo_kernels.h"

namespace cumo {

// Tile number of the matrix-vector path.
constexpr int32_t kVectorPath = -1;

// Checks the shape alone.
int32_t check_shape(const cumo_moe_shape& shape);

struct Device {
  int architecture;  // 10 * major + minor of the compute capability
  int multiprocessors;
};

// Tiles of the first and the last product, of equal height; or kVectorPath for both.
struct Tiles {
  int32_t first, last;
};

// shape.tile, or the best by sizes and device.
Tiles choose_tiles(const cumo_moe_shape& shape, const Device& device);

// Byte offsets in the workspace, each a multiple of 256.
struct GroupedLayout {
  uint64_t offsets, tile_count, tiles, rows, hidden, parts, bytes;
};
GroupedLayout grouped_layout(const cumo_moe_shape& shape);

struct VectorLayout {
  uint64_t first, hidden, last, bytes;
};
VectorLayout vector_layout(const cumo_moe_shape& shape);

// For the shape and any with fewer tokens.
uint64_t workspace_bytes(const cumo_moe_shape& shape);

}  // namespace cumo
