/* How the output rows of a convolution are shared out: threads own ranges of them. */
#ifndef SPCONV_RANGES_H
#define SPCONV_RANGES_H
#include <stdint.h>

enum { SPCONV_MIN_ROWS = 96, SPCONV_RANGE_BYTES = 256 * 1024 };

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
#endif
