// What a case computes on: drawn from its name, the same on every machine.
#pragma once

#include <cstdint>
#include <vector>

#include "cases.h"

namespace cumo::test {

// Bits of f16 or bf16 (`dtype`), rounded to nearest even, and their value.
uint16_t to_bits(double value, int32_t dtype);
double from_bits(uint16_t bits, int32_t dtype);

struct Expert {
  std::vector<uint16_t> fc1, fc1_bias, up, up_bias, fc2, fc2_bias;  // as cumo_moe_expert
};

struct Inputs {
  std::vector<float> logits;  // [tokens, experts]; multiples of 1/8, exact in f16 and bf16
  std::vector<uint16_t> x;    // [tokens, in]
  std::vector<Expert> experts;
};

Inputs draw_inputs(const Case& one);

}  // namespace cumo::test
