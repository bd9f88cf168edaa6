/* Sums over rows, in float64, and what loops over the channels of rows share. */
#ifndef SPCONV_ROW_SUMS_H
#define SPCONV_ROW_SUMS_H
#include <stdint.h>

#include "clones.h"

/* A loop over few channels costs more to enter than to run, so several narrow rows are taken as
 * one of at most SPCONV_FOLD values: they lie next to each other. */
#define SPCONV_FOLD 64

SPCONV_FORCE_INLINE int64_t rows_as_one(int64_t channels) {
    return channels > 0 && 2 * channels <= SPCONV_FOLD ? SPCONV_FOLD / channels : 1;
}

/* total[c] += the sums over rows that were taken as one. */
SPCONV_FORCE_INLINE void fold_sums(const double *wide, int64_t channels, int64_t fold,
                                   double *total) {
    for (int64_t i = 0; i < fold; ++i)
        for (int64_t c = 0; c < channels; ++c) total[c] += wide[i * channels + c];
}

#define SPCONV_ROW_SUMS(real, type)                                                              \
    /* What is the same for every row, once for each of those that are taken as one. */          \
    SPCONV_FORCE_INLINE void repeat_##type(const real *row, int64_t channels, int64_t times,     \
                                           real *rows) {                                         \
        for (int64_t i = 0; i < times * channels; ++i) rows[i] = row[i % channels];              \
    }                                                                                            \
    /* total[c] = sum over rows of x; four at a time, because each addition waits for the last. */\
    SPCONV_FORCE_INLINE void sum_wide_rows_##type(const real *restrict x, int64_t rows,          \
                                                  int64_t channels, double *restrict total) {    \
        const int64_t second = channels, third = 2 * channels, fourth = 3 * channels;            \
        int64_t n = 0;                                                                           \
        for (int64_t c = 0; c < channels; ++c) total[c] = 0;                                     \
        for (; n + 4 <= rows; n += 4, x += 4 * channels)                                         \
            for (int64_t c = 0; c < channels; ++c)                                               \
                total[c] += ((double)x[c] + (double)x[second + c]) +                             \
                            ((double)x[third + c] + (double)x[fourth + c]);                      \
        for (; n < rows; ++n, x += channels)                                                     \
            for (int64_t c = 0; c < channels; ++c) total[c] += (double)x[c];                     \
    }                                                                                            \
    SPCONV_CLONES static void sum_rows_##type(const real *restrict x, int64_t rows,              \
                                              int64_t channels, double *restrict total) {        \
        const int64_t fold = rows_as_one(channels), whole = rows / fold * fold;                  \
        double wide[SPCONV_FOLD];                                                                \
        if (fold > 1) {                                                                          \
            sum_wide_rows_##type(x, whole / fold, fold * channels, wide);                        \
            x += whole * channels;                                                               \
            rows -= whole;                                                                       \
        }                                                                                        \
        sum_wide_rows_##type(x, rows, channels, total);                                          \
        if (fold > 1) fold_sums(wide, channels, fold, total);                                    \
    }
SPCONV_ROW_SUMS(float, f32)
SPCONV_ROW_SUMS(double, f64)
#endif
