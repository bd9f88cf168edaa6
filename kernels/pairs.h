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
#endif
