// The kernels on a GPU: the same cases against the same reference as under the emulation, then
// times. Not yet seen on a GPU.
//
//   device_test <cases.txt> [--tune] [--tensor-tflops N]
//
// --tune: each size with each tile. Times are medians of CUDA events, warm, one call each; "dense"
// is the same kernels with every expert chosen by every token.
// Exit status 0: all right; 1: a case is wrong; 2: wrong usage; 4: right, but slower than the aims
// (at 5,770 rows at most 0.6 of dense, at least 60 % of the tensor cores' rate); 77: no device.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#include "card.h"
#include "rows_timing.h"
#include "suite/check.h"
#include "suite/rows.h"

namespace {

using namespace cumo::test;

constexpr int kNoDevice = 77;
constexpr int kTooSlow = 4;
constexpr int kWarmups = 5;
constexpr int kRuns = 30;
constexpr double kOfDense = 0.6;
constexpr double kOfBound = 0.6;

int run_cases(const std::string& path) {
  int checks = 0, failures = 0;
  for (const RowsCase& one : rows_cases()) {
    std::string wrong = check_rows(one);
    ++checks;
    if (wrong.empty()) continue;
    ++failures;
    std::printf("FAILED %s, write rows: %s\n", one.name.c_str(), wrong.c_str());
  }
  for (const Case& one : read_cases(path)) {
    Bench bench(one);
    auto report = [&](const char* what, const std::string& wrong, int tile) {
      ++checks;
      if (wrong.empty()) return;
      ++failures;
      std::printf("FAILED %s, %s, tile %d: %s\n", one.name.c_str(), what, tile, wrong.c_str());
    };
    for (int32_t type : {CUMO_DTYPE_F32, CUMO_DTYPE_F16, CUMO_DTYPE_BF16})
      report("route", bench.check_route(type), 0);
    report("permute", bench.check_permute(), 0);
    for (int32_t tile = -1; tile <= cumo_moe_tile_count(); ++tile) {
      if (!tile_runs(one.shape, tile)) continue;
      std::vector<uint16_t> first, second;
      report("forward", bench.check_forward(tile, &first), tile);
      report("forward again", bench.check_forward(tile, &second), tile);
      report("equal bits", first == second ? "" : "two runs differ", tile);
    }
  }
  std::printf("%d checks, %d failed\n", checks, failures);
  return failures;
}

// Named sizes of real models: CLIP-L/336 in CuMo, one image and ten; Mixtral-8x7B.
struct Size {
  const char* name;
  cumo_moe_shape shape;
};
constexpr cumo_moe_shape clip(int32_t tokens) {
  return {tokens, 1024, 4096, 1024, 4, 2, CUMO_DTYPE_F16, CUMO_ACTIVATION_QUICK_GELU, 0, 1, 0};
}
constexpr cumo_moe_shape mixtral(int32_t tokens) {
  return {tokens, 4096, 14336, 4096, 8, 2, CUMO_DTYPE_F16, CUMO_ACTIVATION_SILU, 1, 0, 0};
}
constexpr Size kSizes[] = {
    {"clip, 577 rows", clip(577)},       {"clip, 5770 rows", clip(5770)},
    {"mixtral, 1 token", mixtral(1)},    {"mixtral, 8 tokens", mixtral(8)},
    {"mixtral, 64 tokens", mixtral(64)}, {"mixtral, 1024 tokens", mixtral(1024)},
};
constexpr const char* kAimedAt = "clip, 5770 rows";

// Tensors of one size; all experts' differ, so that caches see what they would see.
class Timing {
 public:
  explicit Timing(const cumo_moe_shape& shape) : shape_(shape) {
    size_t in = size_t(shape.in), hidden = size_t(shape.hidden), out = size_t(shape.out);
    for (int e = 0; e < shape.num_experts; ++e) {
      const void* fc1 = add(in * hidden);
      const void* fc1_bias = shape.biased ? add(hidden) : nullptr;
      const void* up = shape.gated ? add(in * hidden) : nullptr;
      const void* fc2 = add(hidden * out);
      const void* fc2_bias = shape.biased ? add(out) : nullptr;
      experts_.push_back({fc1, fc1_bias, up, nullptr, fc2, fc2_bias});
    }
    x_ = add(size_t(shape.tokens) * in);
    y_ = add(size_t(shape.tokens) * out);
  }

  // Milliseconds; negative when it failed or there is no memory. `k` experts a token, evenly.
  double milliseconds(int32_t tile, int32_t k) {
    cumo_moe_shape shape = shape_;
    shape.tile = tile;
    shape.num_experts_per_tok = k;
    uint64_t bytes = 0;
    if (cumo_moe_workspace_bytes(&shape, &bytes) != CUMO_KERNELS_OK) return -1;
    std::vector<int32_t> choices;
    for (int32_t t = 0; t < shape.tokens; ++t)
      for (int32_t j = 0; j < k; ++j)
        choices.push_back(int32_t((uint32_t(t) * 2654435761u >> 16) + uint32_t(j)) %
                          shape.num_experts);
    Buffer chosen(choices), workspace(bytes);
    Buffer weights(std::vector<float>(choices.size(), 1.0f / float(k)));
    cumo_moe_args args{x_, weights.as<float>(), chosen.as<int32_t>(), experts_.data(), y_};
    cudaStream_t stream = nullptr;
    cudaEvent_t start = nullptr, stop = nullptr;
    if (cudaStreamCreate(&stream) != cudaSuccess || cudaEventCreate(&start) != cudaSuccess ||
        cudaEventCreate(&stop) != cudaSuccess)
      return -1;
    std::vector<float> times;
    for (int run = 0; run < kWarmups + kRuns; ++run) {
      cudaEventRecord(start, stream);
      int32_t status = cumo_moe_forward(&shape, &args, workspace.data(), bytes, stream);
      cudaEventRecord(stop, stream);
      float took = -1;
      if (status != CUMO_KERNELS_OK || cudaEventSynchronize(stop) != cudaSuccess ||
          cudaEventElapsedTime(&took, start, stop) != cudaSuccess)
        break;
      if (run >= kWarmups) times.push_back(took);
    }
    cudaEventDestroy(start);
    cudaEventDestroy(stop);
    cudaStreamDestroy(stream);
    if (times.size() != size_t(kRuns)) return -1;
    std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
    return double(times[kRuns / 2]);
  }

