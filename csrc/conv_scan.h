// conv_scan.h - the slice-convolution scan, one source for nvcc and for the host emulation.
//
// Forward, over the slices i = 0 .. steps-1 of an image (rows, or columns: the strides decide):
//     h[0] = x[0]      z[i] = K * h[i-1] + b      h[i] = x[i] + prelu_a(z[i])
// with K a dense channels x channels x taps kernel along the slice. The data gradient is the same recurrence in the
// opposite direction, with K transposed and flipped:
//     dh[i] = g[i] + K^T * dz[i+1]                dz[i] = dh[i] * (z[i] > 0 ? 1 : a),   dz[0] = 0
//
// One block per image runs the whole scan in one launch. The weights stay in registers. The last slice (the "state": h,
// or dz) stays in shared memory. A step reads each x once and writes each h (and z) once. Each chunk of pixels has two
// barriers:
//
//     all warps     read x, z for the epilogue (ahead of use); multiply; hand partial sums to their owners
//     --- barrier: partial sums are complete, and no warp reads the chunk's old state any more
//     all warps     add up the parts they own; h, z -> global; new state -> shared, over the old
//     --- barrier: the new state is complete, and the partial sums may be overwritten
//
// The state is overwritten in place, although a pixel's neighbours still need it. This works because the row swings.
// Even steps store the state `radius` pixels to the left of where they read it, and walk the chunks from left to right.
// Odd steps do the reverse. So no chunk overwrites a state that a later chunk reads. Two buffers would need twice the
// shared memory.
#pragma once
#include "arguments.h"
#include "engine.h"
#include "launch.h"

namespace conv_scan {

// The values of a chunk that one thread finishes, or has fetched.
template <class V, int TILES>
using Owned = float[V::groups][TILES][2];

template <class V, int TILES, bool BACKWARD>
class Scan {
 public:
  __device__ __forceinline__ Scan(const Arguments& arg, unsigned char* shared)
      : arg_(arg),
        partial_(reinterpret_cast<float*>(shared)),
        state_(reinterpret_cast<State*>(shared + sizeof(float) * partial_floats<V>(TILES))),
        image_(blockIdx.x * arg.image_stride),
        lane_(threadIdx.x % 32),
        row_warp_(threadIdx.x / 32 % V::row_warps),
        k_split_(threadIdx.x / 32 / V::row_warps % V::k_splits),
        pixel_split_(threadIdx.x / 32 / V::row_warps / V::k_splits) {}

  __device__ __forceinline__ void run() {
    engine_.template load_weights<BACKWARD>(arg_.weight, lane_, row_warp_, k_split_);
    slope_ = *arg_.slope;
#pragma unroll
    for (int group = 0; group < V::groups; ++group) {
      const int o = E::channel(lane_, row_warp_, k_split_, group);
      bias_[group] = !BACKWARD && o < V::channels ? arg_.bias[o] : 0.f;
    }
    const int chunk_count = chunks<V>(arg_.pixels, TILES);
    for (int i = threadIdx.x; i < state_elements<V>(arg_.pixels, TILES); i += V::threads) state_[i] = 0;
    // no barrier here: no warp touches the state before the first chunk's barrier
    for (int t = 0; t < arg_.steps; ++t)
      for (int n = 0; n < chunk_count; ++n) chunk(t, t % 2 ? chunk_count - 1 - n : n, n + 1 == chunk_count);
  }

 private:
  using State = typename V::State;
  using E = Engine<V>;

  __device__ __forceinline__ void chunk(int t, int n, bool last_of_step) {
    const int slice = arg_.descending ? arg_.steps - 1 - t : t;
    const int64_t slice_offset = image_ + static_cast<int64_t>(slice) * arg_.step_stride;
    const int first = n * chunk_pixels<V>(TILES) + pixel_split_ * TILES * 8;
    Owned<V, TILES> x, z, sum;
    fetch(slice_offset, first, x, z);
    if (t > 0) {
      float sums[V::parts][TILES][2];
      // odd steps read the row at `radius`, even steps at 2 * `radius`; the first tap of pixel 0 is `radius` before it
      engine_.template multiply<TILES>(state_ + (first + (t % 2 ? 0 : V::radius)) * V::pixel_stride, state_, lane_, k_split_,
                                       sums);
      hand_over(sums, sum);
    }
    __syncthreads();
    if (t > 0) add_partial_sums(sum);
    finish(t, slice_offset, first, x, z, sum);
    if (last_of_step) clear_halo(t);
    __syncthreads();
  }

