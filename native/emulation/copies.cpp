// cp.async: what is copied appears when its thread waits for it, and not before.
#include <cstring>

#include "block.h"

namespace cumo::emulation {

namespace {
constexpr unsigned kCopyBytes = 16;
}

void start_copy(void* shared, const void* global, unsigned valid) {
  check_shared(shared, kCopyBytes, "cp.async");
  if (valid != 0 && reinterpret_cast<uintptr_t>(global) % kCopyBytes != 0)
    fail("cp.async from an address that is not a multiple of 16");
  std::memset(shared, 0xff, kCopyBytes);
  running_block().current().open.push_back({shared, global, valid});
}

void commit_copies() {
  Thread& self = running_block().current();
  self.groups.push_back(std::move(self.open));
  self.open.clear();
}

void wait_copies(unsigned groups_left) {
  Thread& self = running_block().current();
  while (self.groups.size() > groups_left) {
    for (const Copy& copy : self.groups.front()) {
      std::memset(copy.shared, 0, kCopyBytes);
      if (copy.valid != 0) std::memcpy(copy.shared, copy.global, copy.valid);
    }
    self.groups.pop_front();
  }
}

}  // namespace cumo::emulation
