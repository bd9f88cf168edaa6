/* The leaky rectifier of one value. */
#ifndef SPCONV_RECTIFIER_H
#define SPCONV_RECTIFIER_H
#include "clones.h"

#define SPCONV_RECTIFIER(real, type)                                                             \
    SPCONV_FORCE_INLINE real rectified_##type(real value, real slope) {                          \
        /* 0 * -inf would be NaN */                                                              \
        return slope == 0 ? (value < 0 ? 0 : value) : value > 0 ? value : slope * value;         \
    }
SPCONV_RECTIFIER(float, f32)
SPCONV_RECTIFIER(double, f64)
#endif
