/* Indirect GEMM: y[out] += x[in] W over lists of (in, out) rows, with no gather or scatter buffer;
 * only the weight gradient of wide layers gathers, a few rows that stay in a near cache.
 *
 * A block of rows times a block of channels is held in registers; input rows are read and output
 * rows updated through the pair lists. The same source is compiled for every instruction set and
 * for float and double; the caller picks one at run time.
 */
#ifndef SPCONV_INDIRECT_GEMM_H
#define SPCONV_INDIRECT_GEMM_H
#include <stdint.h>
#include <string.h>

#include "pairs.h"
#include "rectifier.h"

enum { SPCONV_PORTABLE = 0, SPCONV_AVX2 = 1, SPCONV_AVX512 = 2 };
/* The last one on vectors of half the size, for layers that do not fill a whole one. */
enum { SPCONV_AVX512_NARROW = 3 };
enum { SPCONV_CHUNK = 384 }; /* pairs whose rows are looked up at once */
/* So many pairs before their turn rows are fetched; more where a pair has few products. */
enum { SPCONV_AHEAD = 24, SPCONV_FAR_AHEAD = 64 };

#if defined(__GNUC__) && defined(__x86_64__) && !defined(SPCONV_SCALAR)
#include <immintrin.h>
#define SPCONV_X86 1
#elif defined(__GNUC__) && defined(__aarch64__) && !defined(SPCONV_SCALAR)
#include <arm_neon.h>
#define SPCONV_NEON 1
#elif defined(_MSC_VER)
#pragma fp_contract(off) /* what -ffp-contract=off is elsewhere */
#endif

/* Values from one gathered row to the next: an odd number of cache lines, so that the same channels
 * of many rows do not fall into a few sets of the cache. */
static inline int64_t gathered_stride(int64_t channels, size_t size) {
    const int64_t line = 64 / (int64_t)size;
    return ((channels + line - 1) / line | 1) * line;
}

#define SPCONV_PASTE3(a, b, c) a##_##b##_##c
#define SPCONV_PASTE(a, b, c) SPCONV_PASTE3(a, b, c)
#define NAME(function) SPCONV_PASTE(function, TYPE, ISA)
#define SPCONV_PASTE2(a, b) a##_##b
#define SPCONV_OF_TYPE(a, b) SPCONV_PASTE2(a, b)
#define RECTIFIED SPCONV_OF_TYPE(rectified, TYPE)

#define ISA portable
#define SPCONV_TARGET
#define SPCONV_BYTES 16
#define SPCONV_MASKS 0
#define SPCONV_MR 4
#define SPCONV_ONE_MR 8
#define SPCONV_OUTER_MR 8
#define SPCONV_NV 2
#define SPCONV_WIDE 0
#define SPCONV_WIDE_MR 4
#define SPCONV_TAKES_WIDE(vectors) 0
#define SPCONV_HELD 4
#define SPCONV_HELD_MR 4
#define TYPE f32
#define REAL float
#include "indirect_gemm_isa.h"
#undef TYPE
#undef REAL
#define TYPE f64
#define REAL double
#include "indirect_gemm_isa.h"
#undef TYPE
#undef REAL
#undef ISA
#undef SPCONV_TARGET
#undef SPCONV_BYTES
#undef SPCONV_MASKS
#undef SPCONV_MR

#ifdef SPCONV_X86
#define ISA avx2
#define SPCONV_TARGET __attribute__((target("avx2,fma")))
#define SPCONV_BYTES 32
#define SPCONV_MASKS 256
#define SPCONV_MR 6
#undef SPCONV_OUTER_MR
#define SPCONV_OUTER_MR 12
#undef SPCONV_WIDE
#undef SPCONV_TAKES_WIDE
#define SPCONV_WIDE 3
#define SPCONV_TAKES_WIDE(vectors) ((vectors) != 4)
#undef SPCONV_HELD
#undef SPCONV_HELD_MR
#define SPCONV_HELD 8
#define SPCONV_HELD_MR 6
#define TYPE f32
#define REAL float
#include "indirect_gemm_isa.h"
#undef TYPE
#undef REAL
#define TYPE f64
#define REAL double
#include "indirect_gemm_isa.h"
#undef TYPE
#undef REAL
#undef ISA
#undef SPCONV_TARGET
#undef SPCONV_BYTES
#undef SPCONV_MASKS
#undef SPCONV_MR

#define ISA avx512
#define SPCONV_TARGET __attribute__((target("avx512f,avx512vl,avx512dq,fma")))
#define SPCONV_BYTES 64
#define SPCONV_MASKS 512
#define SPCONV_MR 12
#undef SPCONV_OUTER_MR
#define SPCONV_OUTER_MR 16
#undef SPCONV_ONE_MR
#define SPCONV_ONE_MR 12
#undef SPCONV_HELD
#undef SPCONV_HELD_MR
#define SPCONV_HELD 16
#define SPCONV_HELD_MR 8
#undef SPCONV_WIDE
#undef SPCONV_WIDE_MR
#undef SPCONV_TAKES_WIDE
#define SPCONV_WIDE 4
#define SPCONV_WIDE_MR 6
#define SPCONV_TAKES_WIDE(vectors) ((vectors) >= 4)
#define TYPE f32
#define REAL float
#include "indirect_gemm_isa.h"
#undef TYPE
#undef REAL
#define TYPE f64
#define REAL double
#include "indirect_gemm_isa.h"
#undef TYPE
#undef REAL
#undef ISA
#undef SPCONV_BYTES

