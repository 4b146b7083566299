// A stack of its own that the scheduler can jump to and back from.
#pragma once

#include <cstddef>

namespace cumo::emulation {

class Fiber {
 public:
  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  // Makes the next `resume` start `entry`, which must never return: its last act is `yield(true)`.
  void prepare(void (*entry)());
  // Scheduler's side: runs the fiber until it yields.
  void resume();
  // Fiber's side: back to the scheduler. `dying`: it will not be resumed before a `prepare`.
  void yield(bool dying);
  // Fiber's side, first thing in `entry`.
  static void entered();

 private:
  char* stack_ = nullptr;
  void* pointer_ = nullptr;
};

}  // namespace cumo::emulation
