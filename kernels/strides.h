/* What the kernels that walk over grids share: how many axes there are, and division by strides. */
#ifndef SPCONV_STRIDES_H
#define SPCONV_STRIDES_H
#include "site_index.h"

enum { SPCONV_MAX_DIMS = 8 };

/* Binary logarithm of a stride, or -1: shifts take a tenth of a division's time. */
SPCONV_FORCE_INLINE int stride_log2(int64_t stride) {
    const uint64_t below = (uint64_t)stride - 1;
    return stride & (int64_t)below ? -1 : SPCONV_POPCOUNT(below);
}
#endif
