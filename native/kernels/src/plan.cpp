// Choice of tiles, in one table, and layout of the workspace.
#include "plan.h"

#include "decode.h"
#include "grouped.h"
#include "numbers.cuh"
#include "permute.cuh"
#include "tile.cuh"

namespace cumo {
namespace {

// What each tile may use, and how much of the tensor cores it keeps busy beside the best one, in
// percent; 0: it does not fit, or two smaller blocks a multiprocessor, of which one multiplies
// while the other starts or ends, are better. Larger tiles read less from caches for each product,
// which counts less where f16 with f32 sums runs at half rate (8.6, 8.9, 12.x). These percentages
// are estimates, from bytes read for each product: not yet measured on a GPU. `device_test --tune`
// prints what they should be.
struct Architecture {
  int architecture;   // this one and later ones, up to the next line
  int shared_kbytes;  // that a block may have
  int efficiency[kTileCount];
};
constexpr Architecture kArchitectures[] = {
    {80, 163, {100, 92, 70, 50}},  {86, 99, {0, 100, 90, 70}},   {87, 163, {100, 92, 70, 50}},
    {89, 99, {0, 100, 90, 70}},    {90, 227, {100, 92, 70, 50}}, {100, 227, {100, 92, 70, 50}},
    {110, 227, {100, 92, 70, 50}}, {120, 99, {0, 100, 90, 70}},  {121, 99, {0, 100, 90, 70}},
};

template <class Tile>
constexpr TileSize size_of(const char* name) {
  return {
      Tile::kRows, Tile::kColumns, Tile::kDepth, Tile::kStages, int(sizeof(GroupedShared<Tile>)),
      name};
}
constexpr TileSize kTiles[kTileCount] = {
    size_of<Tile128x256>("128 x 256 x 32, 4 stages"),
    size_of<Tile128x128>("128 x 128 x 32, 3 stages"),
    size_of<Tile64x128>("64 x 128 x 32, 4 stages"),
    size_of<Tile32x128>("32 x 128 x 64, 4 stages"),
};
constexpr int kLeastRows = 32;

constexpr bool tiles_fit() {
  for (const Architecture& line : kArchitectures)
    for (int tile = 1; tile <= kTileCount; ++tile)
      if ((line.efficiency[tile - 1] > 0 || tile == kGuardedTile) &&
          kTiles[tile - 1].shared_bytes > line.shared_kbytes << 10)
        return false;
  for (const TileSize& tile : kTiles)
    if (tile.rows < kLeastRows) return false;
  return true;
}
static_assert(tiles_fit(), "a tile needs more shared memory than its architecture has");

const Architecture& architecture_line(int architecture) {
  const Architecture* found = &kArchitectures[0];
  for (const Architecture& line : kArchitectures)
    if (line.architecture <= architecture) found = &line;
  return *found;
}

// Products, in units of the best tile's time, that the busiest multiprocessor makes for each unit
// of depth: its blocks, whole tiles also where rows or columns end before.
double cost(const TileSize& tile, int efficiency, const cumo_moe_shape& shape, int columns,
            bool gated, int multiprocessors) {
  int64_t pairs = int64_t(shape.tokens) * shape.num_experts_per_tok;
  int64_t experts = shape.num_experts < pairs ? shape.num_experts : pairs;
  int64_t rows = (pairs + experts - 1) / experts;  // of an expert, if all have equally many
  int64_t row_tiles = experts * ((rows + tile.rows - 1) / tile.rows);
  int64_t column_tiles = divide_up(columns, gated ? tile.columns / 2 : tile.columns);
  int64_t busiest = (row_tiles * column_tiles + multiprocessors - 1) / multiprocessors;
  return 100.0 / efficiency * double(busiest) * tile.rows * tile.columns;
}

bool vectors_fit(const cumo_moe_shape& shape) {
  return shape.in % kVector == 0 && shape.hidden % kVector == 0 && shape.out % kVector == 0;
}

bool few_enough(const cumo_moe_shape& shape) {
  return shape.tokens <= kDecodeTokens &&
         int64_t(shape.tokens) * shape.num_experts_per_tok <= kDecodePairs;
}

// Hands out aligned pieces of the workspace.
struct Pieces {
  uint64_t at = 0;
  uint64_t take(uint64_t bytes) {
    constexpr uint64_t kPiece = 256;
    uint64_t begin = at;
    at += (bytes + kPiece - 1) / kPiece * kPiece;
    return begin;
  }
};

}  // namespace

const TileSize& tile_size(int tile) { return kTiles[tile - 1]; }

int32_t check_shape(const cumo_moe_shape& shape) {
  bool sizes = shape.tokens >= 0 && shape.in > 0 && shape.hidden > 0 && shape.out > 0;
  bool experts = shape.num_experts > 0 && shape.num_experts <= CUMO_MOE_MAX_EXPERTS &&
                 shape.num_experts_per_tok > 0 && shape.num_experts_per_tok <= shape.num_experts;
  bool enums = (shape.dtype == CUMO_DTYPE_F16 || shape.dtype == CUMO_DTYPE_BF16) &&
               shape.activation >= CUMO_ACTIVATION_GELU &&
               shape.activation <= CUMO_ACTIVATION_SILU && (shape.gated & ~1) == 0 &&
               (shape.biased & ~1) == 0 && shape.tile >= kVectorPath && shape.tile <= kTileCount;
  if (!sizes || !experts || !enums) return CUMO_KERNELS_BAD_SHAPE;
  if (shape.tile == kVectorPath && !(few_enough(shape) && vectors_fit(shape)))
    return CUMO_KERNELS_BAD_SHAPE;
  if (shape.tile > 0 && shape.tile != kGuardedTile && !vectors_fit(shape))
    return CUMO_KERNELS_BAD_SHAPE;
  // Kernels count pairs, and elements of one row, in 32 bits with room for a tile beyond.
  constexpr int64_t kRoom = INT32_MAX - 1024;
  int64_t pairs = int64_t(shape.tokens) * shape.num_experts_per_tok;
  if (pairs > kRoom || shape.in > kRoom || shape.hidden > kRoom || shape.out > kRoom)
    return CUMO_KERNELS_TOO_LARGE;
  // Grids: blocks of the grouped product, of the combination, and slices of the depth in y.
  int64_t widest = shape.hidden > shape.out ? shape.hidden : shape.out;
  int64_t row_tiles = row_tile_bound(pairs, shape.num_experts, kLeastRows);
  if (row_tiles * ((widest + 63) / 64) > kRoom) return CUMO_KERNELS_TOO_LARGE;
  if (int64_t(shape.tokens) * shape.out > kRoom * int64_t(256)) return CUMO_KERNELS_TOO_LARGE;
  int64_t deepest = shape.hidden > shape.in ? shape.hidden : shape.in;
  if (few_enough(shape) && deepest / kDecodeSlice >= 65535) return CUMO_KERNELS_TOO_LARGE;
  return CUMO_KERNELS_OK;
}

Tiles choose_tiles(const cumo_moe_shape& shape, const Device& device) {
  if (shape.tile != 0) return {shape.tile, shape.tile};
  bool vectors = vectors_fit(shape);
  if (vectors && few_enough(shape)) return {kVectorPath, kVectorPath};
  if (!vectors || shape.tokens == 0) return {kGuardedTile, kGuardedTile};
  const Architecture& line = architecture_line(device.architecture);
  int multiprocessors = device.multiprocessors > 0 ? device.multiprocessors : 1;
  Tiles best{kGuardedTile, kGuardedTile};
  double least = -1;
  for (int32_t first = 1; first <= kTileCount; ++first)
    for (int32_t last = 1; last <= kTileCount; ++last) {
      const TileSize &of_first = tile_size(first), &of_last = tile_size(last);
      int efficiency[2] = {line.efficiency[first - 1], line.efficiency[last - 1]};
      if (of_first.rows != of_last.rows || efficiency[0] == 0 || efficiency[1] == 0) continue;
      double both =
          shape.in *
              cost(of_first, efficiency[0], shape, shape.hidden, shape.gated, multiprocessors) +
          shape.hidden * cost(of_last, efficiency[1], shape, shape.out, false, multiprocessors);
      if (least >= 0 && both >= least) continue;
      least = both;
      best = {first, last};
    }
  return best;
}

GroupedLayout grouped_layout(const cumo_moe_shape& shape) {
  uint64_t pairs = uint64_t(shape.tokens) * uint64_t(shape.num_experts_per_tok);
  uint64_t tiles = uint64_t(row_tile_bound(int64_t(pairs), shape.num_experts, kLeastRows));
  Pieces pieces;
  GroupedLayout layout{};
  layout.offsets = pieces.take((uint64_t(shape.num_experts) + 1) * sizeof(int32_t));
  layout.tile_count = pieces.take(sizeof(int32_t));
  layout.tiles = pieces.take(tiles * sizeof(RowTile));
  layout.rows = pieces.take(pairs * sizeof(int32_t));
  layout.hidden = pieces.take(pairs * uint64_t(shape.hidden) * 2);
  layout.parts = pieces.take(pairs * uint64_t(shape.out) * 2);
  layout.bytes = pieces.at;
  return layout;
}

VectorLayout vector_layout(const cumo_moe_shape& shape) {
  uint64_t pairs = uint64_t(shape.tokens) * uint64_t(shape.num_experts_per_tok);
  uint64_t matrices = shape.gated ? 2 : 1;
  uint64_t hidden = uint64_t(shape.hidden), out = uint64_t(shape.out);
  Pieces pieces;
  VectorLayout layout{};
  layout.first = pieces.take(uint64_t(divide_up(shape.in, kDecodeSlice)) * matrices * pairs *
                             hidden * sizeof(float));
  layout.hidden = pieces.take(pairs * hidden * 2);
  layout.last =
      pieces.take(uint64_t(divide_up(shape.hidden, kDecodeSlice)) * pairs * out * sizeof(float));
  layout.bytes = pieces.at;
  return layout;
}

uint64_t workspace_bytes(const cumo_moe_shape& shape) {
  uint64_t bytes = grouped_layout(shape).bytes;
  cumo_moe_shape few = shape;
  if (few.tokens > kDecodeTokens) few.tokens = kDecodeTokens;
  if (few.tokens * few.num_experts_per_tok > kDecodePairs)
    few.tokens = kDecodePairs / few.num_experts_per_tok;
  uint64_t vector_bytes = vector_layout(few).bytes;
  return bytes > vector_bytes ? bytes : vector_bytes;
}

}  // namespace cumo
