// Rows into a cache through the kernel, against plain loops.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cumo_rows.h"

namespace cumo::test {

struct RowsCase {
  std::string name;
  int32_t batch, heads, sequence, pitch, position_bytes;
  std::vector<int64_t> indices;      // [batch]
  size_t rows_at = 0, cache_at = 0;  // bytes behind a multiple of 256 that they begin at
};

// Sizes of real and odd heads, each way to be aligned, indices in the cache and out of it.
const std::vector<RowsCase>& rows_cases();

// "" or what is wrong, with the byte and both values. What is not written must be as it was.
std::string check_rows(const RowsCase& one);

}  // namespace cumo::test
