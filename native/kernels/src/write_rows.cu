// Rows into a cache: rows [batch, heads, sequence, bytes] -> cache [batch, heads, pitch, bytes],
// from position indices [batch] on. A thread copies one unit: 16, 4 or 1 bytes, whichever all
// addresses are multiples of. Decoding has a position or two a head, so that a block or two do it
// all: the launch counts, and a recorded graph has that.
#include "cumo_rows.h"

#include "cuda_error.h"
#include "platform.cuh"

namespace cumo {
namespace {

constexpr int kThreads = 256;

// `across`: units of a position; `units`: of all rows.
template <class Unit>
__global__ void __launch_bounds__(kThreads)
    write_rows(const cumo_write_rows_args args, const int across, const int64_t units) {
  int64_t unit = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (unit >= units) return;
  int64_t row = unit / across, head = row / args.sequence;
  int column = int(unit - row * across);
  int64_t step = row - head * args.sequence;
  int64_t index = args.indices[head / args.heads];
  // In this order nothing overflows, whatever the index is.
  bool inside = index >= -step && index < args.pitch - step;
  if (!inside && !planted(Fault::unguarded_index)) return;
  int64_t place = (head * args.pitch + index + step) * across + column;
  static_cast<Unit*>(args.cache)[place] = static_cast<const Unit*>(args.rows)[unit];
}

template <class Unit>
cudaError_t launch_units(const cumo_write_rows_args& args, void* stream) {
  int across = args.position_bytes / int(sizeof(Unit));
  int64_t units = int64_t(args.batch) * args.heads * args.sequence * across;
  Launch how{dim3(unsigned((units + kThreads - 1) / kThreads)), dim3(kThreads), 0, stream};
  return launch("write_rows", how, write_rows<Unit>, args, across, units);
}

// Whether all that is copied is a multiple of so many bytes.
bool in_units(const cumo_write_rows_args& args, uintptr_t bytes) {
  uintptr_t all = reinterpret_cast<uintptr_t>(args.rows) | reinterpret_cast<uintptr_t>(args.cache) |
                  uintptr_t(args.position_bytes);
  return all % bytes == 0;
}

// Whether rows and cache have sizes that 64 bits hold, and the grid one that 32 bits do.
bool sizes_fit(const cumo_write_rows_args& args) {
  constexpr int64_t kMostRowBytes = int64_t(INT32_MAX) * kThreads;
  int64_t heads = int64_t(args.batch) * args.heads, row_bytes = 0, cache_bytes = 0;
  return !__builtin_mul_overflow(heads, int64_t(args.sequence) * args.position_bytes, &row_bytes) &&
         !__builtin_mul_overflow(heads, int64_t(args.pitch) * args.position_bytes, &cache_bytes) &&
         row_bytes <= kMostRowBytes;
}

}  // namespace

extern "C" int32_t cumo_write_rows(const cumo_write_rows_args* args, void* stream) {
  if (!args) return CUMO_KERNELS_NULL_POINTER;
  if (args->batch < 0 || args->heads < 0 || args->sequence < 0 || args->pitch < 1 ||
      args->position_bytes < 1)
    return CUMO_KERNELS_BAD_SHAPE;
  if (!sizes_fit(*args)) return CUMO_KERNELS_TOO_LARGE;
  if (args->batch == 0 || args->heads == 0 || args->sequence == 0) return CUMO_KERNELS_OK;
  if (!args->rows || !args->indices || !args->cache) return CUMO_KERNELS_NULL_POINTER;
  if (reinterpret_cast<uintptr_t>(args->indices) % sizeof(int64_t) != 0)
    return CUMO_KERNELS_MISALIGNED;
  if (in_units(*args, sizeof(uint4))) return status_of(launch_units<uint4>(*args, stream));
  if (in_units(*args, sizeof(uint32_t))) return status_of(launch_units<uint32_t>(*args, stream));
  return status_of(launch_units<uint8_t>(*args, stream));
}

}  // namespace cumo
