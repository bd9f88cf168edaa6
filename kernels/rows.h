/* Sums, activations and dropout. */
#ifndef SPCONV_ROWS_H
#define SPCONV_ROWS_H
#include <stdint.h>

#include "clones.h"
#include "rectifier.h"

#define SPCONV_ROWS(real, type)                                                                  \
    /* y = a + b for some rows and one b, or a - b. */                                           \
    SPCONV_CLONES static void add_##type(const real *restrict a, const real *restrict b,         \
                                         int subtract, int64_t rows, int64_t channels,           \
                                         real *restrict y) {                                     \
        for (int64_t n = 0; n < rows; ++n, a += channels, y += channels)                         \
            if (subtract)                                                                        \
                for (int64_t c = 0; c < channels; ++c) y[c] = a[c] - b[c];                       \
            else                                                                                 \
                for (int64_t c = 0; c < channels; ++c) y[c] = a[c] + b[c];                       \
    }                                                                                            \
    SPCONV_CLONES static void leaky_relu_##type(const real *restrict x, real slope,              \
                                                real *restrict y, int64_t count) {               \
        for (int64_t i = 0; i < count; ++i) y[i] = rectified_##type(x[i], slope);                \
    }                                                                                            \
    SPCONV_CLONES static void leaky_relu_gradient_##type(                                        \
        const real *restrict y, const real *restrict dy, real slope, real *restrict dx,          \
        int64_t count) {                                                                         \
        if (slope == 0) /* 0 * inf would be NaN */                                               \
            for (int64_t i = 0; i < count; ++i) dx[i] = y[i] > 0 ? dy[i] : 0;                    \
        else                                                                                     \
            for (int64_t i = 0; i < count; ++i) dx[i] = y[i] > 0 ? dy[i] : slope * dy[i];        \
    }

/* A well mixed 32-bit integer (Wellons 2018, "lowbias32"). */
static inline uint32_t mixed(uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

#define SPCONV_DROPOUT(real, type)                                                               \
    /* y[i] = scale * x[i] where a number drawn from (key, first + i) reaches the threshold, which \
     * may be 2^32. Compared in 32 bits: in 64 a vector holds half as many. */                   \
    SPCONV_CLONES static void dropout_##type(const real *restrict x, uint32_t key, uint32_t salt, \
                                             uint64_t threshold, real scale, int64_t first,      \
                                             int32_t count, real *restrict y) {                  \
        const uint32_t start = (uint32_t)first, least = (uint32_t)threshold;                     \
        salt += (uint32_t)((uint64_t)first >> 32) * 0x9e3779b9u; /* no block crosses 2^32 */     \
        if (threshold > UINT32_MAX) {                                                            \
            for (int32_t i = 0; i < count; ++i) y[i] = 0;                                        \
            return;                                                                              \
        }                                                                                        \
        for (int32_t i = 0; i < count; ++i) {                                                    \
            const uint32_t drawn = mixed(mixed((start + (uint32_t)i) ^ key) + salt);             \
            y[i] = drawn >= least ? x[i] * scale : (real)0;                                      \
        }                                                                                        \
    }
SPCONV_DROPOUT(float, f32)
SPCONV_DROPOUT(double, f64)
SPCONV_ROWS(float, f32)
SPCONV_ROWS(double, f64)
#endif
