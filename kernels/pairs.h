/* Pair lists: the rows of one kernel offset, sorted. */
#ifndef SPCONV_PAIRS_H
#define SPCONV_PAIRS_H
#include <stdint.h>
#include <string.h>

#include "clones.h"

/* Bring a line near that a list will ask for: processors do not guess it. */
#if defined(__GNUC__)
#define SPCONV_PREFETCH(pointer) __builtin_prefetch(pointer)
#else
#define SPCONV_PREFETCH(pointer) ((void)(pointer))
#endif

/* First position in [begin, end) with rows[position] >= row, or end. */
static inline int64_t lower_bound(const int32_t *rows, int64_t begin, int64_t end, int64_t row) {
    while (begin < end) {
        const int64_t middle = begin + (end - begin) / 2;
        if (rows[middle] < row) begin = middle + 1;
        else end = middle;
    }
    return begin;
}

/* The same where the position is near the beginning: a walk that is guessed right, and a count. */
static inline int64_t next_bound(const int32_t *rows, int64_t begin, int64_t end, int64_t row) {
    const int64_t step = 64;
    int64_t below = 0;
    while (end - begin >= step && rows[begin + step - 1] < row) begin += step;
    for (int64_t i = begin; i < end && i < begin + step; ++i) below += rows[i] < row;
    return begin + below;
}

/* The partners of consecutive rows in the order of the offsets, of SPCONV_OFFSETS at a time: a
 * multiple of the four rows that are taken at once. Asking of each row which offsets it has would
 * be guessed wrong about as often as not; the pairs are walked in their own order instead. */
#define SPCONV_OFFSETS 32
#define SPCONV_TABLE_ROWS 64
typedef struct {
    const int32_t *rows, *partners;
    int64_t next[SPCONV_OFFSETS], stop[SPCONV_OFFSETS];
    int offsets, count[SPCONV_TABLE_ROWS];
    int32_t of_row[SPCONV_TABLE_ROWS][SPCONV_OFFSETS];
} partner_table;

/* At the first pairs with a row of at least `row`, of the offsets from `offset` on. */
SPCONV_FORCE_INLINE void start_table(partner_table *table, const int32_t *rows,
                                     const int32_t *partners, const int64_t *starts,
                                     int64_t volume, int64_t offset, int64_t row) {
    const int64_t left = volume - offset;
    table->rows = rows;
    table->partners = partners;
    table->offsets = left < SPCONV_OFFSETS ? (int)left : SPCONV_OFFSETS;
    for (int k = 0; k < table->offsets; ++k) {
        table->stop[k] = starts[offset + k + 1];
        table->next[k] = lower_bound(rows, starts[offset + k], table->stop[k], row);
    }
}

/* Those of the next rows: from `first` on, as many as fit, before `end`. Returns how many. */
SPCONV_FORCE_INLINE int64_t fill_table(partner_table *table, int64_t first, int64_t end) {
    const int64_t left = end - first;
    const int64_t count = left < SPCONV_TABLE_ROWS ? left : SPCONV_TABLE_ROWS;
    const int32_t *rows = table->rows, *partners = table->partners;
    memset(table->count, 0, sizeof table->count);
    for (int k = 0; k < table->offsets; ++k) {
        const int64_t stop = table->stop[k];
        int64_t next = table->next[k];
        for (; next < stop && rows[next] < first + count; ++next) {
            const int64_t n = rows[next] - first;
            table->of_row[n][table->count[n]++] = partners[next];
        }
        table->next[k] = next;
    }
    return count;
}
#endif
