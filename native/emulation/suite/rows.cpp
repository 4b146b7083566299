#include "rows.h"

#include <cstdio>
#include <limits>

#include "cumo_kernels.h"
#include "memory.h"

namespace cumo::test {
namespace {

constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

// Bytes that tell where they belong, and none of them what memory is filled with.
std::vector<uint8_t> pattern(size_t bytes, unsigned seed) {
  std::vector<uint8_t> values(bytes);
  for (size_t i = 0; i < bytes; ++i) values[i] = uint8_t((i * 131 + i / 251 + seed) % 251);
  return values;
}

// The cache as it must be.
std::vector<uint8_t> written(const RowsCase& one, std::vector<uint8_t> cache,
                             const std::vector<uint8_t>& rows) {
  auto bytes = size_t(one.position_bytes);
  for (int32_t b = 0; b < one.batch; ++b)
    for (int32_t h = 0; h < one.heads; ++h)
      for (int32_t s = 0; s < one.sequence; ++s)
        for (int32_t position = 0; position < one.pitch; ++position) {
          // The difference does not overflow: position and s are small and not negative.
          if (one.indices[size_t(b)] != int64_t(position) - s) continue;
          size_t head = size_t(b) * size_t(one.heads) + size_t(h);
          size_t from = (head * size_t(one.sequence) + size_t(s)) * bytes;
          size_t to = (head * size_t(one.pitch) + size_t(position)) * bytes;
          for (size_t i = 0; i < bytes; ++i) cache[to + i] = rows[from + i];
        }
  return cache;
}

// A buffer that begins so many bytes behind a multiple of 256, and its values there.
struct Placed {
  Placed(const std::vector<uint8_t>& values, size_t at) : at(at), buffer(shifted(values, at)) {}
  static std::vector<uint8_t> shifted(const std::vector<uint8_t>& values, size_t at) {
    std::vector<uint8_t> all(at, 0xfe);
    all.insert(all.end(), values.begin(), values.end());
    return all;
  }
  uint8_t* data() const { return buffer.as<uint8_t>() + at; }

  size_t at;
  Buffer buffer;
};

}  // namespace

const std::vector<RowsCase>& rows_cases() {
  static const std::vector<RowsCase> cases{
      {"mistral, a token", 1, 8, 1, 96, 256, {41}},
      {"mistral, the first token", 1, 8, 1, 96, 256, {0}},
      {"mistral, the last token", 1, 8, 1, 96, 256, {95}},
      {"a prompt", 1, 3, 29, 64, 128, {7}},
      {"a prompt that fills it", 1, 3, 64, 64, 32, {0}},
      {"two sequences", 2, 5, 3, 17, 64, {14, 0}},
      {"odd heads of four bytes", 1, 3, 5, 23, 36, {9}},
      {"odd heads of two bytes", 1, 3, 5, 23, 34, {9}},
      {"odd heads of one byte", 2, 3, 2, 11, 7, {3, 5}},
      {"rows at 4 bytes", 1, 2, 3, 8, 64, {2}, 4, 0},
      {"cache at 2 bytes", 1, 2, 3, 8, 64, {2}, 0, 2},
      {"both at 3 bytes", 1, 2, 3, 8, 64, {2}, 3, 3},
      {"over the end", 1, 4, 5, 16, 32, {14}},
      {"before the start", 1, 4, 5, 16, 32, {-2}},
      {"behind the end", 1, 4, 2, 16, 32, {16}},
      {"far behind the end", 2, 4, 2, 16, 32, {kMost, 3}},
      {"far before the start", 2, 4, 2, 16, 32, {3, kLeast}},
      {"an index that comes back to the cache in 32 bits", 1, 4, 1, 16, 32, {(1LL << 32) + 3}},
      {"no heads", 1, 0, 2, 16, 32, {0}},
      {"no rows", 1, 4, 0, 16, 32, {0}},
  };
  return cases;
}

std::string check_rows(const RowsCase& one) {
  size_t heads = size_t(one.batch) * size_t(one.heads), bytes = size_t(one.position_bytes);
  auto rows = pattern(heads * size_t(one.sequence) * bytes, 1);
  auto cache = pattern(heads * size_t(one.pitch) * bytes, 100);
  Placed from(rows, one.rows_at), to(cache, one.cache_at);
  Buffer indices(one.indices);
  cumo_write_rows_args args{one.batch,          one.heads,   one.sequence,          one.pitch,
                            one.position_bytes, from.data(), indices.as<int64_t>(), to.data()};
  if (int32_t status = cumo_write_rows(&args, nullptr))
    return std::string("write_rows: ") + cumo_kernels_status_text(status);
  if (!finish_device()) return "write_rows: the device failed";
  if (!to.buffer.guards_intact()) return "write_rows wrote outside of the cache";
  auto got = to.buffer.read<uint8_t>();
  auto want = Placed::shifted(written(one, cache, rows), one.cache_at);
  for (size_t i = 0; i < want.size(); ++i)
    if (got[i] != want[i])
      return "cache byte " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " +
             std::to_string(want[i]);
  return "";
}

}  // namespace cumo::test
