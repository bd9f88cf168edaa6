/* Indirect GEMM on the tiles of AMX: y[out] += x[in] W over lists of (in, out) rows, in float32.
 *
 * Rows and weights are split into bfloat16 parts once (amx_split.h). Of 32 pairs at a time the
 * parts of the input rows are gathered into tiles, up to AMX_STRIP chunks of 32 channels; their
 * products with two blocks of 16 output channels are summed in four tiles and added to the rows of
 * y. Every output is summed over the offsets in order, over the strips in order and over the
 * channels of a strip in the order of the instruction, whatever the threads and the place of its
 * pairs in a tile.
 *
 * With P parts, D = P (P + 1) / 2 products of parts, and S the sum of |x| |w| over the pairs and
 * channels of an output (K pairs, C channels), its error is at most
 *     (R + (20 + 4 D + K ceil(C / 128)) 2^-24) S (1 + 2^-5)
 *     + 2^-126 (1 + 2^-5) (sum of |x| + sum of |w| + 34 D K ceil(C / 32)).
 * The first line is what parts and products left out amount to, R = 2^-7, 3 * 2^-16, 2^-23 for one
 * to three parts, and the rounding of sums; the second one that the unit takes numbers below 2^-126
 * for zero. Sums beyond the largest number are infinite, the partial ones too. Outputs that an
 * infinity or a NaN reaches are infinite or NaN, more often NaN than in float32: the later parts of
 * a weight may be 0 or of the other sign.
 */
#ifndef SPCONV_AMX_GEMM_H
#define SPCONV_AMX_GEMM_H
#include "amx_split.h"
#include "pairs.h"
#include "rectifier.h"

typedef struct {
    const float *x, *w, *init, *residual; /* the last two may be missing */
    float *y;
    const int32_t *in_rows, *out_rows;
    const int64_t *starts;
    int64_t num_in, num_out, volume, groups;
    int64_t cin, cout; /* of one group */
    int64_t w_offset, w_group, w_row, w_column; /* strides of the weight */
    uint16_t *rows, *tiles; /* room for the parts of x and w */
    int64_t range_rows;
    int parts, rectify, num_threads;
    float slope;
} amx_convolution;

/* Numbers of the parts of one row of x, and of the weight. */
static inline int64_t amx_row_size(const amx_convolution *c) {
    return c->groups * amx_chunks(c->cin) * c->parts * AMX_LINE;
}
static inline int64_t amx_weight_size(const amx_convolution *c) {
    return amx_blocks(c->cout) * amx_chunks(c->cin) * c->parts * AMX_TILE;
}

#ifdef SPCONV_AMX
enum { AMX_STRIP = 4 }; /* chunks: the tiles of 32 rows fill half a first-level cache at most */
enum { AMX_PRODUCTS = AMX_MAX_PARTS * (AMX_MAX_PARTS + 1) / 2 };

#define SPCONV_PASTE3(a, b, c) a##_##b##_##c
#define SPCONV_PASTE(a, b, c) SPCONV_PASTE3(a, b, c)
#define NAME(function) SPCONV_PASTE(function, TYPE, ISA)
#define ISA amx
#define TYPE f32
#define REAL float
#define SPCONV_BYTES 64
#include "vector.h"

/* Lines of up to 32 rows -> tiles [line][half of the rows]; zeros where there is no row. */
SPCONV_INLINE void amx_gather(const uint16_t *rows, int64_t row_size, const int32_t *in,
                              int64_t count, int64_t lines, uint16_t *tiles) {
    const int64_t places = count > AMX_COLUMNS ? 2 * AMX_COLUMNS : AMX_COLUMNS;
    for (int64_t r = 0; r < places; ++r) {
        uint16_t *target = tiles + r / AMX_COLUMNS * AMX_TILE + r % AMX_COLUMNS * AMX_LINE;
        const uint16_t *row = r < count ? rows + in[r] * row_size : 0;
        for (int64_t line = 0; line < lines; ++line, target += 2 * AMX_TILE) {
            if (row) memcpy(target, row + line * AMX_LINE, AMX_LINE * sizeof *row);
            else memset(target, 0, AMX_LINE * sizeof *row);
        }
    }
}

