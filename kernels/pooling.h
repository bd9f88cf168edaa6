/* Pooling over pair lists, row by row. */
#ifndef SPCONV_POOLING_H
#define SPCONV_POOLING_H
#include <stdint.h>
#include <string.h>

#include "clones.h"
#include "pairs.h"
#include "select.h"

/* Not to be unrolled ahead of vectorization, which would then not find the loop. */
#if defined(__GNUC__)
#define SPCONV_WHOLE _Pragma("GCC unroll 1")
#else
#define SPCONV_WHOLE
#endif

/* Channels from which on a row is long, and how many windows are fetched before their turn. */
enum { SPCONV_WIDE_ROW = 48, SPCONV_WINDOWS_AHEAD = 3 };

#define SPCONV_GRADIENT(function, channels)                                                      \
    function(dy, winner, out_rows, in_rows, starts, volume, dx, channels, row_begin, row_end)

#define SPCONV_POOLING(real, type)                                                               \
    /* The rows of the windows that are a few ahead: processors do not guess them. */            \
    SPCONV_FORCE_INLINE void fetch_window_##type(const real *x, const int32_t *rows, int taken,  \
                                                 int64_t channels) {                             \
        for (int i = 0; i < taken; ++i)                                                          \
            for (int64_t c = 0; c < channels; c += 64 / (int64_t)sizeof(real))                   \
                SPCONV_PREFETCH(x + rows[i] * channels + c);                                     \
    }                                                                                            \
    /* y[out] = sum of x[in] over the pairs with output rows in [row_begin, row_end). */         \
    SPCONV_CLONES static void sum_tile_##type(                                                   \
        const real *x, const int32_t *in_rows, const int32_t *out_rows, const int64_t *starts,   \
        int64_t volume, real *y, int64_t channels, int64_t row_begin, int64_t row_end) {         \
        partner_table table;                                                                     \
        for (int64_t k = 0; k < volume; k += SPCONV_OFFSETS) {                                   \
            start_table(&table, out_rows, in_rows, starts, volume, k, row_begin);                \
            for (int64_t n = row_begin, end; n < row_end; n = end) {                             \
                const int64_t first = n;                                                         \
                end = first + fill_table(&table, first, row_end);                                \
                for (; n < end; ++n) {                                                           \
                    const int64_t here = n - first, next = here + SPCONV_WINDOWS_AHEAD;          \
                    const int32_t *rows = table.of_row[here];                                    \
                    if (channels >= SPCONV_WIDE_ROW && first + next < end)                       \
                        fetch_window_##type(x, table.of_row[next], table.count[next], channels); \
                    real *restrict target = y + n * channels;                                    \
                    if (k == 0)                                                                  \
                        for (int64_t c = 0; c < channels; ++c) target[c] = 0;                    \
                    for (int i = 0; i < table.count[here]; ++i) {                                \
                        const real *restrict source = x + rows[i] * channels;                    \
                        for (int64_t c = 0; c < channels; ++c) target[c] += source[c];           \
                    }                                                                            \
                }                                                                                \
            }                                                                                    \
        }                                                                                        \
    }                                                                                            \
    /* One more value of a window. A NaN wins; of equal values, and of two NaN, the first. */    \
    SPCONV_FORCE_INLINE void take_larger_##type(real value, int32_t row, real *top,              \
                                                int32_t *best) {                                 \
        const int better = !(value <= *top) & (*top == *top);                                    \
        *top = select_##type(better, value, *top);                                               \
        *best = (row & -better) | (*best & (better - 1));                                        \
    }                                                                                            \
    /* Four rows at once, so that what is largest stays in registers. */                         \
    SPCONV_FORCE_INLINE void max_four_##type(int fresh, const real *x, const int32_t *rows,      \
                                             int64_t channels, real *restrict target,            \
                                             int32_t *restrict best) {                           \
        const int32_t r0 = rows[0], r1 = rows[1], r2 = rows[2], r3 = rows[3];                    \
        const real *restrict x0 = x + r0 * channels, *restrict x1 = x + r1 * channels;           \
        const real *restrict x2 = x + r2 * channels, *restrict x3 = x + r3 * channels;           \
        for (int64_t c = 0; c < channels; ++c) {                                                 \
            real top = fresh ? x0[c] : target[c];                                                \
            int32_t row = fresh ? r0 : best[c];                                                  \
            if (!fresh) take_larger_##type(x0[c], r0, &top, &row);                               \
            take_larger_##type(x1[c], r1, &top, &row);                                           \
            take_larger_##type(x2[c], r2, &top, &row);                                           \
            take_larger_##type(x3[c], r3, &top, &row);                                           \
            target[c] = top;                                                                     \
            best[c] = row;                                                                       \
        }                                                                                        \
    }                                                                                            \
    SPCONV_FORCE_INLINE void max_row_##type(int fresh, const real *x, int32_t *rows, int taken,  \
                                            int64_t channels, real *restrict target,             \
                                            int32_t *restrict best) {                            \
        if (fresh && !taken)                                                                     \
            for (int64_t c = 0; c < channels; ++c) target[c] = 0, best[c] = -1;                  \
        /* What took part once changes nothing a second time. */                                 \
        for (int i = taken; i % 4; ++i) rows[i] = rows[0];                                       \
        for (int i = 0; i < taken; i += 4)                                                       \
            if (fresh && i == 0) max_four_##type(1, x, rows, channels, target, best);            \
            else max_four_##type(0, x, rows + i, channels, target, best);                        \
    }                                                                                            \
    /* y[out] = largest x[in], winner[out] = its row; 0 and -1 without any. A NaN wins. */       \
    SPCONV_CLONES static void max_tile_##type(                                                   \
        const real *x, const int32_t *in_rows, const int32_t *out_rows, const int64_t *starts,   \
        int64_t volume, real *y, int32_t *winner, int64_t channels, int64_t row_begin,           \
        int64_t row_end) {                                                                       \
        partner_table table;                                                                     \
        for (int64_t k = 0; k < volume; k += SPCONV_OFFSETS) {                                   \
            start_table(&table, out_rows, in_rows, starts, volume, k, row_begin);                \
            for (int64_t n = row_begin, end; n < row_end; n = end) {                             \
                const int64_t first = n;                                                         \
                end = first + fill_table(&table, first, row_end);                                \
                for (; n < end; ++n) {                                                           \
                    const int64_t here = n - first, next = here + SPCONV_WINDOWS_AHEAD;          \
                    int32_t *best = winner + n * channels;                                       \
                    if (channels >= SPCONV_WIDE_ROW && first + next < end)                       \
                        fetch_window_##type(x, table.of_row[next], table.count[next], channels); \
                    max_row_##type(k == 0 || best[0] < 0, x, table.of_row[here],                 \
                                   table.count[here], channels, y + n * channels, best);         \
                }                                                                                \
            }                                                                                    \
        }                                                                                        \
    }                                                                                            \
    /* Where a window holds an inactive site, the ground state takes part: winner -1. */         \
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
    SPCONV_FORCE_INLINE void add_won_##type(int fresh, const real *restrict dy,                  \
                                            const int32_t *restrict winner, int32_t row,         \
                                            int64_t channels, real *restrict target) {           \
        SPCONV_WHOLE                                                                             \
        for (int64_t c = 0; c < channels; ++c) {                                                 \
            const real sum = fresh ? 0 : target[c]; /* 0 + -0 is 0, whoever comes first */       \
            target[c] = sum + select_##type(winner[c] == row, dy[c], 0);                         \
        }                                                                                        \
    }                                                                                            \
    /* Offset by offset: a short row takes less time than to look up its windows. */             \
    SPCONV_FORCE_INLINE void gradient_of_offsets_##type(                                         \
        const real *dy, const int32_t *winner, const int32_t *out_rows, const int32_t *in_rows,  \
        const int64_t *starts, int64_t volume, real *dx, int64_t channels, int64_t row_begin,    \
        int64_t row_end) {                                                                       \
        for (int64_t i = row_begin * channels; i < row_end * channels; ++i) dx[i] = 0;           \
        for (int64_t k = 0; k < volume; ++k) {                                                   \
            int64_t p = lower_bound(in_rows, starts[k], starts[k + 1], row_begin);               \
            for (; p < starts[k + 1] && in_rows[p] < row_end; ++p)                               \
                add_won_##type(0, dy + out_rows[p] * channels, winner + out_rows[p] * channels,  \
                               in_rows[p], channels, dx + in_rows[p] * channels);                \
        }                                                                                        \
    }                                                                                            \
    /* Row by row: a long row is written once, not set to zero and added to. */                  \
    SPCONV_FORCE_INLINE void gradient_of_rows_##type(                                            \
        const real *dy, const int32_t *winner, const int32_t *out_rows, const int32_t *in_rows,  \
        const int64_t *starts, int64_t volume, real *dx, int64_t channels, int64_t row_begin,    \
        int64_t row_end) {                                                                       \
        partner_table table;                                                                     \
        for (int64_t k = 0; k < volume; k += SPCONV_OFFSETS) {                                   \
            start_table(&table, in_rows, out_rows, starts, volume, k, row_begin);                \
            for (int64_t n = row_begin, end; n < row_end; n = end) {                             \
                const int64_t first = n;                                                         \
                end = first + fill_table(&table, first, row_end);                                \
                for (; n < end; ++n) {                                                           \
                    const int32_t *windows = table.of_row[n - first];                            \
                    const int count = table.count[n - first];                                    \
                    real *restrict target = dx + n * channels;                                   \
                    if (k == 0 && count == 0)                                                    \
                        for (int64_t c = 0; c < channels; ++c) target[c] = 0;                    \
                    for (int i = 0; i < count; ++i) {                                            \
                        const int64_t window = windows[i] * channels;                            \
                        if (k == 0 && i == 0)                                                    \
                            add_won_##type(1, dy + window, winner + window, (int32_t)n, channels,\
                                           target);                                              \
                        else                                                                     \
                            add_won_##type(0, dy + window, winner + window, (int32_t)n, channels,\
                                           target);                                              \
                    }                                                                            \
                }                                                                                \
            }                                                                                    \
        }                                                                                        \
    }                                                                                            \
    /* dx[in] = sum of dy[out] where winner[out] is in, over pairs sorted by in. */              \
    SPCONV_CLONES static void max_gradient_tile_##type(                                          \
        const real *dy, const int32_t *winner, const int32_t *out_rows, const int32_t *in_rows,  \
        const int64_t *starts, int64_t volume, real *dx, int64_t channels, int64_t row_begin,    \
        int64_t row_end) {                                                                       \
        /* Where the compiler knows how long a row is, no end of it is looked for. */            \
        if (channels == 8) SPCONV_GRADIENT(gradient_of_offsets_##type, 8);                       \
        else if (channels == 16) SPCONV_GRADIENT(gradient_of_offsets_##type, 16);                \
        else if (channels == 24) SPCONV_GRADIENT(gradient_of_offsets_##type, 24);                \
        else if (channels == 32) SPCONV_GRADIENT(gradient_of_offsets_##type, 32);                \
        else if (channels < SPCONV_WIDE_ROW)                                                     \
            SPCONV_GRADIENT(gradient_of_offsets_##type, channels);                               \
        else SPCONV_GRADIENT(gradient_of_rows_##type, channels);                                 \
    }
SPCONV_POOLING(float, f32)
SPCONV_POOLING(double, f64)
#endif
