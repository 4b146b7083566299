// The names of CUDA C++ that our kernels use, for a host compiler.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>

#include "emulation.h"

// Kernels keep everything in dynamic shared memory: that is poisoned and has its end checked.
#undef __shared__
#define __shared__ static_assert(false, "use dynamic shared memory");
#undef __launch_bounds__
#define __launch_bounds__(...)

extern thread_local uint3 threadIdx;
extern thread_local uint3 blockIdx;
extern thread_local dim3 blockDim;
extern thread_local dim3 gridDim;

#define CUMO_SITE int site = __builtin_LINE()

inline void __syncthreads(CUMO_SITE) { cumo::emulation::block_barrier(site); }
inline void __syncwarp(unsigned mask = ~0u, CUMO_SITE) {
  cumo::emulation::warp_barrier(mask, site);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUMO_SITE) {
  unsigned lane = cumo::emulation::lane(), in = width - 1u;
  return cumo::emulation::Exchange<T>(mask, value, site).of((lane & ~in) + (source & in));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, CUMO_SITE) {
  unsigned lane = cumo::emulation::lane(), from = lane ^ unsigned(bits);
  cumo::emulation::Exchange<T> exchange(mask, value, site);
  return exchange.of(from < (lane & ~(width - 1u)) + width ? from : lane);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, CUMO_SITE) {
  unsigned lane = cumo::emulation::lane();
  cumo::emulation::Exchange<T> exchange(mask, value, site);
  return exchange.of((lane & (width - 1u)) >= by ? lane - by : lane);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CUMO_SITE) {
  cumo::emulation::Exchange<int> exchange(mask, predicate != 0, site);
  unsigned bits = 0;
  for (unsigned l = 0; l < 32; ++l)
    if ((mask >> l & 1) && exchange.of(l)) bits |= 1u << l;
  return bits;
}
inline unsigned __match_any_sync(unsigned mask, int value, CUMO_SITE) {
  cumo::emulation::Exchange<int> exchange(mask, value, site);
  unsigned bits = 0;
  for (unsigned l = 0; l < 32; ++l)
    if ((mask >> l & 1) && exchange.of(l) == value) bits |= 1u << l;
  return bits;
}
#undef CUMO_SITE

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int atomicAdd(int* address, int value) {
  int before = *address;
  *address = before + value;
  return before;
}
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
