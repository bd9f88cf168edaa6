/* Windows that do not overlap: kernel size and stride are equal, so that a site has one output.
 *
 * Sites come sorted. Those of one kernel offset stay in order when they are moved, so pairs come out
 * sorted by output row with no sort.
 */
#ifndef SPCONV_DISJOINT_H
#define SPCONV_DISJOINT_H
#include "site_index.h"
#include "strides.h"

typedef struct {
    const int32_t *sites; /* (num_sites, 1 + ndim) */
    int64_t ndim;
    int64_t size[SPCONV_MAX_DIMS], out_shape[SPCONV_MAX_DIMS];
} spconv_windows;

/* For the sites [first, last) the key of the output cell, -1 if the grid has no whole window there,
 * and the kernel offset; adds the number of sites of every offset to counts. */
SPCONV_FORCE_INLINE void disjoint_assign_axes(const spconv_windows *w, const int ndim, int64_t first,
                                              int64_t last, int64_t *keys, int32_t *offsets,
                                              int64_t *counts) {
    int64_t size[SPCONV_MAX_DIMS];
    int log2[SPCONV_MAX_DIMS];
    for (int axis = 0; axis < ndim; ++axis) {
        size[axis] = w->size[axis];
        log2[axis] = stride_log2(size[axis]);
    }
    for (int64_t i = first; i < last; ++i) {
        const int32_t *site = w->sites + i * (ndim + 1);
        int64_t key = site[0], offset = 0;
        int inside = 1;
        for (int axis = 0; axis < ndim; ++axis) {
            const int64_t x = site[1 + axis];
            const int64_t y = log2[axis] >= 0 ? x >> log2[axis] : x / size[axis];
            key = key * w->out_shape[axis] + y;
            offset = offset * size[axis] + x - y * size[axis];
            inside &= y < w->out_shape[axis];
        }
        keys[i] = inside ? key : -1;
        offsets[i] = (int32_t)offset;
        counts[offset] += inside;
    }
}

SPCONV_POPCNT_CLONES static void disjoint_assign(const spconv_windows *w, int64_t first, int64_t last,
                                                 int64_t *keys, int32_t *offsets, int64_t *counts) {
    if (w->ndim == 2) disjoint_assign_axes(w, 2, first, last, keys, offsets, counts);
    else if (w->ndim == 3) disjoint_assign_axes(w, 3, first, last, keys, offsets, counts);
    else disjoint_assign_axes(w, (int)w->ndim, first, last, keys, offsets, counts);
}

/* The pairs of the sites [first, last), from next[offset] on. */
SPCONV_POPCNT_CLONES static void disjoint_pairs(const int64_t *keys, const int32_t *offsets,
                                                int64_t first, int64_t last, const uint64_t *bits,
                                                const int32_t *ranks, int64_t *next,
                                                int32_t *in_rows, int32_t *out_rows) {
    for (int64_t i = first; i < last; ++i) {
        if (keys[i] < 0) continue;
        const int64_t pair = next[offsets[i]]++;
        in_rows[pair] = (int32_t)i;
        out_rows[pair] = site_count(bits, ranks, keys[i]);
    }
}
#endif