 private:
  // Small values: bits of f16 0.0078 and around.
  void* add(size_t values) {
    std::vector<uint16_t> bits(values);
    uint32_t state = uint32_t(buffers_.size()) * 747796405u + 1u;
    for (uint16_t& b : bits) {
      state = state * 1664525u + 1013904223u;
      b = uint16_t(0x2000u | (state >> 16 & 0x81ffu));
    }
    return buffers_.emplace_back(bits).data();
  }

  cumo_moe_shape shape_;
  std::vector<Buffer> buffers_;
  std::vector<cumo_moe_expert> experts_;
  void* x_ = nullptr;
  void* y_ = nullptr;
};

double flops(const cumo_moe_shape& shape) {
  double channels = double(shape.in) * (shape.gated ? 2 : 1) + double(shape.out);
  return 2.0 * shape.tokens * shape.num_experts_per_tok * shape.hidden * channels;
}

// Bytes of weights that few tokens have to read: those of the experts that the timing chooses.
double weight_bytes(const cumo_moe_shape& shape) {
  double channels = double(shape.in) * (shape.gated ? 2 : 1) + double(shape.out);
  int experts = std::min(shape.num_experts, shape.tokens * shape.num_experts_per_tok);
  return 2.0 * experts * shape.hidden * channels;
}

// One line of the table; whether the size kept to the aims, where it has some.
bool time_size(const Size& size, const Card& card, int32_t tile) {
  Timing timing(size.shape);
  cumo_moe_shape shape = size.shape;
  shape.tile = tile;
  int32_t used[2] = {};
  cumo_moe_tiles_for(&shape, card.architecture, card.multiprocessors, used);
  double sparse = timing.milliseconds(tile, size.shape.num_experts_per_tok);
  double dense = tile == 0 ? timing.milliseconds(0, size.shape.num_experts) : -1;
  if (sparse < 0) {
    std::printf("| %-20s | %2d %2d | failed |\n", size.name, int(used[0]), int(used[1]));
    return false;
  }
  double tflops = flops(size.shape) / sparse * 1e-9;
  double of_bound = tflops / card.tensor_tflops, of_dense = dense > 0 ? sparse / dense : 0;
  double gbytes = weight_bytes(size.shape) / sparse * 1e-6;
  std::printf("| %-20s | %2d %2d | %9.4f | %7.1f | %5.1f %% | %9.4f | %5.2f | %7.0f |\n", size.name,
              int(used[0]), int(used[1]), sparse, tflops, 100 * of_bound, dense, of_dense, gbytes);
  if (tile != 0 || std::strcmp(size.name, kAimedAt) != 0) return true;
  return of_bound >= kOfBound && dense > 0 && of_dense <= kOfDense;
}

bool time_all(const Card& card, bool tune) {
  std::printf("| %-20s | %5s | %9s | %7s | %7s | %9s | %5s | %7s |\n", "size", "tiles", "ms",
              "TFLOP/s", "of max.", "dense ms", "ratio", "GB/s");
  std::printf("|---|---|---|---|---|---|---|---|\n");
  bool fast = true;
  for (const Size& size : kSizes) {
    try {
      fast &= time_size(size, card, 0);
      for (int32_t tile = -1; tune && tile <= cumo_moe_tile_count(); ++tile)
        if (tile != 0 && tile_runs(size.shape, tile)) time_size(size, card, tile);
    } catch (const std::bad_alloc&) {
      std::printf("| %-20s | skipped: not enough device memory |\n", size.name);
    }
  }
  return fast;
}

}  // namespace

int main(int count, char** words) {
  bool tune = false;
  double tflops = 0;
  bool right = count >= 2 && words[1][0] != '-';
  for (int i = 2; i < count && right; ++i) {
    if (std::strcmp(words[i], "--tune") == 0)
      tune = true;
    else if (std::strcmp(words[i], "--tensor-tflops") == 0 && i + 1 < count)
      right = (tflops = std::atof(words[++i])) > 0;
    else
      right = false;
  }
  if (!right) {
    std::fprintf(stderr, "usage: device_test CASES [--tune] [--tensor-tflops N]\n");
    return 2;
  }
  Card card;
  std::string why;
  if (!current_card(card, why)) {
    std::printf("skipped: no device (%s)\n", why.c_str());
    return kNoDevice;
  }
  if (tflops > 0) card.tensor_tflops = tflops;
  std::printf("%s, compute capability %d.%d, %d multiprocessors, at most %.0f TFLOP/s, %.0f GB/s\n",
              card.name.c_str(), card.architecture / 10, card.architecture % 10,
              card.multiprocessors, card.tensor_tflops, card.gbytes_a_second);
  try {
    if (run_cases(words[1]) != 0) return 1;
    bool fast = time_all(card, tune);
    if (!time_rows()) return 1;
    return fast ? 0 : kTooSlow;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
