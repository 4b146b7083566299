// The threads of one block, and whose turn it is.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "emulation.h"
#include "fiber.h"

namespace cumo::emulation {

enum class State : uint8_t { ready, at_block_barrier, at_warp_barrier, done };

struct Copy {
  void* shared;
  const void* global;
  unsigned valid;
};

struct Thread {
  Fiber fiber;
  uint3 index{};
  unsigned linear = 0;
  unsigned mask = 0;  // partners at the warp barrier it waits at
  unsigned parity = 0;
  int site = 0;
  State state = State::done;
  std::vector<Copy> open;                // started, in no group yet
  std::deque<std::vector<Copy>> groups;  // committed, oldest first
};

class Block {
 public:
  // Runs `body` once in each of the threads of `shape`.
  void run(dim3 shape, const std::function<void()>& body, Schedule schedule, unsigned seed);

  Thread& current() { return *current_; }
  void* slot(unsigned warp, unsigned lane, unsigned parity);
  unsigned long long switches() const { return switches_; }

 private:
  static void entry();
  void resume(Thread& thread);
  bool run_warps(Schedule schedule, const std::vector<unsigned>& warps,
                 const std::vector<unsigned>& lanes);
  bool release_warp(unsigned warp);
  bool release_block();
  [[noreturn]] void report_deadlock() const;

  struct alignas(64) Slots {
    unsigned char bytes[2][32][kSlotBytes];
  };
  unsigned count_ = 0;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Slots> slots_;
  Thread* current_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  unsigned long long switches_ = 0;
};

// The one block that runs.
Block& running_block();

}  // namespace cumo::emulation
