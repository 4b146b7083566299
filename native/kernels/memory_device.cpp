// The suite's device memory on a GPU.
#include <cuda_runtime_api.h>

#include <cstdio>
#include <new>
#include <utility>

#include "suite/memory.h"

namespace cumo::test {
namespace {
constexpr size_t kGuard = 4096;

bool worked(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return true;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  return false;
}

void* allocate(size_t bytes) {
  void* memory = nullptr;
  if (!worked(cudaMalloc(&memory, bytes), "cudaMalloc")) throw std::bad_alloc();
  return memory;
}
}  // namespace

Buffer::Buffer(size_t bytes)
    : base_(static_cast<unsigned char*>(allocate(bytes + 2 * kGuard))),
      data_(base_ + kGuard),
      bytes_(bytes) {
  worked(cudaMemset(base_, 0xff, bytes + 2 * kGuard), "cudaMemset");
}

Buffer::Buffer(Buffer&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Buffer::~Buffer() { cudaFree(base_); }

void Buffer::write(const void* from) {
  if (bytes_) worked(cudaMemcpy(data_, from, bytes_, cudaMemcpyHostToDevice), "cudaMemcpy");
}

void Buffer::read_bytes(void* to) const {
  if (bytes_) worked(cudaMemcpy(to, data_, bytes_, cudaMemcpyDeviceToHost), "cudaMemcpy");
}

void Buffer::clear() { worked(cudaMemset(data_, 0xff, bytes_), "cudaMemset"); }

bool Buffer::guards_intact() const {
  unsigned char guards[2 * kGuard];
  if (!worked(cudaMemcpy(guards, base_, kGuard, cudaMemcpyDeviceToHost), "cudaMemcpy") ||
      !worked(cudaMemcpy(guards + kGuard, data_ + bytes_, kGuard, cudaMemcpyDeviceToHost),
              "cudaMemcpy"))
    return false;
  for (unsigned char byte : guards)
    if (byte != 0xff) return false;
  return true;
}

bool finish_device() { return worked(cudaDeviceSynchronize(), "the kernels"); }

}  // namespace cumo::test
