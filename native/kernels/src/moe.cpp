// The mixture: checks, and the order of the kernels.
#include "combine.h"
#include "cuda_error.h"
#include "decode.h"
#include "grouped.h"
#include "numbers.cuh"
#include "permute.cuh"
#include "plan.h"

namespace cumo {
namespace {

constexpr uintptr_t kWorkspaceAlignment = 256;
constexpr int kLeastArchitecture = 80;

// One call: what was asked for, checked, and the choices made.
struct Mixture {
  const cumo_moe_shape& shape;
  const cumo_moe_args& args;
  char* workspace;
  void* stream;
  Tiles tiles;

  bool bf16() const { return shape.dtype == CUMO_DTYPE_BF16; }
  int pairs() const { return shape.tokens * shape.num_experts_per_tok; }
  template <class T>
  T* piece(uint64_t offset) const {
    return reinterpret_cast<T*>(workspace + offset);
  }
};

int32_t check_tensor(const void* tensor) {
  if (!tensor) return CUMO_KERNELS_NULL_POINTER;
  return aligned(tensor) ? CUMO_KERNELS_OK : CUMO_KERNELS_MISALIGNED;
}

int32_t check_tensors(const cumo_moe_shape& shape, const cumo_moe_args& args) {
  if (!args.experts) return CUMO_KERNELS_NULL_POINTER;
  for (const void* tensor :
       {args.x, static_cast<const void*>(args.weights), static_cast<const void*>(args.chosen),
        static_cast<const void*>(args.y)})
    if (int32_t status = check_tensor(tensor)) return status;
  for (int32_t e = 0; e < shape.num_experts; ++e) {
    const cumo_moe_expert& expert = args.experts[e];
    const void* tensors[] = {expert.fc1,
                             expert.fc2,
                             shape.gated ? expert.up : expert.fc1,
                             shape.biased ? expert.fc1_bias : expert.fc1,
                             shape.biased ? expert.fc2_bias : expert.fc1,
                             shape.gated && shape.biased ? expert.up_bias : expert.fc1};
    for (const void* tensor : tensors)
      if (int32_t status = check_tensor(tensor)) return status;
  }
  return CUMO_KERNELS_OK;
}

cudaError_t grouped_layer(const Mixture& moe, Layer which, GroupedArgs args) {
  bool gated = which == Layer::first && moe.shape.gated;
  bool guarded = args.depth % kVector != 0 || args.columns % kVector != 0;
  int32_t number = which == Layer::first ? moe.tiles.first : moe.tiles.last;
  const TileSize& tile = tile_size(number);
  int columns = gated ? tile.columns / 2 : tile.columns;
  args.row_tiles = int(row_tile_bound(moe.pairs(), moe.shape.num_experts, tile.rows));
  args.column_tiles = divide_up(args.columns, columns);
  for (int begin = 0; begin < moe.shape.num_experts; begin += kExpertsALaunch) {
    args.expert_begin = begin;
    LayerPointers layer = layer_pointers(moe.shape, moe.args.experts, which, begin);
    GroupedLaunch how{number, moe.bf16(), gated, guarded, moe.stream};
    cudaError_t error =
        how.bf16 ? launch_grouped_bf16(how, args, layer) : launch_grouped_f16(how, args, layer);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

// Permutation, two grouped products, combination.
cudaError_t run_grouped(const Mixture& moe) {
  const cumo_moe_shape& shape = moe.shape;
  GroupedLayout at = grouped_layout(shape);
  auto* offsets = moe.piece<int32_t>(at.offsets);
  auto* tile_count = moe.piece<int32_t>(at.tile_count);
  auto* tiles = moe.piece<RowTile>(at.tiles);
  auto* rows = moe.piece<int32_t>(at.rows);
  auto* hidden = moe.piece<void>(at.hidden);
  auto* parts = moe.piece<void>(at.parts);
  cudaError_t error =
      launch_permute({moe.args.chosen, offsets, rows, tiles, tile_count, moe.pairs(),
                      shape.num_experts, tile_size(moe.tiles.first).rows},
                     moe.stream);
  if (error != cudaSuccess) return error;

  GroupedArgs first{};
  first.rows = rows;
  first.offsets = offsets;
  first.tiles = tiles;
  first.tile_count = tile_count;
  GroupedArgs last = first;
  first.a = moe.args.x;
  first.c = hidden;
  first.depth = shape.in;
  first.columns = shape.hidden;
  first.pairs_a_row = shape.num_experts_per_tok;
  first.activation = shape.activation;
  error = grouped_layer(moe, Layer::first, first);
  if (error != cudaSuccess) return error;

  last.a = hidden;
  last.c = parts;
  last.scale = moe.args.weights;
  last.depth = shape.hidden;
  last.columns = shape.out;
  last.scatter = 1;
  last.activation = kNoActivation;
  error = grouped_layer(moe, Layer::last, last);
  if (error != cudaSuccess) return error;

  return launch_combine({parts, moe.args.chosen, moe.args.y, shape.tokens,
                         shape.num_experts_per_tok, shape.num_experts, shape.out},
                        moe.bf16(), moe.stream);
}

cudaError_t vector_layer(const Mixture& moe, Layer which, VectorArgs args) {
  for (int begin = 0; begin < moe.shape.num_experts; begin += kExpertsALaunch) {
    args.expert_begin = begin;
    LayerPointers layer = layer_pointers(moe.shape, moe.args.experts, which, begin);
    cudaError_t error = launch_vector(args, layer, moe.shape.tokens, moe.bf16(), moe.stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

// Two matrix-vector products, each with the sum over its slices behind it.
cudaError_t run_vectors(const Mixture& moe) {
  const cumo_moe_shape& shape = moe.shape;
  VectorLayout at = vector_layout(shape);
  auto* first = moe.piece<float>(at.first);
  auto* hidden = moe.piece<void>(at.hidden);
  auto* last = moe.piece<float>(at.last);
  int matrices = shape.gated ? 2 : 1;
  cudaError_t error =
      vector_layer(moe, Layer::first,
                   {moe.args.x, moe.args.chosen, first, moe.pairs(), shape.num_experts_per_tok,
                    shape.num_experts, 0, matrices, shape.in, shape.hidden});
  if (error != cudaSuccess) return error;
  error =
      launch_activate({first, moe.args.chosen, hidden, moe.pairs(), shape.num_experts,
                       divide_up(shape.in, kDecodeSlice), matrices, shape.hidden, shape.activation},
                      moe.bf16(), moe.stream);
  if (error != cudaSuccess) return error;
  error = vector_layer(moe, Layer::last,
                       {hidden, moe.args.chosen, last, moe.pairs(), 1, shape.num_experts, 0, 1,
                        shape.hidden, shape.out});
  if (error != cudaSuccess) return error;
  return launch_reduce(
      {last, moe.args.chosen, moe.args.weights, moe.args.y, shape.tokens, shape.num_experts_per_tok,
       shape.num_experts, divide_up(shape.hidden, kDecodeSlice), shape.out},
      moe.bf16(), moe.stream);
}

// The current device, where the kernels run on it.
int32_t find_device(Device& device) {
  cudaError_t error = current_device(&device.architecture, &device.multiprocessors);
  if (int32_t status = status_of(error)) return status;
  return device.architecture < kLeastArchitecture ? CUMO_KERNELS_UNSUPPORTED_DEVICE
                                                  : CUMO_KERNELS_OK;
}

}  // namespace

extern "C" {

int32_t cumo_kernels_check_device(void) {
  Device device{};
  return find_device(device);
}

int32_t cumo_moe_workspace_bytes(const cumo_moe_shape* shape, uint64_t* bytes) {
  if (!shape || !bytes) return CUMO_KERNELS_NULL_POINTER;
  if (int32_t status = check_shape(*shape)) return status;
  *bytes = workspace_bytes(*shape);
  return CUMO_KERNELS_OK;
}

int32_t cumo_moe_forward(const cumo_moe_shape* shape, const cumo_moe_args* args, void* workspace,
                         uint64_t workspace_bytes, void* stream) {
  if (!shape || !args) return CUMO_KERNELS_NULL_POINTER;
  if (int32_t status = check_shape(*shape)) return status;
  if (shape->tokens == 0) return CUMO_KERNELS_OK;
  if (int32_t status = check_tensors(*shape, *args)) return status;
  if (!workspace) return CUMO_KERNELS_NULL_POINTER;
  if (reinterpret_cast<uintptr_t>(workspace) % kWorkspaceAlignment != 0)
    return CUMO_KERNELS_MISALIGNED;
  if (workspace_bytes < cumo::workspace_bytes(*shape)) return CUMO_KERNELS_SMALL_WORKSPACE;
  Device device{};
  if (int32_t status = find_device(device)) return status;
  Mixture moe{*shape, *args, static_cast<char*>(workspace), stream, choose_tiles(*shape, device)};
  return status_of(moe.tiles.first == kVectorPath ? run_vectors(moe) : run_grouped(moe));
}

int32_t cumo_moe_tile_count(void) { return kTileCount; }

int32_t cumo_moe_tiles_for(const cumo_moe_shape* shape, int32_t architecture,
                           int32_t multiprocessors, int32_t tiles[2]) {
  if (!shape || !tiles) return CUMO_KERNELS_NULL_POINTER;
  if (int32_t status = check_shape(*shape)) return status;
  if (architecture < kLeastArchitecture) return CUMO_KERNELS_UNSUPPORTED_DEVICE;
  Tiles chosen = choose_tiles(*shape, {architecture, multiprocessors});
  tiles[0] = chosen.first;
  tiles[1] = chosen.last;
  return CUMO_KERNELS_OK;
}

const char* cumo_moe_tile_name(int32_t tile) {
  return tile >= 1 && tile <= kTileCount ? tile_size(tile).name : nullptr;
}
}

}  // namespace cumo
