/* One of two values, chosen by bits: where a loop is not vectorized, a branch on data would be
 * guessed wrong half of the time, and where it is, a choice may be widened to other vectors. */
#ifndef SPCONV_SELECT_H
#define SPCONV_SELECT_H
#include <stdint.h>
#include <string.h>

#include "clones.h"

#define SPCONV_SELECT(real, bits, type)                                                          \
    SPCONV_FORCE_INLINE real select_##type(int take, real one, real other) {                     \
        bits a, b;                                                                               \
        const bits mask = 0 - (bits)take;                                                        \
        memcpy(&a, &one, sizeof a);                                                              \
        memcpy(&b, &other, sizeof b);                                                            \
        a = (a & mask) | (b & ~mask);                                                            \
        memcpy(&one, &a, sizeof a);                                                              \
        return one;                                                                              \
    }
SPCONV_SELECT(float, uint32_t, f32)
SPCONV_SELECT(double, uint64_t, f64)
#endif
