// engine.h - a warp's share of "weight times state": its weights in registers, and the product.
//
// An engine fills sums[part][tile][e]. First come the parts that the warp itself finishes, then the parts of the next
// K split, and so on. So the compiler knows which registers to keep, and no register is indexed by the warp's number.
// The engine says which channel and which pixel of the chunk an element stands for:
//   tensor cores   part: 8 output channels, one for each lane group;  e: the two neighbouring pixels of a lane
//   ffma           part: 2 of a tile's 8 pixels;  e: which of the two;  a lane is one output channel
#pragma once
#include "layout.h"
#include "mma.h"

namespace conv_scan {

// Weight of one tap from input channel i to output channel o; the data gradient uses the transposed, flipped kernel.
template <class V, bool BACKWARD>
__device__ __forceinline__ float weight_at(const float* weight, int o, int i, int tap) {
  if (o >= V::channels || i >= V::channels) return 0.f;
  return BACKWARD ? weight[(i * V::channels + o) * V::taps + V::taps - 1 - tap]
                  : weight[(o * V::channels + i) * V::taps + tap];
}

template <class V>
__device__ __forceinline__ uint16_t to_half(float x) {
  if constexpr (V::arithmetic == Arithmetic::bf16) return to_bf16(x);
  else return to_fp16(x);
}

// A value in the type of the state in shared memory. tf32x3 and ffma need all its bits.
template <class V>
__device__ __forceinline__ typename V::State to_state(float x) {
  if constexpr (V::half_operands) return to_half<V>(x);
  else if constexpr (V::arithmetic == Arithmetic::tf32) return float_of(to_tf32(x));
  else return x;
}

template <class V>
class TensorCoreEngine {
 public:
  template <bool BACKWARD>
  __device__ __forceinline__ void load_weights(const float* weight, int lane, int row_warp, int k_split) {
    first_channel_ = k_split * V::k_steps * V::k_step;
#pragma unroll
    for (int tap = 0; tap < V::taps; ++tap)
#pragma unroll
      for (int k = 0; k < V::k_steps; ++k)
#pragma unroll
        for (int row = 0; row < V::row_tiles; ++row)
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            const int o = channel(lane, row_warp, k_split, 2 * row + r % 2);
            const int i = first_channel_ + k * V::k_step;
            uint32_t& a = weights_[tap][k][row].v[r];
            if constexpr (V::half_operands) {
              const int column = i + lane % 4 * 2 + (r >> 1) * 8;
              const uint32_t low = to_half<V>(weight_at<V, BACKWARD>(weight, o, column, tap));
              const uint32_t high = to_half<V>(weight_at<V, BACKWARD>(weight, o, column + 1, tap));
              a = low | high << 16;
            } else {
              const float w = weight_at<V, BACKWARD>(weight, o, i + lane % 4 + (r >> 1) * 4, tap);
              a = V::arithmetic == Arithmetic::tf32 ? to_tf32(w) : bits_of(w);
            }
          }
  }

  // state: position of the first pixel's first tap; zero: a place in shared memory that always holds a zero
  template <int TILES>
  __device__ __forceinline__ void multiply(const typename V::State* state, const typename V::State* zero, int lane, int,
                                           float (&sums)[V::parts][TILES][2]) const {
    FragmentC c[V::row_tiles][TILES];
#pragma unroll
    for (int row = 0; row < V::row_tiles; ++row)
#pragma unroll
      for (int tile = 0; tile < TILES; ++tile) c[row][tile] = FragmentC{{0.f, 0.f, 0.f, 0.f}};
#pragma unroll
    for (int tap = 0; tap < V::taps; ++tap) {
      // Without this branch, ptxas splits the weights of all taps ahead of use, runs out of registers and spills. The
      // split depends on a number that is always zero, but ptxas does not know that. So it cannot split early, and the
      // branch ends the block of code in which it reorders.
      float opaque_zero = 0.f;
      if constexpr (V::arithmetic == Arithmetic::tf32x3) {
        opaque_zero = *const_cast<const volatile float*>(zero);
        if (opaque_zero != 0.f) break;
      }
#pragma unroll
      for (int k = 0; k < V::k_steps; ++k) step<TILES>(state, opaque_zero, lane, tap, k, c);
    }
#pragma unroll
    for (int row = 0; row < V::row_tiles; ++row)
#pragma unroll
      for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
        for (int r = 0; r < 4; ++r) sums[2 * row + r / 2][tile][r % 2] = c[row][tile].v[r];
  }

  // the rows of the weights are in an order that puts the warp's own parts first
  __device__ static int channel(int lane, int row_warp, int k_split, int part) {
    return row_warp * V::rows + (part + k_split * V::groups) % V::parts * 8 + lane / 4;
  }
  __device__ static int pixel(int lane, int, int, int tile, int e) { return tile * 8 + lane % 4 * 2 + e; }

