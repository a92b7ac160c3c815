// mma.h - the only header with PTX: tensor-core products of register fragments, and the rounding of their operands.
// The host emulation replaces all of it by emulation/mma.h, which follows the documented layouts over a warp's lanes.
//
// Layouts (PTX ISA, mma.m16n8k8 and m16n8k16), with g = lane / 4 and t = lane % 4:
//   A  v[0]: row g     v[1]: row g+8   of columns t       (tf32), 2t and 2t+1   (16-bit, packed, low half first)
//      v[2]: row g     v[3]: row g+8   of columns t+4     (tf32), 2t+8 and 2t+9 (16-bit)
//   B  v[0]: column g of rows t, v[1]: of rows t+4 (tf32); of rows 2t and 2t+1, 2t+8 and 2t+9 (16-bit)
//   C  v[0], v[1]: row g, columns 2t and 2t+1          v[2], v[3]: row g+8
#pragma once
#include <cstdint>

struct FragmentA {
  uint32_t v[4];
};
struct FragmentB {
  uint32_t v[2];
};
struct FragmentC {
  float v[4];
};

#if defined(__CUDACC__)

__device__ __forceinline__ uint32_t to_tf32(float x) {
  uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

__device__ __forceinline__ uint16_t to_bf16(float x) {
  uint16_t r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return r;
}

__device__ __forceinline__ uint16_t to_fp16(float x) {
  uint16_t r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(x));
  return r;
}

__device__ __forceinline__ uint32_t bits_of(float x) { return __float_as_uint(x); }
__device__ __forceinline__ float float_of(uint32_t bits) { return __uint_as_float(bits); }

#define HSISR_MMA(shape_and_types, c, a, b)                                                                       \
  asm volatile("mma.sync.aligned." shape_and_types " {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"          \
               : "+f"(c.v[0]), "+f"(c.v[1]), "+f"(c.v[2]), "+f"(c.v[3])                                           \
               : "r"(a.v[0]), "r"(a.v[1]), "r"(a.v[2]), "r"(a.v[3]), "r"(b.v[0]), "r"(b.v[1]))

__device__ __forceinline__ void mma_tf32(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  HSISR_MMA("m16n8k8.row.col.f32.tf32.tf32.f32", c, a, b);
}

__device__ __forceinline__ void mma_bf16(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  HSISR_MMA("m16n8k16.row.col.f32.bf16.bf16.f32", c, a, b);
}

__device__ __forceinline__ void mma_fp16(FragmentC& c, const FragmentA& a, const FragmentB& b) {
#if __CUDA_ARCH__ >= 800
  HSISR_MMA("m16n8k16.row.col.f32.f16.f16.f32", c, a, b);
#else  // sm_75 only has the product of half the depth
  for (int half = 0; half < 2; ++half)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
                 : "+f"(c.v[0]), "+f"(c.v[1]), "+f"(c.v[2]), "+f"(c.v[3])
                 : "r"(a.v[2 * half]), "r"(a.v[2 * half + 1]), "r"(b.v[half]));
#endif
}

#undef HSISR_MMA

#else
#include "emulation/mma.h"
#endif
