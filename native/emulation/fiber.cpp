#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>

#include "emulation.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define CUMO_ASAN 1
#else
#define CUMO_ASAN 0
#endif

// Saves the registers that a call keeps on the stack, stores the stack pointer at *save, and goes
// on from `load`, a pointer that was stored so (or that `prepare` made up).
extern "C" void cumo_fiber_switch(void** save, void* load);

#if defined(__x86_64__)
asm(R"(
.text
.type cumo_fiber_switch,@function
cumo_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cumo_fiber_switch,.-cumo_fiber_switch
)");
#elif defined(__aarch64__)
asm(R"(
.text
.type cumo_fiber_switch,%function
cumo_fiber_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size cumo_fiber_switch,.-cumo_fiber_switch
)");
#else
#error "the emulation knows the stacks of x86-64 and aarch64"
#endif

namespace cumo::emulation {
namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kGuardBytes = 64 << 10;  // a page, of whatever size it is

void* scheduler_pointer;
#if CUMO_ASAN
const void* scheduler_stack;
size_t scheduler_bytes;
void* scheduler_fake;
#endif

}  // namespace

Fiber::~Fiber() {
  if (stack_) munmap(stack_ - kGuardBytes, kStackBytes + kGuardBytes);
}

void Fiber::prepare(void (*entry)()) {
  if (!stack_) {
    void* mapped = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) fail("no memory for the stack of a thread");
    if (mprotect(mapped, kGuardBytes, PROT_NONE) != 0) fail("no guard below a stack");
    stack_ = static_cast<char*>(mapped) + kGuardBytes;
  }
#if CUMO_ASAN
  ASAN_UNPOISON_MEMORY_REGION(stack_, kStackBytes);
#endif
  auto* top = reinterpret_cast<uint64_t*>(stack_ + kStackBytes);
#if defined(__x86_64__)
  *--top = 0;  // so that the stack is at 8 modulo 16 when `entry` starts, as after a call
  *--top = reinterpret_cast<uint64_t>(entry);
  for (int i = 0; i < 6; ++i) *--top = 0;
#else
  top -= 20;
  std::memset(top, 0, 160);
  top[11] = reinterpret_cast<uint64_t>(entry);  // x30, the return address
#endif
  pointer_ = top;
}

void Fiber::resume() {
#if CUMO_ASAN
  __sanitizer_start_switch_fiber(&scheduler_fake, stack_, kStackBytes);
#endif
  cumo_fiber_switch(&scheduler_pointer, pointer_);
#if CUMO_ASAN
  __sanitizer_finish_switch_fiber(scheduler_fake, nullptr, nullptr);
#endif
}

void Fiber::yield(bool dying) {
#if CUMO_ASAN
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(dying ? nullptr : &fake, scheduler_stack, scheduler_bytes);
#else
  (void)dying;
#endif
  cumo_fiber_switch(&pointer_, scheduler_pointer);
#if CUMO_ASAN
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fiber::entered() {
#if CUMO_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_bytes);
#endif
}

}  // namespace cumo::emulation
