/* The key of a site is its row-major position in the (batch, *spatial) grid. */
#ifndef SPCONV_DECODE_KEYS_H
#define SPCONV_DECODE_KEYS_H
#include <stdint.h>
#include <string.h>

/* Sites (n, columns) of ascending keys. Division only where a new row of the last axis begins. */
static void decode_keys(const int64_t *keys, int64_t n, const int64_t *extents, int64_t columns,
                        int32_t *indices) {
    const int64_t width = extents[columns - 1];
    int64_t row_start = -1, row_end = -1;
    for (int64_t i = 0; i < n; ++i, indices += columns) {
        const int64_t key = keys[i];
        if (i && key >= row_start && key < row_end) {
            memcpy(indices, indices - columns, (size_t)(columns - 1) * sizeof *indices);
        } else {
            int64_t rest = key / width;
            row_start = rest * width;
            row_end = row_start + width;
            for (int64_t c = columns - 2; c > 0; --c) {
                indices[c] = (int32_t)(rest % extents[c]);
                rest /= extents[c];
            }
            indices[0] = (int32_t)rest;
        }
        indices[columns - 1] = (int32_t)(key - row_start);
    }
}
#endif
