/* Pair lists: the rows of one kernel offset, sorted. */
#ifndef SPCONV_PAIRS_H
#define SPCONV_PAIRS_H
#include <stdint.h>

/* First position in [begin, end) with rows[position] >= row, or end. */
static inline int64_t lower_bound(const int32_t *rows, int64_t begin, int64_t end, int64_t row) {
    while (begin < end) {
        const int64_t middle = begin + (end - begin) / 2;
        if (rows[middle] < row) begin = middle + 1;
        else end = middle;
    }
    return begin;
}

/* The same where the position is near the beginning. */
static inline int64_t next_bound(const int32_t *rows, int64_t begin, int64_t end, int64_t row) {
    int64_t step = 16;
    while (step < end - begin && rows[begin + step] < row) {
        begin += step;
        step *= 2;
    }
    return lower_bound(rows, begin, step < end - begin ? begin + step : end, row);
}

/* Rows in their order with all their pairs, out of lists that ascend strictly within every offset:
 * what is made of a row stays in cache until it is whole. For up to SPCONV_CURSORS offsets at a
 * time, one at least. */
#define SPCONV_CURSORS 32

typedef struct {
    const int32_t *rows, *partners;
    int64_t next[SPCONV_CURSORS], stop[SPCONV_CURSORS];
    int32_t row[SPCONV_CURSORS]; /* of the next pair; -1 where none is left */
    int count;
} pair_cursors;

static inline void place_cursor(pair_cursors *cursors, int k, int64_t next) {
    cursors->next[k] = next;
    cursors->row[k] = next < cursors->stop[k] ? cursors->rows[next] : -1;
}

/* At the first pairs with a row of at least `row`, of the offsets from `offset` on. */
static inline void start_cursors(pair_cursors *cursors, const int32_t *rows,
                                 const int32_t *partners, const int64_t *starts, int64_t volume,
                                 int64_t offset, int64_t row) {
    const int64_t left = volume - offset;
    cursors->rows = rows;
    cursors->partners = partners;
    cursors->count = left < SPCONV_CURSORS ? (int)left : SPCONV_CURSORS;
    for (int k = 0; k < cursors->count; ++k) {
        const int64_t first = starts[offset + k];
        cursors->stop[k] = starts[offset + k + 1];
        place_cursor(cursors, k, lower_bound(rows, first, cursors->stop[k], row));
    }
}

/* The partners of `row` in the order of the offsets; returns how many. */
static inline int take_partners(pair_cursors *cursors, int64_t row, int32_t *partners) {
    int taken = 0;
    for (int k = 0; k < cursors->count; ++k)
        if (cursors->row[k] == row) {
            const int64_t next = cursors->next[k];
            partners[taken++] = cursors->partners[next];
            place_cursor(cursors, k, next + 1);
        }
    return taken;
}
#endif
