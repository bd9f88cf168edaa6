/* Which row does a grid cell belong to?
 *
 * A bit per cell and, per 64 cells, the number of active cells before them: the row of a cell is
 * that count plus the set bits below it. Rows come out sorted by key without sorting, and a
 * 256^3 grid takes 3 MB, which stays in cache. One empty word in front and one behind let a
 * window of up to 64 cells start and end outside the grid.
 */
#ifndef SPCONV_SITE_INDEX_H
#define SPCONV_SITE_INDEX_H
#include <stdint.h>

#include "clones.h"

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
/* Versions with and without the population count instruction; the loader picks one. */
#define SPCONV_POPCNT_CLONES __attribute__((target_clones("arch=x86-64-v3", "popcnt", "default")))
#else
#define SPCONV_POPCNT_CLONES
#endif

#if defined(_MSC_VER)
#include <intrin.h>
#define SPCONV_POPCOUNT(v) ((int32_t)__popcnt64(v))
#else
#define SPCONV_POPCOUNT(v) ((int32_t)__builtin_popcountll(v))
#endif

#define SPCONV_PAD_CELLS 64

SPCONV_FORCE_INLINE void site_mark(uint64_t *bits, int64_t key) {
    key += SPCONV_PAD_CELLS;
    bits[key >> 6] |= (uint64_t)1 << (key & 63);
}

/* Mark the cells key + i for every set bit i of the pattern. */
SPCONV_FORCE_INLINE void site_mark_window(uint64_t *bits, int64_t key, uint64_t pattern) {
    key += SPCONV_PAD_CELLS;
    const int shift = (int)(key & 63);
    bits[key >> 6] |= pattern << shift;
    if (shift) bits[(key >> 6) + 1] |= pattern >> (64 - shift);
}

/* The cells from key on, the first in bit 0. */
SPCONV_FORCE_INLINE uint64_t site_window(const uint64_t *bits, int64_t key) {
    key += SPCONV_PAD_CELLS;
    const int shift = (int)(key & 63);
    const uint64_t low = bits[key >> 6] >> shift;
    return shift ? low | bits[(key >> 6) + 1] << (64 - shift) : low;
}

/* Number of active cells before key. */
SPCONV_FORCE_INLINE int32_t site_count(const uint64_t *bits, const int32_t *ranks, int64_t key) {
    key += SPCONV_PAD_CELLS;
    const uint64_t below = ((uint64_t)1 << (key & 63)) - 1;
    return ranks[key >> 6] + SPCONV_POPCOUNT(bits[key >> 6] & below);
}

/* Fills ranks and returns the number of active cells. */
SPCONV_POPCNT_CLONES static int64_t site_rank(const uint64_t *bits, int32_t *ranks, int64_t words) {
    int64_t total = 0;
    for (int64_t w = 0; w < words; ++w) {
        ranks[w] = (int32_t)total;
        total += SPCONV_POPCOUNT(bits[w]);
    }
    return total;
}

/* Keys of the active cells in the words [begin, end), ascending. */
SPCONV_POPCNT_CLONES static void site_keys(const uint64_t *bits, int64_t begin, int64_t end,
                                           int64_t *keys) {
    int64_t n = 0;
    for (int64_t w = begin; w < end; ++w) {
        uint64_t word = bits[w];
        while (word) {
            const uint64_t low = word & (0 - word);
            keys[n++] = (w << 6) + SPCONV_POPCOUNT(low - 1) - SPCONV_PAD_CELLS;
            word ^= low;
        }
    }
}
#endif
