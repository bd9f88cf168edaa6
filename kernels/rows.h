/* Pooling, activations and sums: loops over the channels of rows. */
#ifndef SPCONV_ROWS_H
#define SPCONV_ROWS_H
#include <stdint.h>

#include "clones.h"
#include "pairs.h"

#define SPCONV_ROWS(real, type)                                                                  \
    /* y[out] += x[in] over the pairs with output rows in [row_begin, row_end). */               \
    SPCONV_CLONES static void sum_tile_##type(                                                   \
        const real *x, const int32_t *in_rows, const int32_t *out_rows, const int64_t *starts,   \
        int64_t volume, real *y, int64_t channels, int64_t row_begin, int64_t row_end) {         \
        for (int64_t k = 0; k < volume; ++k) {                                                   \
            int64_t p = lower_bound(out_rows, starts[k], starts[k + 1], row_begin);              \
            for (; p < starts[k + 1] && out_rows[p] < row_end; ++p) {                            \
                const real *restrict source = x + in_rows[p] * channels;                         \
                real *restrict target = y + out_rows[p] * channels;                              \
                for (int64_t c = 0; c < channels; ++c) target[c] += source[c];                   \
            }                                                                                    \
        }                                                                                        \
    }                                                                                            \
    /* y[out] = largest x[in], winner[out] = its row; 0 and -1 without any. A NaN wins. */       \
    SPCONV_CLONES static void max_tile_##type(                                                   \
        const real *x, const int32_t *in_rows, const int32_t *out_rows, const int64_t *starts,   \
        int64_t volume, real *y, int32_t *winner, int64_t channels, int64_t row_begin,           \
        int64_t row_end) {                                                                       \
        for (int64_t i = row_begin * channels; i < row_end * channels; ++i) y[i] = 0;            \
        for (int64_t i = row_begin * channels; i < row_end * channels; ++i) winner[i] = -1;      \
        for (int64_t k = 0; k < volume; ++k) {                                                   \
            int64_t p = lower_bound(out_rows, starts[k], starts[k + 1], row_begin);              \
            for (; p < starts[k + 1] && out_rows[p] < row_end; ++p) {                            \
                const int32_t row = in_rows[p];                                                  \
                const real *restrict source = x + row * channels;                                \
                real *restrict target = y + out_rows[p] * channels;                              \
                int32_t *restrict best = winner + out_rows[p] * channels;                        \
                for (int64_t c = 0; c < channels; ++c) {                                         \
                    const int better =                                                           \
                        (best[c] < 0) | (!(source[c] <= target[c]) & (target[c] == target[c]));  \
                    target[c] = better ? source[c] : target[c];                                  \
                    best[c] = better ? row : best[c];                                            \
                }                                                                                \
            }                                                                                    \
        }                                                                                        \
    }                                                                                            \
    /* Where a window holds an inactive site, the ground state takes part: winner -1. */          \
    SPCONV_CLONES static void ground_tile_##type(                                                \
        const real *restrict ground, const int64_t *restrict active, int64_t volume, real *y,    \
        int32_t *winner, int64_t channels, int64_t row_begin, int64_t row_end) {                 \
        for (int64_t n = row_begin; n < row_end; ++n) {                                          \
            if (active[n] == volume) continue;                                                   \
            real *restrict target = y + n * channels;                                            \
            int32_t *restrict best = winner + n * channels;                                      \
            for (int64_t c = 0; c < channels; ++c) {                                             \
                /* Of two NaN the first stays, as everywhere. */                                 \
                const int lost = !(target[c] >= ground[c]) & (target[c] == target[c]);           \
                target[c] = lost ? ground[c] : target[c];                                        \
                best[c] = lost ? -1 : best[c];                                                   \
            }                                                                                    \
        }                                                                                        \
    }                                                                                            \
    /* total[c] += sum of dy over the rows with winner -1. */                                    \
    SPCONV_CLONES static void ground_gradient_##type(                                            \
        const real *restrict dy, const int32_t *restrict winner, int64_t rows, int64_t channels, \
        double *restrict total) {                                                                \
        for (int64_t n = 0; n < rows; ++n, dy += channels, winner += channels)                   \
            for (int64_t c = 0; c < channels; ++c) total[c] += winner[c] < 0 ? dy[c] : (real)0;  \
    }                                                                                            \
    /* dx[in] = sum of dy[out] where winner[out] is in, over pairs sorted by in. */              \
    SPCONV_CLONES static void max_gradient_tile_##type(                                          \
        const real *dy, const int32_t *winner, const int32_t *out_rows, const int32_t *in_rows,  \
        const int64_t *starts, int64_t volume, real *dx, int64_t channels, int64_t row_begin,    \
        int64_t row_end) {                                                                       \
        for (int64_t i = row_begin * channels; i < row_end * channels; ++i) dx[i] = 0;           \
        for (int64_t k = 0; k < volume; ++k) {                                                   \
            int64_t p = lower_bound(in_rows, starts[k], starts[k + 1], row_begin);               \
            for (; p < starts[k + 1] && in_rows[p] < row_end; ++p) {                             \
                const int32_t row = in_rows[p];                                                  \
                const real *restrict source = dy + out_rows[p] * channels;                       \
                const int32_t *restrict best = winner + out_rows[p] * channels;                  \
                real *restrict target = dx + row * channels;                                     \
                for (int64_t c = 0; c < channels; ++c)                                           \
                    target[c] += best[c] == row ? source[c] : (real)0;                           \
            }                                                                                    \
        }                                                                                        \
    }                                                                                            \
    SPCONV_CLONES static void leaky_relu_##type(const real *restrict x, real slope,              \
                                                real *restrict y, int64_t count) {               \
        if (slope == 0) /* 0 * -inf would be NaN */                                              \
            for (int64_t i = 0; i < count; ++i) y[i] = x[i] < 0 ? 0 : x[i];                      \
        else                                                                                     \
            for (int64_t i = 0; i < count; ++i) y[i] = x[i] > 0 ? x[i] : slope * x[i];           \
    }                                                                                            \
    SPCONV_CLONES static void leaky_relu_gradient_##type(                                        \
        const real *restrict y, const real *restrict dy, real slope, real *restrict dx,          \
        int64_t count) {                                                                         \
        for (int64_t i = 0; i < count; ++i) dx[i] = y[i] > 0 ? dy[i] : slope * dy[i];            \
    }                                                                                            \
    /* total[c] += sum over rows of x, or of its squares. */                                     \
    SPCONV_CLONES static void sum_rows_##type(const real *restrict x, int64_t rows,              \
                                              int64_t channels, int squared,                     \
                                              double *restrict total) {                          \
        for (int64_t n = 0; n < rows; ++n, x += channels)                                        \
            for (int64_t c = 0; c < channels; ++c)                                               \
                total[c] += squared ? (double)x[c] * (double)x[c] : (double)x[c];                \
    }

/* A well mixed 32-bit integer (Wellons 2018, "lowbias32"). */
static inline uint32_t mixed(uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

#define SPCONV_DROPOUT(real, type)                                                               \
    /* y[i] = scale * x[i] where a number drawn from (key, first + i) reaches the threshold. */  \
    SPCONV_CLONES static void dropout_##type(const real *restrict x, uint32_t key, uint32_t salt, \
                                             uint64_t threshold, real scale, int64_t first,      \
                                             int64_t count, real *restrict y) {                  \
        salt += (uint32_t)((uint64_t)first >> 32) * 0x9e3779b9u; /* no block crosses 2^32 */     \
        for (int64_t i = 0; i < count; ++i) {                                                    \
            const uint32_t drawn = mixed(mixed(((uint32_t)first + (uint32_t)i) ^ key) + salt);   \
            y[i] = drawn >= threshold ? x[i] * scale : (real)0;                                  \
        }                                                                                        \
    }
SPCONV_DROPOUT(float, f32)
SPCONV_DROPOUT(double, f64)
SPCONV_ROWS(float, f32)
SPCONV_ROWS(double, f64)
#endif
