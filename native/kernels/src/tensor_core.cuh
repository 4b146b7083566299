// Warp-wide instructions: PTX on a GPU, plain C++ in the emulation. Which lane holds which element:
// PTX ISA, "mma.m16n8k16" (.f16 and .bf16) and "ldmatrix".
#pragma once

#include <cstring>
#include <type_traits>

#include "numbers.cuh"

namespace cumo {

constexpr unsigned kFullWarp = 0xffffffffu;

// d [16, 8] f32 += a [16, 16] * b [16, 8]; a and b are T.
// Lane l, with g = l / 4 and t = l % 4, holds of d: rows g and g + 8, columns 2t and 2t + 1.
template <class T>
__device__ inline void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t* b) {
#if defined(CUMO_EMULATION)
  // a0 a1: row g, depth 2t and 2t + 1; a2 a3: row g + 8; a4 to a7: the same, 8 deeper.
  // b0 b1: column g, depth 2t and 2t + 1; b2 b3: 8 deeper.
  struct Fragments {
    float a[8], b[4];
  } mine;
  for (int i = 0; i < 4; ++i) unpack<T>(a[i], mine.a[2 * i], mine.a[2 * i + 1]);
  for (int i = 0; i < 2; ++i) unpack<T>(b[i], mine.b[2 * i], mine.b[2 * i + 1]);
  emulation::Exchange<Fragments> exchange(kFullWarp, mine, __LINE__);
  unsigned lane = emulation::lane(), g = lane / 4, t = lane % 4;
  for (unsigned column = 0; column < 2; ++column) {
    float low = 0, high = 0;
    for (unsigned i = 0; i < 4; ++i) {
      const Fragments& row = exchange.at(4 * g + i);
      const Fragments& col = exchange.at(4 * (2 * t + column) + i);
      low += row.a[0] * col.b[0] + row.a[1] * col.b[1] + row.a[4] * col.b[2] + row.a[5] * col.b[3];
      high += row.a[2] * col.b[0] + row.a[3] * col.b[1] + row.a[6] * col.b[2] + row.a[7] * col.b[3];
    }
    d[column] += low;
    d[2 + column] += high;
  }
#else
  if constexpr (std::is_same_v<T, __half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
#endif
}

// Four 8 x 8 matrices of 16-bit elements from shared memory; lane l gives the address of row l % 8
// of matrix l / 8, 16-byte aligned, and gets of each matrix the two elements of its fragment: of
// row l / 4, or with `kTransposed` of column l / 4.
template <bool kTransposed>
__device__ inline void load_matrices(uint32_t (&fragments)[4], const void* row) {
#if defined(CUMO_EMULATION)
  emulation::check_shared(row, 16, "ldmatrix");
  struct Row {
    uint16_t elements[8];
  } mine;
  std::memcpy(&mine, row, sizeof(mine));
  emulation::Exchange<Row> exchange(kFullWarp, mine, __LINE__);
  unsigned lane = emulation::lane(), g = lane / 4, t = lane % 4;
  for (unsigned m = 0; m < 4; ++m) {
    uint16_t pair[2];
    for (unsigned j = 0; j < 2; ++j) {
      unsigned r = kTransposed ? 2 * t + j : g, c = kTransposed ? g : 2 * t + j;
      pair[j] = exchange.at(8 * m + r).elements[c];
    }
    std::memcpy(&fragments[m], pair, sizeof(pair));
  }
#else
  uint32_t address = uint32_t(__cvta_generic_to_shared(row));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3])
                 : "r"(address)
                 : "memory");
  }
#endif
}

// Starts a copy of 16 bytes into shared memory; not `valid`: of zeros, and `global` is not read.
__device__ inline void copy_async(void* shared, const void* global, bool valid) {
#if defined(CUMO_EMULATION)
  emulation::start_copy(shared, global, valid ? 16 : 0);
#else
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(
                   uint32_t(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(valid ? 16 : 0)
               : "memory");
#endif
}

// Closes the group of copies started since the last call.
__device__ inline void copy_commit() {
#if defined(CUMO_EMULATION)
  emulation::commit_copies();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most kLeft of this thread's groups are on their way.
template <int kLeft>
__device__ inline void copy_wait() {
#if defined(CUMO_EMULATION)
  emulation::wait_copies(kLeft);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#endif
}

}  // namespace cumo
