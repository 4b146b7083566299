#include "block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>

thread_local uint3 threadIdx;

namespace cumo::emulation {

Block& running_block() {
  static Block block;
  return block;
}

void* Block::slot(unsigned warp, unsigned lane, unsigned parity) {
  return slots_[warp].bytes[parity][lane & 31];
}

void Block::entry() {
  Fiber::entered();
  Block& block = running_block();
  (*block.body_)();
  Thread& self = block.current();
  if (!self.open.empty() || !self.groups.empty())
    fail("thread %u ended with cp.async copies that it never waited for", self.linear);
  self.state = State::done;
  self.fiber.yield(true);
  std::abort();  // a finished thread is never resumed
}

void Block::resume(Thread& thread) {
  current_ = &thread;
  threadIdx = thread.index;
  ++switches_;
  thread.fiber.resume();
}

void Block::run(dim3 shape, const std::function<void()>& body, Schedule schedule, unsigned seed) {
  count_ = shape.x * shape.y * shape.z;
  body_ = &body;
  while (threads_.size() < count_) threads_.push_back(std::make_unique<Thread>());
  unsigned warp_count = (count_ + 31) / 32;
  slots_.resize(std::max<size_t>(slots_.size(), warp_count));
  for (unsigned i = 0; i < count_; ++i) {
    Thread& thread = *threads_[i];
    thread.linear = i;
    thread.index = {i % shape.x, i / shape.x % shape.y, i / (shape.x * shape.y)};
    thread.parity = 0;
    thread.state = State::ready;
    thread.fiber.prepare(entry);
  }
  std::vector<unsigned> warps(warp_count), lanes(32);
  std::iota(warps.begin(), warps.end(), 0u);
  std::iota(lanes.begin(), lanes.end(), 0u);
  if (schedule == Schedule::reversed) {
    std::reverse(warps.begin(), warps.end());
    std::reverse(lanes.begin(), lanes.end());
  }
  std::mt19937 random(seed);
  do {
    if (schedule == Schedule::shuffled) {
      std::shuffle(warps.begin(), warps.end(), random);
      std::shuffle(lanes.begin(), lanes.end(), random);
    }
    while (run_warps(schedule, warps, lanes)) {
      if (schedule == Schedule::shuffled) std::shuffle(warps.begin(), warps.end(), random);
    }
  } while (release_block());
}

// One round over the warps; false when no thread could run.
bool Block::run_warps(Schedule schedule, const std::vector<unsigned>& warps,
                      const std::vector<unsigned>& lanes) {
  bool ran = false;
  for (unsigned warp : warps) {
    do {
      for (unsigned lane : lanes) {
        unsigned i = warp * 32 + lane;
        if (i >= count_ || threads_[i]->state != State::ready) continue;
        resume(*threads_[i]);
        ran = true;
      }
    } while (release_warp(warp) && schedule != Schedule::in_step);
  }
  return ran;
}

// Frees the lanes whose partners have all arrived at one and the same warp operation.
bool Block::release_warp(unsigned warp) {
  unsigned base = warp * 32, lanes = std::min(32u, count_ - base);
  unsigned waiting = 0, gone = lanes < 32 ? ~0u << lanes : 0u;
  for (unsigned l = 0; l < lanes; ++l) {
    State state = threads_[base + l]->state;
    waiting |= unsigned(state == State::at_warp_barrier) << l;
    gone |= unsigned(state == State::done) << l;
  }
  bool freed = false;
  for (unsigned left = waiting; left;) {
    const Thread& first = *threads_[base + unsigned(__builtin_ctz(left))];
    unsigned mask = first.mask, partners = mask & ~gone;
    int site = first.site;
    bool all = true;
    for (unsigned l = 0; l < lanes; ++l) {
      if (!(partners >> l & 1)) continue;
      const Thread& other = *threads_[base + l];
      bool here = other.state == State::at_warp_barrier && other.mask == mask;
      if (here && other.site != site)
        fail("lanes of warp %u meet at different operations (lines %d and %d)", warp, site,
             other.site);
      all &= here;
    }
    for (unsigned l = 0; all && l < lanes; ++l)
      if (partners >> l & 1) threads_[base + l]->state = State::ready;
    freed |= all;
    left &= left - 1;
    left &= ~partners;
  }
  return freed;
}

// When no thread can run: frees those at __syncthreads. False when all are done.
bool Block::release_block() {
  unsigned done = 0, at_barrier = 0;
  int site = 0;
  for (unsigned i = 0; i < count_; ++i) {
    const Thread& thread = *threads_[i];
    done += thread.state == State::done;
    if (thread.state != State::at_block_barrier) continue;
    if (at_barrier++ && thread.site != site)
      fail("threads of a block meet at different __syncthreads (lines %d and %d)", site,
           thread.site);
    site = thread.site;
  }
  if (done == count_) return false;
  if (at_barrier + done != count_) report_deadlock();
  if (done != 0) fail("%u threads ended, the others wait at __syncthreads (line %d)", done, site);
  for (unsigned i = 0; i < count_; ++i) threads_[i]->state = State::ready;
  return true;
}

void Block::report_deadlock() const {
  unsigned shown = 0;
  for (unsigned i = 0; i < count_ && shown < 8; ++i) {
    const Thread& thread = *threads_[i];
    if (thread.state == State::done) continue;
    ++shown;
    std::fprintf(stderr, "  thread %u waits for its %s, line %d, mask %08x\n", i,
                 thread.state == State::at_block_barrier ? "block" : "warp", thread.site,
                 thread.mask);
  }
  fail("deadlock");
}

unsigned lane() { return running_block().current().linear & 31; }

void* exchange_slot(unsigned lane, unsigned parity) {
  Block& block = running_block();
  return block.slot(block.current().linear / 32, lane, parity);
}

unsigned next_parity() { return running_block().current().parity ^= 1; }

void block_barrier(int site) {
  Thread& self = running_block().current();
  self.site = site;
  self.state = State::at_block_barrier;
  self.fiber.yield(false);
}

void warp_barrier(unsigned mask, int site) {
  Thread& self = running_block().current();
  if (!(mask >> (self.linear & 31) & 1))
    fail("lane %u is not in its own mask %08x (line %d)", self.linear & 31, mask, site);
  self.site = site;
  self.mask = mask;
  self.state = State::at_warp_barrier;
  self.fiber.yield(false);
}

}  // namespace cumo::emulation
