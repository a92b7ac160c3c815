// layout.h - how a variant of the scan kernel splits its work among warps, and how much shared memory it needs.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#define HSISR_HOST_DEVICE __host__ __device__
#else
#define HSISR_HOST_DEVICE
#endif

namespace conv_scan {

// ffma     fp32 multiply-adds, no tensor cores: the exact path of sm_75
// tf32x3   fp32 up to rounding: each operand is split into two tf32 numbers; three tensor-core products
// tf32, bf16, fp16   operands are rounded to this type; sums, messages and values in global memory stay fp32
enum class Arithmetic { ffma, tf32x3, tf32, bf16, fp16 };

// A block works on one image and walks through its slices; a slice is a row of pixels. The product of a slice, weight
// (channels x channels*taps) times state (channels*taps x pixels), is split among the warps in three ways:
//   row warps     16*ROW_TILES output channels each
//   K_SPLITS      a share of the input channels each; shared memory collects their partial sums
//   PIXEL_SPLITS  8*tiles pixels each
// hsisr/ops/plan.py chooses the three numbers; this header only checks that they divide.
template <int CHANNELS, int TAPS, Arithmetic ARITHMETIC, int ROW_TILES, int K_SPLITS, int PIXEL_SPLITS>
struct Variant {
  static constexpr Arithmetic arithmetic = ARITHMETIC;
  static constexpr bool half_operands = ARITHMETIC == Arithmetic::bf16 || ARITHMETIC == Arithmetic::fp16;
  static constexpr bool tensor_cores = ARITHMETIC != Arithmetic::ffma;
  using State = std::conditional_t<half_operands, uint16_t, float>;

  static constexpr int channels = CHANNELS;
  static constexpr int taps = TAPS;
  static constexpr int radius = TAPS / 2;
  static constexpr int row_tiles = ROW_TILES;
  static constexpr int k_splits = K_SPLITS;
  static constexpr int pixel_splits = PIXEL_SPLITS;

  // ffma: each of 32 lanes has one output channel; tensor cores take 16 channels at a time
  static constexpr int padding = tensor_cores ? 16 : 32;
  static constexpr int padded_channels = (CHANNELS + padding - 1) / padding * padding;
  static constexpr int rows = 16 * ROW_TILES;
  static constexpr int row_warps = padded_channels / rows;
  static constexpr int warps = row_warps * K_SPLITS * PIXEL_SPLITS;
  static constexpr int threads = 32 * warps;

  // input channels of one product of fragments, and the number of such steps that a warp takes for each tap
  static constexpr int k_step = half_operands ? 16 : tensor_cores ? 8 : 4;
  static constexpr int k_steps = padded_channels / K_SPLITS / k_step;

  // A warp's sums are 2*ROW_TILES parts (8 output channels x all its pixels). The warp finishes `groups` of them.
  static constexpr int parts = 2 * ROW_TILES;
  static constexpr int groups = parts / K_SPLITS;

  // Distance from pixel to pixel in shared memory. In 32-bit words, it is an odd multiple of 4. So the 8 pixels x
  // 4 words of a B fragment are in 32 different banks, and so are the 8 channels x 4 pixel pairs of a state store.
  static constexpr int pixel_stride = padded_channels + (half_operands ? 8 : 4);

  static_assert(TAPS % 2 == 1 && TAPS >= 3 && TAPS <= 11, "taps: odd, 3 to 11");
  static_assert(padded_channels % rows == 0, "row tiles must divide the output channels");
  static_assert(padded_channels % (K_SPLITS * k_step) == 0, "K splits must divide the input channels");
  static_assert(parts % K_SPLITS == 0, "every warp must finish whole parts");
  static_assert(tensor_cores || (ROW_TILES == 2 && K_SPLITS == 4), "ffma: one lane per channel, four K splits");
  static_assert(threads <= 1024, "too many warps");
};

template <class V>
HSISR_HOST_DEVICE constexpr int chunk_pixels(int tiles) {
  return 8 * tiles * V::pixel_splits;
}

template <class V>
HSISR_HOST_DEVICE constexpr int chunks(int pixels, int tiles) {
  return (pixels + chunk_pixels<V>(tiles) - 1) / chunk_pixels<V>(tiles);
}

// Partial sums that the other K splits computed for each owner of a part.
template <class V>
HSISR_HOST_DEVICE constexpr int partial_floats(int tiles) {
  return V::row_warps * V::pixel_splits * V::k_splits * (V::k_splits - 1) * V::groups * tiles * 2 * 32;
}

// One row of pixels with a zero halo of `radius` on both sides, and `radius` pixels more for its swing (conv_scan.h).
template <class V>
HSISR_HOST_DEVICE constexpr int state_elements(int pixels, int tiles) {
  return (chunks<V>(pixels, tiles) * chunk_pixels<V>(tiles) + 3 * V::radius) * V::pixel_stride;
}

template <class V>
constexpr size_t shared_bytes(int pixels, int tiles) {
  return sizeof(float) * partial_floats<V>(tiles) + sizeof(typename V::State) * state_elements<V>(pixels, tiles);
}

}  // namespace conv_scan
