/* Layer normalization: every row by itself, over its channels, in float64.
 *
 * What is summed over a row is summed in LANES parts, which do not wait for one another; of narrow
 * rows several are summed at a time instead. */
#ifndef SPCONV_LAYER_NORM_H
#define SPCONV_LAYER_NORM_H
#include <math.h>
#include <stdint.h>

#include "clones.h"

#define SPCONV_LANES 8
#define SPCONV_BLOCK 32

/* totals[n] = the sum over c of `term`, which is made of n and c, for `count` rows. */
#define SPCONV_SUM_CHANNELS(totals, count, channels, term)                                       \
    do {                                                                                         \
        if (channels < SPCONV_LANES) {                                                           \
            for (int64_t n = 0; n < count; ++n) totals[n] = 0;                                   \
            for (int64_t c = 0; c < channels; ++c)                                               \
                for (int64_t n = 0; n < count; ++n) totals[n] += (term);                         \
            break;                                                                               \
        }                                                                                        \
        for (int64_t n = 0; n < count; ++n) {                                                    \
            double s[SPCONV_LANES] = {0}, rest = 0;                                              \
            int64_t first = 0;                                                                   \
            for (; first + SPCONV_LANES <= channels; first += SPCONV_LANES)                      \
                for (int lane = 0; lane < SPCONV_LANES; ++lane) {                                \
                    const int64_t c = first + lane;                                              \
                    s[lane] += (term);                                                           \
                }                                                                                \
            for (int64_t c = first; c < channels; ++c) rest += (term);                           \
            totals[n] = (((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))) +    \
                        rest;                                                                    \
        }                                                                                        \
    } while (0)

#define SPCONV_LAYER_NORM(real, type)                                                            \
    SPCONV_FORCE_INLINE double centred_##type(real x, double mean) { return (double)x - mean; }  \
    SPCONV_FORCE_INLINE double square_##type(real x, double mean) {                              \
        const double d = (double)x - mean;                                                       \
        return d * d;                                                                            \
    }                                                                                            \
    /* y = (x - mean) * inverse * weight + bias; mean and inverse are of each row. */            \
    SPCONV_CLONES static void layer_norm_rows_##type(                                            \
        const real *restrict x, const real *restrict weight, const real *restrict bias,          \
        double eps, int64_t rows, int64_t channels, real *restrict y, double *restrict means,    \
        double *restrict inverses) {                                                             \
        double sums[SPCONV_BLOCK];                                                               \
        for (int64_t block = 0; block < rows; block += SPCONV_BLOCK) {                           \
            const int64_t count = rows - block < SPCONV_BLOCK ? rows - block : SPCONV_BLOCK;     \
            double *restrict mean = means + block, *restrict inverse = inverses + block;         \
            SPCONV_SUM_CHANNELS(sums, count, channels, (double)x[n * channels + c]);             \
            for (int64_t n = 0; n < count; ++n) mean[n] = sums[n] / (double)channels;            \
            SPCONV_SUM_CHANNELS(sums, count, channels,                                           \
                                square_##type(x[n * channels + c], mean[n]));                    \
            for (int64_t n = 0; n < count; ++n)                                                  \
                inverse[n] = 1 / sqrt(sums[n] / (double)channels + eps);                         \
            for (int64_t n = 0; n < count; ++n, x += channels, y += channels)                    \
                for (int64_t c = 0; c < channels; ++c)                                           \
                    y[c] = (real)(centred_##type(x[c], mean[n]) * inverse[n]) * weight[c] +      \
                           bias[c];                                                              \
        }                                                                                        \
    }                                                                                            \
    /* The gradient dx, and sums over the rows of dy times the normalized x, and of dy. */       \
    SPCONV_CLONES static void layer_norm_gradient_##type(                                        \
        const real *restrict dy, const real *restrict x, const real *restrict weight,            \
        const double *restrict means, const double *restrict inverses, int64_t rows,             \
        int64_t channels, real *restrict dx, double *restrict scaled, double *restrict plain) {  \
        double shift[SPCONV_BLOCK], factor[SPCONV_BLOCK];                                        \
        for (int64_t c = 0; c < channels; ++c) scaled[c] = plain[c] = 0;                         \
        for (int64_t block = 0; block < rows; block += SPCONV_BLOCK) {                           \
            const int64_t count = rows - block < SPCONV_BLOCK ? rows - block : SPCONV_BLOCK;     \
            const double *restrict mean = means + block, *restrict inverse = inverses + block;   \
            SPCONV_SUM_CHANNELS(shift, count, channels,                                          \
                                (double)dy[n * channels + c] * (double)weight[c]);               \
            SPCONV_SUM_CHANNELS(factor, count, channels,                                         \
                                (double)dy[n * channels + c] * (double)weight[c] *               \
                                    centred_##type(x[n * channels + c], mean[n]));               \
            for (int64_t n = 0; n < count; ++n) {                                                \
                shift[n] /= (double)channels;                                                    \
                factor[n] *= inverse[n] / (double)channels;                                      \
            }                                                                                    \
            for (int64_t n = 0; n < count; ++n, dy += channels, x += channels, dx += channels)   \
                for (int64_t c = 0; c < channels; ++c) {                                         \
                    const double d = (double)dy[c];                                              \
                    const double normal = centred_##type(x[c], mean[n]) * inverse[n];            \
                    dx[c] = (real)((d * (double)weight[c] - shift[n] - normal * factor[n]) *     \
                                   inverse[n]);                                                  \
                    scaled[c] += d * normal;                                                     \
                    plain[c] += d;                                                               \
                }                                                                                \
        }                                                                                        \
    }
SPCONV_LAYER_NORM(float, f32)
SPCONV_LAYER_NORM(double, f64)
#endif
