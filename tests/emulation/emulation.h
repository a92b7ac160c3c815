// emulation.h - runs a CUDA kernel's own source on the host, to test it where there is no GPU. Tests only.
//
// Every CUDA thread of a block is a fiber. Block barriers and warp collectives are rendezvous points; between them the
// scheduler, seeded, picks a warp at random and lets its lanes, shuffled, run as far as they can, so that warps drift
// apart as far as the barriers allow: a missing barrier shows as a wrong or schedule-dependent result. Shared memory
// starts as NaN and ends in a guard zone; writing past it, or a rendezvous that not all threads reach, is an error.
//
// It shows index, layout and barrier errors. It cannot show speed, alignment faults, or launch limits.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>  // <functional> and <random> would take half the time of compiling a kernel

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct float4 {
  float x, y, z, w;
};

namespace emulation {

struct Index {
  int x = 0;
};

enum Status { ok = 0, deadlock = 1, out_of_bounds = 2 };

constexpr int lanes = 32;
constexpr size_t stack_bytes = 128 << 10;
constexpr size_t guard_bytes = 4096;
constexpr unsigned char poison = 0xff;  // four of them are a NaN, in float, bf16 and fp16

struct Fiber {
  ucontext_t context;
  jmp_buf resume;
  std::vector<char> stack;
  Index thread;
  bool started = false, done = false;
  const unsigned* awaited = nullptr;  // the generation counter of the rendezvous in which the fiber waits
  unsigned generation = 0;
  bool runnable() const { return !done && (awaited == nullptr || *awaited != generation); }
};

// One rendezvous: the last of `expected` arrivals opens it for all.
struct Rendezvous {
  int expected = 0, arrived = 0;
  unsigned generation = 0;
};

// What the lanes of a warp hand to a collective and get back. Two slots: a fast lane may be one collective ahead.
struct Warp {
  Rendezvous rendezvous;
  alignas(16) unsigned char in[2][lanes][64];
  alignas(16) unsigned char out[2][lanes][64];
};

// Random numbers for schedules (SplitMix64), as std::shuffle takes them.
struct Random {
  using result_type = uint32_t;
  uint64_t state = 0;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return UINT32_MAX; }
  result_type operator()() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return static_cast<result_type>((z ^ (z >> 31)) >> 32);
  }
};

class Machine {
 public:
  static Machine& get() {
    static Machine machine;
    return machine;
  }

  template <class F>
  Status launch(int blocks, int threads, size_t shared_bytes, unsigned seed, const F& body) {
    body_ = &body;
    call_ = [](const void* called) { (*static_cast<const F*>(called))(); };
    random_.state = seed;
    for (block_.x = 0; block_.x < blocks; ++block_.x) {
      const Status status = run_block(threads, shared_bytes);
      if (status != ok) return status;
    }
    return ok;
  }

  void meet(Rendezvous& r) {
    const unsigned generation = r.generation;
    if (++r.arrived == r.expected) {
      r.arrived = 0;
      ++r.generation;
      return;
    }
    current_->awaited = &r.generation;
    current_->generation = generation;
    if (!_setjmp(current_->resume)) _longjmp(scheduler_, 1);
    current_->awaited = nullptr;
  }

  // All lanes hand in a T; the last one calls combine(inputs, outputs) for the warp; every lane gets its R.
  template <class T, class R, class F>
  R collective(const T& input, F&& combine) {
    static_assert(sizeof(T) <= 64 && sizeof(R) <= 64, "enlarge Warp");
    Warp& warp = warps_[current_->thread.x / lanes];
    const int lane = current_->thread.x % lanes, slot = warp.rendezvous.generation % 2;
    std::memcpy(warp.in[slot][lane], &input, sizeof(T));
    if (warp.rendezvous.arrived + 1 == warp.rendezvous.expected) {
      T inputs[lanes];
      R outputs[lanes];
      for (int i = 0; i < lanes; ++i) std::memcpy(&inputs[i], warp.in[slot][i], sizeof(T));
      combine(inputs, outputs);
      for (int i = 0; i < lanes; ++i) std::memcpy(warp.out[slot][i], &outputs[i], sizeof(R));
    }
    meet(warp.rendezvous);
    R result;
    std::memcpy(&result, warp.out[slot][lane], sizeof(R));
    return result;
  }

