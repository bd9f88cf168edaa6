/* What the vector units do while the tile unit multiplies (amx_gemm.h): the rows of the next pairs
 * are split into tiles, and the sums of the last ones are added to y.
 *
 * Both go in pieces between the products, for a product takes the tile unit 16 cycles, in which
 * nothing else would be done. Pieces of either kind are taken in order, so that no bit of a result
 * depends on how they are laid among the products.
 */
#ifndef SPCONV_AMX_FEED_H
#define SPCONV_AMX_FEED_H
#include "amx_split.h"
#include "pairs.h"

#ifdef SPCONV_AMX
enum { AMX_PAIRS = 2 * AMX_COLUMNS }; /* pairs at a time: two tiles of rows */

/* Rows of x to split: a piece is one row. */
typedef struct {
    const float *x; /* the first of the channels, in row 0 */
    const int32_t *in;
    uint16_t *tiles; /* [chunk of channels][part][pair] */
    int64_t ldx, channels, pairs_left; /* from `in` on, to the end of the offset's */
    int64_t next, pieces;
} amx_rows;

SPCONV_INLINE void amx_split_some(amx_rows *r, int parts, int64_t some) {
    const int64_t end = r->next + some < r->pieces ? r->next + some : r->pieces;
    const int64_t stride = AMX_PAIRS * AMX_LINE;
    for (int64_t row = r->next; row < end; ++row) {
        const int64_t later = row + AMX_PAIRS;
        const float *ahead = r->x + r->in[later < r->pairs_left ? later : row] * r->ldx;
        const float *x = r->x + r->in[row] * r->ldx;
        uint16_t *target = r->tiles + row * AMX_LINE;
        for (int64_t done = 0; done < r->channels; done += AMX_LINE, target += parts * stride) {
            SPCONV_PREFETCH(ahead + done);
            SPCONV_PREFETCH(ahead + done + AMX_LINE / 2);
            split_line(x + done, r->channels - done, parts, stride, target);
        }
    }
    r->next = end;
}

/* Sums of up to 32 channels to add to y: a piece is one pair. */
typedef struct {
    float *y; /* the first of the channels, in row 0 */
    const int32_t *out;
    const float *sums; /* [16 channels][pair][channel] */
    int64_t ldy, channels, next, pieces;
} amx_sums;

/* y += sums for up to 16 channels. */
SPCONV_INLINE void amx_add(float *y, const float *sums, int64_t channels) {
    if (channels >= AMX_COLUMNS) NAME(store)(y, NAME(load)(y) + NAME(load)(sums));
    else {
        const int lanes = (int)channels;
        NAME(add_part)(y, NAME(load)(sums), lanes);
    }
}

SPCONV_INLINE void amx_add_some(amx_sums *s, int64_t some) {
    const int64_t end = s->next + some < s->pieces ? s->next + some : s->pieces;
    for (int64_t pair = s->next; pair < end; ++pair) {
        float *y = s->y + s->out[pair] * s->ldy;
        const float *sums = s->sums + pair * AMX_COLUMNS;
        amx_add(y, sums, s->channels);
        if (s->channels > AMX_COLUMNS)
            amx_add(y + AMX_COLUMNS, sums + AMX_PAIRS * AMX_COLUMNS, s->channels - AMX_COLUMNS);
    }
    s->next = end;
}
#endif
#endif
