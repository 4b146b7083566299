// What CumoMoE computes on host memory, over the emulated kernels.

#include "plugin_tests.h"
#include "node.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using nvinfer1::DataType;

namespace {

/// max |error| over max |want|; NaN where a number is missing.
double error_of(const std::vector<float>& got, const std::vector<float>& want) {
  double worst = 0, largest = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::fabs(double(got[i]) - want[i]);
    if (std::isnan(error)) return error;
    worst = std::max(worst, error);
    largest = std::max(largest, std::fabs(double(want[i])));
  }
  return got.size() == want.size() ? worst / largest : NAN;
}

/// How far one layer may be off. The table's limit is for whole models; with it, gelu passed for
/// quick_gelu, which is off by 1e-2. bf16 has 3 bits less than f16.
double limit_of(const MoeCase& layer, DataType type) {
  return layer.limit / 10 * (type == DataType::kBF16 ? 8 : 1);
}

/// Runs a layer in a workspace of exactly the bytes that the plugin asks for.
void compute(const Test& test, const MoeCase& layer, DataType type) {
  auto plugin = test.make(fields_of(layer));
  if (!test.check.that(plugin != nullptr, layer.name + ": made", test.messages.take())) return;
  Node node(*plugin, layer, type);
  test.check.that(node.configure(layer.tokens) == 0, layer.name + ": configured",
                  test.messages.take());
  const Memory workspace(node.workspace_bytes(layer.tokens));
  const auto status = node.run(&workspace);
  const auto error = status ? NAN : layer.y.empty() ? 0 : error_of(widened(node.y, type), layer.y);
  char numbers[64];
  std::snprintf(numbers, sizeof numbers, "error/max %.1e, limit %.1e", error,
                limit_of(layer, type));
  test.check.that(error <= limit_of(layer, type),  // false for NaN
                  layer.name + (type == DataType::kHALF ? " f16: " : " bf16: ") + numbers,
                  test.messages.take());
}

/// The first `tokens` rows of a layer.
MoeCase first_rows(MoeCase layer, int64_t tokens) {
  layer.tokens = tokens;
  layer.x.resize(static_cast<size_t>(tokens * layer.in));
  layer.weights.resize(static_cast<size_t>(tokens * layer.num_experts_per_tok));
  layer.experts.resize(layer.weights.size());
  layer.y.resize(static_cast<size_t>(tokens * layer.out));
  return layer;
}

}  // namespace

void computes_golden_layers(const Test& test) {
  for (const auto& layer : test.cases) {
    for (auto type : {DataType::kHALF, DataType::kBF16}) compute(test, layer, type);
  }
}

void computes_shared_cases(const Test& test) {
  for (const auto& [layer, type] : test.shared) {
    if (layer.num_experts <= 64) {
      compute(test, layer, type);
    } else {
      test.check.that(!test.make(fields_of(layer)), layer.name + ": refused");
      test.check.says(test.messages.take(), "num_experts is " + std::to_string(layer.num_experts));
    }
  }
}

void one_workspace_does_for_fewer_rows(const Test& test) {
  const auto& layer =
      *std::max_element(test.cases.begin(), test.cases.end(),
                        [](const auto& a, const auto& b) { return a.tokens < b.tokens; });
  auto plugin = test.make(fields_of(layer));
  const Node whole(*plugin, layer, DataType::kHALF);
  const Memory workspace(whole.workspace_bytes(layer.tokens));
  bool grows = true;
  for (int64_t tokens = 1; tokens <= 600; ++tokens) {
    grows &= whole.workspace_bytes(tokens) >= whole.workspace_bytes(tokens - 1);
  }
  test.check.that(grows, "the workspace never shrinks from 0 to 600 rows");
  for (int64_t tokens :
       {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{5}, int64_t{17}, layer.tokens}) {
    const auto part = first_rows(layer, tokens);
    const Node node(*plugin, part, DataType::kHALF);
    const auto status = node.run(&workspace);
    const auto ok =
        status == 0 && (tokens == 0 || error_of(widened(node.y, DataType::kHALF), part.y) <=
                                           limit_of(part, DataType::kHALF));
    test.check.that(
        ok, std::to_string(tokens) + " rows in the workspace of " + std::to_string(layer.tokens),
        test.messages.take());
  }
  const auto part = first_rows(layer, 9);
  const Node once(*plugin, part, DataType::kHALF), twice(*plugin, part, DataType::kHALF);
  once.run(&workspace), twice.run(&workspace);
  test.check.that(std::memcmp(once.y.data(), twice.y.data(), once.y.bytes()) == 0,
                  "two runs are bit-equal");
}

void reports_kernel_faults(const Test& test) {
  auto plugin = test.make(fields_of(test.connector()));
  Node node(*plugin, test.connector(), DataType::kHALF);
  test.check.that(node.enqueue(nullptr) != 0, "enqueue without a workspace fails");
  test.check.says(test.messages.take(), "CumoMoE: enqueue: ");
  const Memory odd(node.workspace_bytes(test.connector().tokens) + 8);
  test.check.that(node.enqueue(static_cast<char*>(odd.data()) + 8) != 0,
                  "and with one that is not aligned");
  test.check.says(test.messages.take(), "CumoMoE: enqueue: ");
  node.inputs[0].dims.d[2] += 1;
  const Memory workspace(node.workspace_bytes(test.connector().tokens));
  test.check.that(node.enqueue(workspace.data()) != 0,
                  "enqueue with another shape than the experts' fails");
  test.check.says(test.messages.take(), "CumoMoE: enqueue: input 3 (expert 0 fc1) is");
}
