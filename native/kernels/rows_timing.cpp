#include "rows_timing.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <new>
#include <vector>

#include "cumo_kernels.h"
#include "cumo_rows.h"
#include "suite/memory.h"

namespace cumo::test {
namespace {

constexpr int kWarmups = 5;
constexpr int kRuns = 30;

// A model's caches, and what a pass puts into them.
struct Size {
  const char* name;
  int32_t slots, heads, sequence, pitch, position_bytes;
};
// CuMo-Mistral-7B: 32 layers' keys and values, 8 heads of 128 channels in f16.
constexpr Size kSizes[] = {
    {"mistral, 1 token", 64, 8, 1, 4096, 256},
    {"mistral, 1024 tokens", 64, 8, 1024, 4096, 256},
};

// Milliseconds of what `work` puts on a stream, recorded once as a graph; negative where it failed.
double graph_milliseconds(const std::function<bool(cudaStream_t)>& work) {
  cudaStream_t stream = nullptr;
  cudaEvent_t start = nullptr, stop = nullptr;
  cudaGraph_t recorded = nullptr;
  cudaGraphExec_t graph = nullptr;
  bool fine = cudaStreamCreate(&stream) == cudaSuccess && cudaEventCreate(&start) == cudaSuccess &&
              cudaEventCreate(&stop) == cudaSuccess;
  // Once before it is recorded: CUDA loads kernels at their first use.
  fine = fine && work(stream) && cudaStreamSynchronize(stream) == cudaSuccess;
  if (fine && cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess) {
    fine = work(stream);
    fine &= cudaStreamEndCapture(stream, &recorded) == cudaSuccess;
    fine = fine && cudaGraphInstantiateWithFlags(&graph, recorded, 0) == cudaSuccess;
  } else {
    fine = false;
  }
  std::vector<float> times;
  for (int run = 0; fine && run < kWarmups + kRuns; ++run) {
    float took = -1;
    fine = cudaEventRecord(start, stream) == cudaSuccess &&
           cudaGraphLaunch(graph, stream) == cudaSuccess &&
           cudaEventRecord(stop, stream) == cudaSuccess &&
           cudaEventSynchronize(stop) == cudaSuccess &&
           cudaEventElapsedTime(&took, start, stop) == cudaSuccess;
    if (run >= kWarmups) times.push_back(took);
  }
  if (graph) cudaGraphExecDestroy(graph);
  if (recorded) cudaGraphDestroy(recorded);
  cudaEventDestroy(stop);
  cudaEventDestroy(start);
  cudaStreamDestroy(stream);
  if (!fine) return -1;
  std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  return double(times[kRuns / 2]);
}

bool time_size(const Size& size) {
  auto bytes = size_t(size.position_bytes), heads = size_t(size.heads);
  size_t run = size_t(size.sequence) * bytes, pitch = size_t(size.pitch) * bytes;
  Buffer rows(heads * run), indices(std::vector<int64_t>{size.pitch / 2});
  std::vector<Buffer> caches;
  for (int32_t slot = 0; slot < size.slots; ++slot) caches.emplace_back(heads * pitch);
  double kernel = graph_milliseconds([&](cudaStream_t stream) {
    for (const Buffer& cache : caches) {
      cumo_write_rows_args args{1,
                                size.heads,
                                size.sequence,
                                size.pitch,
                                size.position_bytes,
                                rows.data(),
                                indices.as<int64_t>(),
                                cache.data()};
      if (cumo_write_rows(&args, stream) != CUMO_KERNELS_OK) return false;
    }
    return true;
  });
  double copies = graph_milliseconds([&](cudaStream_t stream) {
    for (const Buffer& cache : caches)
      if (cudaMemcpy2DAsync(cache.as<char>() + pitch / 2, pitch, rows.data(), run, run, heads,
                            cudaMemcpyDeviceToDevice, stream) != cudaSuccess)
        return false;
    return true;
  });
  if (kernel < 0 || copies < 0) {
    std::printf("rows into caches: %s: failed\n", size.name);
    return false;
  }
  double gbytes = 2e-6 * double(run) * double(heads) * size.slots / kernel;
  std::printf("rows into caches: %s: %d as one graph %.4f ms, %.1f GB/s; copies %.4f ms\n",
              size.name, int(size.slots), kernel, gbytes, copies);
  return true;
}

}  // namespace

bool time_rows() {
  bool fine = true;
  for (const Size& size : kSizes) {
    try {
      fine &= time_size(size);
    } catch (const std::bad_alloc&) {
      std::printf("rows into caches: %s: skipped: not enough device memory\n", size.name);
    }
  }
  return fine;
}

}  // namespace cumo::test
