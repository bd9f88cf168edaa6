/* Indirect GEMM on the tiles of AMX: y[out] += x[in] W over lists of (in, out) rows, in float32.
 *
 * The weights are split into bfloat16 parts once, the input rows whenever a pair needs them
 * (amx_split.h): 32 pairs at a time, and up to AMX_STRIP chunks of 32 of their channels. Products
 * with two blocks of 16 output channels are summed in four tiles and added to the rows of y, and
 * while the tile unit multiplies, the rows of the next pairs are split and the last sums added
 * (amx_feed.h). Every output is summed over the offsets in order, over the strips in order and over
 * the channels of a strip in the order of the instruction, whatever the threads and the place of
 * its pairs in a tile.
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
#include "amx_feed.h"
#include "pairs.h"
#include "rectifier.h"

typedef struct {
    const float *x, *w, *init, *residual; /* the last two may be missing */
    float *y;
    const int32_t *in_rows, *out_rows;
    const int64_t *starts;
    int64_t num_out, volume, groups;
    int64_t cin, cout; /* of one group */
    int64_t w_offset, w_group, w_row, w_column; /* strides of the weight */
    uint16_t *tiles; /* room for the parts of w */
    int64_t range_rows;
    int parts, rectify, num_threads;
    float slope;
} amx_convolution;

/* Numbers of the parts of an offset's weights. */
static inline int64_t amx_weight_size(const amx_convolution *c) {
    return amx_blocks(c->cout) * amx_chunks(c->cin) * c->parts * AMX_TILE;
}

#ifdef SPCONV_AMX
enum { AMX_STRIP = 4 }; /* chunks: two tiles of 32 rows fill a first-level cache at most */
enum { AMX_PRODUCTS = AMX_MAX_PARTS * (AMX_MAX_PARTS + 1) / 2 };

/* Parts of a and b to multiply, for one to three parts: each product but the first shares a part,
 * which stays in its tiles, with the one before. */
static const uint8_t amx_order[AMX_MAX_PARTS][AMX_PRODUCTS][2] = {
    {{0, 0}},
    {{1, 0}, {0, 0}, {0, 1}},
    {{0, 2}, {0, 1}, {1, 1}, {1, 0}, {2, 0}, {0, 0}},
};

/* Up to 32 pairs of one offset and a strip of their channels. */
typedef struct {
    int64_t offset, pair, last, chunk; /* the offset's pairs end before `last` */
} amx_step;

/* The next step with output rows in [begin, end); 0 behind the last one. */
static SPCONV_TARGET int amx_advance(const amx_convolution *c, amx_step *s, int64_t begin,
                                     int64_t end) {
    s->chunk += AMX_STRIP;
    if (s->chunk < amx_chunks(c->cin)) return 1;
    s->chunk = 0;
    s->pair += AMX_PAIRS;
    while (s->pair >= s->last) {
        if (++s->offset >= c->volume) return 0;
        s->pair = lower_bound(c->out_rows, c->starts[s->offset], c->starts[s->offset + 1], begin);
        s->last = lower_bound(c->out_rows, s->pair, c->starts[s->offset + 1], end);
    }
    return 1;
}

/* The rows of a step, all of them yet to be split; `x` is the first channel of the group. */
static SPCONV_TARGET amx_rows amx_rows_of(const amx_convolution *c, const amx_step *s,
                                          const float *x, uint16_t *tiles) {
    const int64_t left = c->cin - s->chunk * AMX_LINE, most = AMX_STRIP * AMX_LINE;
    const int64_t pairs = s->last - s->pair;
    return (amx_rows){
        .x = x + s->chunk * AMX_LINE,
        .in = c->in_rows + s->pair,
        .tiles = tiles,
        .ldx = c->groups * c->cin,
        .channels = left < most ? left : most,
        .pairs_left = pairs,
        .pieces = pairs < AMX_PAIRS ? pairs : AMX_PAIRS,
    };
}

/* Tiles a of a step times one or two blocks of weights b, and what is done beside: so many rows are
 * split and so many sums added with every product of parts that all are done in the end. What is in
 * the places of tiles without a pair does not matter, as their sums are not added. */
typedef struct {
    const uint16_t *a, *b;
    int64_t block_size, chunks;
    amx_rows *rows;
    amx_sums *sums;
    int64_t some_rows, some_sums;
} amx_product;

