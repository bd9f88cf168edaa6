/* Keys of sites in one pass, with what has to be known of sites before anything trusts them. */
#ifndef SPCONV_ENCODE_KEYS_H
#define SPCONV_ENCODE_KEYS_H
#include <stdint.h>

#include "clones.h"

enum { SITES_OUTSIDE = 1, SITES_FALL = 2 };

/* Unsigned: of sites outside the grid the product may overflow. */
SPCONV_FORCE_INLINE uint64_t key_of(const int32_t *site, const int64_t *extents, int64_t columns) {
    uint64_t key = (uint64_t)site[0];
    for (int64_t c = 1; c < columns; ++c)
        key = key * (uint64_t)extents[c] + (uint64_t)site[c];
    return key;
}

/* Without branches in the rows: whether any is outside, and whether all keys ascend. */
SPCONV_FORCE_INLINE int encode_columns(const int32_t *indices, int64_t n, int64_t columns,
                                       const int64_t *extents, const uint32_t *most,
                                       int64_t *keys) {
    int outside = 0, fall = 0;
    int64_t before = -1;
    for (int64_t i = 0; i < n; ++i, indices += columns) {
        for (int64_t c = 0; c < columns; ++c) outside |= (uint32_t)indices[c] > most[c];
        const int64_t key = (int64_t)key_of(indices, extents, columns);
        fall |= key <= before;
        keys[i] = before = key;
    }
    return (outside ? SITES_OUTSIDE : 0) | (fall ? SITES_FALL : 0);
}

#if defined(__GNUC__)
typedef uint32_t site_of_four __attribute__((vector_size(16), aligned(4), may_alias));

/* The same of four columns, those of 3-D grids: a site is compared at once. */
SPCONV_FORCE_INLINE int encode_four(const int32_t *indices, int64_t n, const int64_t *extents,
                                    const uint32_t *most, int64_t *keys) {
    const site_of_four last = {most[0], most[1], most[2], most[3]};
    site_of_four outside = {0, 0, 0, 0};
    uint64_t before = UINT64_MAX, fall = 0;
    for (int64_t i = 0; i < n; ++i, indices += 4) {
        outside |= (site_of_four)(*(const site_of_four *)indices > last);
        const uint64_t key = key_of(indices, extents, 4);
        fall |= key - before - 1; /* its sign, as all keys of a grid are below 2^63 */
        keys[i] = (int64_t)(before = key);
    }
    return (outside[0] | outside[1] | outside[2] | outside[3] ? SITES_OUTSIDE : 0) |
           (fall >> 63 ? SITES_FALL : 0);
}
#else
SPCONV_FORCE_INLINE int encode_four(const int32_t *indices, int64_t n, const int64_t *extents,
                                    const uint32_t *most, int64_t *keys) {
    return encode_columns(indices, n, 4, extents, most, keys);
}
#endif

/* Keys of the rows `first` to `first + n - 1`; they shall also ascend from the row before. `most`
 * are the largest coordinates. */
SPCONV_CLONES
static int encode_keys(const int32_t *indices, int64_t first, int64_t n, int64_t columns,
                       const int64_t *extents, const uint32_t *most, int64_t *keys) {
    const int32_t *rows = indices + first * columns;
    int64_t size[4];
    uint32_t last[4];
    int found;
    /* Copies that no store to the keys can change stay in registers. */
    for (int64_t c = 0; c < columns && c < 4; ++c) size[c] = extents[c], last[c] = most[c];
    switch (columns) {
        case 3: found = encode_columns(rows, n, 3, size, last, keys + first); break;
        case 4: found = encode_four(rows, n, size, last, keys + first); break;
        default: found = encode_columns(rows, n, columns, extents, most, keys + first);
    }
    if (first && n && (int64_t)key_of(rows - columns, extents, columns) >= keys[first])
        found |= SITES_FALL;
    return found;
}
#endif
