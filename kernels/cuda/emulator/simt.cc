// Fibers: each has a stack; switching saves what the calling convention lets a function keep.
#include "kernels/cuda/emulator/simt.h"

#include <glog/logging.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

namespace quire::kernels::cuda::emulator {

ThreadState state;

namespace {

constexpr int64_t kStackBytes = 64 << 10;
constexpr int kThreadsMax = 1024;
constexpr int64_t kExchangeBytesMax = 16;

#if defined(__x86_64__)
// swapcontext asks the kernel for the signal mask each time, which is fifty times as slow.
extern "C" void QuireSwitchFiber(void** save, void* load);
asm(R"(
.text
.type QuireSwitchFiber, @function
QuireSwitchFiber:
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
.size QuireSwitchFiber, . - QuireSwitchFiber
)");

class Context {
 public:
  void Prepare(char* stack, int64_t bytes, void (*entry)()) {
    auto** top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + bytes) & ~uintptr_t{15});
    *--top = nullptr;  // where entry would return to, and the alignment that a call leaves
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    pointer_ = top;
  }
  void SwitchTo(Context* other) { QuireSwitchFiber(&pointer_, other->pointer_); }

 private:
  void* pointer_ = nullptr;
};
#else
class Context {
 public:
  void Prepare(char* stack, int64_t bytes, void (*entry)()) {
    CHECK_EQ(getcontext(&context_), 0);
    context_.uc_stack.ss_sp = stack;
    context_.uc_stack.ss_size = bytes;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
  }
  void SwitchTo(Context* other) { CHECK_EQ(swapcontext(&context_, &other->context_), 0); }

 private:
  ucontext_t context_;
};
#endif

enum class FiberState : uint8_t { kReady, kAtBlockBarrier, kAtWarpBarrier, kEnded };

struct Fiber {
  Context context;
  std::unique_ptr<char[]> stack;
  FiberState state = FiberState::kReady;
  int exchange = 0;  // which half of the warp's buffer comes next
};

struct Warp {
  int live = 0;
  int waiting = 0;
  alignas(16) char exchange[2][kWarpSize * kExchangeBytesMax];
};

// The block that runs.
struct Block {
  Context scheduler;
  std::vector<Fiber> fibers;  // grow only: stacks are kept
  std::vector<Warp> warps;
  std::vector<char> shared;
  const std::function<void()>* body = nullptr;
  int num_threads = 0;
  int live = 0;
  int waiting = 0;
  int current = 0;
};

Block* TheBlock() {
  static Block* const block = new Block;
  return block;
}

void ReleaseBlock(Block* b) {
  if (b->waiting == 0 || b->waiting < b->live) return;
  for (int i = 0; i < b->num_threads; ++i) {
    if (b->fibers[i].state == FiberState::kAtBlockBarrier) b->fibers[i].state = FiberState::kReady;
  }
  b->waiting = 0;
}

void ReleaseWarp(Block* b, int warp) {
  Warp& w = b->warps[warp];
  if (w.waiting == 0 || w.waiting < w.live) return;
  for (int i = warp * kWarpSize; i < std::min(b->num_threads, (warp + 1) * kWarpSize); ++i) {
    if (b->fibers[i].state == FiberState::kAtWarpBarrier) b->fibers[i].state = FiberState::kReady;
  }
  w.waiting = 0;
}

void Yield(Block* b) { b->fibers[b->current].context.SwitchTo(&b->scheduler); }

void Entry() {
  Block* const b = TheBlock();
  (*b->body)();
  Fiber& fiber = b->fibers[b->current];
  fiber.state = FiberState::kEnded;
  --b->live;
  --b->warps[b->current / kWarpSize].live;
  ReleaseWarp(b, b->current / kWarpSize);
  ReleaseBlock(b);
  fiber.context.SwitchTo(&b->scheduler);
  LOG(FATAL) << "an ended fiber ran";
}

void RunBlock(Block* b) {
  b->live = b->num_threads;
  b->waiting = 0;
  for (int i = 0; i < b->num_threads; ++i) {
    Fiber& fiber = b->fibers[i];
    if (fiber.stack == nullptr) fiber.stack = std::make_unique<char[]>(kStackBytes);
    fiber.context.Prepare(fiber.stack.get(), kStackBytes, Entry);
    fiber.state = FiberState::kReady;
    fiber.exchange = 0;
  }
  const int num_warps = (b->num_threads + kWarpSize - 1) / kWarpSize;
  for (int w = 0; w < num_warps; ++w) {
    b->warps[w].live = std::min(kWarpSize, b->num_threads - w * kWarpSize);
    b->warps[w].waiting = 0;
  }
  for (bool backwards = false; b->live > 0; backwards = !backwards) {
    bool moved = false;
    for (int n = 0; n < b->num_threads; ++n) {
      const int i = backwards ? b->num_threads - 1 - n : n;
      if (b->fibers[i].state != FiberState::kReady) continue;
      moved = true;
      b->current = i;
      state.thread = dim3(i);
      b->scheduler.SwitchTo(&b->fibers[i].context);
    }
    CHECK(moved) << "threads wait for each other for ever: block (" << state.block.x << ", " << state.block.y << ", "
                 << state.block.z << ") of " << b->num_threads << " threads, " << b->live << " live, " << b->waiting
                 << " at the block's barrier";
  }
}

}  // namespace

void Run(dim3 grid, int num_threads, int64_t shared_bytes, const std::function<void()>& body) {
  CHECK(num_threads >= 1 && num_threads <= kThreadsMax) << num_threads;
  CHECK(grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.y <= 65535 && grid.z <= 65535)
      << grid.x << " " << grid.y << " " << grid.z;
  CHECK_LE(shared_bytes, 48 << 10) << "more needs an attribute of the kernel";
  static std::mutex* const one_kernel = new std::mutex;
  const std::lock_guard<std::mutex> lock(*one_kernel);
  Block* const b = TheBlock();
  if (static_cast<int>(b->fibers.size()) < num_threads) b->fibers.resize(num_threads);
  b->warps.resize(kThreadsMax / kWarpSize);
  b->num_threads = num_threads;
  b->body = &body;
  state.block_size = dim3(static_cast<unsigned>(num_threads));
  state.grid = grid;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        state.block = dim3(x, y, z);
        b->shared.assign(shared_bytes + 16, '\xff');  // NaN: nothing may hang on what was there before
        RunBlock(b);
      }
    }
  }
}

void* DynamicShared() {
  char* data = TheBlock()->shared.data();
  return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(data) + 15) & ~uintptr_t{15});
}

void BlockBarrier() {
  Block* const b = TheBlock();
  b->fibers[b->current].state = FiberState::kAtBlockBarrier;
  ++b->waiting;
  ReleaseBlock(b);
  Yield(b);
}

void WarpBarrier() {
  Block* const b = TheBlock();
  b->fibers[b->current].state = FiberState::kAtWarpBarrier;
  ++b->warps[b->current / kWarpSize].waiting;
  ReleaseWarp(b, b->current / kWarpSize);
  Yield(b);
}

const void* WarpExchange(const void* value, int64_t bytes) {
  CHECK_LE(bytes, kExchangeBytesMax);
  Block* const b = TheBlock();
  const int thread = b->current;
  char* buffer = b->warps[thread / kWarpSize].exchange[b->fibers[thread].exchange];
  b->fibers[thread].exchange ^= 1;
  std::memcpy(buffer + (thread % kWarpSize) * bytes, value, bytes);
  WarpBarrier();
  return buffer;
}

}  // namespace quire::kernels::cuda::emulator
