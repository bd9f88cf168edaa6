/* How rows are shared out: threads own ranges of a convolution's output, and parts of sums. */
#ifndef SPCONV_RANGES_H
#define SPCONV_RANGES_H
#include <stdint.h>

enum { SPCONV_MIN_ROWS = 96, SPCONV_RANGE_BYTES = 256 * 1024 };
enum { SPCONV_PART_LEAST = 64, SPCONV_PART_MOST = 2048, SPCONV_PART_BYTES = 64 * 1024 };

/* Rows that fit into so many bytes, but not so few that a block of them is hardly filled. */
static inline int64_t rows_within(int64_t bytes, int64_t row_bytes) {
    const int64_t rows = bytes / row_bytes;
    return rows > SPCONV_MIN_ROWS ? rows : SPCONV_MIN_ROWS;
}

/* Rows of a range: they fit into so many bytes, of a second-level cache, and every thread gets
 * several ranges. */
static inline int64_t range_rows(int64_t num_rows, int64_t row_bytes, int64_t bytes,
                                 int64_t num_threads) {
    const int64_t share = (num_rows + 4 * num_threads - 1) / (4 * num_threads);
    const int64_t most = rows_within(bytes, row_bytes);
    const int64_t rows = share < most ? share : most;
    return rows > SPCONV_MIN_ROWS ? rows : SPCONV_MIN_ROWS;
}

/* Rows of a part, which a near cache holds for a second pass. They follow from the size of a row
 * alone: the order of a sum must not depend on the number of threads. */
static inline int64_t part_rows(int64_t row_bytes) {
    const int64_t rows = SPCONV_PART_BYTES / (row_bytes > 0 ? row_bytes : 1);
    if (rows > SPCONV_PART_MOST) return SPCONV_PART_MOST;
    return rows > SPCONV_PART_LEAST ? rows : SPCONV_PART_LEAST;
}
#endif
