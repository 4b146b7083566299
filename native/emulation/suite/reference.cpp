#include "reference.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace cumo::test {
namespace {

double activate(int32_t activation, double x) {
  switch (activation) {
    case CUMO_ACTIVATION_GELU:
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case CUMO_ACTIVATION_QUICK_GELU:
      return x / (1.0 + std::exp(-1.702 * x));
    default:
      return x / (1.0 + std::exp(-x));
  }
}

std::vector<double> widen(const std::vector<uint16_t>& bits, int32_t dtype) {
  std::vector<double> values(bits.size());
  for (size_t i = 0; i < bits.size(); ++i) values[i] = from_bits(bits[i], dtype);
  return values;
}

// row [depth] @ matrix [depth, columns] + bias [columns] or nothing.
std::vector<double> layer(const double* row, const std::vector<double>& matrix,
                          const std::vector<double>& bias, size_t columns) {
  std::vector<double> result = bias.empty() ? std::vector<double>(columns) : bias;
  for (size_t d = 0; d < matrix.size() / columns; ++d)
    for (size_t c = 0; c < columns; ++c) result[c] += row[d] * matrix[d * columns + c];
  return result;
}

}  // namespace

Routes reference_routes(const Case& one, const Inputs& inputs) {
  size_t experts = size_t(one.shape.num_experts), k = size_t(one.shape.num_experts_per_tok);
  Routes routes;
  for (size_t t = 0; t < size_t(one.shape.tokens); ++t) {
    const float* logits = &inputs.logits[t * experts];
    std::vector<int32_t> order(experts);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
    double sum = 0;
    for (size_t j = 0; j < k; ++j) sum += std::exp(double(logits[order[j]] - logits[order[0]]));
    for (size_t j = 0; j < k; ++j) {
      routes.chosen.push_back(order[j]);
      routes.weights.push_back(float(std::exp(double(logits[order[j]] - logits[order[0]])) / sum));
    }
  }
  return routes;
}

Permutation reference_permutation(const std::vector<int32_t>& chosen, int experts) {
  Permutation permutation;
  permutation.offsets.push_back(0);
  for (int e = 0; e < experts; ++e) {
    for (size_t p = 0; p < chosen.size(); ++p)
      if (chosen[p] == e) permutation.rows.push_back(int32_t(p));
    permutation.offsets.push_back(int32_t(permutation.rows.size()));
  }
  return permutation;
}

std::vector<double> reference_moe(const Case& one, const Inputs& inputs, const Routes& routes) {
  const cumo_moe_shape& shape = one.shape;
  size_t in = size_t(shape.in), hidden = size_t(shape.hidden), out = size_t(shape.out);
  std::vector<double> x = widen(inputs.x, shape.dtype);
  std::vector<double> y(size_t(shape.tokens) * out);
  for (int e = 0; e < shape.num_experts; ++e) {
    const Expert& bits = inputs.experts[size_t(e)];
    auto fc1 = widen(bits.fc1, shape.dtype), fc1_bias = widen(bits.fc1_bias, shape.dtype);
    auto up = widen(bits.up, shape.dtype), up_bias = widen(bits.up_bias, shape.dtype);
    auto fc2 = widen(bits.fc2, shape.dtype), fc2_bias = widen(bits.fc2_bias, shape.dtype);
    for (size_t p = 0; p < routes.chosen.size(); ++p) {
      if (routes.chosen[p] != e) continue;
      size_t token = p / size_t(shape.num_experts_per_tok);
      auto middle = layer(&x[token * in], fc1, fc1_bias, hidden);
      for (double& value : middle) value = activate(shape.activation, value);
      if (shape.gated) {
        auto gate = layer(&x[token * in], up, up_bias, hidden);
        for (size_t i = 0; i < hidden; ++i) middle[i] *= gate[i];
      }
      auto part = layer(middle.data(), fc2, fc2_bias, out);
      for (size_t c = 0; c < out; ++c) y[token * out + c] += routes.weights[p] * part[c];
    }
  }
  return y;
}

}  // namespace cumo::test