/* The product in tiles 0 to 3, [block][half of the pairs]. */
SPCONV_INLINE void amx_multiply(const amx_product *p, int parts, int two_halves, int two_blocks) {
    const uint8_t(*order)[2] = amx_order[parts - 1];
    const uint16_t *a = p->a, *b = p->b;
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    for (int64_t chunk = 0; chunk < p->chunks; ++chunk) {
        SPCONV_UNROLL
        for (int i = 0; i < parts * (parts + 1) / 2; ++i) {
            if (!i || order[i][0] != order[i - 1][0]) {
                const uint16_t *left = a + order[i][0] * 2 * AMX_TILE;
                tile_load(4, left, 64);
                if (two_halves) tile_load(5, left + AMX_TILE, 64);
            }
            if (!i || order[i][1] != order[i - 1][1]) {
                const uint16_t *right = b + order[i][1] * AMX_TILE;
                tile_load(6, right, 64);
                if (two_blocks) tile_load(7, right + p->block_size, 64);
            }
            tile_dot(0, 4, 6);
            if (two_halves) tile_dot(1, 5, 6);
            if (two_blocks) tile_dot(2, 4, 7);
            if (two_halves && two_blocks) tile_dot(3, 5, 7);
            amx_split_some(p->rows, parts, p->some_rows);
            amx_add_some(p->sums, p->some_sums);
        }
        a += parts * 2 * AMX_TILE;
        b += parts * AMX_TILE;
    }
}

/* Compiled for each number of parts, and for products that fill all tiles. */
#define AMX_MULTIPLY(parts)                                                                      \
    static SPCONV_TARGET void amx_multiply_##parts(const amx_product *p, int halves, int blocks) { \
        if (halves && blocks) amx_multiply(p, parts, 1, 1);                                      \
        else amx_multiply(p, parts, halves, blocks);                                             \
    }
AMX_MULTIPLY(1)
AMX_MULTIPLY(2)
AMX_MULTIPLY(3)

/* All pairs of a group with output rows in [begin, end). */
static SPCONV_TARGET void amx_group(const amx_convolution *c, int64_t group, int64_t begin,
                                    int64_t end) {
    uint16_t tiles[2][2 * AMX_STRIP * AMX_MAX_PARTS * AMX_TILE] __attribute__((aligned(64)));
    float results[4][AMX_COLUMNS * AMX_COLUMNS] __attribute__((aligned(64)));
    const float *x = c->x + group * c->cin;
    float *y = c->y + group * c->cout;
    const int64_t columns = (amx_blocks(c->cout) + 1) / 2;
    const int64_t products = c->parts * (c->parts + 1) / 2;
    amx_step step = {.offset = -1, .chunk = amx_chunks(c->cin)}, next;
    if (!c->cin || !amx_advance(c, &step, begin, end)) return;
    amx_rows rows = amx_rows_of(c, &step, x, tiles[0]);
    amx_sums sums = {.sums = results[0], .ldy = c->groups * c->cout};
    amx_product p = {.block_size = amx_chunks(c->cin) * c->parts * AMX_TILE,
                     .rows = &rows, .sums = &sums};
    amx_split_some(&rows, c->parts, rows.pieces);
    for (int turn = 0, more = 1; more; turn = !turn, step = next) {
        const int64_t left = amx_chunks(c->cin) - step.chunk, count = rows.pieces;
        const int two_halves = count > AMX_COLUMNS;
        p.chunks = left < AMX_STRIP ? left : AMX_STRIP;
        p.a = tiles[turn];
        p.b = c->tiles + (group * c->volume + step.offset) * amx_weight_size(c) +
              step.chunk * c->parts * AMX_TILE;
        next = step;
        more = amx_advance(c, &next, begin, end);
        if (more) rows = amx_rows_of(c, &next, x, tiles[!turn]);
        const int64_t times = p.chunks * products;
        p.some_rows = (rows.pieces + times * columns - 1) / (times * columns);
        p.some_sums = (AMX_PAIRS + times - 1) / times;
        for (int64_t n = 0; n < c->cout; n += 2 * AMX_COLUMNS, p.b += 2 * p.block_size) {
            const int two_blocks = c->cout - n > AMX_COLUMNS;
            if (c->parts == 1) amx_multiply_1(&p, two_halves, two_blocks);
            else if (c->parts == 2) amx_multiply_2(&p, two_halves, two_blocks);
            else amx_multiply_3(&p, two_halves, two_blocks);
            tile_store(0, results[0], 64);
            if (two_halves) tile_store(1, results[1], 64);
            if (two_blocks) tile_store(2, results[2], 64);
            if (two_halves && two_blocks) tile_store(3, results[3], 64);
            sums.y = y + n, sums.out = c->out_rows + step.pair;
            sums.channels = c->cout - n, sums.next = 0, sums.pieces = count;
        }
    }
    amx_add_some(&sums, sums.pieces);
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
    const int64_t width = c->groups * c->cout;
    tile_shapes shapes = {.palette = 1};
    for (int tile = 0; tile < 8; ++tile) shapes.rows[tile] = 16, shapes.row_bytes[tile] = 64;
    amx_start(c, begin, end);
    tile_config(&shapes);
    for (int64_t group = 0; group < c->groups; ++group) amx_group(c, group, begin, end);
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
    const int64_t weight_size = amx_weight_size(c);
    const int64_t ranges = (c->num_out + c->range_rows - 1) / c->range_rows;
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
