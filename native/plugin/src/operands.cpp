#include "operands.h"

#include <limits>
#include <stdexcept>

namespace cumo {
namespace {

using nvinfer1::Dims;
using Matrix = Operands::Matrix;

std::string text(const Dims& dims) {
  std::string list = "[";
  for (int32_t i = 0; i < dims.nbDims; ++i) {
    list += (i ? ", " : "") + (dims.d[i] < 0 ? std::string("?") : std::to_string(dims.d[i]));
  }
  return list + "]";
}

bool alike(const Dims& left, const Dims& right) noexcept {
  if (left.nbDims != right.nbDims) return false;
  for (int32_t i = 0; i < left.nbDims; ++i) {
    if (left.d[i] != right.d[i] && left.d[i] >= 0 && right.d[i] >= 0) return false;
  }
  return true;
}

/// `input 4 (expert 0 fc1 bias) is [7], it must be <want>`
[[noreturn]] void refuse(const MoeFields& fields, const DimsOf& dims, int32_t input,
                         const std::string& want) {
  throw std::invalid_argument("input " + std::to_string(input) + " (" +
                              Operands(fields).name(input) + ") is " + text(dims(input)) +
                              ", it must be " + want);
}

int64_t tokens_of(const Dims& x) {
  int64_t tokens = 1;
  bool unknown = false;
  for (int32_t i = 0; i + 1 < x.nbDims; ++i) {
    if (x.d[i] == 0) return 0;
    unknown |= x.d[i] < 0;
  }
  if (unknown) return -1;
  for (int32_t i = 0; i + 1 < x.nbDims; ++i) {
    if (x.d[i] > std::numeric_limits<int32_t>::max() / tokens) {
      throw std::invalid_argument("x is " + text(x) + ", too many tokens");
    }
    tokens *= x.d[i];
  }
  return tokens;
}

}  // namespace

std::string Operands::name(int32_t input) const {
  if (input == kX) return "x";
  if (input == kWeights) return "weights";
  if (input == kExperts) return "experts";
  const auto expert = (input - kFirstExpert) / per_expert();
  const auto within = (input - kFirstExpert) % per_expert();
  const auto matrix = within / per_matrix();
  const auto* label = matrix == 0 ? "fc1" : matrix == 1 && fields_.gated ? "up" : "fc2";
  return "expert " + std::to_string(expert) + " " + label + (within % per_matrix() ? " bias" : "");
}

void check_count(const MoeFields& fields, int32_t given) {
  const auto want = Operands(fields).count();
  if (given == want) return;
  throw std::invalid_argument(std::to_string(given) + " inputs, but " + describe(fields) +
                              " takes " + std::to_string(want));
}

MoeSizes sizes_of(const MoeFields& fields, const DimsOf& dims) {
  const Operands operands(fields);
  const auto fc1 = operands.matrix(0, Matrix::kFc1), fc2 = operands.matrix(0, Matrix::kFc2);
  const auto& x = dims(Operands::kX);
  if (x.nbDims < 1 || x.nbDims > Dims::MAX_DIMS) refuse(fields, dims, Operands::kX, "[.., in]");
  if (dims(fc1).nbDims != 2) refuse(fields, dims, fc1, "[in, hidden]");
  if (dims(fc2).nbDims != 2) refuse(fields, dims, fc2, "[hidden, out]");
  return {tokens_of(x), x.d[x.nbDims - 1], dims(fc1).d[1], dims(fc2).d[1]};
}

MoeSizes checked_sizes(const MoeFields& fields, const DimsOf& dims) {
  const auto sizes = sizes_of(fields, dims);
  auto check = [&](int32_t input, const Dims& want) {
    if (!alike(dims(input), want)) refuse(fields, dims, input, text(want));
  };
  auto routes = dims(Operands::kX);
  routes.d[routes.nbDims - 1] = fields.num_experts_per_tok;
  check(Operands::kWeights, routes);
  check(Operands::kExperts, routes);

  const Operands operands(fields);
  auto check_matrix = [&](int32_t expert, Matrix which, int64_t rows, int64_t columns) {
    check(operands.matrix(expert, which), Dims{2, {rows, columns}});
    if (fields.biased) check(operands.bias(expert, which), Dims{1, {columns}});
  };
  for (int32_t expert = 0; expert < fields.num_experts; ++expert) {
    check_matrix(expert, Matrix::kFc1, sizes.in, sizes.hidden);
    if (fields.gated) check_matrix(expert, Matrix::kUp, sizes.in, sizes.hidden);
    check_matrix(expert, Matrix::kFc2, sizes.hidden, sizes.out);
  }
  return sizes;
}

}  // namespace cumo
