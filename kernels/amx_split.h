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
    AMX_LINE = 32,   /* numbers in a row of a tile: the channels of one instruction */
    AMX_COLUMNS = 16, /* rows of a tile, and columns of its sums */
    AMX_TILE = AMX_COLUMNS * AMX_LINE,
    AMX_MAX_PARTS = 3,
};

static inline int64_t amx_chunks(int64_t cin) { return (cin + AMX_LINE - 1) / AMX_LINE; }
static inline int64_t amx_blocks(int64_t cout) { return (cout + AMX_COLUMNS - 1) / AMX_COLUMNS; }

#ifdef SPCONV_AMX
/* The nearest bfloat16, ties to even; towards zero where that would be an infinity. */
static inline SPCONV_TARGET uint32_t nearest_part(uint32_t bits) {
    const uint32_t size = bits & 0x7fffffff, nearest = bits + 0x7fff + (bits >> 16 & 1);
    const uint32_t large = size > 0x7f800000 ? bits | 0x400000 : bits; /* a NaN stays one */
    return (size > 0x7f7f7fff ? large : nearest) & 0xffff0000;
}

/* Part p of values[i] -> target[p * part_stride + i]; values are used up. */
static SPCONV_TARGET void split_line(float *values, int parts, int64_t part_stride,
                                     uint16_t *target) {
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

/* Channels of a row -> [chunk of channels][part][channel], padded with zeros. */
static SPCONV_TARGET void split_row(const float *row, int64_t cin, int parts, uint16_t *target) {
    float values[AMX_LINE];
    for (int64_t c = 0; c < cin; c += AMX_LINE, target += parts * AMX_LINE) {
        const int64_t count = cin - c < AMX_LINE ? cin - c : AMX_LINE;
        memset(values, 0, sizeof values);
        memcpy(values, row + c, (size_t)count * sizeof *values);
        split_line(values, parts, AMX_LINE, target);
    }
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
                split_line(values, parts, AMX_TILE, tiles + line * AMX_LINE);
            }
}
#endif
#endif