 private:
  template <int TILES>
  __device__ __forceinline__ void step(const typename V::State* state, float zero, int lane, int tap, int k,
                                       FragmentC (&c)[V::row_tiles][TILES]) const {
    const FragmentA(&a)[V::row_tiles] = weights_[tap][k];
    [[maybe_unused]] FragmentA high[V::row_tiles], low[V::row_tiles];
    if constexpr (V::arithmetic == Arithmetic::tf32x3)
#pragma unroll
      for (int row = 0; row < V::row_tiles; ++row)
#pragma unroll
        for (int r = 0; r < 4; ++r) split(float_of(a[row].v[r]) + zero, high[row].v[r], low[row].v[r]);
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile) {
      const FragmentB b = load(state + (tile * 8 + lane / 4 + tap) * V::pixel_stride + first_channel_ + k * V::k_step, lane);
      if constexpr (V::arithmetic == Arithmetic::tf32x3) {
        FragmentB b_high, b_low;
        split(float_of(b.v[0]), b_high.v[0], b_low.v[0]);
        split(float_of(b.v[1]), b_high.v[1], b_low.v[1]);
#pragma unroll
        for (int row = 0; row < V::row_tiles; ++row) {  // the small products first
          mma_tf32(c[row][tile], low[row], b_high);
          mma_tf32(c[row][tile], high[row], b_low);
          mma_tf32(c[row][tile], high[row], b_high);
        }
      } else {
#pragma unroll
        for (int row = 0; row < V::row_tiles; ++row) {
          if constexpr (V::arithmetic == Arithmetic::tf32) mma_tf32(c[row][tile], a[row], b);
          else if constexpr (V::arithmetic == Arithmetic::bf16) mma_bf16(c[row][tile], a[row], b);
          else mma_fp16(c[row][tile], a[row], b);
        }
      }
    }
  }

  __device__ static __forceinline__ FragmentB load(const typename V::State* pixel, int lane) {
    if constexpr (V::half_operands) {
      const uint32_t* pairs = reinterpret_cast<const uint32_t*>(pixel);
      return FragmentB{{pairs[lane % 4], pairs[lane % 4 + 4]}};
    } else {
      return FragmentB{{bits_of(pixel[lane % 4]), bits_of(pixel[lane % 4 + 4])}};
    }
  }

  __device__ static __forceinline__ void split(float x, uint32_t& high, uint32_t& low) {
    high = to_tf32(x);
    low = bits_of(x - float_of(high));  // the product ignores its last bits, 2^-23 of the whole
  }

  FragmentA weights_[V::taps][V::k_steps][V::row_tiles];
  int first_channel_;
};

template <class V>
class FfmaEngine {
 public:
  template <bool BACKWARD>
  __device__ __forceinline__ void load_weights(const float* weight, int lane, int row_warp, int k_split) {
    first_channel_ = k_split * V::k_steps * V::k_step;
#pragma unroll
    for (int tap = 0; tap < V::taps; ++tap)
#pragma unroll
      for (int i = 0; i < V::k_steps * V::k_step; ++i)
        weights_[tap][i] = weight_at<V, BACKWARD>(weight, row_warp * V::rows + lane, first_channel_ + i, tap);
  }

  // All lanes load each state value once, from one address, and multiply it by every tap that reaches it.
  template <int TILES>
  __device__ __forceinline__ void multiply(const float* state, const float*, int, int k_split,
                                           float (&sums)[V::parts][TILES][2]) const {
#pragma unroll
    for (int part = 0; part < V::parts; ++part)
#pragma unroll
      for (int tile = 0; tile < TILES; ++tile) sums[part][tile][0] = sums[part][tile][1] = 0.f;
#pragma unroll
    for (int position = 0; position < TILES * 8 + V::taps - 1; ++position)
#pragma unroll
      for (int k = 0; k < V::k_steps; ++k) {
        const float4 s = *reinterpret_cast<const float4*>(state + position * V::pixel_stride + first_channel_ + k * 4);
#pragma unroll
        for (int tap = 0; tap < V::taps; ++tap) {
          const int pixel = position - tap;
          if (pixel < 0 || pixel >= TILES * 8) continue;
          float& sum = sums[pixel % 8 / 2][pixel / 8][pixel % 2];
          sum = fmaf(weights_[tap][4 * k], s.x, sum);
          sum = fmaf(weights_[tap][4 * k + 1], s.y, sum);
          sum = fmaf(weights_[tap][4 * k + 2], s.z, sum);
          sum = fmaf(weights_[tap][4 * k + 3], s.w, sum);
        }
      }
    rotate_if<1>(k_split & 1, sums);
    rotate_if<2>(k_split & 2, sums);
  }

  __device__ static int channel(int lane, int row_warp, int, int) { return row_warp * V::rows + lane; }
  __device__ static int pixel(int, int k_split, int part, int tile, int e) {
    return tile * 8 + (part + k_split) % V::parts * 2 + e;
  }

 private:
  // Brings the warp's own part to the front. This comes last, because summing needs fixed registers for each pixel.
  template <int BY, int TILES>
  __device__ static __forceinline__ void rotate_if(bool condition, float (&sums)[V::parts][TILES][2]) {
#pragma unroll
    for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float from[V::parts];
#pragma unroll
        for (int part = 0; part < V::parts; ++part) from[part] = sums[(part + BY) % V::parts][tile][e];
#pragma unroll
        for (int part = 0; part < V::parts; ++part) sums[part][tile][e] = condition ? from[part] : sums[part][tile][e];
      }
  }

  float weights_[V::taps][V::k_steps * V::k_step];
  int first_channel_;
};

template <class V>
using Engine = std::conditional_t<V::tensor_cores, TensorCoreEngine<V>, FfmaEngine<V>>;

}  // namespace conv_scan
