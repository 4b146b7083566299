// The emulation itself: what it computes for warp-wide instructions, and that it finds what kernels
// must not do.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <random>

#include "cuda_on_cpu.h"
#include "tensor_core.cuh"

namespace {

using namespace cumo;

int failures = 0;

void expect(bool holds, const char* what) {
  std::printf("%s: %s\n", holds ? "right" : "WRONG", what);
  failures += !holds;
}

// Runs the kernel as 64 threads with 1 KB of shared memory; its process's exit status.
int exit_status(const std::function<void()>& kernel) {
  std::fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    freopen("/dev/null", "w", stderr);
    emulation::launch(dim3(1), dim3(64), 1024, kernel, "test");
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void expect_found(const char* what, const std::function<void()>& kernel) {
  expect(exit_status(kernel) == emulation::kFaultExit, what);
}

unsigned char* shared() { return static_cast<unsigned char*>(emulation::shared_memory()); }

alignas(16) unsigned char global_bytes[64];

void faults_are_found() {
  expect(exit_status([] { __syncthreads(); }) == 0, "a kernel without fault ends well");
  expect_found("threads at different __syncthreads", [] {
    if (threadIdx.x < 32)
      __syncthreads();
    else
      __syncthreads();
  });
  expect_found("a __syncthreads that half of the threads pass by", [] {
    if (threadIdx.x < 32) __syncthreads();
  });
  expect_found("a shuffle that a lane never comes to", [] {
    if (threadIdx.x != 5)
      __shfl_xor_sync(kFullWarp, 1, 1);
    else
      __syncthreads();
  });
  expect_found("a lane outside of its own mask", [] { __syncwarp(1u); });
  expect_found("a misaligned cp.async", [] { copy_async(shared() + 8, global_bytes, true); });
  expect_found("cp.async behind the end of shared memory",
               [] { copy_async(shared() + 1024, global_bytes, true); });
  expect_found("copies never waited for", [] {
    copy_async(shared() + 16 * threadIdx.x, global_bytes, true);
    copy_commit();
  });
#if !defined(__SANITIZE_ADDRESS__)
  expect_found("a write behind the end of shared memory", [] { shared()[1024] = 0; });
#endif
}

void copies_appear_at_the_wait() {
  int status = exit_status([] {
    unsigned char* mine = shared() + 16 * threadIdx.x;
    if (mine[0] != 0xff) emulation::fail("shared memory is not poisoned");
    copy_async(mine, global_bytes, true);
    copy_commit();
    if (mine[0] != 0xff) emulation::fail("a copy was there before its wait");
    copy_wait<0>();
    if (mine[0] != 0) emulation::fail("a copy was not there after its wait");
  });
  expect(status == 0, "a copy appears at its wait");
}

// As the PTX manual places them: a (16 x 16), b (16 x 8) and d (16 x 8) in the lanes' registers.
int row_of_a(int lane, int i) { return lane / 4 + (i == 2 || i == 3 || i >= 6 ? 8 : 0); }
int depth_of_a(int lane, int i) { return lane % 4 * 2 + i % 2 + (i >= 4 ? 8 : 0); }
int depth_of_b(int lane, int i) { return lane % 4 * 2 + i % 2 + (i >= 2 ? 8 : 0); }
int column_of_b(int lane) { return lane / 4; }
int row_of_d(int lane, int i) { return lane / 4 + (i >= 2 ? 8 : 0); }
int column_of_d(int lane, int i) { return lane % 4 * 2 + i % 2; }

template <class T>
void mma_multiplies() {
  float a[16][16], b[16][8], want[16][8] = {}, got[16][8] = {};
  std::mt19937 random(1);
  for (auto& row : a)
    for (float& v : row) v = float(int(random() % 17) - 8);
  for (auto& row : b)
    for (float& v : row) v = float(int(random() % 17) - 8);
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < 8; ++c)
      for (int k = 0; k < 16; ++k) want[r][c] += a[r][k] * b[k][c];
  emulation::launch(
      dim3(1), dim3(32), 0,
      [&] {
        int lane = int(threadIdx.x);
        uint32_t fa[4], fb[2];
        float d[4] = {};
        for (int i = 0; i < 4; ++i)
          fa[i] = pack<T>(a[row_of_a(lane, 2 * i)][depth_of_a(lane, 2 * i)],
                          a[row_of_a(lane, 2 * i + 1)][depth_of_a(lane, 2 * i + 1)]);
        for (int i = 0; i < 2; ++i)
          fb[i] = pack<T>(b[depth_of_b(lane, 2 * i)][column_of_b(lane)],
                          b[depth_of_b(lane, 2 * i + 1)][column_of_b(lane)]);
        multiply_add<T>(d, fa, fb);
        for (int i = 0; i < 4; ++i) got[row_of_d(lane, i)][column_of_d(lane, i)] = d[i];
      },
      "mma");
  expect(std::memcmp(got, want, sizeof(got)) == 0, "mma.m16n8k16 against plain loops");
}

// Matrix m, row r, column c holds 64 m + 8 r + c.
template <bool kTransposed>
void ldmatrix_loads() {
  bool right = true;
  emulation::launch(
      dim3(1), dim3(32), 512,
      [&] {
        auto* values = reinterpret_cast<uint16_t*>(shared());
        unsigned lane = threadIdx.x;
        for (unsigned i = lane; i < 256; i += 32) values[i] = uint16_t(i);
        __syncthreads();
        uint32_t fragments[4];
        load_matrices<kTransposed>(fragments, values + 8 * lane);
        for (unsigned m = 0; m < 4; ++m)
          for (unsigned j = 0; j < 2; ++j) {
            unsigned along = lane % 4 * 2 + j, across = lane / 4;
            unsigned r = kTransposed ? along : across, c = kTransposed ? across : along;
            right &= (fragments[m] >> 16 * j & 0xffff) == 64 * m + 8 * r + c;
          }
      },
      "ldmatrix");
  expect(right, kTransposed ? "ldmatrix.trans" : "ldmatrix");
}

}  // namespace

int main() {
  mma_multiplies<__half>();
  mma_multiplies<__nv_bfloat16>();
  ldmatrix_loads<false>();
  ldmatrix_loads<true>();
  copies_appear_at_the_wait();
  faults_are_found();
  std::printf("%d failed\n", failures);
  return failures != 0;
}
