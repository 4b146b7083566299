// Types and shapes between TensorRT and the C header.
#pragma once

#include "cumo_trt.h"
#include "status.h"

#include <NvInferRuntime.h>

#include <string>

namespace cumo::trt {

static_assert(CUMO_TRT_MAX_RANK == nvinfer1::Dims::MAX_DIMS,
              "the C header's arrays hold every shape");
static_assert(CUMO_TRT_DTYPE_F16 == static_cast<int>(nvinfer1::DataType::kHALF),
              "numbers are TensorRT's");
static_assert(CUMO_TRT_DTYPE_BF16 == static_cast<int>(nvinfer1::DataType::kBF16),
              "numbers are TensorRT's");
static_assert(CUMO_TRT_DTYPE_I64 == static_cast<int>(nvinfer1::DataType::kINT64),
              "numbers are TensorRT's");
static_assert(CUMO_TRT_DTYPE_I4 == static_cast<int>(nvinfer1::DataType::kINT4),
              "numbers are TensorRT's");

inline int32_t dtype_number(nvinfer1::DataType type) noexcept { return static_cast<int32_t>(type); }

inline void set_shape(cumo_trt_tensor& out, const nvinfer1::Dims& dims) noexcept {
  out.rank = dims.nbDims;
  for (int32_t i = 0; i < dims.nbDims; ++i) out.shape[i] = dims.d[i];
}

inline nvinfer1::Dims dims(const int64_t* shape, size_t rank) {
  if (rank > CUMO_TRT_MAX_RANK) {
    throw Fault{CUMO_TRT_CODE_INVALID_ARGUMENT,
                "a shape of " + std::to_string(rank) + " dimensions; at most " +
                    std::to_string(CUMO_TRT_MAX_RANK) + " are possible"};
  }
  if (rank > 0) required(shape, "shape");
  nvinfer1::Dims result{};
  result.nbDims = static_cast<int32_t>(rank);
  for (size_t i = 0; i < rank; ++i) result.d[i] = shape[i];
  return result;
}

/// "[2, -1, 8]".
inline std::string show(const nvinfer1::Dims& dims) {
  std::string text = "[";
  for (int32_t i = 0; i < dims.nbDims; ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(dims.d[i]);
  return text + "]";
}

}  // namespace cumo::trt
