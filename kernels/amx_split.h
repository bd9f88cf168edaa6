/* float32 numbers as sums of bfloat16 parts, in the order in which tiles are read.
 *
 * x = high + middle + low, each the nearest bfloat16 of what is left: of a normal number three
 * parts hold all 24 bits, two leave at most 2^-16 |x| out and one 2^-8 |x|. The tile unit takes
 * parts below 2^-126 for zero, so that at most 2^-126 is lost besides. A finite number has finite
 * parts; an infinity or a NaN is its own first part, and the others are zero.
 */
#ifndef SPCONV_AMX_SPLIT_H
#define SPCONV_AMX_SPLIT_H
#include <stdint.h>
#include <string.h>

#include "amx_tiles.h"

enum {
    AMX_LINE = 32,    /* numbers in a row of a tile: the channels of one instruction */
    AMX_COLUMNS = 16, /* rows of a tile, and columns of its sums */
    AMX_TILE = AMX_COLUMNS * AMX_LINE,
    AMX_MAX_PARTS = 3,
};

#ifdef SPCONV_AMX
#define SPCONV_PASTE3(a, b, c) a##_##b##_##c
#define SPCONV_PASTE(a, b, c) SPCONV_PASTE3(a, b, c)
#define NAME(function) SPCONV_PASTE(function, TYPE, ISA)
#define ISA amx
#define TYPE f32
#define REAL float
#define SPCONV_BYTES 64
#include "vector.h"
#endif

static inline int64_t amx_chunks(int64_t cin) { return (cin + AMX_LINE - 1) / AMX_LINE; }
static inline int64_t amx_blocks(int64_t cout) { return (cout + AMX_COLUMNS - 1) / AMX_COLUMNS; }

#ifdef SPCONV_AMX
/* The nearest bfloat16, ties to even: towards zero where that would be an infinity, and zero for
 * what the tile unit takes for zero. */
static inline SPCONV_TARGET uint32_t nearest_part(uint32_t bits) {
    const uint32_t size = bits & 0x7fffffff, nearest = bits + 0x7fff + (bits >> 16 & 1);
    const uint32_t large = size > 0x7f800000 ? bits | 0x400000 : bits; /* a NaN stays one */
    if (size < 0x800000) return 0;
    return (size > 0x7f7f7fff ? large : nearest) & 0xffff0000;
}

/* Part p of up to 32 numbers -> target[p * part_stride], padded with zeros. */
static SPCONV_TARGET void split_slowly(const float *numbers, int64_t count, int parts,
                                       int64_t part_stride, uint16_t *target) {
    float values[AMX_LINE] = {0};
    memcpy(values, numbers, (size_t)(count < AMX_LINE ? count : AMX_LINE) * sizeof *values);
    for (int p = 0; p < parts; ++p, target += part_stride)
        for (int i = 0; i < AMX_LINE; ++i) {
            uint32_t bits, part;
            float rounded;
            memcpy(&bits, values + i, sizeof bits);
            part = nearest_part(bits);
            memcpy(&rounded, &part, sizeof rounded);
            target[i] = (uint16_t)(part >> 16);
            values[i] = (part & 0x7f800000) == 0x7f800000 ? 0 : values[i] - rounded;
        }
}

#if SPCONV_MASKS == 512
/* The same by the instruction for it, which gives infinities for the largest numbers: it returns 0
 * then, and where there is an infinity or a NaN. */
SPCONV_INLINE int split_quickly(__m512 low, __m512 high, int parts, int64_t part_stride,
                                uint16_t *target) {
    static const int16_t words[2][32] = { /* of every float32, its high one is one of the part's */
        {0, 0, 0, 1, 0, 2,  0, 3,  0, 4,  0, 5,  0, 6,  0, 7,
         0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15},
        {0, 16, 0, 17, 0, 18, 0, 19, 0, 20, 0, 21, 0, 22, 0, 23,
         0, 24, 0, 25, 0, 26, 0, 27, 0, 28, 0, 29, 0, 30, 0, 31}};
    const __mmask32 high_words = 0xaaaaaaaa;
    const __m512i first = _mm512_loadu_si512(words[0]), last = _mm512_loadu_si512(words[1]);
    const __m512i infinite = _mm512_set1_epi16(0x7f80);
    __m512i part = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    const __m512i exponents = _mm512_and_si512(part, infinite);
    if (_mm512_cmpeq_epi16_mask(exponents, infinite)) return 0;
    _mm512_storeu_si512(target, part);
    for (int p = 1; p < parts; ++p) {
        const __m512i one = _mm512_maskz_permutexvar_epi16(high_words, first, part);
        const __m512i other = _mm512_maskz_permutexvar_epi16(high_words, last, part);
        low = _mm512_sub_ps(low, _mm512_castsi512_ps(one));
        high = _mm512_sub_ps(high, _mm512_castsi512_ps(other));
        part = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        _mm512_storeu_si512(target + p * part_stride, part);
    }
    return 1;
}
#endif

SPCONV_INLINE void split_line(const float *numbers, int64_t count, int parts, int64_t part_stride,
                             uint16_t *target) {
#if SPCONV_MASKS == 512
    if (count >= AMX_LINE) {
        const __m512 low = _mm512_loadu_ps(numbers), high = _mm512_loadu_ps(numbers + 16);
        if (split_quickly(low, high, parts, part_stride, target)) return;
    } else {
        const __mmask32 lanes = ((__mmask32)1 << count) - 1;
        const __m512 low = _mm512_maskz_loadu_ps((__mmask16)lanes, numbers);
        const __m512 high = _mm512_maskz_loadu_ps((__mmask16)(lanes >> 16), numbers + 16);
        if (split_quickly(low, high, parts, part_stride, target)) return;
    }
#endif
    split_slowly(numbers, count, parts, part_stride, target);
}

/* w[c * row_stride + n * column_stride] -> tiles [block of columns][chunk][part], padded with
 * zeros. A row of a tile holds channels 2i and 2i + 1 of every column, next to each other. */
static SPCONV_TARGET void split_weight(const float *w, int64_t row_stride, int64_t column_stride,
                                       int64_t cin, int64_t cout, int parts, uint16_t *tiles) {
    float values[AMX_LINE];
    for (int64_t n = 0; n < cout; n += AMX_COLUMNS)
        for (int64_t c = 0; c < cin; c += AMX_LINE, tiles += parts * AMX_TILE)
            for (int line = 0; line < AMX_COLUMNS; ++line) {
                for (int i = 0; i < AMX_LINE; ++i) {
                    const int64_t channel = c + 2 * line + i % 2, column = n + i / 2;
                    values[i] = channel < cin && column < cout
                                    ? w[channel * row_stride + column * column_stride]
                                    : 0;
                }
                split_line(values, AMX_LINE, parts, AMX_TILE, tiles + line * AMX_LINE);
            }
}
#endif
#endif
