/* Which row does a grid cell belong to?
 *
 * A bit per cell and, per 64 cells, the number of active cells before them: the row of a cell is
 * that count plus the set bits below it. Rows come out sorted by key without sorting, and a
 * 256^3 grid takes 3 MB, which stays in cache.
 */
#ifndef SPCONV_SITE_INDEX_H
#define SPCONV_SITE_INDEX_H
#include <stdint.h>

#if defined(_MSC_VER)
#include <intrin.h>
#define SPCONV_POPCOUNT(v) ((int32_t)__popcnt64(v))
#else
#define SPCONV_POPCOUNT(v) ((int32_t)__builtin_popcountll(v))
#endif

static inline void site_mark(uint64_t *bits, int64_t key) {
    bits[key >> 6] |= (uint64_t)1 << (key & 63);
}

/* Fills counts and returns the number of active cells. */
static inline int64_t site_rank(const uint64_t *bits, int32_t *counts, int64_t words) {
    int64_t total = 0;
    for (int64_t w = 0; w < words; ++w) {
        counts[w] = (int32_t)total;
        total += SPCONV_POPCOUNT(bits[w]);
    }
    return total;
}

/* Row of an active or inactive cell; -1 if inactive. */
static inline int32_t site_row(const uint64_t *bits, const int32_t *counts, int64_t key) {
    const uint64_t word = bits[key >> 6];
    const uint64_t bit = (uint64_t)1 << (key & 63);
    if (!(word & bit)) return -1;
    return counts[key >> 6] + SPCONV_POPCOUNT(word & (bit - 1));
}

/* Keys of all active cells, ascending. */
static inline void site_keys(const uint64_t *bits, int64_t words, int64_t *keys) {
    int64_t n = 0;
    for (int64_t w = 0; w < words; ++w) {
        uint64_t word = bits[w];
        while (word) {
            const uint64_t low = word & (0 - word);
            keys[n++] = (w << 6) + SPCONV_POPCOUNT(low - 1);
            word ^= low;
        }
    }
}
#endif
