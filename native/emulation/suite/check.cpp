#include "check.h"

#include <cmath>
#include <cstdio>

namespace cumo::test {
namespace {

// How far a value may be from the reference, of the largest of the reference: a few roundings.
double tolerance(int32_t dtype) { return dtype == CUMO_DTYPE_F16 ? 2e-3 : 1.6e-2; }
constexpr double kWeightTolerance = 1e-6;

template <class... Values>
std::string text(const char* format, Values... values) {
  char line[256];
  std::snprintf(line, sizeof(line), format, values...);
  return line;
}

std::string status_text(const char* what, int32_t status) {
  return text("%s: status %d, %s", what, int(status), cumo_kernels_status_text(status));
}

template <class T>
std::string compare_integers(const char* what, const std::vector<T>& got,
                             const std::vector<T>& want, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (got[i] != want[i])
      return text("%s[%zu] is %d, expected %d", what, i, int(got[i]), int(want[i]));
  return "";
}

const Buffer& upload(std::vector<Buffer>& tensors, const std::vector<uint16_t>& bits) {
  return tensors.emplace_back(bits);
}

}  // namespace

Bench::Bench(const Case& one) : Bench(one, reference_routes(one, draw_inputs(one))) {}

Bench::Bench(const Case& one, Routes routes)
    : one_(one),
      inputs_(draw_inputs(one)),
      routes_(std::move(routes)),
      expected_(reference_moe(one_, inputs_, routes_)) {
  tensors_.reserve(inputs_.experts.size() * 6);
  for (const Expert& expert : inputs_.experts) {
    auto put = [&](const std::vector<uint16_t>& bits) -> const void* {
      return bits.empty() ? nullptr : upload(tensors_, bits).data();
    };
    experts_.push_back({put(expert.fc1), put(expert.fc1_bias), put(expert.up), put(expert.up_bias),
                        put(expert.fc2), put(expert.fc2_bias)});
  }
}

std::string Bench::check_route(int32_t dtype) const {
  std::vector<uint16_t> narrow;
  for (float logit : inputs_.logits) narrow.push_back(to_bits(logit, dtype));
  Buffer logits = dtype == CUMO_DTYPE_F32 ? Buffer(inputs_.logits) : Buffer(narrow);
  size_t pairs = routes_.chosen.size();
  Buffer weights(pairs * sizeof(float)), chosen(pairs * sizeof(int32_t));
  cumo_route_args args{one_.shape.tokens,
                       one_.shape.num_experts,
                       one_.shape.num_experts_per_tok,
                       dtype,
                       logits.data(),
                       weights.as<float>(),
                       chosen.as<int32_t>()};
  if (int32_t status = cumo_moe_route(&args, nullptr)) return status_text("route", status);
  if (!finish_device()) return "route: the device failed";
  auto got = weights.read<float>();
  for (size_t i = 0; i < pairs; ++i)
    if (!(std::abs(double(got[i]) - double(routes_.weights[i])) <= kWeightTolerance))
      return text("weights[%zu] is %g, expected %g", i, double(got[i]), double(routes_.weights[i]));
  if (!weights.guards_intact() || !chosen.guards_intact()) return "route wrote outside of a tensor";
  return compare_integers("chosen", chosen.read<int32_t>(), routes_.chosen, pairs);
}

std::string Bench::check_permute() const {
  size_t pairs = routes_.chosen.size(), experts = size_t(one_.shape.num_experts);
  Buffer chosen(routes_.chosen);
  Buffer offsets((experts + 1) * sizeof(int32_t)), rows(pairs * sizeof(int32_t));
  cumo_permute_args args{int32_t(pairs), one_.shape.num_experts, chosen.as<int32_t>(),
                         offsets.as<int32_t>(), rows.as<int32_t>()};
  if (int32_t status = cumo_moe_permute(&args, nullptr)) return status_text("permute", status);
  if (!finish_device()) return "permute: the device failed";
  Permutation want = reference_permutation(routes_.chosen, one_.shape.num_experts);
  if (!offsets.guards_intact() || !rows.guards_intact()) return "permute wrote outside of a tensor";
  std::string wrong =
      compare_integers("offsets", offsets.read<int32_t>(), want.offsets, experts + 1);
  if (!wrong.empty()) return wrong;
  return compare_integers("rows", rows.read<int32_t>(), want.rows, want.rows.size());
}

std::string Bench::check_forward(int32_t tile, std::vector<uint16_t>* bits) const {
  cumo_moe_shape shape = one_.shape;
  shape.tile = tile;
  uint64_t bytes = 0;
  if (int32_t status = cumo_moe_workspace_bytes(&shape, &bytes))
    return status_text("workspace", status);
  Buffer x(inputs_.x), weights(routes_.weights), chosen(routes_.chosen), workspace(bytes);
  Buffer y(expected_.size() * sizeof(uint16_t));
  cumo_moe_args args{x.data(), weights.as<float>(), chosen.as<int32_t>(), experts_.data(),
                     y.data()};
  int32_t status = cumo_moe_forward(&shape, &args, workspace.data(), bytes, nullptr);
  if (status) return status_text("forward", status);
  if (!finish_device()) return "forward: the device failed";
  if (!workspace.guards_intact()) return "forward wrote outside of its workspace";
  if (!y.guards_intact()) return "forward wrote outside of y";

  auto got = y.read<uint16_t>();
  double largest = 0;
  for (double value : expected_) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < got.size(); ++i) {
    double value = from_bits(got[i], shape.dtype);
    if (!(std::abs(value - expected_[i]) <= tolerance(shape.dtype) * largest))
      return text("y[%zu, %zu] is %g, expected %g (largest %g)", i / size_t(shape.out),
                  i % size_t(shape.out), value, expected_[i], largest);
  }
  if (bits) *bits = std::move(got);
  return "";
}

bool tile_runs(const cumo_moe_shape& shape, int32_t tile) {
  cumo_moe_shape with = shape;
  with.tile = tile;
  uint64_t bytes = 0;
  return cumo_moe_workspace_bytes(&with, &bytes) == CUMO_KERNELS_OK;
}

}  // namespace cumo::test