#define ISA avx512_narrow
#define SPCONV_BYTES 32
#undef SPCONV_NV
#undef SPCONV_WIDE
#undef SPCONV_WIDE_MR
#undef SPCONV_TAKES_WIDE
#define SPCONV_NV 1 /* one vector is all that such layers have */
#define SPCONV_WIDE 0
#define SPCONV_WIDE_MR 12
#define SPCONV_TAKES_WIDE(vectors) 0
#define TYPE f32
#define REAL float
#include "indirect_gemm_isa.h"
#undef TYPE
#undef REAL
#define TYPE f64
#define REAL double
#include "indirect_gemm_isa.h"
#undef TYPE
#undef REAL
#endif

/* Best instruction set of this processor. */
static int spconv_best_isa(void) {
#ifdef SPCONV_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return SPCONV_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return SPCONV_AVX2;
#endif
    return SPCONV_PORTABLE;
}

#ifdef SPCONV_X86
#define SPCONV_DISPATCH(isa, function, type, ...)                                      \
    (isa == SPCONV_AVX512          ? function##_##type##_avx512(__VA_ARGS__)           \
     : isa == SPCONV_AVX512_NARROW ? function##_##type##_avx512_narrow(__VA_ARGS__)    \
     : isa == SPCONV_AVX2          ? function##_##type##_avx2(__VA_ARGS__)             \
                                   : function##_##type##_portable(__VA_ARGS__))
#else
#define SPCONV_DISPATCH(isa, function, type, ...) function##_##type##_portable(__VA_ARGS__)
#endif

/* The form for a layer of so many output channels. */
static inline int spconv_form(int isa, int64_t cout, size_t size) {
    return isa == SPCONV_AVX512 && cout * (int64_t)size <= 32 ? SPCONV_AVX512_NARROW : isa;
}

#define SPCONV_ENTRY_POINTS(real, type)                                                          \
    static inline int64_t packed_width_##type(int isa, int64_t cout) {                           \
        isa = spconv_form(isa, cout, sizeof(real)); /* no choice in the portable form */         \
        return SPCONV_DISPATCH(isa, packed_width, type, cout);                                   \
    }                                                                                            \
    static inline void pack_##type(int isa, const real *w, int64_t row_stride,                   \
                                   int64_t column_stride, int64_t cin, int64_t cout,             \
                                   real *packed) {                                               \
        isa = spconv_form(isa, cout, sizeof(real)); /* no choice in the portable form */         \
        SPCONV_DISPATCH(isa, pack, type, w, row_stride, column_stride, cin, cout, packed);       \
    }                                                                                            \
    static inline void forward_range_##type(                                                     \
        int isa, const real *x, int64_t ldx, const real *packed, const real *init,               \
        const real *residual, real *y, int64_t ldy, const int32_t *in_rows,                      \
        const int32_t *out_rows, const int64_t *starts, int64_t volume, int64_t cin,             \
        int64_t cout, int64_t row_begin, int64_t row_end, int64_t tile_rows, int64_t *cursors,   \
        int rectify, real slope) {                                                               \
        isa = spconv_form(isa, cout, sizeof(real)); /* no choice in the portable form */         \
        SPCONV_DISPATCH(isa, forward_range, type, x, ldx, packed, init, residual, y, ldy,        \
                        in_rows, out_rows, starts, volume, cin, cout, row_begin, row_end,        \
                        tile_rows, cursors, rectify, slope);                                     \
    }                                                                                            \
    static inline void weight_gradient_##type(                                                   \
        int isa, const real *x, int64_t ldx, const real *dy, int64_t ldy,                        \
        const int32_t *in_rows, const int32_t *out_rows, const int64_t *starts, int64_t k_begin, \
        int64_t k_end, int64_t row_begin, int64_t row_end, int64_t tile_rows, int64_t chunk,     \
        real *dw, int64_t offset_stride, int64_t ldw, int64_t cin, int64_t cout,                 \
        real *scratch) {                                                                         \
        isa = spconv_form(isa, cout, sizeof(real)); /* no choice in the portable form */         \
        SPCONV_DISPATCH(isa, weight_gradient, type, x, ldx, dy, ldy, in_rows, out_rows, starts,  \
                        k_begin, k_end, row_begin, row_end, tile_rows, chunk, dw, offset_stride, \
                        ldw, cin, cout, scratch);                                                \
    }
SPCONV_ENTRY_POINTS(float, f32)
SPCONV_ENTRY_POINTS(double, f64)
#endif
