// mma.h - the host's stand-in for the PTX of ../mma.h: the documented fragment layouts, played over a warp's 32 lanes.
//
// HSISR_EXACT leaves tf32 operands unrounded, which separates errors of indexing from those of rounding.
// The products are summed in double and added in float. Tensor cores truncate where this rounds: not modelled.
#pragma once
#include "emulation.h"

inline uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

inline float float_of(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline bool is_finite(uint32_t bits) { return (bits & 0x7f800000u) != 0x7f800000u; }

// cvt.rna: to nearest, ties away from zero
inline uint32_t to_tf32(float x) {
  const uint32_t bits = bits_of(x);
#if defined(HSISR_EXACT)
  return bits;
#else
  return is_finite(bits) ? (bits + 0x1000u) & ~0x1fffu : bits;
#endif
}

// cvt.rn: to nearest, ties to even
inline uint16_t to_bf16(float x) {
  const uint32_t bits = bits_of(x);
  return is_finite(bits) ? (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16 : bits >> 16;
}

inline float bf16_value(uint16_t half) { return float_of(static_cast<uint32_t>(half) << 16); }

inline uint16_t to_fp16(float x) {
  const _Float16 half = static_cast<_Float16>(x);
  uint16_t bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}

inline float fp16_value(uint16_t bits) {
  _Float16 half;
  std::memcpy(&half, &bits, 2);
  return static_cast<float>(half);
}

// The tensor core ignores the low bits of a tf32 operand: what was not rounded before is truncated here.
inline float tf32_value(uint32_t bits) {
#if defined(HSISR_EXACT)
  return float_of(bits);
#else
  return float_of(bits & ~0x1fffu);
#endif
}

namespace emulation {

struct Operands {
  FragmentA a;
  FragmentB b;
};

// One 16 x DEPTH times DEPTH x 8 product. element(fragment words, index of register, which half) -> float.
template <int DEPTH, class Element>
void mma(FragmentC& c, const FragmentA& a, const FragmentB& b, Element element) {
  constexpr int packed = DEPTH / 8;  // operands per 32-bit register
  const FragmentC sum = Machine::get().collective<Operands, FragmentC>(Operands{a, b}, [&](const Operands* in, FragmentC* out) {
    float A[16][DEPTH], B[DEPTH][8];
    for (int lane = 0; lane < lanes; ++lane) {
      const int g = lane / 4, t = lane % 4;
      for (int r = 0; r < 4; ++r)
        for (int half = 0; half < packed; ++half)
          A[g + r % 2 * 8][t * packed + half + r / 2 * DEPTH / 2] = element(in[lane].a.v[r], half);
      for (int r = 0; r < 2; ++r)
        for (int half = 0; half < packed; ++half)
          B[t * packed + half + r * DEPTH / 2][g] = element(in[lane].b.v[r], half);
    }
    for (int lane = 0; lane < lanes; ++lane)
      for (int r = 0; r < 4; ++r) {
        double s = 0;
        for (int k = 0; k < DEPTH; ++k)
          s += static_cast<double>(A[lane / 4 + r / 2 * 8][k]) * B[k][lane % 4 * 2 + r % 2];
        out[lane].v[r] = static_cast<float>(s);
      }
  });
  for (int r = 0; r < 4; ++r) c.v[r] += sum.v[r];
}

}  // namespace emulation

inline void mma_tf32(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  emulation::mma<8>(c, a, b, [](uint32_t word, int) { return tf32_value(word); });
}

inline void mma_bf16(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  emulation::mma<16>(c, a, b, [](uint32_t word, int half) { return bf16_value(word >> (16 * half)); });
}

inline void mma_fp16(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  emulation::mma<16>(c, a, b, [](uint32_t word, int half) { return fp16_value(word >> (16 * half)); });
}
