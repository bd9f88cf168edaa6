/* The microkernels for one (REAL, instruction set); included by indirect_gemm.h.
 *
 * `rows` and `outer` hold a SPCONV_MR x SPCONV_NV block of vectors in registers. `rows` has one of
 * SPCONV_WIDE_MR x SPCONV_WIDE as well, which reads less for the same sums or leaves no single
 * vector over, and one of SPCONV_ONE_MR rows for a last vector of channels; `outer` has
 * SPCONV_OUTER_MR there. `held` is for one vector of channels and exactly SPCONV_HELD input
 * channels, or half of them: it reads their weights once for all rows.
 * The arguments mr, nv, channels and full are literals at every call, so that the loops unroll
 * completely.
 */
#include "vector.h"

#define WIDE (SPCONV_WIDE > SPCONV_NV ? SPCONV_WIDE : SPCONV_NV)
#define MOST_ROWS (SPCONV_ONE_MR > SPCONV_MR ? SPCONV_ONE_MR : SPCONV_MR)

/* Packed width of `cout` output channels. */
static int64_t NAME(packed_width)(int64_t cout) { return (cout + LANES - 1) / LANES * LANES; }

/* Vectors in the first block of so many output channels; the last one may be partial. */
static int NAME(block_vectors)(int64_t cout) {
    const int64_t vectors = (cout + LANES - 1) / LANES;
    if (SPCONV_TAKES_WIDE(vectors) && cout >= SPCONV_WIDE * LANES) return SPCONV_WIDE;
    return vectors < SPCONV_NV ? (int)vectors : SPCONV_NV;
}

/* w[c * row_stride + n * column_stride] -> panels [block of channels][c][channel], zero-padded. */
static SPCONV_TARGET void NAME(pack)(const REAL *w, int64_t row_stride, int64_t column_stride,
                                     int64_t cin, int64_t cout, REAL *packed) {
    int64_t panel;
    for (int64_t n0 = 0; n0 < cout; n0 += panel) {
        const int64_t left = cout - n0;
        panel = NAME(block_vectors)(left) * LANES;
        const int64_t filled = left < panel ? left : panel;
        for (int64_t c = 0; c < cin; ++c, packed += panel) {
            const REAL *row = w + c * row_stride + n0 * column_stride;
            int64_t n = 0;
            if (column_stride == 1)
                for (; n + LANES <= filled; n += LANES) NAME(store)(packed + n, NAME(load)(row + n));
            for (; n < filled; ++n) packed[n] = row[n * column_stride];
            for (; n < panel; ++n) packed[n] = 0;
        }
    }
}

/* Whether rows of so many values are worth to be fetched before their turn. */
#define SPCONV_WORTH(count) ((count) * (int64_t)sizeof(REAL) > 32)

/* Bring a row near: all lines of a short one, of others the line that the processor goes on from. */
SPCONV_INLINE void NAME(fetch)(const REAL *row, int64_t count) {
    const int64_t bytes = count * (int64_t)sizeof(REAL);
    SPCONV_PREFETCH(row);
    if (!SPCONV_WORTH(count) || bytes > 128) return;
    if (bytes > 64) SPCONV_PREFETCH(row + 64 / sizeof(REAL));
    SPCONV_PREFETCH(row + count - 1);
}

/* The first rows of a list whose turn is next. */
SPCONV_INLINE void NAME(fetch_rows)(const REAL *x, int64_t ldx, const int32_t *in, int64_t count,
                                    int64_t cin) {
    for (int64_t i = 0; i < count && i < SPCONV_AHEAD; ++i) NAME(fetch)(x + in[i] * ldx, cin);
}

/* y[out[r]] += x[in[r]] W for mr pairs and nv vectors of output channels. The products are summed on
 * their own first: to add each to what the offsets before have left rounds more. */
