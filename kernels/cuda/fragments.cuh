// Products of fragments on tensor cores, d += a b. One fragment of a is 16 rows by 32 bytes, one of b
// 8 columns by 32 bytes, for every format. -D MULTIPLY=
//   multiply_float16, multiply_bfloat16   STORAGE float16, bfloat16: 16 channels per step
//   multiply_tf32      STORAGE float, operands rounded to 11 bits: 8 channels per step
//   multiply_tf32_packed  the same of a b that pack_weights.cu has rounded
//   multiply_tf32x3    STORAGE float, operands split in two tf32 numbers: float32 accuracy.
//                      An infinite operand gives NaN, and so does one that rounds to infinity.
// The accumulators of tensor cores have float32's bits but cut where float32 arithmetic rounds
// (Ootomo & Yokota 2022, arXiv 2203.03341): an error that grows with the number of steps, and all to
// one side for positive numbers. That drowns in what 8 or 11 bits lose, and would be the largest
// error of multiply_tf32x3, whose accumulators hold one step and are then added in registers.
#pragma once
#include "ptx.cuh"

__device__ __forceinline__ void multiply_float16(float (&d)[4], const u32 (&a)[4],
                                                 const u32 (&b)[2]) {
    mma_float16(d, a, b);
}

__device__ __forceinline__ void multiply_bfloat16(float (&d)[4], const u32 (&a)[4],
                                                  const u32 (&b)[2]) {
    mma_bfloat16(d, a, b);
}

template <int N> __device__ __forceinline__ void round_fragment(u32 (&high)[N], const u32 (&x)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) high[i] = float_to_tf32(__uint_as_float(x[i]));
}

// x = high + low, but for a last bit of low: high to nearest with 11 bits, and low as it is, of which
// tensor cores read 11 bits again. Two operations of integers and one difference: the instruction
// cvt.rna.tf32 is five operations here. NaN stays NaN in low.
template <int N>
__device__ __forceinline__ void split_fragment(u32 (&high)[N], u32 (&low)[N], const u32 (&x)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) {
        high[i] = (x[i] + 0x1000u) & 0xFFFFE000u;
        low[i] = __float_as_uint(__uint_as_float(x[i]) - __uint_as_float(high[i]));
    }
}

__device__ __forceinline__ void multiply_tf32(float (&d)[4], const u32 (&a)[4],
                                              const u32 (&b)[2]) {
    u32 high_a[4], high_b[2];
    round_fragment(high_a, a);
    round_fragment(high_b, b);
    mma_tf32(d, high_a, high_b);
}

__device__ __forceinline__ void multiply_tf32_packed(float (&d)[4], const u32 (&a)[4],
                                                     const u32 (&b)[2]) {
    u32 high_a[4];
    round_fragment(high_a, a);
    mma_tf32(d, high_a, b);
}

// Small products first. The compiler computes the halves of each fragment once.
__device__ __forceinline__ void multiply_tf32x3(float (&d)[4], const u32 (&a)[4],
                                                const u32 (&b)[2]) {
    u32 high_a[4], high_b[2], low_a[4], low_b[2];
    split_fragment(high_a, low_a, a);
    split_fragment(high_b, low_b, b);
    float part[4] = {};
    mma_tf32(part, low_a, high_b);
    mma_tf32(part, high_a, low_b);
    mma_tf32(part, high_a, high_b);
#pragma unroll
    for (int i = 0; i < 4; i++) d[i] += part[i];
}
