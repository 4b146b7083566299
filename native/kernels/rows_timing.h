// Times of rows that go into a cache, beside copies to a place that is known beforehand.
#pragma once

namespace cumo::test {

// Prints a line each for a token of CuMo-Mistral-7B (keys and values of 32 layers, as one graph)
// and a prompt; false where something failed.
bool time_rows();

}  // namespace cumo::test