SPCONV_INLINE void NAME(rows)(const int mr, const int nv, const int full, int lanes, const REAL *x,
                              int64_t ldx, const REAL *panel, REAL *y, int64_t ldy,
                              const int32_t *in, const int32_t *out, int64_t cin) {
    VEC acc[MOST_ROWS][WIDE];
    const REAL *px[MOST_ROWS];
    SPCONV_UNROLL for (int r = 0; r < mr; ++r) {
        px[r] = x + in[r] * ldx;
        SPCONV_UNROLL for (int v = 0; v < nv; ++v) acc[r][v] = (VEC){0};
    }
    for (int64_t c = 0; c < cin; ++c) {
        VEC w[WIDE];
        SPCONV_UNROLL for (int v = 0; v < nv; ++v) w[v] = NAME(load)(panel + v * LANES);
        panel += nv * LANES;
        SPCONV_UNROLL for (int r = 0; r < mr; ++r) {
            SPCONV_OPAQUE(px[r]);
            const REAL a = px[r][c];
            SPCONV_UNROLL for (int v = 0; v < nv; ++v)
                acc[r][v] = NAME(multiply_add)(a, w[v], acc[r][v]);
        }
    }
    SPCONV_UNROLL for (int r = 0; r < mr; ++r) {
        REAL *row = y + out[r] * ldy;
        SPCONV_UNROLL for (int v = 0; v < nv; ++v) {
            REAL *sums = row + v * LANES;
            if (full || v < nv - 1) NAME(store)(sums, NAME(load)(sums) + acc[r][v]);
            else NAME(add_part)(sums, acc[r][v], lanes);
        }
    }
}

/* The same for one vector of output channels and `channels` weights that are in registers. */
SPCONV_INLINE void NAME(held)(const int mr, const int channels, const int full, int lanes,
                              const VEC *w, const REAL *const *x, REAL *const *y) {
    VEC acc[SPCONV_HELD_MR];
    const REAL *px[SPCONV_HELD_MR];
    SPCONV_UNROLL for (int r = 0; r < mr; ++r) {
        px[r] = x[r];
        acc[r] = (VEC){0};
    }
    SPCONV_UNROLL for (int c = 0; c < channels; ++c)
        SPCONV_UNROLL for (int r = 0; r < mr; ++r)
            acc[r] = NAME(multiply_add)(px[r][c], w[c], acc[r]);
    SPCONV_UNROLL for (int r = 0; r < mr; ++r) {
        if (full) NAME(store)(y[r], NAME(load)(y[r]) + acc[r]);
        else NAME(add_part)(y[r], acc[r], lanes);
    }
}

SPCONV_INLINE void NAME(held_block)(const int channels, const int full, int lanes, const REAL *x,
                                    int64_t ldx, const REAL *panel, REAL *y, int64_t ldy,
                                    const int32_t *in, const int32_t *out, int64_t count) {
    VEC w[SPCONV_HELD];
    const REAL *px[SPCONV_CHUNK];
    REAL *py[SPCONV_CHUNK];
    SPCONV_UNROLL for (int c = 0; c < channels; ++c) w[c] = NAME(load)(panel + c * LANES);
    for (int64_t begin = 0; begin < count; begin += SPCONV_CHUNK) {
        const int64_t left = count - begin, chunk = left < SPCONV_CHUNK ? left : SPCONV_CHUNK;
        int64_t p = 0;
        for (int64_t i = 0; i < chunk; ++i) {
            px[i] = x + in[begin + i] * ldx;
            py[i] = y + out[begin + i] * ldy;
        }
        for (; chunk - p >= SPCONV_HELD_MR; p += SPCONV_HELD_MR) {
            if (SPCONV_WORTH(channels) && p + SPCONV_AHEAD + 2 * SPCONV_HELD_MR <= chunk)
                SPCONV_UNROLL for (int r = 0; r < SPCONV_HELD_MR; ++r)
                    NAME(fetch)(px[p + SPCONV_AHEAD + SPCONV_HELD_MR + r], channels);
            NAME(held)(SPCONV_HELD_MR, channels, full, lanes, w, px + p, py + p);
        }
        for (; chunk - p >= 2; p += 2) NAME(held)(2, channels, full, lanes, w, px + p, py + p);
        if (p < chunk) NAME(held)(1, channels, full, lanes, w, px + p, py + p);
    }
}

