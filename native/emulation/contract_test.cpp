// What the header promises beside right numbers: refusals, odd inputs, workspace, choice of tiles.
#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include "emulation.h"
#include "suite/check.h"
#include "suite/rows.h"

namespace {

using namespace cumo::test;

int failures = 0;

void expect(bool holds, const char* what, int line) {
  if (holds) return;
  ++failures;
  std::printf("FAILED line %d: %s\n", line, what);
}
#define EXPECT(condition) expect(condition, #condition, __LINE__)

// The text is empty, or what was wrong.
void expect_right(const std::string& wrong, int line) {
  expect(wrong.empty(), wrong.c_str(), line);
}
#define EXPECT_RIGHT(text) expect_right(text, __LINE__)

Case small_case(const char* name) {
  Case one;
  one.name = name;
  one.shape = {6, 64, 96, 64, 4, 2, CUMO_DTYPE_F16, CUMO_ACTIVATION_GELU, 0, 1, 0};
  return one;
}

int32_t shape_status(const cumo_moe_shape& shape) {
  uint64_t bytes = 0;
  return cumo_moe_workspace_bytes(&shape, &bytes);
}

uint64_t bytes_of(const cumo_moe_shape& shape) {
  uint64_t bytes = 0;
  EXPECT(cumo_moe_workspace_bytes(&shape, &bytes) == CUMO_KERNELS_OK);
  return bytes;
}

void shapes_out_of_range_are_refused() {
  cumo_moe_shape good = small_case("").shape;
  EXPECT(shape_status(good) == CUMO_KERNELS_OK);
  struct Change {
    int32_t cumo_moe_shape::* field;
    int32_t value;
  };
  const Change changes[] = {
      {&cumo_moe_shape::tokens, -1},
      {&cumo_moe_shape::in, 0},
      {&cumo_moe_shape::hidden, 0},
      {&cumo_moe_shape::hidden, -8},
      {&cumo_moe_shape::out, INT_MIN},
      {&cumo_moe_shape::num_experts, 0},
      {&cumo_moe_shape::num_experts, CUMO_MOE_MAX_EXPERTS + 1},
      {&cumo_moe_shape::num_experts_per_tok, 0},
      {&cumo_moe_shape::num_experts_per_tok, 5},
      {&cumo_moe_shape::dtype, CUMO_DTYPE_F32},
      {&cumo_moe_shape::dtype, 3},
      {&cumo_moe_shape::activation, -1},
      {&cumo_moe_shape::activation, 3},
      {&cumo_moe_shape::gated, 2},
      {&cumo_moe_shape::biased, -1},
      {&cumo_moe_shape::tile, -2},
      {&cumo_moe_shape::tile, 5},
  };
  for (const Change& change : changes) {
    cumo_moe_shape bad = good;
    bad.*change.field = change.value;
    EXPECT(shape_status(bad) == CUMO_KERNELS_BAD_SHAPE);
  }
  cumo_moe_shape many = good;
  many.tile = -1;
  many.tokens = 9;
  EXPECT(shape_status(many) == CUMO_KERNELS_BAD_SHAPE);
  cumo_moe_shape odd = good;
  odd.hidden = 97;
  odd.tile = 1;
  EXPECT(shape_status(odd) == CUMO_KERNELS_BAD_SHAPE);
}

void sizes_that_overflow_are_refused() {
  cumo_moe_shape shape = small_case("").shape;
  shape.tokens = INT_MAX;
  EXPECT(shape_status(shape) == CUMO_KERNELS_TOO_LARGE);
  shape.tokens = INT_MAX / 2 + 1;
  EXPECT(shape_status(shape) == CUMO_KERNELS_TOO_LARGE);
  shape.tokens = 1 << 20;
  shape.hidden = INT_MAX;
  EXPECT(shape_status(shape) == CUMO_KERNELS_TOO_LARGE);
  cumo_route_args route{INT_MAX, 4, 2, CUMO_DTYPE_F32, nullptr, nullptr, nullptr};
  EXPECT(cumo_moe_route(&route, nullptr) == CUMO_KERNELS_TOO_LARGE);
  cumo_permute_args permute{INT_MAX, 4, nullptr, nullptr, nullptr};
  EXPECT(cumo_moe_permute(&permute, nullptr) == CUMO_KERNELS_TOO_LARGE);
}

void pointers_are_checked() {
  Case one = small_case("pointers");
  const cumo_moe_shape& shape = one.shape;
  Buffer tensor(1 << 20);
  char* at = tensor.as<char>();
  cumo_moe_expert expert{at, at, nullptr, nullptr, at, at};
  cumo_moe_expert experts[4] = {expert, expert, expert, expert};
  cumo_moe_args good{at, tensor.as<float>(), tensor.as<int32_t>(), experts, at};
  uint64_t bytes = bytes_of(shape);
  auto status = [&](const cumo_moe_args& args) {
    return cumo_moe_forward(&shape, &args, at, bytes, nullptr);
  };
  cumo_moe_args bad = good;
  bad.x = nullptr;
  EXPECT(status(bad) == CUMO_KERNELS_NULL_POINTER);
  bad = good;
  bad.experts = nullptr;
  EXPECT(status(bad) == CUMO_KERNELS_NULL_POINTER);
  bad = good;
  bad.y = at + 8;
  EXPECT(status(bad) == CUMO_KERNELS_MISALIGNED);
  experts[3].fc2_bias = nullptr;
  EXPECT(status(good) == CUMO_KERNELS_NULL_POINTER);
  experts[3].fc2_bias = at + 2;
  EXPECT(status(good) == CUMO_KERNELS_MISALIGNED);
  experts[3].fc2_bias = at;
  EXPECT(cumo_moe_forward(&shape, &good, nullptr, bytes, nullptr) == CUMO_KERNELS_NULL_POINTER);
  EXPECT(cumo_moe_forward(&shape, &good, at + 16, bytes, nullptr) == CUMO_KERNELS_MISALIGNED);
  EXPECT(cumo_moe_forward(&shape, &good, at, bytes - 1, nullptr) == CUMO_KERNELS_SMALL_WORKSPACE);
  EXPECT(cumo_moe_forward(nullptr, &good, at, bytes, nullptr) == CUMO_KERNELS_NULL_POINTER);
  cumo::emulation::set_architecture(75);
  EXPECT(status(good) == CUMO_KERNELS_UNSUPPORTED_DEVICE);
  EXPECT(cumo_kernels_check_device() == CUMO_KERNELS_UNSUPPORTED_DEVICE);
  cumo::emulation::set_architecture(80);
  EXPECT(cumo_kernels_check_device() == CUMO_KERNELS_OK);
}

void no_tokens_need_no_tensors() {
  cumo_moe_shape shape = small_case("").shape;
  shape.tokens = 0;
  cumo_moe_args nothing{};
  EXPECT(cumo_moe_forward(&shape, &nothing, nullptr, 0, nullptr) == CUMO_KERNELS_OK);
}

// The plugin asks once, for its profile's maximum: what is enough for it is for any fewer tokens.
void workspace_suffices_for_fewer_tokens() {
  for (int32_t k : {1, 2, 8}) {
    cumo_moe_shape shape{0, 1024, 4096, 1024, 8, k, CUMO_DTYPE_F16, CUMO_ACTIVATION_SILU, 1, 0, 0};
    uint64_t before = 0;
    for (shape.tokens = 0; shape.tokens < 200; ++shape.tokens) {
      uint64_t bytes = bytes_of(shape);
      EXPECT(bytes >= before);
      before = bytes;
    }
  }
  // The same in strides, for all kinds of shapes, also past every change of path and tile.
  for (int32_t hidden : {8, 97, 4096})
    for (int32_t experts : {1, 4, 64, CUMO_MOE_MAX_EXPERTS})
      for (int32_t k : {1, 2, 8, 33, 64})
        for (int32_t gated : {0, 1}) {
          if (k > experts) continue;
          cumo_moe_shape shape{
              0,     1024, hidden, 1024, experts, k, CUMO_DTYPE_BF16, CUMO_ACTIVATION_GELU,
              gated, 1,    0};
          uint64_t before = 0;
          for (shape.tokens = 0; shape.tokens < 100000; shape.tokens += 1 + shape.tokens / 7) {
            uint64_t bytes = bytes_of(shape);
            EXPECT(bytes >= before);
            before = bytes;
          }
        }
}

bool tiles_are(const cumo_moe_shape& shape, int32_t architecture, int32_t multiprocessors,
               int32_t first, int32_t last) {
  int32_t tiles[2] = {};
  return cumo_moe_tiles_for(&shape, architecture, multiprocessors, tiles) == CUMO_KERNELS_OK &&
         tiles[0] == first && tiles[1] == last;
}

void tiles_follow_device_and_sizes() {
  cumo_moe_shape clip{5770, 1024, 4096, 1024, 4, 2, CUMO_DTYPE_F16, CUMO_ACTIVATION_QUICK_GELU,
                      0,    1,    0};
  EXPECT(tiles_are(clip, 80, 108, 1, 2));
  EXPECT(tiles_are(clip, 87, 16, 1, 1));
  EXPECT(tiles_are(clip, 90, 132, 1, 1));
  for (int32_t small : {86, 89, 120, 121}) EXPECT(tiles_are(clip, small, 100, 2, 2));
  clip.tokens = 577;  // with the largest tile, fc2 would give work to 48 of 132 multiprocessors
  EXPECT(tiles_are(clip, 90, 132, 2, 2));
  clip.tokens = 20;
  EXPECT(tiles_are(clip, 90, 132, 4, 4));
  clip.tokens = 8;
  EXPECT(tiles_are(clip, 90, 132, -1, -1));
  clip.in = 1023;
  EXPECT(tiles_are(clip, 90, 132, 3, 3));
  clip.tokens = 0;
  EXPECT(tiles_are(clip, 90, 0, 3, 3));
  int32_t none[2] = {};
  EXPECT(cumo_moe_tiles_for(&clip, 75, 1, none) == CUMO_KERNELS_UNSUPPORTED_DEVICE);
  EXPECT(cumo_moe_tile_name(1) != nullptr && cumo_moe_tile_name(0) == nullptr &&
         cumo_moe_tile_name(cumo_moe_tile_count() + 1) == nullptr);
}

// Such a choice adds nothing, and nothing is written outside.
void experts_out_of_range_are_left_out() {
  for (int32_t tokens : {6, 40}) {
    Case one = small_case("out_of_range");
    one.shape.tokens = tokens;
    Routes routes = reference_routes(one, draw_inputs(one));
    const int32_t strange[] = {-1, 4, INT_MAX, INT_MIN, 1 << 20};
    for (size_t i = 0; i < 5; ++i) routes.chosen[2 * i] = strange[i];
    routes.chosen[3] = -7;  // the second token has no expert at all
    Bench bench(one, routes);
    EXPECT_RIGHT(bench.check_permute());
    EXPECT_RIGHT(bench.check_forward(0, nullptr));
    for (int32_t tile = 1; tile <= cumo_moe_tile_count(); ++tile)
      EXPECT_RIGHT(bench.check_forward(tile, nullptr));
  }
}

// A router cannot choose so, a caller can.
void one_expert_twice_counts_twice() {
  for (int32_t tokens : {1, 8, 40}) {
    Case one = small_case("twice");
    one.shape.tokens = tokens;
    one.shape.num_experts_per_tok = 4;
    Routes routes = reference_routes(one, draw_inputs(one));
    std::fill(routes.chosen.begin(), routes.chosen.end(), 2);
    Bench bench(one, routes);
    EXPECT_RIGHT(bench.check_permute());
    EXPECT_RIGHT(bench.check_forward(0, nullptr));
  }
}

void nan_logits_choose_valid_experts() {
  std::vector<float> logits(3 * 40, NAN);  // all NaN; one number; one NaN
  logits[40 + 17] = 2.0f;
  for (int e = 0; e < 40; ++e) logits[80 + size_t(e)] = e == 5 ? NAN : 0.0f;
  Buffer in(logits), weights(3 * 3 * sizeof(float)), chosen(3 * 3 * sizeof(int32_t));
  cumo_route_args args{
      3, 40, 3, CUMO_DTYPE_F32, in.data(), weights.as<float>(), chosen.as<int32_t>()};
  EXPECT(cumo_moe_route(&args, nullptr) == CUMO_KERNELS_OK);
  auto experts = chosen.read<int32_t>();
  for (size_t t = 0; t < 3; ++t)
    for (int32_t j = 0; j < 3; ++j) EXPECT(experts[3 * t + size_t(j)] == j);
  for (float weight : weights.read<float>()) EXPECT(std::isnan(weight));
}

void all_experts_can_be_chosen() {
  Case one = small_case("all_of_70");
  one.shape.num_experts = one.shape.num_experts_per_tok = 70;
  one.shape.tokens = 3;
  EXPECT_RIGHT(Bench(one).check_route(CUMO_DTYPE_F16));
  EXPECT_RIGHT(Bench(one).check_permute());
  EXPECT_RIGHT(Bench(one).check_forward(0, nullptr));
}

void rows_out_of_range_are_refused() {
  Buffer memory(1 << 12);
  auto* at = memory.as<char>();
  const cumo_write_rows_args good{1, 2, 1, 4, 8, at, memory.as<int64_t>(), at + 1024};
  auto status = [](cumo_write_rows_args args) { return cumo_write_rows(&args, nullptr); };
  auto with = [&](int32_t cumo_write_rows_args::* field, int32_t value) {
    cumo_write_rows_args args = good;
    args.*field = value;
    return status(args);
  };
  memory.clear();  // the index is -1: nothing is written
  EXPECT(status(good) == CUMO_KERNELS_OK);
  for (auto field :
       {&cumo_write_rows_args::batch, &cumo_write_rows_args::heads, &cumo_write_rows_args::sequence,
        &cumo_write_rows_args::pitch, &cumo_write_rows_args::position_bytes}) {
    EXPECT(with(field, -1) == CUMO_KERNELS_BAD_SHAPE);
    EXPECT(with(field, INT_MIN) == CUMO_KERNELS_BAD_SHAPE);
  }
  EXPECT(with(&cumo_write_rows_args::pitch, 0) == CUMO_KERNELS_BAD_SHAPE);
  EXPECT(with(&cumo_write_rows_args::position_bytes, 0) == CUMO_KERNELS_BAD_SHAPE);
  EXPECT(cumo_write_rows(nullptr, nullptr) == CUMO_KERNELS_NULL_POINTER);
  for (int which : {0, 1, 2}) {
    cumo_write_rows_args args = good;
    if (which == 0) args.rows = nullptr;
    if (which == 1) args.indices = nullptr;
    if (which == 2) args.cache = nullptr;
    EXPECT(status(args) == CUMO_KERNELS_NULL_POINTER);
  }
  cumo_write_rows_args odd = good;
  odd.indices = reinterpret_cast<const int64_t*>(at + 4);
  EXPECT(status(odd) == CUMO_KERNELS_MISALIGNED);
  // Rows of 2^62 bytes; a cache of 2^93; a grid of 2^32 blocks.
  EXPECT(status({INT_MAX, INT_MAX, 1, 1, 1, at, good.indices, at}) == CUMO_KERNELS_TOO_LARGE);
  EXPECT(status({INT_MAX, INT_MAX, 0, INT_MAX, 1, at, good.indices, at}) == CUMO_KERNELS_TOO_LARGE);
  EXPECT(status({1, 1 << 10, 1 << 20, 1, 1 << 10, at, good.indices, at}) == CUMO_KERNELS_TOO_LARGE);
  EXPECT(status({1, 0, 1, 4, 8, nullptr, nullptr, nullptr}) == CUMO_KERNELS_OK);
}

void every_status_has_a_text() {
  for (int32_t status = 0; status <= CUMO_KERNELS_CUDA_ERROR + 1; ++status)
    EXPECT(std::strlen(cumo_kernels_status_text(status)) > 0);
  EXPECT(cumo_kernels_version() == CUMO_KERNELS_VERSION);
  EXPECT(cumo_kernels_last_cuda_error() == 0);
}

}  // namespace

int main() {
  cumo::emulation::set_schedule(cumo::emulation::Schedule::shuffled, 3);
  shapes_out_of_range_are_refused();
  sizes_that_overflow_are_refused();
  pointers_are_checked();
  no_tokens_need_no_tensors();
  workspace_suffices_for_fewer_tokens();
  tiles_follow_device_and_sizes();
  experts_out_of_range_are_left_out();
  one_expert_twice_counts_twice();
  nan_logits_choose_valid_experts();
  all_experts_can_be_chosen();
  rows_out_of_range_are_refused();
  every_status_has_a_text();
  std::printf("%d failed\n", failures);
  return failures != 0;
}
