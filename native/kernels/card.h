// What the device of a measurement could do at best.
#pragma once

#include <string>

namespace cumo::test {

struct Card {
  std::string name;
  int architecture = 0;
  int multiprocessors = 0;
  double tensor_tflops = 0;  // f16 products, f32 sums, no sparsity, at the clock the driver states
  double gbytes_a_second = 0;  // of its memory; 0 where the driver does not say
};

// The current device; false where there is none, with the reason in `why`.
bool current_card(Card& card, std::string& why);

}  // namespace cumo::test
