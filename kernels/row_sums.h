/* Sums over rows, in float64, and what loops over the channels of rows share. */
#ifndef SPCONV_ROW_SUMS_H
#define SPCONV_ROW_SUMS_H
#include <stdint.h>

#include "clones.h"

/* A loop over few channels costs more to enter than to run, so several narrow rows are taken as
 * one of at most SPCONV_FOLD values: they lie next to each other. */
#define SPCONV_FOLD 64

/* Rows of `channels` values, one at least: `rows` wide ones and `rest` values of one more. */
typedef struct {
    int64_t fold, width, rows, rest;
} wide_rows;

SPCONV_FORCE_INLINE wide_rows rows_as_wide(int64_t rows, int64_t channels) {
    const int64_t fold = 2 * channels <= SPCONV_FOLD ? SPCONV_FOLD / channels : 1;
    const wide_rows wide = {fold, fold * channels, rows / fold, rows % fold * channels};
    return wide;
}

/* total[c] = sum over the rows that were taken as one. */
SPCONV_FORCE_INLINE void fold_sums(const double *wide, int64_t channels, int64_t fold,
                                   double *total) {
    for (int64_t c = 0; c < channels; ++c) total[c] = wide[c];
    for (int64_t i = 1; i < fold; ++i)
        for (int64_t c = 0; c < channels; ++c) total[c] += wide[i * channels + c];
}

#define SPCONV_ROW_SUMS(real, type)                                                              \
    /* What is the same for every row, once for each of those that are taken as one. */          \
    SPCONV_FORCE_INLINE const real *repeat_##type(const real *row, int64_t channels,             \
                                                  int64_t times, real *rows) {                   \
        if (times == 1) return row;                                                              \
        for (int64_t i = 0; i < times; ++i)                                                      \
            for (int64_t c = 0; c < channels; ++c) rows[i * channels + c] = row[c];              \
        return rows;                                                                             \
    }                                                                                            \
    /* total[c] = sum over rows of x; four at a time, because each addition waits for the last. */\
    SPCONV_CLONES static void sum_rows_##type(const real *restrict x, int64_t rows,              \
                                              int64_t channels, double *restrict total) {        \
        const wide_rows wide = rows_as_wide(rows, channels);                                     \
        const int64_t width = wide.width;                                                        \
        double folded[SPCONV_FOLD], *restrict sums = wide.fold > 1 ? folded : total;             \
        int64_t n = 0;                                                                           \
        for (int64_t c = 0; c < width; ++c) sums[c] = 0;                                         \
        for (; n + 4 <= wide.rows; n += 4, x += 4 * width)                                       \
            for (int64_t c = 0; c < width; ++c)                                                  \
                sums[c] += ((double)x[c] + (double)x[width + c]) +                               \
                           ((double)x[2 * width + c] + (double)x[3 * width + c]);                \
        for (; n < wide.rows; ++n, x += width)                                                   \
            for (int64_t c = 0; c < width; ++c) sums[c] += (double)x[c];                         \
        for (int64_t c = 0; c < wide.rest; ++c) sums[c] += (double)x[c];                         \
        if (wide.fold > 1) fold_sums(folded, channels, wide.fold, total);                        \
    }
SPCONV_ROW_SUMS(float, f32)
SPCONV_ROW_SUMS(double, f64)
#endif
