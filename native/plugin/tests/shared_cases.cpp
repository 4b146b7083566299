#include "shared_cases.h"

#include "suite/cases.h"
#include "suite/inputs.h"
#include "suite/reference.h"

namespace {

const char* activation_name(int32_t activation) {
  return activation == CUMO_ACTIVATION_GELU   ? "gelu"
         : activation == CUMO_ACTIVATION_SILU ? "silu"
                                              : "quick_gelu";
}

std::vector<float> values(const std::vector<uint16_t>& bits, int32_t dtype) {
  std::vector<float> result;
  for (const auto b : bits) result.push_back(static_cast<float>(cumo::test::from_bits(b, dtype)));
  return result;
}

MoeCase layer_of(const cumo::test::Case& one, float limit) {
  const auto& shape = one.shape;
  const auto inputs = cumo::test::draw_inputs(one);
  const auto routes = cumo::test::reference_routes(one, inputs);
  const auto y = cumo::test::reference_moe(one, inputs, routes);

  MoeCase layer{};
  layer.name = "cases." + one.name;
  layer.activation = activation_name(shape.activation);
  layer.gated = shape.gated, layer.biased = shape.biased;
  layer.num_experts = shape.num_experts, layer.num_experts_per_tok = shape.num_experts_per_tok;
  layer.tokens = shape.tokens, layer.in = shape.in, layer.hidden = shape.hidden,
  layer.out = shape.out;
  layer.limit = limit;
  layer.x = values(inputs.x, shape.dtype);
  layer.weights = routes.weights;
  layer.experts = routes.chosen;
  for (const auto& expert : inputs.experts) {
    auto add = [&](const std::vector<uint16_t>& matrix, const std::vector<uint16_t>& bias) {
      layer.expert_tensors.push_back(values(matrix, shape.dtype));
      if (shape.biased) layer.expert_tensors.push_back(values(bias, shape.dtype));
    };
    add(expert.fc1, expert.fc1_bias);
    if (shape.gated) add(expert.up, expert.up_bias);
    add(expert.fc2, expert.fc2_bias);
  }
  layer.y.assign(y.begin(), y.end());
  return layer;
}

}  // namespace

std::vector<SharedCase> read_shared_cases(const std::string& path, float limit) {
  std::vector<SharedCase> cases;
  for (const auto& one : cumo::test::read_cases(path)) {
    const auto type =
        one.shape.dtype == CUMO_DTYPE_BF16 ? nvinfer1::DataType::kBF16 : nvinfer1::DataType::kHALF;
    cases.push_back({layer_of(one, limit), type});
  }
  return cases;
}
