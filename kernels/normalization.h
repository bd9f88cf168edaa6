/* Batch normalization with a rectifier behind it: loops over the channels of rows.
 *
 * `rectify` multiplies negative results by `slope`; backward tells them by the result y. */
#ifndef SPCONV_NORMALIZATION_H
#define SPCONV_NORMALIZATION_H
#include <stdint.h>

#include "clones.h"

#define SPCONV_NORMALIZATION(real, type)                                                         \
    /* y = (x - mean) * scale + shift. */                                                        \
    SPCONV_CLONES static void normalize_rows_##type(                                             \
        const real *restrict x, const real *restrict mean, const real *restrict scale,           \
        const real *restrict shift, int rectify, real slope, int64_t rows, int64_t channels,     \
        real *restrict y) {                                                                      \
        for (int64_t n = 0; n < rows; ++n, x += channels, y += channels)                         \
            for (int64_t c = 0; c < channels; ++c) {                                             \
                const real v = (x[c] - mean[c]) * scale[c] + shift[c];                           \
                /* 0 * -inf would be NaN */                                                      \
                const real low = slope == 0 ? (v < 0 ? 0 : v) : v > 0 ? v : slope * v;           \
                y[c] = rectify ? low : v;                                                        \
            }                                                                                    \
    }                                                                                            \
    /* total[c] += sum over rows of dy * (x - mean); without dy of (x - mean)^2. */              \
    SPCONV_CLONES static void sum_centred_##type(                                                \
        const real *restrict dy, const real *restrict x, const real *restrict mean,              \
        int64_t rows, int64_t channels, double *restrict total) {                                \
        for (int64_t n = 0; n < rows; ++n, x += channels) {                                      \
            for (int64_t c = 0; c < channels; ++c) {                                             \
                const real centred = x[c] - mean[c];                                             \
                total[c] += (double)centred * (double)(dy ? dy[c] : centred);                    \
            }                                                                                    \
            if (dy) dy += channels;                                                              \
        }                                                                                        \
    }                                                                                            \
    /* plain[c] += sum over rows of dy, centred[c] of dy * (x - mean), through the rectifier. */ \
    SPCONV_CLONES static void normalize_sums_##type(                                             \
        const real *restrict dy, const real *restrict x, const real *restrict y,                 \
        const real *restrict mean, int rectify, real slope, int64_t rows, int64_t channels,      \
        double *restrict plain, double *restrict centred) {                                      \
        for (int64_t n = 0; n < rows; ++n, dy += channels, x += channels, y += channels)         \
            for (int64_t c = 0; c < channels; ++c) {                                             \
                const real d = !rectify || y[c] > 0 ? dy[c] : slope * dy[c];                     \
                plain[c] += (double)d;                                                           \
                centred[c] += (double)(x[c] - mean[c]) * (double)d;                              \
            }                                                                                    \
    }                                                                                            \
    /* dx = dy * scale + (shift + factor * (x - mean)), dy through the rectifier. */             \
    SPCONV_CLONES static void normalize_gradient_##type(                                         \
        const real *restrict dy, const real *restrict x, const real *restrict y,                 \
        const real *restrict mean, const real *restrict scale, const real *restrict shift,       \
        const real *restrict factor, int rectify, real slope, int64_t rows, int64_t channels,    \
        real *restrict dx) {                                                                     \
        for (int64_t n = 0; n < rows;                                                            \
             ++n, dy += channels, x += channels, y += channels, dx += channels)                  \
            for (int64_t c = 0; c < channels; ++c) {                                             \
                const real d = !rectify || y[c] > 0 ? dy[c] : slope * dy[c];                     \
                dx[c] = d * scale[c] + (factor[c] * (x[c] - mean[c]) + shift[c]);                \
            }                                                                                    \
    }
SPCONV_NORMALIZATION(float, f32)
SPCONV_NORMALIZATION(double, f64)
#endif
