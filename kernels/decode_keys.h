/* The key of a site is its row-major position in the (batch, *spatial) grid. */
#ifndef SPCONV_DECODE_KEYS_H
#define SPCONV_DECODE_KEYS_H
#include <stdint.h>

#include "strides.h"

enum { DECODE_MAX_COLUMNS = 1 + SPCONV_MAX_DIMS };

/* Quotients by products with reciprocals, in a fraction of a division's time: (key + 1/2) / extent
 * is 1/2 / extent or more from an integer, the rounded product less than that for keys below 2^51. */
#define DECODE_MAX_KEY ((int64_t)1 << 51)

SPCONV_FORCE_INLINE void decode_columns(const int64_t *keys, int64_t n, const int64_t *extents,
                                        const int64_t columns, int32_t *indices) {
    double inverse[DECODE_MAX_COLUMNS];
    int64_t size[DECODE_MAX_COLUMNS];
    for (int64_t c = 1; c < columns; ++c) size[c] = extents[c], inverse[c] = 1.0 / (double)size[c];
    for (int64_t i = 0; i < n; ++i) {
        int64_t rest = keys[i];
        for (int64_t c = columns - 1; c > 0; --c) {
            const int64_t quotient = (int64_t)(((double)rest + 0.5) * inverse[c]);
            indices[i * columns + c] = (int32_t)(rest - quotient * size[c]);
            rest = quotient;
        }
        indices[i * columns] = (int32_t)rest;
    }
}

/* Sites (n, columns) of ascending keys. */
static void decode_keys(const int64_t *keys, int64_t n, const int64_t *extents, int64_t columns,
                        int32_t *indices) {
    if (n && keys[n - 1] < DECODE_MAX_KEY && columns <= DECODE_MAX_COLUMNS) {
        if (columns == 3) decode_columns(keys, n, extents, 3, indices);
        else if (columns == 4) decode_columns(keys, n, extents, 4, indices);
        else decode_columns(keys, n, extents, columns, indices);
        return;
    }
    for (int64_t i = 0; i < n; ++i, indices += columns) {
        int64_t rest = keys[i];
        for (int64_t c = columns - 1; c > 0; --c) {
            indices[c] = (int32_t)(rest % extents[c]);
            rest /= extents[c];
        }
        indices[0] = (int32_t)rest;
    }
}
#endif
