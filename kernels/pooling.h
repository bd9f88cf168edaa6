/* Pooling over pair lists, row by row. */
#ifndef SPCONV_POOLING_H
#define SPCONV_POOLING_H
#include <stdint.h>
#include <string.h>

#include "clones.h"
#include "pairs.h"

#define SPCONV_POOLING(real, bits, type)                                                         \
    /* Selected by bits: at the end of a row, where no whole vector is left, a branch on whether a\
     * value is larger would be guessed wrong half of the time. */                               \
    SPCONV_FORCE_INLINE real select_##type(int take, real one, real other) {                     \
        bits a, b;                                                                               \
        const bits mask = 0 - (bits)take;                                                        \
        memcpy(&a, &one, sizeof a);                                                              \
        memcpy(&b, &other, sizeof b);                                                            \
        a = (a & mask) | (b & ~mask);                                                            \
        memcpy(&one, &a, sizeof a);                                                              \
        return one;                                                                              \
    }                                                                                            \
    /* y[out] = sum of x[in] over the pairs with output rows in [row_begin, row_end). */         \
    SPCONV_CLONES static void sum_tile_##type(                                                   \
        const real *x, const int32_t *in_rows, const int32_t *out_rows, const int64_t *starts,   \
        int64_t volume, real *y, int64_t channels, int64_t row_begin, int64_t row_end) {         \
        pair_cursors cursors;                                                                    \
        int32_t rows[SPCONV_CURSORS];                                                            \
        for (int64_t k = 0; k < volume; k += SPCONV_CURSORS) {                                   \
            start_cursors(&cursors, out_rows, in_rows, starts, volume, k, row_begin);            \
            for (int64_t n = row_begin; n < row_end; ++n) {                                      \
                const int taken = take_partners(&cursors, n, rows);                              \
                real *restrict target = y + n * channels;                                        \
                if (k == 0)                                                                      \
                    for (int64_t c = 0; c < channels; ++c) target[c] = 0;                        \
                for (int i = 0; i < taken; ++i) {                                                \
                    const real *restrict source = x + rows[i] * channels;                        \
                    for (int64_t c = 0; c < channels; ++c) target[c] += source[c];               \
                }                                                                                \
            }                                                                                    \
        }                                                                                        \
    }                                                                                            \
    /* y[out] = largest x[in], winner[out] = its row; 0 and -1 without any. A NaN wins. */       \
    SPCONV_CLONES static void max_tile_##type(                                                   \
        const real *x, const int32_t *in_rows, const int32_t *out_rows, const int64_t *starts,   \
        int64_t volume, real *y, int32_t *winner, int64_t channels, int64_t row_begin,           \
        int64_t row_end) {                                                                       \
        pair_cursors cursors;                                                                    \
        int32_t rows[SPCONV_CURSORS];                                                            \
        for (int64_t k = 0; k < volume; k += SPCONV_CURSORS) {                                   \
            start_cursors(&cursors, out_rows, in_rows, starts, volume, k, row_begin);            \
            for (int64_t n = row_begin; n < row_end; ++n) {                                      \
                const int taken = take_partners(&cursors, n, rows);                              \
                real *restrict target = y + n * channels;                                        \
                int32_t *restrict best = winner + n * channels;                                  \
                int i = 0;                                                                       \
                if (k == 0 || best[0] < 0) {                                                     \
                    const int32_t row = taken ? rows[0] : -1;                                    \
                    if (taken) memcpy(target, x + row * channels, channels * sizeof(real));      \
                    else memset(target, 0, channels * sizeof(real));                             \
                    for (int64_t c = 0; c < channels; ++c) best[c] = row;                        \
                    i = 1;                                                                       \
                }                                                                                \
                for (; i < taken; ++i) {                                                         \
                    const int32_t row = rows[i];                                                 \
                    const real *restrict source = x + row * channels;                            \
                    for (int64_t c = 0; c < channels; ++c) {                                     \
                        const real value = source[c], top = target[c];                           \
                        const int better = !(value <= top) & (top == top);                       \
                        target[c] = select_##type(better, value, top);                           \
                        best[c] = (row & -better) | (best[c] & (better - 1));                    \
                    }                                                                            \
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
                    target[c] += select_##type(best[c] == row, source[c], 0);                    \
            }                                                                                    \
        }                                                                                        \
    }
SPCONV_POOLING(float, uint32_t, f32)
SPCONV_POOLING(double, uint64_t, f64)
#endif
