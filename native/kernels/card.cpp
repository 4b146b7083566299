#include "card.h"

#include <cuda_runtime_api.h>

namespace cumo::test {
namespace {

// Multiply-adds of f16 with f32 sums that a multiprocessor does in a clock. Where GeForce cards
// have half of their workstation sisters', this is the workstation's (8.6, 8.9, 12.0):
// --tensor-tflops gives another bound.
struct Rate {
  int architecture;
  int products;
};
constexpr Rate kRates[] = {{80, 1024}, {86, 512},   {87, 1024},  {89, 512},
                           {90, 2048}, {100, 4096}, {110, 4096}, {120, 512}};

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  return cudaDeviceGetAttribute(&value, which, device) == cudaSuccess ? value : 0;
}

}  // namespace

bool current_card(Card& card, std::string& why) {
  int count = 0, device = 0;
  cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    why = error != cudaSuccess ? cudaGetErrorString(error) : "the driver knows no device";
    return false;
  }
  cudaGetDevice(&device);
  cudaDeviceProp properties{};
  error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) {
    why = cudaGetErrorString(error);
    return false;
  }
  card.name = properties.name;
  card.architecture = 10 * properties.major + properties.minor;
  card.multiprocessors = properties.multiProcessorCount;
  int products = 0;
  for (const Rate& rate : kRates)
    if (rate.architecture <= card.architecture) products = rate.products;
  double clock = 1e3 * attribute(cudaDevAttrClockRate, device);
  card.tensor_tflops = 2e-12 * products * card.multiprocessors * clock;
  double memory_clock = 1e3 * attribute(cudaDevAttrMemoryClockRate, device);
  double bus_bytes = attribute(cudaDevAttrGlobalMemoryBusWidth, device) / 8.0;
  card.gbytes_a_second = 2e-9 * memory_clock * bus_bytes;
  return true;
}

}  // namespace cumo::test
