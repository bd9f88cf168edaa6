/* Batch normalization with a rectifier behind it: loops over the channels of rows.
 *
 * `rectify` multiplies negative results by `slope`; backward tells them by the result y. Sums take
 * four rows at a time: each addition to a total waits for the one before. */
#ifndef SPCONV_NORMALIZATION_H
#define SPCONV_NORMALIZATION_H
#include <float.h>
#include <math.h>
#include <stdint.h>

#include "clones.h"
#include "rectifier.h"
#include "row_sums.h"

#define SPCONV_NORMALIZATION(real, type)                                                         \
    /* squares[c] = sum over rows of (x - mean)^2. */                                            \
    SPCONV_FORCE_INLINE void sum_squares_##type(const real *restrict x,                          \
                                                const double *restrict mean, int64_t rows,       \
                                                int64_t channels, double *restrict squares) {    \
        const int64_t second = channels, third = 2 * channels, fourth = 3 * channels;            \
        int64_t n = 0;                                                                           \
        for (int64_t c = 0; c < channels; ++c) squares[c] = 0;                                   \
        for (; n + 4 <= rows; n += 4, x += 4 * channels)                                         \
            for (int64_t c = 0; c < channels; ++c) {                                             \
                const double d0 = (double)x[c] - mean[c];                                        \
                const double d1 = (double)x[second + c] - mean[c];                               \
                const double d2 = (double)x[third + c] - mean[c];                                \
                const double d3 = (double)x[fourth + c] - mean[c];                               \
                squares[c] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);                         \
            }                                                                                    \
        for (; n < rows; ++n, x += channels)                                                     \
            for (int64_t c = 0; c < channels; ++c) {                                             \
                const double d = (double)x[c] - mean[c];                                         \
                squares[c] += d * d;                                                             \
            }                                                                                    \
    }                                                                                            \
    /* Mean of the rows and sum of squared deviations from it. */                                \
    SPCONV_CLONES static void mean_and_squares_##type(                                           \
        const real *restrict x, int64_t rows, int64_t channels, double *restrict mean,           \
        double *restrict squares) {                                                              \
        const int64_t fold = rows_as_one(channels), whole = rows / fold * fold;                  \
        double means[SPCONV_FOLD], wide[SPCONV_FOLD];                                            \
        sum_rows_##type(x, rows, channels, mean);                                                \
        for (int64_t c = 0; c < channels; ++c) mean[c] /= (double)rows;                          \
        if (fold > 1) {                                                                          \
            repeat_f64(mean, channels, fold, means);                                             \
            sum_squares_##type(x, means, whole / fold, fold * channels, wide);                   \
            x += whole * channels;                                                               \
            rows -= whole;                                                                       \
        }                                                                                        \
        sum_squares_##type(x, mean, rows, channels, squares);                                    \
        if (fold > 1) fold_sums(wide, channels, fold, squares);                                  \
    }                                                                                            \
    /* y = (x - mean) * scale + shift. */                                                        \
    SPCONV_FORCE_INLINE void normalize_wide_rows_##type(                                         \
        const real *restrict x, const real *restrict mean, const real *restrict scale,           \
        const real *restrict shift, int rectify, real slope, int64_t rows, int64_t channels,     \
        real *restrict y) {                                                                      \
        for (int64_t n = 0; n < rows; ++n, x += channels, y += channels)                         \
            for (int64_t c = 0; c < channels; ++c) {                                             \
                const real v = (x[c] - mean[c]) * scale[c] + shift[c];                           \
                y[c] = rectify ? rectified_##type(v, slope) : v;                                 \
            }                                                                                    \
    }                                                                                            \
    SPCONV_CLONES static void normalize_rows_##type(                                             \
        const real *restrict x, const real *restrict mean, const real *restrict scale,           \
        const real *restrict shift, int rectify, real slope, int64_t rows, int64_t channels,     \
        real *restrict y) {                                                                      \
        const int64_t fold = rows_as_one(channels), whole = rows / fold * fold;                  \
        real means[SPCONV_FOLD], scales[SPCONV_FOLD], shifts[SPCONV_FOLD];                       \
        if (fold > 1) {                                                                          \
            repeat_##type(mean, channels, fold, means);                                          \
            repeat_##type(scale, channels, fold, scales);                                        \
            repeat_##type(shift, channels, fold, shifts);                                        \
            normalize_wide_rows_##type(x, means, scales, shifts, rectify, slope, whole / fold,   \
                                       fold * channels, y);                                      \
            x += whole * channels;                                                               \
            y += whole * channels;                                                               \
            rows -= whole;                                                                       \
        }                                                                                        \
        normalize_wide_rows_##type(x, mean, scale, shift, rectify, slope, rows, channels, y);    \
    }                                                                                            \
    SPCONV_FORCE_INLINE real unrectified_##type(real y, real dy, int rectify, real slope) {      \
        /* 0 * inf is NaN. A bound, of NaN too, costs nothing; a branch took twice as long. */   \
        const real most = slope == 0 ? (real)FLT_MAX : (real)INFINITY;                           \
        const real below = dy < most ? dy : most, finite = below < -most ? -most : below;        \
        return !rectify || y > 0 ? dy : slope * finite;                                          \
    }                                                                                            \
    /* plain[c] = sum over rows of dy, centred[c] of dy * (x - mean), through the rectifier. */  \
    SPCONV_FORCE_INLINE void wide_row_sums_##type(                                               \
        const real *restrict dy, const real *restrict x, const real *restrict y,                 \
        const real *restrict mean, int rectify, real slope, int64_t rows, int64_t channels,      \
        double *restrict plain, double *restrict centred) {                                      \
        const int64_t second = channels, third = 2 * channels, fourth = 3 * channels;            \
        int64_t n = 0;                                                                           \
        for (int64_t c = 0; c < channels; ++c) plain[c] = centred[c] = 0;                        \
        for (; n + 4 <= rows;                                                                    \
             n += 4, dy += 4 * channels, x += 4 * channels, y += 4 * channels)                   \
            for (int64_t c = 0; c < channels; ++c) {                                             \
                const double d0 = unrectified_##type(y[c], dy[c], rectify, slope);               \
                const double d1 = unrectified_##type(y[second + c], dy[second + c], rectify,     \
                                                       slope);                                   \
                const double d2 = unrectified_##type(y[third + c], dy[third + c], rectify, slope);\
                const double d3 = unrectified_##type(y[fourth + c], dy[fourth + c], rectify,     \
                                                       slope);                                   \
                plain[c] += (d0 + d1) + (d2 + d3);                                               \
                centred[c] += ((double)(x[c] - mean[c]) * d0 +                                   \
                               (double)(x[second + c] - mean[c]) * d1) +                         \
                              ((double)(x[third + c] - mean[c]) * d2 +                           \
                               (double)(x[fourth + c] - mean[c]) * d3);                          \
            }                                                                                    \
        for (; n < rows; ++n, dy += channels, x += channels, y += channels)                      \
            for (int64_t c = 0; c < channels; ++c) {                                             \
                const double d = unrectified_##type(y[c], dy[c], rectify, slope);                \
                plain[c] += d;                                                                   \
                centred[c] += (double)(x[c] - mean[c]) * d;                                      \
            }                                                                                    \
    }                                                                                            \
    SPCONV_CLONES static void normalize_sums_##type(                                             \
        const real *restrict dy, const real *restrict x, const real *restrict y,                 \
        const real *restrict mean, int rectify, real slope, int64_t rows, int64_t channels,      \
        double *restrict plain, double *restrict centred) {                                      \
        const int64_t fold = rows_as_one(channels), whole = rows / fold * fold;                  \
        real means[SPCONV_FOLD];                                                                 \
        double plains[SPCONV_FOLD], centreds[SPCONV_FOLD];                                       \
        if (fold > 1) {                                                                          \
            repeat_##type(mean, channels, fold, means);                                          \
            wide_row_sums_##type(dy, x, y, means, rectify, slope, whole / fold, fold * channels, \
                                 plains, centreds);                                              \
            dy += whole * channels;                                                              \
            x += whole * channels;                                                               \
            y += whole * channels;                                                               \
            rows -= whole;                                                                       \
        }                                                                                        \
        wide_row_sums_##type(dy, x, y, mean, rectify, slope, rows, channels, plain, centred);    \
        if (fold > 1) {                                                                          \
            fold_sums(plains, channels, fold, plain);                                            \
            fold_sums(centreds, channels, fold, centred);                                        \
        }                                                                                        \
    }                                                                                            \
    /* dx = dy * scale + (shift + factor * (x - mean)), dy through the rectifier. */             \
    SPCONV_FORCE_INLINE void wide_row_gradient_##type(                                           \
        const real *restrict dy, const real *restrict x, const real *restrict y,                 \
        const real *restrict mean, const real *restrict scale, const real *restrict shift,       \
        const real *restrict factor, int rectify, real slope, int64_t rows, int64_t channels,    \
        real *restrict dx) {                                                                     \
        for (int64_t n = 0; n < rows;                                                            \
             ++n, dy += channels, x += channels, y += channels, dx += channels)                  \
            for (int64_t c = 0; c < channels; ++c)                                               \
                dx[c] = unrectified_##type(y[c], dy[c], rectify, slope) * scale[c] +             \
                        (factor[c] * (x[c] - mean[c]) + shift[c]);                               \
    }                                                                                            \
    SPCONV_CLONES static void normalize_gradient_##type(                                         \
        const real *restrict dy, const real *restrict x, const real *restrict y,                 \
        const real *restrict mean, const real *restrict scale, const real *restrict shift,       \
        const real *restrict factor, int rectify, real slope, int64_t rows, int64_t channels,    \
        real *restrict dx) {                                                                     \
        const int64_t fold = rows_as_one(channels), whole = rows / fold * fold;                  \
        real means[SPCONV_FOLD], scales[SPCONV_FOLD], shifts[SPCONV_FOLD], factors[SPCONV_FOLD]; \
        if (fold > 1) {                                                                          \
            repeat_##type(mean, channels, fold, means);                                          \
            repeat_##type(scale, channels, fold, scales);                                        \
            repeat_##type(shift, channels, fold, shifts);                                        \
            repeat_##type(factor, channels, fold, factors);                                      \
            wide_row_gradient_##type(dy, x, y, means, scales, shifts, factors, rectify, slope,   \
                                     whole / fold, fold * channels, dx);                         \
            dy += whole * channels;                                                              \
            x += whole * channels;                                                               \
            y += whole * channels;                                                               \
            dx += whole * channels;                                                              \
            rows -= whole;                                                                       \
        }                                                                                        \
        wide_row_gradient_##type(dy, x, y, mean, scale, shift, factor, rectify, slope, rows,     \
                                 channels, dx);                                                  \
    }
SPCONV_NORMALIZATION(float, f32)
SPCONV_NORMALIZATION(double, f64)
#endif