/* Parts of a and b to multiply, for one to three parts: each product shares a part, which stays in
 * its tiles, with the one before. */
static const uint8_t amx_order[AMX_MAX_PARTS][AMX_PRODUCTS][2] = {
    {{0, 0}},
    {{1, 0}, {0, 0}, {0, 1}},
    {{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}},
};

/* sums [block of columns][half of the rows] = tiles a times one or two blocks of weights b. */
SPCONV_INLINE void amx_multiply(const uint16_t *a, const uint16_t *b, int64_t block_size,
                                int64_t chunks, int parts, int two_halves, int two_blocks,
                                float (*sums)[AMX_COLUMNS * AMX_COLUMNS]) {
    const uint8_t(*order)[2] = amx_order[parts - 1];
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        for (int i = 0; i < parts * (parts + 1) / 2; ++i) {
            if (!i || order[i][0] != order[i - 1][0]) {
                const uint16_t *left = a + order[i][0] * 2 * AMX_TILE;
                tile_load(4, left, 64);
                if (two_halves) tile_load(5, left + AMX_TILE, 64);
            }
            if (!i || order[i][1] != order[i - 1][1]) {
                const uint16_t *right = b + order[i][1] * AMX_TILE;
                tile_load(6, right, 64);
                if (two_blocks) tile_load(7, right + block_size, 64);
            }
            tile_dot(0, 4, 6);
            if (two_halves) tile_dot(1, 5, 6);
            if (two_blocks) tile_dot(2, 4, 7);
            if (two_halves && two_blocks) tile_dot(3, 5, 7);
        }
        a += parts * 2 * AMX_TILE;
        b += parts * AMX_TILE;
    }
    tile_store(0, sums[0], 64);
    if (two_halves) tile_store(1, sums[1], 64);
    if (two_blocks) tile_store(2, sums[2], 64);
    if (two_halves && two_blocks) tile_store(3, sums[3], 64);
}

/* y[out[r]] += row r of sums for up to 16 channels. */
SPCONV_INLINE void amx_add(float *y, int64_t ldy, const int32_t *out, int64_t count, int64_t channels,
                           const float *sums) {
    for (int64_t r = 0; r < count; ++r, sums += AMX_COLUMNS) {
        float *row = y + out[r] * ldy;
        if (channels >= AMX_COLUMNS) NAME(store)(row, NAME(load)(row) + NAME(load)(sums));
        else {
            const int lanes = (int)channels;
            NAME(store_part)(row, NAME(load_part)(row, lanes) + NAME(load)(sums), lanes);
        }
    }
}

/* Up to 32 pairs of one offset; `y` is the first channel of the group. */
static SPCONV_TARGET void amx_pairs(const amx_convolution *c, const uint16_t *rows,
                                    const uint16_t *weight, float *y, const int32_t *in,
                                    const int32_t *out, int64_t count) {
    uint16_t tiles[2 * AMX_STRIP * AMX_MAX_PARTS * AMX_TILE] __attribute__((aligned(64)));
    float sums[4][AMX_COLUMNS * AMX_COLUMNS] __attribute__((aligned(64)));
    const int64_t chunks = amx_chunks(c->cin), line = c->parts * AMX_LINE, ldy = c->groups * c->cout;
    const int64_t block_size = chunks * c->parts * AMX_TILE, half = AMX_COLUMNS;
    const int two_halves = count > half;
    for (int64_t chunk = 0; chunk < chunks; chunk += AMX_STRIP) {
        const int64_t some = chunks - chunk < AMX_STRIP ? chunks - chunk : AMX_STRIP;
        const uint16_t *right = weight + chunk * c->parts * AMX_TILE;
        amx_gather(rows + chunk * line, amx_row_size(c), in, count, some * c->parts, tiles);
        for (int64_t n = 0; n < c->cout; n += 2 * AMX_COLUMNS, right += 2 * block_size) {
            const int two_blocks = c->cout - n > AMX_COLUMNS;
            amx_multiply(tiles, right, block_size, some, c->parts, two_halves, two_blocks, sums);
            for (int block = 0; block <= two_blocks; ++block) {
                const int64_t column = n + block * AMX_COLUMNS, left = c->cout - column;
                amx_add(y + column, ldy, out, two_halves ? half : count, left, sums[2 * block]);
                if (two_halves)
                    amx_add(y + column, ldy, out + half, count - half, left, sums[2 * block + 1]);
            }
        }
    }
}

