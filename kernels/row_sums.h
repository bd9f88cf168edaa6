/* Sums over rows, in float64. */
#ifndef SPCONV_ROW_SUMS_H
#define SPCONV_ROW_SUMS_H
#include <stdint.h>

#include "clones.h"

#define SPCONV_ROW_SUMS(real, type)                                                              \
    /* total[c] = sum over rows of x; four at a time, because each addition waits for the last. */ \
    SPCONV_CLONES static void sum_rows_##type(const real *restrict x, int64_t rows,              \
                                              int64_t channels, double *restrict total) {        \
        const int64_t second = channels, third = 2 * channels, fourth = 3 * channels;            \
        int64_t n = 0;                                                                           \
        for (int64_t c = 0; c < channels; ++c) total[c] = 0;                                     \
        for (; n + 4 <= rows; n += 4, x += 4 * channels)                                         \
            for (int64_t c = 0; c < channels; ++c)                                               \
                total[c] += ((double)x[c] + (double)x[second + c]) +                             \
                            ((double)x[third + c] + (double)x[fourth + c]);                      \
        for (; n < rows; ++n, x += channels)                                                     \
            for (int64_t c = 0; c < channels; ++c) total[c] += (double)x[c];                     \
    }
SPCONV_ROW_SUMS(float, f32)
SPCONV_ROW_SUMS(double, f64)
#endif