  Rendezvous& barrier() { return barrier_; }
  const Index& thread() const { return current_->thread; }
  const Index& block() const { return block_; }
  unsigned char* shared() { return shared_; }

 private:
  Status run_block(int threads, size_t shared_bytes) {
    // exactly as long as asked for, so that AddressSanitizer sees the end; without it, a guard zone shows writes
#if defined(__SANITIZE_ADDRESS__)
    const size_t guard = 0;
#else
    const size_t guard = guard_bytes;
#endif
    shared_ = static_cast<unsigned char*>(std::aligned_alloc(16, (shared_bytes + guard + 15) / 16 * 16));
    std::memset(shared_, poison, shared_bytes + guard);
    fibers_.resize(threads);
    warps_.assign(threads / lanes, Warp());
    for (Warp& warp : warps_) warp.rendezvous.expected = lanes;
    barrier_ = Rendezvous();
    barrier_.expected = alive_ = threads;
    for (int i = 0; i < threads; ++i) {
      fibers_[i].stack.resize(stack_bytes);
      fibers_[i].thread.x = i;
      fibers_[i].started = fibers_[i].done = false;
      fibers_[i].awaited = nullptr;
    }
    Status status = schedule();
    for (size_t i = 0; i < guard; ++i)
      if (shared_[shared_bytes + i] != poison) status = out_of_bounds;
    std::free(shared_);
    return status;
  }

  Status schedule() {
    std::vector<int> order(warps_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
    while (alive_ > 0) {
      std::shuffle(order.begin(), order.end(), random_);
      bool progress = false;
      for (int warp : order) progress |= run_warp(warp);
      if (!progress) return deadlock;
    }
    return ok;
  }

  // A burst of random length: now and then a short one, so that a warp also stops between two of its collectives.
  bool run_warp(int warp) {
    int order[lanes];
    for (int i = 0; i < lanes; ++i) order[i] = warp * lanes + i;
    int sweeps = random_() % 4 ? 1 << 30 : 1 + static_cast<int>(random_() % 8);
    bool any = false;
    for (bool progress = true; progress && sweeps > 0; --sweeps) {
      std::shuffle(order, order + lanes, random_);
      progress = false;
      for (int i : order)
        if (fibers_[i].runnable()) {
          resume(fibers_[i]);
          progress = any = true;
        }
    }
    return any;
  }

  void resume(Fiber& fiber) {
    current_ = &fiber;
    if (_setjmp(scheduler_)) return;
    if (fiber.started) _longjmp(fiber.resume, 1);
    fiber.started = true;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, [] { get().run_fiber(); }, 0);
    setcontext(&fiber.context);
  }

  void run_fiber() {
    call_(body_);
    current_->done = true;
    --alive_;
    // a thread that has left counts as arrived, as on the device
    if (--barrier_.expected > 0 && barrier_.arrived == barrier_.expected) {
      barrier_.arrived = 0;
      ++barrier_.generation;
    }
    _longjmp(scheduler_, 1);
  }

  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  Rendezvous barrier_;
  int alive_ = 0;
  Fiber* current_ = nullptr;
  jmp_buf scheduler_;
  Index block_;
  unsigned char* shared_ = nullptr;
  const void* body_ = nullptr;
  void (*call_)(const void*) = nullptr;
  Random random_;
};

}  // namespace emulation

#define threadIdx (emulation::Machine::get().thread())
#define blockIdx (emulation::Machine::get().block())
#define HSISR_SHARED_MEMORY(name) unsigned char* name = emulation::Machine::get().shared()

inline void __syncthreads() { emulation::Machine::get().meet(emulation::Machine::get().barrier()); }
