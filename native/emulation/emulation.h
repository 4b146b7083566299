// Runs a CUDA kernel's own source on the CPU, for tests.
//
// A thread of a block is a fiber (its own stack, one OS thread for all); blocks run one after
// another. A fiber runs until it meets a barrier of its block or its warp. Which fiber runs next is
// the schedule's choice: a kernel that lacks a barrier gives the right result in some schedules and
// a wrong one in others, so tests run several.
//
// Shared memory starts as 0xff bytes (NaN in f16, bf16 and f32, -1 in i32). What cp.async copies
// appears at the wait of the thread that asked for it, until then the destination is 0xff too.
//
// Found: divergent or missing partners at a barrier, deadlock, shared memory written past its end,
// misaligned ldmatrix and cp.async, copies never waited for; with AddressSanitizer also any access
// outside of a tensor. Not modelled: rounding inside the tensor core, memory order between blocks,
// bank conflicts, registers, time.
#pragma once

#include <cuda_runtime_api.h>  // dim3, uint3 only: nothing of the CUDA runtime is linked

#include <cstddef>
#include <cstring>
#include <functional>
#include <type_traits>

namespace cumo::emulation {

// Whose turn it is.
enum class Schedule {
  in_step,    // all warps advance together, from barrier to barrier
  run_ahead,  // one warp goes as far as it can before the next one starts
  reversed,   // the same, from the last warp and lane to the first
  shuffled,   // the same, in an order drawn anew each round from the seed
};

// The schedule of all later launches; the first is `in_step`. `seed` counts in `shuffled` only.
void set_schedule(Schedule schedule, unsigned seed = 0);

// Compute capability that the emulated device claims, 10 * major + minor; until it is set, what the
// environment says in CUMO_EMULATED_ARCHITECTURE, or 80.
void set_architecture(int architecture);
int architecture();
constexpr int kMultiprocessors = 16;

// What ran since the process started.
struct Statistics {
  unsigned long long launches, blocks, switches;
};
Statistics statistics();

// Runs `body` as each thread of each block. Ends the process with `kFaultExit` at a fault.
void launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body,
            const char* kernel);

// Exit status of a process whose kernel did what no kernel may; the reason is on stderr.
constexpr int kFaultExit = 3;
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// The rest is what cuda_on_cpu.h is made of; `site` is the source line, for messages.
unsigned lane();
void block_barrier(int site);
void warp_barrier(unsigned mask, int site);

constexpr size_t kSlotBytes = 128;
void* exchange_slot(unsigned lane, unsigned parity);
unsigned next_parity();

// One exchange of values within a warp: each lane of `mask` gives one and may read all. Two slots a
// lane, taken in turn, so that a lane that is already at the next exchange overwrites nothing.
template <class T>
class Exchange {
 public:
  Exchange(unsigned mask, const T& mine, int site) : parity_(next_parity()) {
    static_assert(sizeof(T) <= kSlotBytes && std::is_trivially_copyable_v<T>);
    std::memcpy(exchange_slot(lane(), parity_), &mine, sizeof(T));
    warp_barrier(mask, site);
  }
  T of(unsigned lane) const {
    T value;
    std::memcpy(&value, exchange_slot(lane, parity_), sizeof(T));
    return value;
  }
  // The same in place, valid until this lane's next-but-one exchange.
  const T& at(unsigned lane) const { return *static_cast<const T*>(exchange_slot(lane, parity_)); }

 private:
  unsigned parity_;
};

// Dynamic shared memory of the running block, aligned to 128 bytes.
void* shared_memory();
// Fails unless [address, address + bytes) is in it and aligned to `bytes`.
void check_shared(const void* address, size_t bytes, const char* what);

// cp.async of 16 bytes, of which `valid` are read and the others zero.
void start_copy(void* shared, const void* global, unsigned valid);
void commit_copies();
void wait_copies(unsigned groups_left);

}  // namespace cumo::emulation