static SPCONV_TARGET void amx_start(const amx_convolution *c, int64_t begin, int64_t end) {
    const int64_t width = c->groups * c->cout;
    for (int64_t row = begin; row < end; ++row) {
        float *y = c->y + row * width;
        const float *residual = c->residual ? c->residual + row * width : 0;
        if (!residual)
            for (int64_t n = 0; n < width; ++n) y[n] = c->init ? c->init[n] : 0;
        else
            for (int64_t n = 0; n < width; ++n) y[n] = c->init ? c->init[n] + residual[n] : residual[n];
    }
}

static SPCONV_TARGET void amx_rectify(float *y, int64_t count, float slope) {
    for (int64_t i = 0; i < count; ++i) y[i] = rectified_f32(y[i], slope);
}

/* All pairs with output rows in [begin, end). */
static SPCONV_TARGET void amx_range(const amx_convolution *c, int64_t begin, int64_t end) {
    const int64_t width = c->groups * c->cout, row_size = amx_row_size(c) / c->groups;
    const int64_t size = amx_weight_size(c);
    tile_shapes shapes = {.palette = 1};
    for (int tile = 0; tile < 8; ++tile) shapes.rows[tile] = 16, shapes.row_bytes[tile] = 64;
    amx_start(c, begin, end);
    tile_config(&shapes);
    for (int64_t group = 0; group < c->groups; ++group)
        for (int64_t k = 0; k < c->volume; ++k) {
            int64_t pair = lower_bound(c->out_rows, c->starts[k], c->starts[k + 1], begin);
            const int64_t last = lower_bound(c->out_rows, pair, c->starts[k + 1], end);
            for (int64_t some; pair < last; pair += some) {
                some = last - pair < 2 * AMX_COLUMNS ? last - pair : 2 * AMX_COLUMNS;
                amx_pairs(c, c->rows + group * row_size, c->tiles + (group * c->volume + k) * size,
                          c->y + group * c->cout, c->in_rows + pair, c->out_rows + pair, some);
            }
        }
    tile_release();
    if (c->rectify) amx_rectify(c->y + begin * width, (end - begin) * width, c->slope);
}

#ifdef _OPENMP
#define SPCONV_PARALLEL(schedule) _Pragma(schedule)
#else
#define SPCONV_PARALLEL(schedule)
#endif

/* y = init + residual + sum over the pairs of every offset, rectified if asked for. */
static void amx_convolve(const amx_convolution *c) {
    const int64_t row_size = amx_row_size(c), weight_size = amx_weight_size(c);
    const int64_t group_size = row_size / c->groups;
    const int64_t ranges = (c->num_out + c->range_rows - 1) / c->range_rows;
    SPCONV_PARALLEL("omp parallel for schedule(static) num_threads(c->num_threads)")
    for (int64_t row = 0; row < c->num_in; ++row)
        for (int64_t group = 0; group < c->groups; ++group)
            split_row(c->x + (row * c->groups + group) * c->cin, c->cin, c->parts,
                      c->rows + row * row_size + group * group_size);
    SPCONV_PARALLEL("omp parallel for schedule(static) num_threads(c->num_threads)")
    for (int64_t task = 0; task < c->groups * c->volume; ++task)
        split_weight(c->w + task / c->volume * c->w_group + task % c->volume * c->w_offset, c->w_row,
                     c->w_column, c->cin, c->cout, c->parts, c->tiles + task * weight_size);
    SPCONV_PARALLEL("omp parallel for schedule(dynamic) num_threads(c->num_threads)")
    for (int64_t part = 0; part < ranges; ++part) {
        const int64_t begin = part * c->range_rows, end = begin + c->range_rows;
        amx_range(c, begin, end < c->num_out ? end : c->num_out);
    }
}
#else
static void amx_convolve(const amx_convolution *c) { (void)c; } /* nobody calls it: amx_state */
#endif
#endif
