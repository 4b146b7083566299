// f16 and bf16 to f32 and back, singly, in pairs and 8 at a time.
#pragma once

#include <cstring>
#include <type_traits>

#include "platform.cuh"

namespace cumo {

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T>
__device__ inline T from_float(float value) {
  if constexpr (std::is_same_v<T, __half>) {
    return __float2half_rn(value);
  } else {
    return __float2bfloat16_rn(value);
  }
}

// Two values in 32 bits, the first in the lower half.
template <class T>
__device__ inline uint32_t pack(float low, float high) {
  uint32_t bits;
  if constexpr (std::is_same_v<T, __half>) {
    __half2 pair = __floats2half2_rn(low, high);
    memcpy(&bits, &pair, sizeof(bits));
  } else {
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    memcpy(&bits, &pair, sizeof(bits));
  }
  return bits;
}

template <class T>
__device__ inline void unpack(uint32_t bits, float& low, float& high) {
  if constexpr (std::is_same_v<T, __half>) {
    __half2 pair;
    memcpy(static_cast<void*>(&pair), &bits, sizeof(bits));
    low = __low2float(pair);
    high = __high2float(pair);
  } else {
    __nv_bfloat162 pair;
    memcpy(static_cast<void*>(&pair), &bits, sizeof(bits));
    low = __low2float(pair);
    high = __high2float(pair);
  }
}

// 8 values, moved as 16 bytes.
constexpr int kVector = 8;

template <class T>
__device__ inline void unpack(const uint4& bits, float (&values)[kVector]) {
  unpack<T>(bits.x, values[0], values[1]);
  unpack<T>(bits.y, values[2], values[3]);
  unpack<T>(bits.z, values[4], values[5]);
  unpack<T>(bits.w, values[6], values[7]);
}

template <class T>
__device__ inline uint4 pack(const float (&values)[kVector]) {
  return make_uint4(pack<T>(values[0], values[1]), pack<T>(values[2], values[3]),
                    pack<T>(values[4], values[5]), pack<T>(values[6], values[7]));
}

__host__ __device__ constexpr int divide_up(int a, int b) { return a / b + (a % b != 0); }

}  // namespace cumo
