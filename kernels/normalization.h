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
#include "select.h"

/* What a loop is compiled for: one for any slope takes longer than those for none and for ReLU. */
enum { SPCONV_PLAIN, SPCONV_RELU, SPCONV_LEAKY, SPCONV_DEVIATIONS, SPCONV_SQUARES };
#define SPCONV_BY_RECTIFIER(function, rectify, slope, ...)                                       \
    if (!(rectify)) function(SPCONV_PLAIN, 0, __VA_ARGS__);                                      \
    else if ((slope) == 0) function(SPCONV_RELU, 0, __VA_ARGS__);                                \
    else function(SPCONV_LEAKY, slope, __VA_ARGS__)

/* A row's terms in a sum and in a sum of products. */
typedef struct {
    double plain, product;
} two_terms;

SPCONV_FORCE_INLINE two_terms both_terms(two_terms a, two_terms b) {
    const two_terms sum = {a.plain + b.plain, a.product + b.product};
    return sum;
}

#define SPCONV_NORMALIZATION(real, type)                                                         \
    SPCONV_FORCE_INLINE void mean_rows_##type(const real *x, int64_t rows, int64_t channels,     \
                                              double *mean) {                                    \
        sum_rows_##type(x, rows, channels, mean);                                                \
        for (int64_t c = 0; c < channels; ++c) mean[c] /= (double)rows;                          \
    }                                                                                            \
    /* y = (x - mean) * scale + shift. */                                                        \
    SPCONV_FORCE_INLINE void normalize_row_##type(                                               \
        int kind, real slope, const real *restrict x, const real *restrict mean,                 \
        const real *restrict scale, const real *restrict shift, int64_t count, real *restrict y) {\
        for (int64_t c = 0; c < count; ++c) {                                                    \
            const real v = (x[c] - mean[c]) * scale[c] + shift[c];                               \
            y[c] = kind == SPCONV_PLAIN ? v : rectified_##type(v, slope);                        \
        }                                                                                        \
    }                                                                                            \
    SPCONV_FORCE_INLINE void normalize_kind_##type(                                              \
        int kind, real slope, const real *restrict x, const real *restrict mean,                 \
        const real *restrict scale, const real *restrict shift, int64_t rows, int64_t channels,  \
        real *restrict y) {                                                                      \
        const wide_rows wide = rows_as_wide(rows, channels);                                     \
        const int64_t width = wide.width;                                                        \
        real means[SPCONV_FOLD], scales[SPCONV_FOLD], shifts[SPCONV_FOLD];                       \
        mean = repeat_##type(mean, channels, wide.fold, means);                                  \
        scale = repeat_##type(scale, channels, wide.fold, scales);                               \
        shift = repeat_##type(shift, channels, wide.fold, shifts);                               \
        for (int64_t n = 0; n < wide.rows; ++n, x += width, y += width)                          \
            normalize_row_##type(kind, slope, x, mean, scale, shift, width, y);                  \
        normalize_row_##type(kind, slope, x, mean, scale, shift, wide.rest, y);                  \
    }                                                                                            \
    SPCONV_CLONES static void normalize_rows_##type(                                             \
        const real *x, const real *mean, const real *scale, const real *shift, int rectify,      \
        real slope, int64_t rows, int64_t channels, real *y) {                                   \
        SPCONV_BY_RECTIFIER(normalize_kind_##type, rectify, slope, x, mean, scale, shift, rows,  \
                            channels, y);                                                        \
    }                                                                                            \
    SPCONV_FORCE_INLINE real unrectified_##type(int kind, real slope, real y, real dy) {         \
        const real below = kind == SPCONV_RELU ? 0 : slope * dy; /* 0 * inf would be NaN */      \
        return kind == SPCONV_PLAIN ? dy : select_##type(y > 0, dy, below);                      \
    }                                                                                            \
    /* dy and dy * (x - mean), through the rectifier; or the deviation and its square. */        \
    SPCONV_FORCE_INLINE two_terms terms_##type(int kind, real slope, real dy, real x, real y,    \
                                               real mean) {                                      \
        if (kind < SPCONV_DEVIATIONS) {                                                          \
            const double d = (double)unrectified_##type(kind, slope, y, dy);                     \
            const two_terms terms = {d, (double)(x - mean) * d};                                 \
            return terms;                                                                        \
        } else {                                                                                 \
            const double d = (double)x - (double)mean;                                           \
            const two_terms terms = {d, d * d};                                                  \
            return terms;                                                                        \
        }                                                                                        \
    }                                                                                            \
    /* Totals of one row's terms, and of four rows'; of squares alone those. */                  \
    SPCONV_FORCE_INLINE void add_row_##type(                                                     \
        int kind, real slope, const real *restrict dy, const real *restrict x,                   \
        const real *restrict y, const real *restrict mean, int64_t count, double *restrict plain,\
        double *restrict products) {                                                             \
        for (int64_t c = 0; c < count; ++c) {                                                    \
            const two_terms one = terms_##type(kind, slope, dy[c], x[c], y[c], mean[c]);         \
            if (kind != SPCONV_SQUARES) plain[c] += one.plain;                                   \
            products[c] += one.product;                                                          \
        }                                                                                        \
    }                                                                                            \
    SPCONV_FORCE_INLINE void add_four_rows_##type(                                               \
        int kind, real slope, const real *restrict dy, const real *restrict x,                   \
        const real *restrict y, const real *restrict mean, int64_t width, double *restrict plain,\
        double *restrict products) {                                                             \
        for (int64_t c = 0; c < width; ++c) {                                                    \
            const int64_t i = width + c, j = 2 * width + c, k = 3 * width + c;                   \
            const two_terms four = both_terms(                                                   \
                both_terms(terms_##type(kind, slope, dy[c], x[c], y[c], mean[c]),                \
                           terms_##type(kind, slope, dy[i], x[i], y[i], mean[c])),               \
                both_terms(terms_##type(kind, slope, dy[j], x[j], y[j], mean[c]),                \
                           terms_##type(kind, slope, dy[k], x[k], y[k], mean[c])));              \
            if (kind != SPCONV_SQUARES) plain[c] += four.plain;                                  \
            products[c] += four.product;                                                         \
        }                                                                                        \
    }                                                                                            \
    SPCONV_FORCE_INLINE void sum_terms_##type(                                                   \
        int kind, real slope, const real *restrict dy, const real *restrict x,                   \
        const real *restrict y, const real *restrict mean, int64_t rows, int64_t channels,       \
        double *restrict plain, double *restrict products) {                                     \
        const wide_rows wide = rows_as_wide(rows, channels);                                     \
        const int64_t width = wide.width, step = 4 * width;                                      \
        real means[SPCONV_FOLD];                                                                 \
        double plain_sums[SPCONV_FOLD], product_sums[SPCONV_FOLD];                               \
        double *restrict first = wide.fold > 1 ? plain_sums : plain;                             \
        double *restrict second = wide.fold > 1 ? product_sums : products;                       \
        int64_t n = 0;                                                                           \
        mean = repeat_##type(mean, channels, wide.fold, means);                                  \
        for (int64_t c = 0; c < width; ++c) {                                                    \
            if (kind != SPCONV_SQUARES) first[c] = 0;                                            \
            second[c] = 0;                                                                       \
        }                                                                                        \
        for (; n + 4 <= wide.rows; n += 4, dy += step, x += step, y += step)                     \
            add_four_rows_##type(kind, slope, dy, x, y, mean, width, first, second);             \
        for (; n < wide.rows; ++n, dy += width, x += width, y += width)                          \
            add_row_##type(kind, slope, dy, x, y, mean, width, first, second);                   \
        add_row_##type(kind, slope, dy, x, y, mean, wide.rest, first, second);                   \
        if (wide.fold == 1) return;                                                              \
        if (kind != SPCONV_SQUARES) fold_sums(plain_sums, channels, wide.fold, plain);           \
        fold_sums(product_sums, channels, wide.fold, products);                                  \
    }                                                                                            \
    /* plain[c] = sum over rows of dy, centred[c] of dy * (x - mean), through the rectifier. */  \
    SPCONV_CLONES static void normalize_sums_##type(                                             \
        const real *dy, const real *x, const real *y, const real *mean, int rectify, real slope, \
        int64_t rows, int64_t channels, double *plain, double *centred) {                        \
        SPCONV_BY_RECTIFIER(sum_terms_##type, rectify, slope, dy, x, y, mean, rows, channels,    \
                            plain, centred);                                                     \
    }                                                                                            \
    /* dx = dy * scale + (shift + factor * (x - mean)), dy through the rectifier. */             \
    SPCONV_FORCE_INLINE void gradient_row_##type(                                                \
        int kind, real slope, const real *restrict dy, const real *restrict x,                   \
        const real *restrict y, const real *restrict mean, const real *restrict scale,           \
        const real *restrict shift, const real *restrict factor, int64_t count,                  \
        real *restrict dx) {                                                                     \
        for (int64_t c = 0; c < count; ++c)                                                      \
            dx[c] = unrectified_##type(kind, slope, y[c], dy[c]) * scale[c] +                    \
                    (factor[c] * (x[c] - mean[c]) + shift[c]);                                   \
    }                                                                                            \
    SPCONV_FORCE_INLINE void gradient_kind_##type(                                               \
        int kind, real slope, const real *restrict dy, const real *restrict x,                   \
        const real *restrict y, const real *restrict mean, const real *restrict scale,           \
        const real *restrict shift, const real *restrict factor, int64_t rows, int64_t channels, \
        real *restrict dx) {                                                                     \
        const wide_rows wide = rows_as_wide(rows, channels);                                     \
        const int64_t width = wide.width;                                                        \
        real means[SPCONV_FOLD], scales[SPCONV_FOLD], shifts[SPCONV_FOLD], factors[SPCONV_FOLD]; \
        mean = repeat_##type(mean, channels, wide.fold, means);                                  \
        scale = repeat_##type(scale, channels, wide.fold, scales);                               \
        shift = repeat_##type(shift, channels, wide.fold, shifts);                               \
        factor = repeat_##type(factor, channels, wide.fold, factors);                            \
        for (int64_t n = 0; n < wide.rows; ++n, dy += width, x += width, y += width, dx += width)\
            gradient_row_##type(kind, slope, dy, x, y, mean, scale, shift, factor, width, dx);   \
        gradient_row_##type(kind, slope, dy, x, y, mean, scale, shift, factor, wide.rest, dx);   \
    }                                                                                            \
    SPCONV_CLONES static void normalize_gradient_##type(                                         \
        const real *dy, const real *x, const real *y, const real *mean, const real *scale,       \
        const real *shift, const real *factor, int rectify, real slope, int64_t rows,            \
        int64_t channels, real *dx) {                                                            \
        SPCONV_BY_RECTIFIER(gradient_kind_##type, rectify, slope, dy, x, y, mean, scale, shift,  \
                            factor, rows, channels, dx);                                         \
    }
