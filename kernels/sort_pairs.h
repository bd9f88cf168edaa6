/* The pairs of one offset in the order of their output rows. */
#ifndef SPCONV_SORT_PAIRS_H
#define SPCONV_SORT_PAIRS_H
#include <string.h>

#include "site_index.h"

SPCONV_FORCE_INLINE int64_t sort_pairs_row(const int64_t *order, int32_t row) {
    return order ? order[row] : row;
}

/* Returns whether all are there, which they are unless an output row occurs twice. `order` says
 * which row each becomes, on both sides; NULL leaves them. `bits` has a bit, and `source` an entry
 * for every output row. */
SPCONV_POPCNT_CLONES static int sort_offset(const int32_t *in_rows, const int32_t *out_rows,
                                            int64_t count, const int64_t *order, int64_t num_out,
                                            uint64_t *bits, int32_t *source, int32_t *in_sorted,
                                            int32_t *out_sorted) {
    const int64_t words = (num_out + 63) / 64;
    int64_t found = 0;
    memset(bits, 0, (size_t)words * sizeof *bits);
    for (int64_t p = 0; p < count; ++p) {
        const int64_t row = sort_pairs_row(order, out_rows[p]);
        source[row] = (int32_t)sort_pairs_row(order, in_rows[p]);
        bits[row >> 6] |= (uint64_t)1 << (row & 63);
    }
    for (int64_t w = 0; w < words; ++w) {
        uint64_t word = bits[w];
        while (word) {
            const uint64_t low = word & (0 - word);
            const int64_t row = (w << 6) + SPCONV_POPCOUNT(low - 1);
            in_sorted[found] = source[row];
            out_sorted[found++] = (int32_t)row;
            word ^= low;
        }
    }
    return found == count;
}
#endif
