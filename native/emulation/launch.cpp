#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <unistd.h>

#include "block.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

thread_local uint3 blockIdx;
thread_local dim3 blockDim;
thread_local dim3 gridDim;

namespace cumo::emulation {
namespace {

constexpr size_t kMaxSharedBytes = 227 << 10;
constexpr size_t kFenceBytes = 4096;  // behind shared memory: stays 0xff
constexpr unsigned char kPoison = 0xff;

Schedule current_schedule = Schedule::in_step;
unsigned current_seed = 0;
int current_architecture = 0;  // 0: not set
const char* current_kernel = "";
unsigned long long launches = 0, blocks = 0;
std::mutex one_at_a_time;

alignas(128) unsigned char shared[kMaxSharedBytes + kFenceBytes];
size_t shared_bytes_in_use = 0;

void poison_shared(size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(shared, sizeof(shared));
#endif
  std::memset(shared, kPoison, bytes + kFenceBytes);
  shared_bytes_in_use = bytes;
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(shared + bytes, sizeof(shared) - bytes);
#endif
}

void check_fence() {
#if !defined(__SANITIZE_ADDRESS__)
  for (size_t i = 0; i < kFenceBytes; ++i)
    if (shared[shared_bytes_in_use + i] != kPoison)
      fail("shared memory written %zu bytes past its %zu", i, shared_bytes_in_use);
#endif
}

}  // namespace

void set_schedule(Schedule schedule, unsigned seed) {
  current_schedule = schedule;
  current_seed = seed;
}

void set_architecture(int architecture) { current_architecture = architecture; }

int architecture() {
  if (current_architecture != 0) return current_architecture;
  const char* given = std::getenv("CUMO_EMULATED_ARCHITECTURE");
  return given != nullptr ? std::atoi(given) : 80;
}

Statistics statistics() { return {launches, blocks, running_block().switches()}; }

void fail(const char* format, ...) {
  std::fflush(stdout);
  std::fprintf(stderr, "emulation: %s, block (%u, %u, %u): ", current_kernel, blockIdx.x,
               blockIdx.y, blockIdx.z);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
  std::fflush(stderr);
  _exit(kFaultExit);
}

void* shared_memory() { return shared; }

void check_shared(const void* address, size_t bytes, const char* what) {
  auto at = reinterpret_cast<uintptr_t>(address), begin = reinterpret_cast<uintptr_t>(shared);
  if (at < begin || at + bytes > begin + shared_bytes_in_use)
    fail("%s at %td of %zu bytes of shared memory", what, ptrdiff_t(at - begin),
         shared_bytes_in_use);
  if (at % bytes != 0) fail("%s not aligned to %zu bytes", what, bytes);
}

void launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body,
            const char* kernel) {
  std::lock_guard<std::mutex> hold(one_at_a_time);
  current_kernel = kernel;
  blockDim = block;
  gridDim = grid;
  blockIdx = {0, 0, 0};
  size_t threads = size_t(block.x) * block.y * block.z;
  if (threads == 0 || threads > 1024) fail("launch of %zu threads a block", threads);
  if (shared_bytes > kMaxSharedBytes) fail("launch with %zu bytes of shared memory", shared_bytes);
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
    fail("launch of %u x %u x %u blocks", grid.x, grid.y, grid.z);
  ++launches;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        poison_shared(shared_bytes);
        running_block().run(block, body, current_schedule, current_seed + unsigned(blocks));
        check_fence();
        ++blocks;
      }
}

}  // namespace cumo::emulation