SPCONV_NORMALIZATION(float, f32)
SPCONV_NORMALIZATION(double, f64)

/* Mean of the rows and sum of squared deviations from it. In one pass, over the deviations from
 * the first row: as that is one of them, no more than log2(rows) bits of float64 cancel. */
SPCONV_CLONES static void mean_and_squares_f32(const float *x, int64_t rows, int64_t channels,
                                               double *mean, double *squares) {
    int finite = 1;
    sum_terms_f32(SPCONV_DEVIATIONS, 0, x, x, x, x, rows, channels, mean, squares);
    for (int64_t c = 0; c < channels; ++c) {
        const double sum = mean[c], offset = sum / (double)rows;
        mean[c] = x[c] + offset;
        squares[c] -= sum * offset;
        finite &= fabsf(x[c]) <= FLT_MAX;
    }
    if (!finite) mean_rows_f32(x, rows, channels, mean); /* inf, but inf - inf is NaN */
}
/* In two passes: float64 has no bits to spare. */
SPCONV_CLONES static void mean_and_squares_f64(const double *x, int64_t rows, int64_t channels,
                                               double *mean, double *squares) {
    mean_rows_f64(x, rows, channels, mean);
    sum_terms_f64(SPCONV_SQUARES, 0, x, x, x, mean, rows, channels, NULL, squares);
}
#endif
