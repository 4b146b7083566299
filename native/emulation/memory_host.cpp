// The suite's device memory under the emulation.
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "suite/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define CUMO_POISON(at, bytes) ASAN_POISON_MEMORY_REGION(at, bytes)
#define CUMO_UNPOISON(at, bytes) ASAN_UNPOISON_MEMORY_REGION(at, bytes)
#else
#define CUMO_POISON(at, bytes) ((void)0)
#define CUMO_UNPOISON(at, bytes) ((void)0)
#endif

namespace cumo::test {
namespace {
constexpr size_t kGuard = 4096;
}

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  size_t all = (bytes + 2 * kGuard + 255) / 256 * 256;
  base_ = static_cast<unsigned char*>(std::aligned_alloc(256, all));
  if (!base_) throw std::bad_alloc();
  data_ = base_ + kGuard;
  std::memset(base_, 0xff, bytes + 2 * kGuard);
  CUMO_POISON(base_, kGuard);
  CUMO_POISON(data_ + bytes_, kGuard);
}

Buffer::Buffer(Buffer&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Buffer::~Buffer() {
  if (!base_) return;
  CUMO_UNPOISON(base_, bytes_ + 2 * kGuard);
  std::free(base_);
}

void Buffer::write(const void* from) {
  if (bytes_) std::memcpy(data_, from, bytes_);
}

void Buffer::read_bytes(void* to) const {
  if (bytes_) std::memcpy(to, data_, bytes_);
}

void Buffer::clear() { std::memset(data_, 0xff, bytes_); }

bool Buffer::guards_intact() const {
#if !defined(__SANITIZE_ADDRESS__)
  for (size_t i = 0; i < kGuard; ++i)
    if (base_[i] != 0xff || data_[bytes_ + i] != 0xff) return false;
#endif
  return true;
}

bool finish_device() { return true; }

}  // namespace cumo::test