/* dw[r][v] += sum over pairs of x[in][r] * dy[out][v] for mr x nv vectors of the weight. Of rows
 * that were gathered pair p is row p of both; of others so many, `known` and beyond the count, are
 * fetched before their turn. */
SPCONV_INLINE void NAME(outer)(const int gathered, const int mr, const int nv, const int full,
                               int lanes, const REAL *x, int64_t ldx, const REAL *dy, int64_t ldy,
                               const int32_t *in, const int32_t *out, int64_t count,
                               int64_t known, int64_t cin, REAL *dw, int64_t ldw) {
    const int ahead = nv == 1 ? SPCONV_FAR_AHEAD : SPCONV_AHEAD;
    VEC acc[SPCONV_OUTER_MR][SPCONV_NV];
    SPCONV_UNROLL for (int r = 0; r < mr; ++r)
        SPCONV_UNROLL for (int v = 0; v < nv; ++v) acc[r][v] = (VEC){0};
    for (int64_t p = 0; p < count; ++p) {
        if (!gathered && p + ahead < known) {
            NAME(fetch)(x + in[p + ahead] * ldx, cin);
            NAME(fetch)(dy + out[p + ahead] * ldy, nv * LANES);
        }
        const REAL *a = x + (gathered ? p : in[p]) * ldx;
        const REAL *b = dy + (gathered ? p : out[p]) * ldy;
        VEC d[SPCONV_NV];
        SPCONV_UNROLL for (int v = 0; v < nv; ++v)
            d[v] = full || v < nv - 1 ? NAME(load)(b + v * LANES)
                                      : NAME(load_part)(b + v * LANES, lanes);
        SPCONV_UNROLL for (int r = 0; r < mr; ++r)
            SPCONV_UNROLL for (int v = 0; v < nv; ++v)
                acc[r][v] = NAME(multiply_add)(a[r], d[v], acc[r][v]);
    }
    SPCONV_UNROLL for (int r = 0; r < mr; ++r) {
        REAL *row = dw + r * ldw;
        SPCONV_UNROLL for (int v = 0; v < nv; ++v) {
            if (full || v < nv - 1)
                NAME(store)(row + v * LANES, NAME(load)(row + v * LANES) + acc[r][v]);
            else
                NAME(add_part)(row + v * LANES, acc[r][v], lanes);
        }
    }
}

/* One block of output channels for any number of pairs. */
SPCONV_INLINE void NAME(forward_any)(const int nv, const int full, int lanes, const REAL *x,
                                     int64_t ldx, const REAL *panel, REAL *y, int64_t ldy,
                                     const int32_t *in, const int32_t *out, int64_t count,
                                     int64_t cin) {
    const int mr = nv == 1 ? SPCONV_ONE_MR : nv == SPCONV_WIDE ? SPCONV_WIDE_MR : SPCONV_MR;
    if (nv == 1 && cin == SPCONV_HELD)
        return NAME(held_block)(SPCONV_HELD, full, lanes, x, ldx, panel, y, ldy, in, out, count);
    if (nv == 1 && cin == SPCONV_HELD / 2)
        return NAME(held_block)(SPCONV_HELD / 2, full, lanes, x, ldx, panel, y, ldy, in, out, count);
    for (; count >= 2 * mr; count -= mr, in += mr, out += mr) {
        if (count >= 3 * mr)
            SPCONV_UNROLL for (int r = 0; r < mr; ++r) NAME(fetch)(x + in[2 * mr + r] * ldx, cin);
        NAME(rows)(mr, nv, full, lanes, x, ldx, panel, y, ldy, in, out, cin);
    }
    /* Two halves: few rows have too few sums under way. */
    for (int64_t some; count; count -= some, in += some, out += some) {
        some = count > mr ? (count + 1) / 2 : count;
        switch (some) {
#define SPCONV_CASE(m)                                                                            \
    case m:                                                                                       \
        if (m <= mr && m <= MOST_ROWS)                                                            \
            NAME(rows)(m <= MOST_ROWS ? m : 1, nv, full, lanes, x, ldx, panel, y, ldy, in, out,   \
                       cin);                                                                      \
        break;
            SPCONV_CASE(1) SPCONV_CASE(2) SPCONV_CASE(3) SPCONV_CASE(4) SPCONV_CASE(5)
            SPCONV_CASE(6) SPCONV_CASE(7) SPCONV_CASE(8) SPCONV_CASE(9) SPCONV_CASE(10)
            SPCONV_CASE(11) SPCONV_CASE(12)
#undef SPCONV_CASE
        }
    }
}