  // Loads that do not depend on the recurrence. They start before the products and arrive during them.
  __device__ __forceinline__ void fetch(int64_t slice_offset, int first, Owned<V, TILES>& x, Owned<V, TILES>& z) const {
    visit([&](int group, int tile, int e, int o, int m) {
      const bool inside = o < V::channels && first + m < arg_.pixels;
      const int64_t at = slice_offset + (first + m) * arg_.pixel_stride + o;
      x[group][tile][e] = inside ? arg_.input[at] : 0.f;
      if constexpr (BACKWARD) z[group][tile][e] = inside ? arg_.z_in[at] : 0.f;
    });
  }

  // Keep the parts that this warp finishes (the engine's first ones); write the others where their owners read them.
  __device__ __forceinline__ void hand_over(const float (&sums)[V::parts][TILES][2], Owned<V, TILES>& own) {
#pragma unroll
    for (int part = 0; part < V::parts; ++part) {
      const int distance = part / V::groups, group = part % V::groups;
      const int owner = (k_split_ + distance) % V::k_splits;
#pragma unroll
      for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (distance == 0) own[group][tile][e] = sums[part][tile][e];
          else partial_[slot(owner, distance - 1, group, tile, e)] = sums[part][tile][e];
        }
    }
  }

  __device__ __forceinline__ void add_partial_sums(Owned<V, TILES>& own) const {
#pragma unroll
    for (int other = 0; other < V::k_splits - 1; ++other)
#pragma unroll
      for (int group = 0; group < V::groups; ++group)
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
          for (int e = 0; e < 2; ++e) own[group][tile][e] += partial_[slot(k_split_, other, group, tile, e)];
  }

  __device__ __forceinline__ int slot(int owner, int other, int group, int tile, int e) const {
    const int team = pixel_split_ * V::row_warps + row_warp_;
    const int pair = (team * V::k_splits + owner) * (V::k_splits - 1) + other;
    return (((pair * V::groups + group) * TILES + tile) * 2 + e) * 32 + lane_;
  }

  __device__ __forceinline__ void finish(int t, int64_t slice_offset, int first, const Owned<V, TILES>& x,
                                         const Owned<V, TILES>& z, const Owned<V, TILES>& sum) {
    const int row_start = t % 2 ? 2 * V::radius : V::radius;
    visit([&](int group, int tile, int e, int o, int m) {
      if (first + m >= arg_.pixels) return;
      float out, next, z_out;
      if constexpr (BACKWARD) {
        out = x[group][tile][e] + (t > 0 ? sum[group][tile][e] : 0.f);
        const float gate = z[group][tile][e] > 0.f ? 1.f : slope_;
        z_out = next = t + 1 < arg_.steps ? out * gate : 0.f;  // the first slice got no message
      } else {
        z_out = t > 0 ? sum[group][tile][e] + bias_[group] : 0.f;
        next = out = x[group][tile][e] + (z_out > 0.f ? z_out : slope_ * z_out);
      }
      // padding channels stay zero, because their weights, inputs and biases are zero
      state_[(row_start + first + m) * V::pixel_stride + o] = to_state<V>(next);
      if (o >= V::channels) return;
      const int64_t at = slice_offset + (first + m) * arg_.pixel_stride + o;
      arg_.output[at] = out;
      if (BACKWARD || arg_.z_out != nullptr) arg_.z_out[at] = z_out;
    });
  }

  // The old row reaches `radius` pixels beyond the new one. The next step expects zeros there.
  __device__ __forceinline__ void clear_halo(int t) {
    State* strip = state_ + (t % 2 ? V::radius : V::radius + arg_.pixels) * V::pixel_stride;
    for (int i = threadIdx.x; i < V::radius * V::pixel_stride; i += V::threads) strip[i] = 0;
  }

  template <class F>
  __device__ __forceinline__ void visit(F&& f) const {
#pragma unroll
    for (int group = 0; group < V::groups; ++group)
#pragma unroll
      for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          f(group, tile, e, E::channel(lane_, row_warp_, k_split_, group), E::pixel(lane_, k_split_, group, tile, e));
        }
  }

  const Arguments& arg_;
  float* partial_;
  State* state_;
  int64_t image_;
  int lane_, row_warp_, k_split_, pixel_split_;
  E engine_;
  float slope_;
  float bias_[V::groups];
};

template <class V, int TILES, bool BACKWARD>
__global__ void __launch_bounds__(V::threads, 1) scan_kernel(const Arguments arg) {
  HSISR_SHARED_MEMORY(shared);
  Scan<V, TILES, BACKWARD>(arg, shared).run();
}

}  // namespace conv_scan
