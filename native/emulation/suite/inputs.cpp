#include "inputs.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstring>

namespace cumo::test {
namespace {

// splitmix64: numbers that do not depend on a standard library.
class Random {
 public:
  explicit Random(const std::string& name) {
    for (char c : name) state_ = next() ^ uint64_t(static_cast<unsigned char>(c));
  }
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double uniform() { return double(next() >> 11) * 0x1p-53; }
  // Mean 0, deviation 1, at most sqrt 12 from 0: the sum of four uniform numbers, stretched.
  double bell() { return (uniform() + uniform() + uniform() + uniform() - 2.0) * std::sqrt(3.0); }

 private:
  uint64_t state_ = 0x243f6a8885a308d3u;
};

float draw_logit(Random& random, Routing routing, int expert) {
  float drawn = std::floor(float(random.uniform()) * 64.0f) / 8.0f - 4.0f;
  switch (routing) {
    case Routing::all_to_one:
      return expert == 1 ? 20.0f : drawn;
    case Routing::equal:
      return 0.0f;
    case Routing::half_empty:
      return expert % 2 == 1 ? -30.0f : drawn;
    default:
      return drawn;
  }
}

}  // namespace

uint16_t to_bits(double value, int32_t dtype) {
  uint16_t bits;
  if (dtype == CUMO_DTYPE_F16) {
    __half rounded = __double2half(value);
    std::memcpy(&bits, &rounded, sizeof(bits));
  } else {
    __nv_bfloat16 rounded = __double2bfloat16(value);
    std::memcpy(&bits, &rounded, sizeof(bits));
  }
  return bits;
}

double from_bits(uint16_t bits, int32_t dtype) {
  if (dtype == CUMO_DTYPE_F16) {
    __half_raw raw;
    raw.x = bits;
    return __half2float(__half(raw));
  }
  __nv_bfloat16_raw raw;
  raw.x = bits;
  return __bfloat162float(__nv_bfloat16(raw));
}

Inputs draw_inputs(const Case& one) {
  const cumo_moe_shape& shape = one.shape;
  Random random(one.name);
  size_t tokens = size_t(shape.tokens), in = size_t(shape.in), hidden = size_t(shape.hidden),
         out = size_t(shape.out);
  auto values = [&](size_t count, double deviation) {
    std::vector<uint16_t> bits(count);
    for (uint16_t& b : bits) b = to_bits(random.bell() * deviation, shape.dtype);
    return bits;
  };
  Inputs inputs;
  for (size_t i = 0; i < tokens * size_t(shape.num_experts); ++i)
    inputs.logits.push_back(draw_logit(random, one.routing, int(i % size_t(shape.num_experts))));
  inputs.x = values(tokens * in, 1.0);
  for (int e = 0; e < shape.num_experts; ++e) {
    Expert expert;
    double first = 1.0 / std::sqrt(double(in)), last = 1.0 / std::sqrt(double(hidden));
    expert.fc1 = values(in * hidden, first);
    if (shape.gated) expert.up = values(in * hidden, first);
    expert.fc2 = values(hidden * out, last);
    if (shape.biased) {
      expert.fc1_bias = values(hidden, 0.5);
      if (shape.gated) expert.up_bias = values(hidden, 0.5);
      expert.fc2_bias = values(out, 0.5);
    }
    inputs.experts.push_back(std::move(expert));
  }
  return inputs;
}

}  // namespace cumo::test