SPCONV_INLINE void NAME(outer_any)(const int gathered, const int nv, const int full, int lanes,
                                   const REAL *x, int64_t ldx, const REAL *dy, int64_t ldy,
                                   const int32_t *in, const int32_t *out, int64_t count,
                                   int64_t known, REAL *dw, int64_t ldw, int64_t cin) {
    const int mr = nv == 1 ? SPCONV_OUTER_MR : SPCONV_MR;
    /* Blocks of nearly one size: few rows have too few sums under way. */
    for (int64_t some, blocks = (cin + mr - 1) / mr; blocks; --blocks) {
        some = (cin + blocks - 1) / blocks;
        switch (some) {
#define SPCONV_CASE(m)                                                                            \
    case m:                                                                                       \
        if (m <= mr && m <= SPCONV_OUTER_MR)                                                      \
            NAME(outer)(gathered, m <= SPCONV_OUTER_MR ? m : 1, nv, full, lanes, x, ldx, dy, ldy, \
                        in, out, count, known, cin, dw, ldw);                                     \
        break;
            SPCONV_CASE(1) SPCONV_CASE(2) SPCONV_CASE(3) SPCONV_CASE(4) SPCONV_CASE(5)
            SPCONV_CASE(6) SPCONV_CASE(7) SPCONV_CASE(8) SPCONV_CASE(9) SPCONV_CASE(10)
            SPCONV_CASE(11) SPCONV_CASE(12) SPCONV_CASE(13) SPCONV_CASE(14) SPCONV_CASE(15)
            SPCONV_CASE(16)
#undef SPCONV_CASE
        }
        cin -= some, x += some, dw += some * ldw, known = 0;
    }
}

/* The blocks as functions of their own: inlined into one, they would share its registers. With
 * SPCONV_NV = 1 two of them have no caller and are not compiled. */
#define SPCONV_FORMS(f, body, PARAMETERS, ARGUMENTS)                                               \
    SPCONV_FORM(f, body, full, SPCONV_NV, 1, PARAMETERS, ARGUMENTS)                                \
    SPCONV_FORM(f, body, part, SPCONV_NV, 0, PARAMETERS, ARGUMENTS)                                \
    SPCONV_FORM(f, body, one, 1, 1, PARAMETERS, ARGUMENTS)                                         \
    SPCONV_FORM(f, body, one_part, 1, 0, PARAMETERS, ARGUMENTS)
#define SPCONV_FORM(f, body, form, nv, full, PARAMETERS, ARGUMENTS)                                \
    static SPCONV_NOINLINE SPCONV_TARGET void NAME(f##_##form) PARAMETERS {                        \
        NAME(body) ARGUMENTS(nv, full);                                                            \
    }
#define SPCONV_PARAMETERS                                                                          \
    (int lanes, const REAL *x, int64_t ldx, const REAL *panel, REAL *y, int64_t ldy,               \
     const int32_t *in, const int32_t *out, int64_t count, int64_t cin)
#define SPCONV_ARGUMENTS(nv, full) (nv, full, lanes, x, ldx, panel, y, ldy, in, out, count, cin)
SPCONV_FORMS(forward_block, forward_any, SPCONV_PARAMETERS, SPCONV_ARGUMENTS)
SPCONV_FORM(forward_block, forward_any, wide, WIDE, 1, SPCONV_PARAMETERS, SPCONV_ARGUMENTS)
#undef SPCONV_PARAMETERS
#undef SPCONV_ARGUMENTS
#define SPCONV_PARAMETERS                                                                          \
    (int lanes, const REAL *x, int64_t ldx, const REAL *dy, int64_t ldy, const int32_t *in,        \
     const int32_t *out, int64_t count, int64_t known, REAL *dw, int64_t ldw, int64_t cin)
#define SPCONV_ARGUMENTS(nv, full)                                                                 \
    (0, nv, full, lanes, x, ldx, dy, ldy, in, out, count, known, dw, ldw, cin)
SPCONV_FORMS(outer_block, outer_any, SPCONV_PARAMETERS, SPCONV_ARGUMENTS)
#undef SPCONV_ARGUMENTS
#define SPCONV_ARGUMENTS(nv, full)                                                                 \
    (1, nv, full, lanes, x, ldx, dy, ldy, in, out, count, known, dw, ldw, cin)
SPCONV_FORMS(gathered_block, outer_any, SPCONV_PARAMETERS, SPCONV_ARGUMENTS)
#undef SPCONV_PARAMETERS
#undef SPCONV_ARGUMENTS
#undef SPCONV_FORM
#undef SPCONV_FORMS

/* Calls the form of f for the first SPCONV_NV vectors of the channels that are left. */
#define SPCONV_BLOCK(f, left, ...)                                                                 \
    do {                                                                                           \
        const int lanes = (int)((left) % LANES);                                                   \
        if ((left) >= SPCONV_NV * LANES) NAME(f##_full)(0, __VA_ARGS__);                           \
        else if (SPCONV_NV > 1 && (left) > LANES && lanes) NAME(f##_part)(lanes, __VA_ARGS__);     \
        else if (SPCONV_NV == 1 || lanes) NAME(f##_one_part)(lanes, __VA_ARGS__);                  \
        else NAME(f##_one)(0, __VA_ARGS__);                                                        \
    } while (0)

/* What the sums of some rows start from: init + residual, of which either may be missing. */
SPCONV_INLINE void NAME(start_rows)(REAL *y, const REAL *init, const REAL *residual, int64_t ldy,
                                    int64_t cout, int64_t rows) {
    if (!init && !residual && cout == ldy) {
        memset(y, 0, rows * cout * sizeof(REAL));
        return;
    }
    for (int64_t row = 0; row < rows; ++row) {
        const REAL *more = residual ? residual + row * ldy : NULL;
        REAL *start = y + row * ldy;
        int64_t n = 0;
        for (; n + LANES <= cout; n += LANES) {
            VEC sums = {0};
            if (more) sums = NAME(load)(more + n);
            if (init && more) sums = NAME(load)(init + n) + sums;
            else if (init) sums = NAME(load)(init + n);
            NAME(store)(start + n, sums);
        }
        for (; n < cout; ++n)
            start[n] = !more ? init ? init[n] : 0 : init ? init[n] + more[n] : more[n];
    }
}

/* All pairs with output rows in [row_begin, row_end): every output is summed over the offsets in
 * order, and within each over the channels in order, whatever the tiles. Of `tile_rows` rows, which
 * fit into a near cache, all offsets are done before the next; `cursors` (volume) tells where they
 * begin. */
static SPCONV_TARGET void NAME(forward_range)(
    const REAL *x, int64_t ldx, const REAL *packed, const REAL *init, const REAL *residual,
    REAL *y, int64_t ldy, const int32_t *in_rows, const int32_t *out_rows, const int64_t *starts,
    int64_t volume, int64_t cin, int64_t cout, int64_t row_begin, int64_t row_end,
    int64_t tile_rows, int64_t *cursors, int rectify, REAL slope) {
    const int64_t width = NAME(packed_width)(cout);
    for (int64_t k = 0; k < volume; ++k)
        cursors[k] = lower_bound(out_rows, starts[k], starts[k + 1], row_begin);
    for (int64_t tile = row_begin; tile < row_end; tile += tile_rows) {
        const int64_t tile_end = tile + tile_rows < row_end ? tile + tile_rows : row_end;
        NAME(start_rows)(y + tile * ldy, init, residual ? residual + tile * ldy : NULL, ldy, cout,
                         tile_end - tile);
        for (int64_t k = 0; k < volume; ++k) {
            const int64_t begin = cursors[k];
            const int64_t end = next_bound(out_rows, begin, starts[k + 1], tile_end);
            const REAL *panels = packed + k * cin * width;
            const int64_t after = k + 1 < volume ? k + 1 : 0;
            int64_t vectors;
            cursors[k] = end;
            NAME(fetch_rows)(x, ldx, in_rows + cursors[after], starts[after + 1] - cursors[after],
                             cin);
            for (int64_t n = 0; n < cout; n += vectors * LANES) {
                const REAL *panel = panels + cin * n;
                vectors = NAME(block_vectors)(cout - n);
                if (SPCONV_WIDE && vectors > SPCONV_NV)
                    NAME(forward_block_wide)(0, x, ldx, panel, y + n, ldy, in_rows + begin,
                                             out_rows + begin, end - begin, cin);
                else
                    SPCONV_BLOCK(forward_block, cout - n, x, ldx, panel, y + n, ldy,
                                 in_rows + begin, out_rows + begin, end - begin, cin);
            }
        }
        if (!rectify) continue;
        for (int64_t row = tile; row < tile_end; ++row)
            for (int64_t n = 0; n < cout; ++n)
                y[row * ldy + n] = RECTIFIED(y[row * ldy + n], slope);
    }
}

SPCONV_INLINE void NAME(copy_row)(REAL *y, const REAL *x, int64_t count) {
    int64_t c = 0;
    for (; c + LANES <= count; c += LANES) NAME(store)(y + c, NAME(load)(x + c));
    for (; c < count; ++c) y[c] = x[c];
}

/* dw[k] (cin x cout) += the products of the offsets in [k_begin, k_end) and of the output rows in
 * [row_begin, row_end).
 *
 * Tiles of output rows are outermost, so that rows are fetched once for all offsets. Each chunk of
 * pairs is summed on its own first, which keeps rounding errors small; neither tiles nor chunks
 * depend on how the offsets are shared out. With a scratch for a chunk of both rows, a chunk is
 * gathered into it first. */
static SPCONV_TARGET void NAME(weight_gradient)(
    const REAL *x, int64_t ldx, const REAL *dy, int64_t ldy, const int32_t *in_rows,
    const int32_t *out_rows, const int64_t *starts, int64_t k_begin, int64_t k_end,
    int64_t row_begin, int64_t row_end, int64_t tile_rows, int64_t chunk, REAL *dw,
    int64_t offset_stride, int64_t ldw, int64_t cin, int64_t cout, REAL *scratch) {
    const int64_t stride_x = gathered_stride(cin, sizeof(REAL));
    const int64_t stride_y = gathered_stride(cout, sizeof(REAL));
    REAL *xs = scratch, *ys = scratch ? scratch + chunk * stride_x : NULL;
    for (int64_t row = row_begin; row < row_end; row += tile_rows) {
        const int64_t tile_end = row + tile_rows < row_end ? row + tile_rows : row_end;
        for (int64_t k = k_begin; k < k_end; ++k) {
            int64_t begin = lower_bound(out_rows, starts[k], starts[k + 1], row);
            const int64_t end = next_bound(out_rows, begin, starts[k + 1], tile_end);
            REAL *dwk = dw + k * offset_stride;
            for (; begin < end; begin += chunk) {
                const int64_t count = end - begin < chunk ? end - begin : chunk;
                const int32_t *in = in_rows + begin, *out = out_rows + begin;
                for (int64_t i = 0; scratch && i < count; ++i) {
                    NAME(copy_row)(xs + i * stride_x, x + in[i] * ldx, cin);
                    NAME(copy_row)(ys + i * stride_y, dy + out[i] * ldy, cout);
                }
                for (int64_t n = 0; n < cout; n += SPCONV_NV * LANES) {
                    if (scratch)
                        SPCONV_BLOCK(gathered_block, cout - n, xs, stride_x, ys + n, stride_y,
                                     NULL, NULL, count, 0, dwk + n, ldw, cin);
                    else
                        SPCONV_BLOCK(outer_block, cout - n, x, ldx, dy + n, ldy, in, out, count,
                                     n || !SPCONV_WORTH(cin) ? 0 : end - begin, dwk + n, ldw, cin);
                }
            }
        }
    }
}
#undef SPCONV_BLOCK
#undef SPCONV_WORTH
#undef MOST_ROWS
#undef WIDE
